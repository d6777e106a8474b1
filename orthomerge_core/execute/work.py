"""What the two ways of merging a tensor share: the plan, the way out, and the counts."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..progress import Progress
from ..shapes import Float32, Float64
from .emit import Emitter
from .estimate import read_bytes
from .plan import Plan, TensorPlan
from .retention import Retention

__all__ = ["Work", "acting_rows", "has_own_rows", "row_deltas"]


@dataclass
class Work:
    """A running merge.

    `merged` counts changed tensors, `from_base` those that kept the base's values. `repaired` names
    tensors that were not finite. `notes` are sentences for the report, `plain` counts by reason the
    tensors that a method merged by its simple rule.
    """

    plan: Plan
    emitter: Emitter
    retention: Retention
    progress: Progress
    merged: int = 0
    from_base: int = 0
    repaired: list[str] = field(default_factory=list)
    plain: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def keep_base(self, tensor: TensorPlan) -> None:
        """The base's tensor goes out unchanged."""
        self.emitter.copy_base(tensor)
        self.from_base += 1

    def repair(self, tensor: TensorPlan) -> None:
        """The base's tensor takes the place of one that is not finite."""
        self.emitter.copy_base(tensor)
        self.repaired.append(tensor.key)

    def settle(self, tensor: TensorPlan, gram: Float64[Tensor, "r r"], rounding: float) -> None:
        """Count a merged tensor and add its measures."""
        self.merged += 1
        self.retention.rounding_energy += rounding
        self.measure(tensor, gram)

    def measure(self, tensor: TensorPlan, gram: Float64[Tensor, "r r"]) -> None:
        """Add a tensor's Gram; rows that are not finite and do not act count as zero there."""
        self.retention.add(tensor.block, torch.nan_to_num(gram, nan=0.0, posinf=0.0, neginf=0.0))

    def bytes_of(self, tensor: TensorPlan) -> float:
        """Bytes that one pass over this tensor reads, the unit of progress."""
        return float(read_bytes(self.plan, tensor))


def acting_rows(tensor: TensorPlan) -> list[int]:
    """Indices of the rows whose weight on this tensor is not zero."""
    return [i for i, alpha in enumerate(tensor.alphas) if alpha != 0.0]


def has_own_rows(plan: Plan) -> bool:
    """Whether row i's delta is D_i of model i, so that nothing need be subtracted or copied."""
    return len(plan.rows) == len(plan.models) and all(
        row.model == i and row.parent < 0 for i, row in enumerate(plan.rows)
    )


def row_deltas(
    plan: Plan, deltas: Float32[Tensor, "models n"], out: Float32[Tensor, "rows n"]
) -> None:
    """δ_i = D_model − D_parent of every row, into `out`."""
    for row, target in zip(plan.rows, out, strict=True):
        difference(deltas, row.model, row.parent, target)


def difference(deltas: Tensor, model: int, parent: int, out: Tensor) -> None:
    """D_model − D_parent into `out`; −1 is the base, whose D is zero."""
    if model < 0:
        out.zero_()
    else:
        out.copy_(deltas[model])
    if parent >= 0:
        out.sub_(deltas[parent])
