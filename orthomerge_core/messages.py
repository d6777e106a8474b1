"""Notes for people, as data: a code, its values, and one English sentence from one table.

Everything that a plan, a report, an optimizer or a row tells a person without stopping is a
`Message`. Python prints its sentence; the browser words it from `code` and `values` in its own
language and falls back to `text`.

To add one: a line in `TEMPLATES`, sorted by code, and `Message("group.code", {...})` at the place
that knows the values. Values are plain JSON (text, numbers, booleans, None, lists of them).
"""

from __future__ import annotations

import math
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = ["TEMPLATES", "Message", "texts"]

TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "merge.absent": "{model} lacks {count:# tensor|# tensors} ({keys:names}); its rows change "
        "nothing there.",
        "merge.absent_average": "{model} lacks {count:# tensor|# tensors} ({keys:names}); the "
        "average there is over {left} of {rows} rows.",
        "merge.averaged": "{count:# tensor was|# tensors were} averaged, since {reason}.",
        "merge.clipped": "{count:# weight was|# weights were} clipped to the range of {dtype}, "
        "±{limit:g}.",
        "merge.licenses": "The ingredients state different licenses: {licenses}.",
        "merge.no_row": "No row is active: the result is the base.",
        "merge.not_finite": "{row} holds values that are not finite in {count:# tensor|# tensors} "
        "({keys:names}); it does not count there.",
        "merge.on_cpu": "{count:# tensor|# tensors} did not fit the memory of {device} and "
        "{count:was|were} merged on the CPU.",
        "merge.other_shape": "{model} has {count:# tensor|# tensors} of another shape than the "
        "base ({keys:names}); its rows change nothing there.",
        "merge.other_shape_average": "{model} has {count:# tensor|# tensors} of another shape than "
        "the base ({keys:names}); the average there is over {left} of {rows} rows.",
        "merge.other_weights": '{name} ("{file}") is not the file that the recipe was made from: '
        "it holds other weights now.",
        "merge.repaired": "{count:# result was|# results were} not finite ({keys:names}); the "
        "base's tensors were kept.",
        "merge.rounding": "Rounding to the output's dtype moves the weights by {percent:.0f} % of "
        "the merge's own change; a wider output dtype keeps more of it.",
        "merge.saturated": "{count:# weight is|# weights are} beyond what {dtype} holds there and "
        "{count:was|were} stored as the nearest number it has.",
        "merge.stored_again": "The tensors of the same merge, made before, were stored; their "
        "hashes were checked.",
        "merge.texture_not_finite": "The texture boost holds values that are not finite in "
        "{count:# tensor|# tensors} ({keys:names}); it does not count there.",
        "plan.live": "{model} is a connected MODEL, which no recipe can hold: the recipe and its "
        "files alone do not repeat this merge.",
        "plan.plain_fp8_base": "The base holds {count:# tensor|# tensors} in fp8 without scales, "
        "whose steps would swallow most of the change: the result is written as bf16.",
        "plan.quantized_base": "Quantized layers of the base ({count}) are written as bf16.",
        "plan.quantized_rounding": "{dtype} rounds weights {size}, which can be more than a "
        "fine-tune's whole change; the report says how much of each row is left as written.",
        "plan.strength_zero": "The strength is 0: the result is the base.",
    }
)
"""code → sentence. Beside Python's own format specifications two are understood:

- `{count:# tensor was|# tensors were}`: singular or plural by the value, which replaces `#`;
- `{keys:names}`: the first five of a list, and how many more there are.
"""

_SHOWN = 5


@dataclass(frozen=True)
class Message:
    """A note for people: `code` names its template, `values` fill it in; `str()` is the sentence.

    Raises:
        ValueError: no template has this code, or a value that it needs is missing or is no JSON.
    """

    code: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check early: a note that cannot be worded is a bug of its maker, not of its reader."""
        if self.code not in TEMPLATES:
            raise ValueError(f'no message has the code "{self.code}"')
        object.__setattr__(self, "values", MappingProxyType(_plain(self.values)))
        str(self)

    def __str__(self) -> str:
        """The English sentence."""
        try:
            return _WORDING.vformat(TEMPLATES[self.code], (), self.values)
        except KeyError as missing:
            raise ValueError(f'message "{self.code}" needs the value {missing}') from None

    def __hash__(self) -> int:
        """Equal messages have equal sentences."""
        return hash((self.code, str(self)))

    def to_json(self) -> dict[str, Any]:
        """`{"code", "values", "text"}`."""
        return {"code": self.code, "values": dict(self.values), "text": str(self)}


def texts(messages: Iterable[Message]) -> list[str]:
    """Their English sentences."""
    return [str(message) for message in messages]


class _Wording(string.Formatter):
    """`str.format` with plurals and lists of names."""

    def format_field(self, value: Any, format_spec: str) -> str:
        """See `TEMPLATES`."""
        if "|" in format_spec:
            one, many = format_spec.split("|")
            return (one if value == 1 else many).replace("#", str(value))
        if format_spec == "names":
            return _listed(value)
        return str(super().format_field(value, format_spec))


_WORDING = _Wording()


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _json(name, value) for name, value in values.items()}


def _json(name: str, value: Any) -> Any:
    """The value as JSON holds it; tuples become lists."""
    if isinstance(value, list | tuple):
        return [_json(name, item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"the value {name} of a message is not finite")
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"the value {name} of a message is no JSON: {type(value).__name__}")
