"""The report of a finished merge under the names of another recipe for the same tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from ...messages import Message, texts
from ...recipe.model import BASE
from ..plan.model import Plan
from .notes import other_weights
from .report import MergeReport

__all__ = ["relabelled"]

_STORED = "merge.stored_again"
_OF_THE_RECIPE = ("merge.other_weights", "merge.no_row", _STORED)
Value = TypeVar("Value")


def relabelled(first: MergeReport, plan: Plan) -> MergeReport:
    """`first` with the plan's names in place of its own; the figures are the same.

    Two plans of one `merge_identity` have the same files and rows in the same order, so that the
    places in that order say which name has become which.
    """
    models = dict(zip(first.source_hashes, (BASE, *(m.name for m in plan.models)), strict=True))
    rows = dict(zip(first.retention, (row.label for row in plan.rows), strict=True))
    hashes = _renamed(first.source_hashes, models)
    messages = [_reworded(message, models, rows) for message in first.messages]
    messages = [m for m in messages if not _is_of_the_recipe(m.code)]
    messages += [*other_weights(plan, hashes), Message(_STORED)]
    return replace(
        first,
        retention=_renamed(first.retention, rows),
        retention_by_block=_renamed(first.retention_by_block, rows),
        retention_written=_renamed(first.retention_written, rows),
        retention_written_by_block=_renamed(first.retention_written_by_block, rows),
        leave_one_out=_renamed(first.leave_one_out, rows),
        source_hashes=hashes,
        notes=(*plan.notes, *texts(messages)),
        messages=(*plan.messages, *(message.to_json() for message in messages)),
        sha256={},
        unused=_renamed(first.unused, models | rows),
    )


def _renamed(values: Mapping[str, Value], names: Mapping[str, str]) -> dict[str, Value]:
    return {names.get(name, name): value for name, value in values.items()}


def _is_of_the_recipe(code: str) -> bool:
    """Whether a message is about one recipe's plan or files, not about the merged tensors."""
    return code in _OF_THE_RECIPE or code.startswith("plan.")


def _reworded(
    message: Mapping[str, object], models: Mapping[str, str], rows: Mapping[str, str]
) -> Message:
    values = dict(message["values"])  # type: ignore[call-overload]  # as `Message.to_json` gives it
    for field, names in (("model", models), ("row", rows)):
        if field in values:
            values[field] = names.get(values[field], values[field])
    return Message(str(message["code"]), values)
