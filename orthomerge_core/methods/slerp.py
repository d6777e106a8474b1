"""SLERP: along the arc from the base to one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..linalg.interpolate import slerp_coefficients
from ..params import choice
from ..shapes import Float32
from .contract import Method, Rows
from .forecast_rule import ForecastRule
from .registry import register

__all__ = ["Slerp"]


@register
class Slerp(Method):
    """Direction on the great circle from B to M = B + δ, norm linear, both by t = r α; one row.

    Linear where the two are parallel, opposite or zero. t beyond 0..1 follows the circle further.
    """

    name = "slerp"
    label = "SLERP (spherical)"
    summary = "Turns the base towards one model and keeps the weights' length; exactly one row."
    reference = "Shoemake 1985"
    max_rows = 1
    forecast = ForecastRule("nominal")  # the arc is nearly straight where deltas are small
    params = (
        choice(
            "slerp_axis",
            ("tensor", "row"),
            "tensor",
            "What is turned as one vector: the whole tensor, or every output row by itself.",
        ),
    )

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """a·B + b·δ with the coefficients of `linalg.interpolate`, one pair per unit."""
        chosen = self.check_options(options)
        delta, t = rows.deltas[0], rows.alphas[0] * rows.repeats[0]
        if base.numel() == 0:
            return base.clone()
        per_row = chosen["slerp_axis"] == "row" and base.ndim >= 2
        units = base.shape[0] if per_row else 1
        b, d = base.reshape(units, -1), delta.reshape(units, -1)
        on_base, on_delta = slerp_coefficients(_dot(b, b), _dot(b, d), _dot(d, d), float(t))
        # As a change to the base: a − 1 is tiny, and adding it last keeps the base's low bits.
        change = b * (on_base - 1.0).to(base.dtype)[:, None]
        change.add_(d * on_delta.to(base.dtype)[:, None])
        return change.add_(b).reshape(base.shape)

    def work_bytes(self, shape: tuple[int, ...], rows: int) -> int:
        """Two float64 forms and their product."""
        return 4 * 7 * torch.Size(shape).numel()


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Row-wise inner products [units], float64."""
    return (a.double() * b.double()).sum(dim=1)
