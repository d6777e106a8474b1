"""A row's weight on each tensor: `double_blocks.0-9=0.5, IN00-05=0, *attn*=0, default=1`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase

from ..errors import RecipeError, shown_value
from .sd_blocks import PRESETS, SdBlocks, expanded, last_output_block, number_count, sd_blocks

__all__ = ["MAX_LAYER_RULES", "LayerRule", "LayerWeights", "parse_layers"]

MAX_LAYER_RULES = 256
_FIX = "Write pattern=weight pairs, e.g. double_blocks.0-9=0.5, *attn*=0, default=1."
_RANGE = re.compile(r"([0-9]+)-([0-9]+)\Z")
_NUMBER = re.compile(r"[0-9]{1,9}\Z")  # not isdigit: it takes ² for a digit, and int() does not
_PRESET = re.compile(r"[A-Za-z][A-Za-z0-9]*[_-][A-Za-z0-9_-]+\Z")
_MAX_DIGITS = 9


@dataclass(frozen=True)
class LayerRule:
    """One `pattern=weight` pair.

    A pattern with `*`, `?` or `[` is a glob on the whole key or block id. Any other pattern is a
    dotted path that a block id or key starts with, whole parts only; a part `0-9` stands for that
    range of numbers, ends included. `BASE`, `IN00-05`, `M00`, `OUT11` name blocks of Stable
    Diffusion's U-Nets; `last` is then the number of the model's last output block.
    """

    pattern: str
    weight: float
    named: SdBlocks | None = None
    last: int | None = None

    def matches(self, key: str, block: str) -> bool:
        """Whether the rule applies to this key, which lies in this block."""
        if self.named is not None:
            return self.named.holds(block, self.last)
        if any(char in self.pattern for char in "*?["):
            return fnmatchcase(key, self.pattern) or fnmatchcase(block, self.pattern)
        parts = self.pattern.split(".")
        return _starts_with(block, parts) or _starts_with(key, parts)


@dataclass(frozen=True)
class LayerWeights:
    """Rules in order: the first match wins; without a match, `default`, wherever it stands."""

    rules: tuple[LayerRule, ...] = ()
    default: float = 1.0

    def weight(self, key: str, block: str) -> float:
        """The factor on alpha for this key."""
        for rule in self.rules:
            if rule.matches(key, block):
                return rule.weight
        return self.default

    def unused(self, keys: Iterable[tuple[str, str]]) -> tuple[str, ...]:
        """Patterns that match none of the (key, block) pairs: most likely typing errors."""
        pairs = tuple(keys)
        return tuple(r.pattern for r in self.rules if not any(r.matches(k, b) for k, b in pairs))

    def problems(self, keys: Iterable[tuple[str, str]]) -> list[RecipeError]:
        """An error with a suggestion for each pattern that matches no tensor.

        `BASE` may match nothing: numbers for whole checkpoints serve a diffusion model as well.
        """
        pairs = tuple(keys)
        return [
            RecipeError(f'layers: "{pattern}" matches no tensor', fix=_suggestion(pattern, pairs))
            for pattern in self.unused(pairs)
            if sd_blocks(pattern) != SdBlocks("BASE")
        ]


def parse_layers(text: str, blocks: Iterable[str] = ()) -> LayerWeights:
    """Read comma or newline separated `pattern=weight` pairs; empty text is weight 1 everywhere.

    26 numbers (20 for SDXL) and names of presets are read as well; see `sd_blocks.expanded`.
    `blocks`: the model's block ids, where they are known.

    Raises `RecipeError` that names the pair.
    """
    last = last_output_block(blocks)
    text = expanded(text, last)
    _check_names(text)
    rules: list[LayerRule] = []
    default = 1.0
    for piece in re.split(r"[,\n;]", text):
        if not piece.strip():
            continue
        rule = _parse_rule(piece.strip())
        if rule.pattern == "default":
            default = rule.weight
            continue
        if len(rules) == MAX_LAYER_RULES:
            raise RecipeError(
                "layers: too many pairs",
                expected=f"at most {MAX_LAYER_RULES}",
                received="more",
                fix="Join neighbors with a range or a glob.",
            )
        rules.append(rule)
    return LayerWeights(tuple(replace(rule, last=last) for rule in rules), default)


def _check_names(text: str) -> None:
    """Raise `RecipeError` for a wrong count of pasted numbers and for an unknown preset."""
    count = number_count(text)
    if count:
        raise RecipeError(
            f"layers: {count} numbers alone",
            expected="26 or 25 (Stable Diffusion 1 and 2), 20 or 19 (SDXL)",
            received=count,
            fix="Paste one number per block, or write pattern=weight pairs.",
        )
    word = text.strip()
    if _PRESET.match(word):
        near = get_close_matches(word.upper().replace("-", "_"), PRESETS, n=1)
        hint = f'Did you mean "{near[0]}"? ' if near else ""
        fix = f"{hint}The presets are {', '.join(PRESETS)}."
        raise RecipeError(f'layers: "{word[:80]}" is not a pair and no preset', fix=fix)


def _parse_rule(piece: str) -> LayerRule:
    pattern, separator, number = piece.rpartition("=")
    pattern = pattern.strip()
    if not separator or not pattern:
        raise RecipeError(f'layers: "{piece[:80]}" is not a pair', fix=_FIX)
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise RecipeError(
            f'layers: weight of "{pattern[:80]}"',
            expected="a finite number",
            received=shown_value(number.strip(), 40),
            fix=_FIX,
        )
    for part in pattern.split("."):
        found = _RANGE.match(part)
        if found and max(map(len, found.groups())) > _MAX_DIGITS:
            raise RecipeError(
                f'layers: range "{part}" has numbers that are too long',
                expected=f"at most {_MAX_DIGITS} digits",
                received=max(map(len, found.groups())),
                fix=_FIX,
            )
        if found and int(found[1]) > int(found[2]):
            raise RecipeError(
                f'layers: range "{part}" runs backwards', fix=f"Write {found[2]}-{found[1]}."
            )
    named = sd_blocks(pattern)
    if named is not None and named.low > named.high:
        raise RecipeError(f'layers: range "{pattern}" runs backwards', fix="Swap its ends.")
    return LayerRule(pattern, weight, named)


def _suggestion(pattern: str, pairs: Iterable[tuple[str, str]]) -> str:
    blocks = list(dict.fromkeys(block for _, block in pairs))
    last = last_output_block(blocks)
    if last is not None and sd_blocks(pattern) is not None:
        return f"This model has the blocks IN00-{last:02d}, M00 and OUT00-{last:02d}."
    known = [*blocks, *dict.fromkeys(block.split(".")[0] for block in blocks)]
    near = get_close_matches(pattern, known, n=1)
    hint = f'Did you mean "{near[0]}"? ' if near else ""
    return f"{hint}The blocks are {', '.join(blocks[:4])}{', …' if len(blocks) > 4 else ''}."


def _starts_with(name: str, parts: list[str]) -> bool:
    names = name.split(".")
    return len(names) >= len(parts) and all(map(_part_matches, parts, names))


def _part_matches(part: str, name: str) -> bool:
    found = _RANGE.match(part)
    if found and _NUMBER.match(name):
        return int(found[1]) <= int(name) <= int(found[2])
    return part == name
