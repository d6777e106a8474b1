"""Reads the table's JSON string: a wrong type or range is an error that names row and column."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ..errors import RecipeError, shown_value
from . import fields as f
from .model import ALPHA_LIMIT, MAX_ROWS, Row

__all__ = [
    "COLUMNS",
    "MAX_ROWS",
    "MAX_TABLE_CHARS",
    "TABLE_VERSION",
    "Table",
    "TableRow",
    "parse_table",
]

TABLE_VERSION = 1
MAX_TABLE_CHARS = 1_000_000
"""Of the table's text: four thousand for each of the most rows. It is parsed within 50 ms."""

COLUMNS = ("enabled", "model", "delta_from", "alpha", "text", "repeat", "layers")
_MARKS = ("touched", "info")  # of the row in the table, not of the recipe
_TEXT_ALPHAS = "nothing, a number in -5..5, or two such as 0.3/0.6"
_TEXTS: Mapping[str, Mapping[str, Any]] = {
    "model": {},
    "delta_from": {},
    "layers": {"empty": True, "longest": f.LONGEST_TEXT},
}


@dataclass(frozen=True)
class TableRow:
    """A row as written: `touched` names the columns a person decided; without any it follows."""

    row: Row
    touched: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A parsed table. `ordered`: the rows' order is the person's, not the proposal's."""

    rows: tuple[TableRow, ...] = ()
    ordered: bool = False
    removed: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


def parse_table(text: str) -> Table:
    """The table in `text`; "" is the empty one.

    A row that has no `touched` list but states columns beside its model counts as touched in these,
    so that a table written by hand means what it says.

    Raises:
        RecipeError: not JSON, a wrong type or range (row number from 1, and column named), too many
            rows, or a version from the future.
    """
    if not isinstance(text, str):
        raise RecipeError(
            "table", expected="JSON as text", received=shown_value(text), fix="Reset the table."
        )
    if not text.strip():
        return Table()
    if len(text) > MAX_TABLE_CHARS:
        raise RecipeError(
            "table is too long",
            expected=f"at most {MAX_TABLE_CHARS} characters",
            received=len(text),
            fix="Reset the table, or shorten its texts.",
        )
    obj = _load(text)
    f.plain_json(obj, "table")
    if not isinstance(obj, dict):
        raise RecipeError(
            "table", expected="a JSON object", received=type(obj).__name__, fix="Reset the table."
        )
    _check_version(obj.get("version", TABLE_VERSION))
    rows = _typed(obj, "rows", list, "a list", [])
    if len(rows) > MAX_ROWS:
        raise RecipeError(
            "table",
            expected=f"at most {MAX_ROWS} rows",
            received=len(rows),
            fix="Remove rows, or merge in two steps.",
        )
    known = ("version", "rows", "ordered", "removed", "options")
    return Table(
        rows=tuple(_parse_row(number, item) for number, item in enumerate(rows, start=1)),
        ordered=_typed(obj, "ordered", bool, "true or false", False),
        removed=_parse_removed(_typed(obj, "removed", list, "a list of model names", [])),
        options=_parse_options(_typed(obj, "options", dict, "an object", {})),
        extra={k: v for k, v in obj.items() if k not in known},
    )


def _load(text: str) -> Any:
    def refuse(word: str) -> NoReturn:
        raise RecipeError("table", expected="finite numbers", received=word, fix="Type a number.")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # ValueError alone: a number of 4300 digits
        place = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "the start"
        raise RecipeError(
            f"table is not JSON at {place}",
            received=shown_value(text, 40),
            fix="Reset the table, or leave it empty to follow the optimizer.",
        ) from None


def _check_version(version: Any) -> None:
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise RecipeError(
            "table version", expected="a whole number from 1", received=shown_value(version)
        )
    if version > TABLE_VERSION:
        raise RecipeError(
            "table version",
            expected=f"at most {TABLE_VERSION}",
            received=version,
            fix="This table was made by a newer OrthoMerge Studio: update the pack.",
        )


def _typed(obj: Mapping[str, Any], name: str, kind: type, words: str, default: Any) -> Any:
    value = obj.get(name, default)
    if not isinstance(value, kind):
        raise RecipeError(
            f'table field "{name}"',
            expected=words,
            received=type(value).__name__,
            fix="Reset the table.",
        )
    return value


def _parse_removed(items: Sequence[Any]) -> tuple[str, ...]:
    return tuple(f.text(item, 'table field "removed"') for item in items)


def _parse_options(options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {
        method: _typed(options, method, dict, "an object of the method's options", {})
        for method in options
    }


def _parse_row(number: int, item: Any) -> TableRow:
    if not isinstance(item, dict):
        raise RecipeError(
            f"table row {number}",
            expected="an object",
            received=type(item).__name__,
            fix="Reset the table.",
        )
    if "model" not in item:
        raise RecipeError(
            f"table row {number} names no model", fix="Choose one, or remove the row."
        )
    given = {name: _check(number, name, item[name]) for name in COLUMNS if name in item}
    stated = tuple(name for name in given if name != "model")
    touched = item.get("touched", stated)
    if not isinstance(touched, (list, tuple)) or not all(isinstance(t, str) for t in touched):
        raise _wrong(number, "touched", "a list of column names", touched)
    extra = {k: v for k, v in item.items() if k not in COLUMNS and k not in _MARKS}
    return TableRow(Row(**given, extra=extra), tuple(touched))


def _check(number: int, column: str, value: Any) -> Any:
    if column == "enabled":
        return value if isinstance(value, bool) else _raise(number, column, "true or false", value)
    if column in ("model", "delta_from", "layers"):
        needs_text = column != "layers"
        if isinstance(value, str) and (value or not needs_text):
            return f.text(value, f'table row {number}, column "{column}"', **_TEXTS[column])
        return _raise(number, column, "a model's name" if needs_text else "text", value)
    if column == "text":
        return _check_text(number, value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if column == "alpha":
        if is_number and math.isfinite(value) and abs(value) <= ALPHA_LIMIT:
            return float(value)
        return _raise(number, column, "a number in -5..5", value)
    if is_number and value in (1, 2, 3):
        return int(value)
    return _raise(number, column, "1, 2 or 3", value)


def _check_text(number: int, value: Any) -> float | tuple[float, float] | None:
    """Alpha of the text encoders: empty, a number, two numbers, or "0.3/0.6" as typed."""
    if isinstance(value, str):
        parts = value.replace(",", ".").split("/")
        try:
            numbers = [float(part) for part in parts] if value.strip() else []
        except ValueError:
            return _raise(number, "text", _TEXT_ALPHAS, value)
        value = numbers if len(numbers) > 1 else next(iter(numbers), None)
    try:
        return f.text_alphas(value, "text", ALPHA_LIMIT)
    except RecipeError:
        return _raise(number, "text", _TEXT_ALPHAS, value)


def _raise(number: int, column: str, expected: str, value: Any) -> NoReturn:
    raise _wrong(number, column, expected, value)


def _wrong(number: int, column: str, expected: str, value: Any) -> RecipeError:
    return RecipeError(
        f'table row {number}, column "{column}"',
        expected=expected,
        received=shown_value(value, 40),
        fix="Correct the cell, or reset the row.",
    )
