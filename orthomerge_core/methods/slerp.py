"""SLERP: interpolates along the arc from the base to one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..linalg.gram import CHUNK
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
    summary = (
        "Rotates the base toward one model and preserves the weights' length; exactly one row."
    )
    reference = "Shoemake 1985"
    max_rows = 1
    forecast = ForecastRule("nominal")  # the arc is nearly straight where deltas are small
    params = (
        choice(
            "slerp_axis",
            ("tensor", "row"),
            "tensor",
            "What is rotated as one vector: the whole tensor, or each output row by itself.",
        ),
    )
    flops_per_value = 370.0

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
        change = torch.empty_like(b)
        height = max(1, CHUNK // b.shape[1]) if per_row else 1
        for start in range(0, units, height):
            some = slice(start, start + height)
            _turn(b[some], d[some], float(t), change[some])
        return change.reshape(base.shape)

    def work_bytes(self, shape: tuple[int, ...], rows: int) -> int:
        """The result, and some pieces in float64."""
        return 4 * torch.Size(shape).numel() + 24 * CHUNK


def _turn(b: Tensor, d: Tensor, t: float, out: Tensor) -> None:
    """a·B + b·δ of some units into `out`, in pieces of columns that stay in the cache."""
    pieces = [slice(at, at + CHUNK) for at in range(0, b.shape[1], CHUNK)]
    sums = [torch.zeros(len(b), dtype=torch.float64, device=b.device) for _ in range(3)]
    for piece in pieces:
        wide_b, wide_d = b[:, piece].double(), d[:, piece].double()
        for total, (x, y) in zip(
            sums, ((wide_b, wide_b), (wide_b, wide_d), (wide_d, wide_d)), strict=True
        ):
            total.add_(torch.linalg.vecdot(x, y))
    on_base, on_delta = slerp_coefficients(sums[0], sums[1], sums[2], t)
    # As a change to the base: a − 1 is tiny, and adding it last keeps the base's low bits.
    lean, step = (on_base - 1.0).to(b.dtype)[:, None], on_delta.to(b.dtype)[:, None]
    for piece in pieces:
        part = torch.mul(b[:, piece], lean, out=out[:, piece])
        part.add_(d[:, piece] * step).add_(b[:, piece])
