"""SVC: scales back singular directions that are counted more than once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..linalg.spectrum import as_matrix, square_of_side, svd_flops, thin_svd
from ..params import number
from ..shapes import Float32
from .contract import Method, Rows
from .registry import register

__all__ = ["Svc"]


@register
class Svc(Method):
    """W = B + Σ_k γ_k s_k u_k v_kᵀ per tensor, with D = Σ r_i d_i = U diag(s) Vᵀ and d_i = α_i δ_i.

    γ_k = Σ r_i / Σ r_i max(floor, ρ_ik), where ρ_ik = ⟨u_kᵀD, u_kᵀd_i⟩ / ‖u_kᵀd_i‖² is how much of
    row i direction k keeps: 2 where two equal changes meet, 1 where nothing else is. A row without
    a change there counts as 1. A vector is a matrix of one direction.
    """

    name = "svc"
    label = "SVC"
    summary = "Adds all differences, then scales back directions that several rows share."
    reference = "arXiv:2602.05536 (singular value calibration)"
    params = (
        number(
            "floor",
            1.0,
            0.01,
            1.0,
            "Smallest retention that counts; 1 only scales down, less lets weak directions grow.",
        ),
    )

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """In float64: D's directions, each row's part along them, and the scaled sum."""
        floor = self.check_options(options)["floor"]
        if base.numel() == 0:
            return base.clone()
        total = torch.zeros_like(base, dtype=torch.float64)
        for delta, alpha, repeat in zip(rows.deltas, rows.alphas, rows.repeats, strict=True):
            total.add_(delta, alpha=alpha * repeat)
        left, values, right = thin_svd(as_matrix(total))
        del total
        if not len(values):
            return base.clone()
        counted = torch.zeros_like(values)
        for delta, alpha, repeat in zip(rows.deltas, rows.alphas, rows.repeats, strict=True):
            part = left.T @ as_matrix(delta).double()
            kept = (part * right).sum(dim=1) * values
            kept = kept / (alpha * part.square_().sum(dim=1))
            counted += repeat * torch.where(torch.isfinite(kept), kept, 1.0).clamp_min(floor)
        scaled = left * (values * float(sum(rows.repeats)) / counted)
        return (scaled @ right).to(base.dtype).reshape(base.shape).add_(base)

    def flops(self, shape: tuple[int, ...], rows: int) -> float:
        """One SVD, and a product per row and for the result."""
        return (1.5 + 0.4 * rows) * svd_flops(shape)

    def work_bytes(self, shape: tuple[int, ...], rows: int) -> int:
        """Sum, its Gram, vectors on both sides and a row along them, in float64."""
        return 4 * (8 * torch.Size(shape).numel() + 4 * square_of_side(shape))
