"""Parses a `.mecha` text into steps, each of which refers to earlier ones by number.

    version 0.1.0
    model "a.safetensors" model_config="sdxl-sgm" merge_space="weight"
    dict key=0.5
    literal &1 model_config="singleton-mecha" merge_space=null
    merge "weighted_sum" &0 &0 &2

Nothing is run and nothing recurses. The cost is linear in the text, and its limits are checked on
the way. Source: sd-mecha's text format, version 0.1.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import RecipeError, quoted, shown_value

__all__ = ["MAX_ARGUMENTS", "MAX_MECHA_CHARS", "MAX_STEPS", "Ref", "Step", "parse_steps"]

MAX_MECHA_CHARS = 1_000_000
MAX_STEPS = 10_000
"""Of one text. A chain of 2,000 merges, each with its own alpha, takes 8,000."""
MAX_ARGUMENTS = 40_000

_FIX = "Export it again with the same version of sd-mecha."
_COMMANDS = ("dict", "literal", "model", "merge")
_WORDS = {"null": None, "true": True, "false": False}
_TOKEN = re.compile(r'((?:[^ "\\]|\\.)*)"((?:[^"\\]|\\.)*)"|((?:[^ "\\]|\\.)+)')
_ESCAPE = re.compile(r"\\(.)")


class Ref(int):
    """The number of an earlier step, from 0."""


@dataclass(frozen=True)
class Step:
    """One line. `name` is the method of a `merge` and the path of a `model`, else empty.

    A value is a `Ref`, a string, a number, True, False or None.
    """

    command: str
    name: str
    args: tuple[Any, ...]
    options: Mapping[str, Any]


def parse_steps(text: str) -> list[Step]:
    """The steps of a `.mecha` text, in order.

    Raises: RecipeError that names the line: another format, a limit, or what cannot be read.
    """
    if len(text) > MAX_MECHA_CHARS:
        raise _too_much("characters", MAX_MECHA_CHARS, len(text))
    first, *rest = [line for line in text.splitlines() if line.strip()] or [""]
    if not first.startswith("version"):
        raise RecipeError(
            "this is no .mecha recipe",
            expected='"version …" in the first line',
            received=shown_value(first, 40) if first else "nothing",
            fix="Pass the text that sd-mecha or this pack exported.",
        )
    lines = [line for line in rest if not line.lstrip().startswith("#")]
    if len(lines) > MAX_STEPS:
        raise _too_much("lines", MAX_STEPS, len(lines))
    steps: list[Step] = []
    arguments = 0
    for line in lines:
        steps.append(_step(line.strip(), len(steps)))
        arguments += len(steps[-1].args) + len(steps[-1].options)
        if arguments > MAX_ARGUMENTS:
            raise _too_much("arguments", MAX_ARGUMENTS, "more")
    if not steps:
        raise RecipeError(
            "this .mecha recipe has no line after its version", fix="Export it again, completely."
        )
    return steps


def _step(line: str, number: int) -> Step:
    command, *tokens = _tokens(line)
    if command[0] not in _COMMANDS or command[1] is not None:
        raise _unreadable(number, "one of " + ", ".join(_COMMANDS), shown_value(command[0]))
    args: list[Any] = []
    options: dict[str, Any] = {}
    for plain, text in tokens:
        name, separator, value = plain.partition("=")
        if separator:
            options[name] = _value(value, text, number)
        else:
            args.append(_value(plain, text, number))
    if command[0] not in ("model", "merge"):
        return Step(command[0], "", tuple(args), options)
    if not args or not isinstance(args[0], str):
        raise _unreadable(number, f"a name after {command[0]}", "none")
    return Step(command[0], args[0], tuple(args[1:]), options)


def _tokens(line: str) -> list[tuple[str, str | None]]:
    """(what stands before a quoted text, that text), or (a word, None)."""
    found: list[tuple[str, str | None]] = []
    for match in _TOKEN.finditer(line):
        if len(found) > MAX_ARGUMENTS:
            raise _too_much("arguments", MAX_ARGUMENTS, "more")
        prefix, text, word = match.groups()
        if word is None:
            found.append((_plain(prefix), _plain(text)))
        else:
            found.append((_plain(word), None))
    return found or [("", None)]


def _plain(text: str) -> str:
    return _ESCAPE.sub(r"\1", text) if "\\" in text else text


def _value(word: str, text: str | None, number: int) -> Any:
    if text is not None:
        return text
    if word in _WORDS:
        return _WORDS[word]
    try:
        if word.startswith("&"):
            ref = int(word[1:])
            if not 0 <= ref < number:
                raise _unreadable(number, "a reference to an earlier line", quoted(word, 40))
            return Ref(ref)
        return float(word) if any(c in word for c in ".eEnN") else int(word)
    except ValueError:
        raise _unreadable(number, "a number, a text or a reference", quoted(word, 40)) from None


def _unreadable(number: int, expected: str, received: str) -> RecipeError:
    what = f"line {number + 2} of this .mecha recipe cannot be read"
    return RecipeError(what, expected=expected, received=received, fix=_FIX)


def _too_much(what: str, limit: int, received: object) -> RecipeError:
    return RecipeError(
        f"this .mecha recipe has too many {what}",
        expected=f"at most {limit}",
        received=received,
        fix="Run it with sd-mecha and use its result as a model.",
    )
