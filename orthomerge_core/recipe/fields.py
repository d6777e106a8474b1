"""Checks of single JSON values; each error names the place of the value."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import RecipeError, is_showable, quoted, shown_value

__all__ = [
    "LONGEST_TEXT",
    "content_hash",
    "file_name",
    "flag",
    "integer",
    "mapping",
    "number",
    "optional_mapping",
    "plain_json",
    "required",
    "sequence",
    "text",
    "text_alphas",
]

LONGEST_TEXT = 20_000
"""Characters of `layers` and `info`: the most rules that are read, each a long pattern."""

_HASH = re.compile(r"[0-9a-f]{32}\Z")
_LINES = str.maketrans("\n\r\t", "   ")  # long texts may have several lines


def mapping(value: Any, place: str) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(value, Mapping):
        raise _wrong(place, "an object {…}", value)
    return value


def optional_mapping(value: Any, place: str) -> Mapping[str, Any]:
    """A JSON object; null stands for an empty one."""
    return {} if value is None else mapping(value, place)


def plain_json(value: Any, place: str) -> None:
    """Anything that can be written as JSON in UTF-8: no NaN, no half of a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        near = error.object[max(error.start - 20, 0) : error.start]
        where = f'after "{quoted(near)}"' if near else "at the start of a text"
        what = f"{place}: a character that is not Unicode (half of a surrogate pair), {where}"
        raise RecipeError(what, fix="Type it again.") from None
    except (TypeError, ValueError, RecursionError):
        raise RecipeError(f"{place} is not plain JSON", fix="Write it as JSON.") from None


def sequence(value: Any, place: str) -> Sequence[Any]:
    """A JSON array."""
    if not isinstance(value, (list, tuple)):
        raise _wrong(place, "a list […]", value)
    return value


def required(data: Mapping[str, Any], name: str, place: str) -> Any:
    """A field that must be there."""
    if name not in data:
        raise RecipeError(f'{place}: "{name}" is missing', fix="Add it.")
    return data[name]


def text(value: Any, place: str, *, empty: bool = False, longest: int = 500) -> str:
    """A string of at most `longest` characters; blank only where `empty` is allowed."""
    if not isinstance(value, str):
        raise _wrong(place, "text", value)
    if not value.strip() and not empty:
        raise _wrong(place, "text that is not empty", value)
    if len(value) > longest:
        expected = f"at most {longest} characters"
        raise RecipeError(
            place, expected=expected, received=f"{len(value)} characters", fix="Shorten it."
        )
    if not is_showable(value.translate(_LINES) if empty else value):
        raise _wrong(place, "text without control characters or marks of direction", value)
    return value


def flag(value: Any, place: str) -> bool:
    """True or false; 0 and 1 are not taken for them."""
    if not isinstance(value, bool):
        raise _wrong(place, "true or false", value)
    return value


def number(value: Any, place: str, low: float, high: float) -> float:
    """A finite number in low..high."""
    expected = f"a finite number in {low:g}..{high:g}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(place, expected, value)
    if not low <= value <= high or not math.isfinite(value):
        raise _wrong(place, expected, value)
    return float(value)


def text_alphas(value: Any, place: str, limit: float) -> float | tuple[float, float] | None:
    """Nothing, one number for all text encoders, or two: encoder G's is the second."""
    if value is None:
        return None
    if not isinstance(value, (list, tuple)):
        return number(value, place, -limit, limit)
    if len(value) != 2:
        raise _wrong(place, "a number, or two for encoders L and G", value)
    first, second = (number(v, place, -limit, limit) for v in value)
    return first, second


def integer(value: Any, place: str, low: int, high: int) -> int:
    """A whole number in low..high; 2.0 counts as 2."""
    expected = f"a whole number in {low}..{high}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(place, expected, value)
    if not low <= value <= high or value != int(value):
        raise _wrong(place, expected, value)
    return int(value)


def file_name(value: Any, place: str) -> str:
    """A file name relative to a models folder: never absolute, never upwards."""
    name = text(value, place)
    parts = re.split(r"[/\\]", name)
    if parts[0] == "" or ":" in parts[0] or ".." in parts:
        raise RecipeError(
            f"{place}: a path that leaves the models folder",
            expected="a file name",
            received=shown_value(parts[-1]),
            fix="Give the name alone, relative to the folder it lies in.",
        )
    return name


def content_hash(value: Any, place: str) -> str | None:
    """32 hexadecimal digits, or nothing."""
    if value is None:
        return None
    if not isinstance(value, str) or not _HASH.match(value):
        raise _wrong(place, "32 hexadecimal digits", value)
    return value


def _wrong(place: str, expected: str, value: Any) -> RecipeError:
    return RecipeError(
        place, expected=expected, received=shown_value(value), fix="Correct it in the recipe."
    )
