"""What the two ways of merging a tensor share: its rows' deltas, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import torch
from torch import Tensor

from ..progress import Progress
from ..shapes import Float32, Float64
from .emit import Emitter
from .plan import Plan, TensorPlan
from .retention import Retention

__all__ = [
    "Fate",
    "Outcome",
    "Work",
    "acting_rows",
    "add_rows",
    "difference",
    "has_own_rows",
    "is_finite",
    "only_finite",
    "row_deltas",
]


class Fate(Enum):
    """What became of a tensor."""

    MERGED = "merged"
    FROM_BASE = "from_base"
    REPAIRED = "repaired"


@dataclass(frozen=True)
class Outcome:
    """A finished tensor.

    `gram` [rows + 1, rows + 1] of the rows' deltas and W − B, None where nothing was measured;
    `rounding` is the energy of the output's rounding error.
    """

    fate: Fate
    gram: Float64[Tensor, "r r"] | None = None
    rounding: float = 0.0


@dataclass
class Work:
    """A running merge.

    `counts` of tensors by fate, `repaired` names those that were not finite. `notes` are sentences
    for the report; `plain` counts, by reason, tensors that a method merged by its simple rule.
    """

    plan: Plan
    emitter: Emitter
    retention: Retention
    progress: Progress
    counts: dict[Fate, int] = field(default_factory=lambda: dict.fromkeys(Fate, 0))
    repaired: list[str] = field(default_factory=list)
    plain: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def record(self, tensor: TensorPlan, outcome: Outcome) -> None:
        """Count a tensor and add its measures; call in the plan's order, for equal last digits."""
        self.counts[outcome.fate] += 1
        if outcome.fate is Fate.REPAIRED:
            self.repaired.append(tensor.key)
        self.retention.rounding_energy += outcome.rounding
        if outcome.gram is not None:
            # a row that is not finite, and does not act here, counts as zero
            gram = torch.nan_to_num(outcome.gram, nan=0.0, posinf=0.0, neginf=0.0)
            self.retention.add(tensor.block, gram)


def acting_rows(tensor: TensorPlan) -> list[int]:
    """Indices of the rows whose weight on this tensor is not zero."""
    return [i for i, alpha in enumerate(tensor.alphas) if alpha != 0.0]


def has_own_rows(plan: Plan) -> bool:
    """Whether row i's delta is D_i of model i, so that nothing need be subtracted or copied."""
    return len(plan.rows) == len(plan.models) and all(
        row.model == i and row.parent < 0 for i, row in enumerate(plan.rows)
    )


def is_finite(values: Float32[Tensor, "n"]) -> bool:
    """Whether all values are; a sum tells it for nearly every tensor, at a fraction of the cost."""
    return bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all())


def only_finite(rows: Float32[Tensor, "rows n"]) -> Float32[Tensor, "rows n"]:
    """In place: what is not finite becomes zero."""
    return torch.nan_to_num_(rows, nan=0.0, posinf=0.0, neginf=0.0)


def row_deltas(
    plan: Plan, deltas: Float32[Tensor, "models n"], out: Float32[Tensor, "rows n"]
) -> None:
    """δ_i = D_model − D_parent of every row, into `out`."""
    for row, target in zip(plan.rows, out, strict=True):
        difference(deltas, row.model, row.parent, target)


def add_rows(
    matrix: Float32[Tensor, "rows n"],
    rows: Sequence[int],
    coefficients: Sequence[float],
    out: Float32[Tensor, "n"],
) -> None:
    """Σ c_i δ_i over `rows` into `out`, in their order; `execute.fused` repeats each rounding."""
    if not rows:
        out.zero_()
        return
    torch.mul(matrix[rows[0]], coefficients[rows[0]], out=out)
    for i in rows[1:]:
        out.add_(matrix[i], alpha=coefficients[i])


def difference(deltas: Tensor, model: int, parent: int, out: Tensor) -> None:
    """D_model − D_parent into `out`; −1 is the base, whose D is zero."""
    if model < 0:
        out.zero_()
    else:
        out.copy_(deltas[model])
    if parent >= 0:
        out.sub_(deltas[parent])
