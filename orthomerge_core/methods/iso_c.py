"""Iso-C: the sum of all changes with a flat spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..linalg.spectrum import as_matrix, square_of_side, svd_flops, thin_svd
from ..shapes import Float32
from .average import averaged
from .contract import Method, Rows
from .registry import register

__all__ = ["IsoC"]


@register
class IsoC(Method):
    """W = B + mean(s) U Vᵀ per matrix, with Σ r_i α_i δ_i = U diag(s) Vᵀ.

    Every direction that any row changes is changed as much as the others; a single row does not
    come back as it was. Directions below 1e-5 of the largest are left out, and not counted in the
    mean; of low-rank changes (LoRA) even the rounding of the files may be above that, and is then
    blown up. Vectors are averaged. A kernel is a matrix of output rows.
    """

    name = "iso_c"
    label = "Iso-C"
    summary = "Adds all differences, then makes every singular direction equally strong."
    reference = "Marczak et al. 2025, arXiv:2502.04959"
    neutral = None

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """In float64; what has no matrix is averaged."""
        self.check_options(options)
        if base.ndim < 2 or base.numel() == 0:
            return averaged(base, rows)
        total = torch.zeros_like(base, dtype=torch.float64)
        for delta, alpha, repeat in zip(rows.deltas, rows.alphas, rows.repeats, strict=True):
            total.add_(delta, alpha=alpha * repeat)
        found = thin_svd(as_matrix(total))
        if not len(found.values):
            return base.clone()
        flat = (found.left * found.values.mean()) @ found.right
        return flat.to(base.dtype).reshape(base.shape).add_(base)

    def flops(self, shape: tuple[int, ...], rows: int) -> float:
        """One SVD and one product."""
        return 1.5 * svd_flops(shape) + 2.0 * rows * float(torch.Size(shape).numel())

    def work_bytes(self, shape: tuple[int, ...], rows: int) -> int:
        """Sum, its Gram, vectors on both sides and the product, in float64."""
        return 4 * (9 * torch.Size(shape).numel() + 4 * square_of_side(shape))
