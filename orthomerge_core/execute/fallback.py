"""The outcome of each tensor, and when the base's tensor is used instead."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import torch
from torch import Tensor

from ..messages import Message
from ..progress import Progress
from ..shapes import Float32, Float64
from .output.retention import Retention
from .output.tensor_writer import Emitter
from .plan.model import Plan, TensorPlan

__all__ = ["TEXTURE", "Fate", "Outcome", "Work", "is_finite", "only_finite"]

TEXTURE = -1
"""The texture boost's place among rows."""


class Fate(Enum):
    """What became of a tensor."""

    MERGED = "merged"
    FROM_BASE = "from_base"
    REPAIRED = "repaired"


@dataclass(frozen=True)
class Outcome:
    """A finished tensor.

    `gram` [rows + 1, rows + 1] of the rows' deltas and W − B, None where nothing was measured;
    `rounding` [rows + 1] are the products of the output's rounding error with the rows' deltas and
    with itself, None where nothing was rounded; `clipped` counts weights beyond the
    range of the output dtype. `missing` are acting rows that hold a value that is not finite here
    and so took no part; `TEXTURE` stands for the texture boost.
    """

    fate: Fate
    gram: Float64[Tensor, "r r"] | None = None
    rounding: Float64[Tensor, "r"] | None = None
    clipped: int = 0
    missing: tuple[int, ...] = ()


@dataclass
class Work:
    """A running merge.

    `counts` of tensors by fate, `repaired` names those that were not finite. `notes` are more
    messages for the report; `plain` counts, by reason, tensors merged by a simple rule.
    `missing`: row → tensors in which it took no part because a value was not finite. `clipped`:
    output dtype → weights beyond its range.
    """

    plan: Plan
    emitter: Emitter
    retention: Retention
    progress: Progress
    counts: dict[Fate, int] = field(default_factory=lambda: dict.fromkeys(Fate, 0))
    repaired: list[str] = field(default_factory=list)
    plain: dict[str, int] = field(default_factory=dict)
    notes: list[Message] = field(default_factory=list)
    missing: dict[int, list[str]] = field(default_factory=dict)
    clipped: dict[str, int] = field(default_factory=dict)

    def record(self, tensor: TensorPlan, outcome: Outcome) -> None:
        """Count a tensor and add its measures; call in the plan's order, for equal last digits."""
        self.counts[outcome.fate] += 1
        if outcome.fate is Fate.REPAIRED:
            self.repaired.append(tensor.key)
        for row in outcome.missing:
            self.missing.setdefault(row, []).append(tensor.key)
        if outcome.clipped:
            dtype = tensor.stored.scheme or tensor.stored.dtype
            self.clipped[dtype] = self.clipped.get(dtype, 0) + outcome.clipped
        if outcome.gram is not None:
            # a row that is not finite here counts as zero
            gram = torch.nan_to_num(outcome.gram, nan=0.0, posinf=0.0, neginf=0.0)
            self.retention.add(tensor.block, gram, outcome.rounding)


def is_finite(values: Float32[Tensor, "n"]) -> bool:
    """Whether all values are; a sum tells it for nearly every tensor, at a fraction of the cost."""
    return bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all())


def only_finite(rows: Float32[Tensor, "rows n"]) -> Float32[Tensor, "rows n"]:
    """In place: what is not finite becomes zero."""
    return torch.nan_to_num_(rows, nan=0.0, posinf=0.0, neginf=0.0)
