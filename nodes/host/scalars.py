"""Checks every input of a node against its schema; an error names the input.

The host converts some values on its way (null at a text becomes "None") and holds none of a newer
node's lists of choices in its older releases, so a node can be handed anything that JSON can say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...orthomerge_core import errors
from ...orthomerge_core.io.opening import is_readable_name

__all__ = ["check_inputs"]

_JSON = (str, int, float, list, dict)
_FIX = "Correct it in the workflow."


def check_inputs(schema: Any, values: Mapping[str, Any]) -> None:
    """Hold the inputs of a node against its schema, before the node sees them.

    Raises: RecipeError that names the input, what was expected and what was received.
    """
    for declared in schema.inputs or ():
        if declared.id not in values:
            continue
        value = values[declared.id]
        is_socket = declared.get_io_type() not in _CHECKS
        if value is None and is_socket and getattr(declared, "optional", False):
            continue  # nothing is connected to it
        for item in value if schema.is_input_list and isinstance(value, list) else (value,):
            _check(declared, item)


def _check(declared: Any, value: Any) -> None:
    check = _CHECKS.get(declared.get_io_type(), _socket)
    expected = check(declared, value)
    if expected:
        what = f'input "{declared.id}"'
        received = errors.shown_value(value)
        near = errors.near_miss(value, list(getattr(declared, "options", None) or ()))
        raise errors.RecipeError(what, expected=expected, received=received, fix=near or _FIX)


def _socket(declared: Any, value: Any) -> str:
    if declared.get_io_type() == "*" or not (value is None or isinstance(value, _JSON)):
        return ""
    return f"a connection to an output of type {declared.get_io_type()}"


def _text(declared: Any, value: Any) -> str:
    return "" if isinstance(value, str) else "text"


def _flag(declared: Any, value: Any) -> str:
    return "" if isinstance(value, bool) else "true or false"


def _number(declared: Any, value: Any) -> str:
    kind = "a whole number" if declared.get_io_type() == "INT" else "a finite number"
    low, high = getattr(declared, "min", None), getattr(declared, "max", None)
    expected = kind if low is None or high is None else f"{kind} in {low}..{high}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return expected
    if isinstance(value, float) and not math.isfinite(value):
        return expected
    if declared.get_io_type() == "INT" and value != int(value):
        return expected
    inside = (low is None or value >= low) and (high is None or value <= high)
    return "" if inside else expected


def _choice(declared: Any, value: Any) -> str:
    options = list(declared.options or ())
    if isinstance(value, str) and (
        value in options or not options or any(map(is_readable_name, map(str, options)))
    ):
        return ""  # names of files are looked up, with a near miss where there is none
    shown = ", ".join(map(str, options[:24])) + (", …" if len(options) > 24 else "")
    return "the name of a file" if any(map(is_readable_name, options)) else f"one of {shown}"


_CHECKS = {
    "STRING": _text,
    "BOOLEAN": _flag,
    "INT": _number,
    "FLOAT": _number,
    "COMBO": _choice,
}
