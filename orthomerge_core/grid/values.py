"""Parses the values of an axis: lists, ranges and the word `each`."""

from __future__ import annotations

import math
import re
from decimal import Decimal, DecimalException

from ..errors import RecipeError, shown_value

__all__ = ["EACH", "MAX_VALUES", "number_of", "split_values"]

EACH = "each"
"""Stands for everything that can be chosen: all methods, all models, all choices of an option."""

MAX_VALUES = 64
"""Values on one axis; a picture with more columns can no longer be read."""

_RANGE = re.compile(
    r"(?P<start>\S+?)\s*\.\.\s*(?P<stop>\S+?)(?:\s*(?P<how>step|:|/)\s*(?P<by>\S+))?$"
)
_FIX = "Write values like 0, 0.5, 1 or a range like 0..1 step 0.25 or 0..1/5."


def split_values(text: str, axis: str) -> list[str]:
    """Split `0, 0.25, 0.5`, and write out `0..1 step 0.25` (also `0..1:0.25`) and `0..1/5`.

    A range with a step holds start, start + step, … up to and including stop where it is hit;
    `a..b/n` holds n equally spaced values with both ends. Ranges are computed in decimal, so that
    `0..1 step 0.1` holds 0.3 and not 0.30000000000000004.

    Raises:
        RecipeError: nothing is given, a range is malformed, or there are more than `MAX_VALUES`.
    """
    found: list[str] = []
    for piece in (part.strip() for part in text.replace("\n", ",").split(",")):
        if not piece:
            continue
        found += _written_out(piece, axis) if ".." in piece else [piece]
        if len(found) > MAX_VALUES:
            raise RecipeError(
                f'axis "{axis}" has too many values',
                expected=f"at most {MAX_VALUES}",
                received=f"{len(found)} or more",
                fix="Use fewer values or a larger step.",
            )
    if not found:
        raise RecipeError(f'axis "{axis}" has no values', fix=_FIX)
    return found


def number_of(text: str, axis: str) -> float:
    """A finite number, or a percentage: `0.5`, `50 %`."""
    return float(_decimal(text, axis))


def _written_out(piece: str, axis: str) -> list[str]:
    found = _RANGE.match(piece)
    if not found:
        raise RecipeError(f'axis "{axis}": "{piece}" is not a range', fix=_FIX)
    start, stop = _decimal(found["start"], axis), _decimal(found["stop"], axis)
    if found["how"] == "/":
        return _spaced(start, stop, found["by"], axis)
    step = _decimal(found["by"], axis) if found["by"] else Decimal(1)
    if step == 0 or (stop - start) * step < 0:
        raise RecipeError(
            f'axis "{axis}": "{piece}" never reaches its end',
            fix=f"Use a step {'below' if stop < start else 'above'} 0.",
        )
    count = int((stop - start) / step) + 1
    if count > MAX_VALUES:
        raise RecipeError(
            f'axis "{axis}" has too many values',
            expected=f"at most {MAX_VALUES}",
            received=count,
            fix="Use a larger step.",
        )
    return [_plain(start + step * i) for i in range(count)]


def _spaced(start: Decimal, stop: Decimal, count: str, axis: str) -> list[str]:
    if not (count.isascii() and count.isdigit() and 2 <= int(count[:6]) <= MAX_VALUES):
        raise RecipeError(
            f'axis "{axis}": number of values',
            expected=f"a whole number in 2..{MAX_VALUES}",
            received=count,
            fix=_FIX,
        )
    gaps = int(count) - 1
    return [_plain(start + (stop - start) * i / gaps) for i in range(gaps + 1)]


def _decimal(text: str, axis: str) -> Decimal:
    cleaned, scale = text.strip(), Decimal(1)
    if cleaned.endswith("%"):
        cleaned, scale = cleaned[:-1].strip(), Decimal("0.01")
    try:
        value = Decimal(cleaned) * scale
    except DecimalException:
        value = Decimal("nan")
    if not value.is_finite() or abs(value) > Decimal(10) ** 9 or not math.isfinite(float(value)):
        raise RecipeError(
            f'axis "{axis}"', expected="a finite number", received=shown_value(text, 40), fix=_FIX
        )
    return value


def _plain(value: Decimal) -> str:
    """At most six decimals, without trailing zeros or an exponent."""
    return format(round(value, 6).normalize() + 0, "f")
