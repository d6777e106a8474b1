"""TSV-M: the leading singular directions of every change, with less interference."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..linalg.spectrum import as_matrix, nearest_orthonormal, square_of_side, svd_flops, thin_svd
from ..params import number
from ..shapes import Float32
from .average import averaged
from .contract import Method, Rows
from .registry import register

__all__ = ["TsvM"]


@register
class TsvM(Method):
    """W = B + U⊥ diag(r_i α_i s_i) V⊥ᵀ per matrix.

    s_i, U_i, V_i are the first k singular values and vectors of δ_i, k = side / rows; U⊥ and V⊥ are
    the nearest orthonormal sets to [U_1 … U_N] and [V_1 … V_N]. Vectors are averaged. A kernel is a
    matrix of output rows.
    """

    name = "tsv_m"
    label = "TSV-M"
    summary = "Adds the leading singular directions of every change, made orthogonal to each other."
    reference = "Gargiulo et al. 2024, arXiv:2412.00081"
    neutral: ClassVar[Mapping[str, Any]] = MappingProxyType({"rank_frac": 1.0})
    params = (
        number(
            "rank_frac",
            0.0,
            0.0,
            1.0,
            "Fraction of a change's singular directions that is kept; 0: 1 divided by the rows.",
        ),
    )

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """In float64; what has no matrix is averaged."""
        share = self.check_options(options)["rank_frac"] or 1.0 / len(rows)
        if base.ndim < 2 or base.numel() == 0:
            return averaged(base, rows)
        left, values, right = [], [], []
        for delta, alpha, repeat in zip(rows.deltas, rows.alphas, rows.repeats, strict=True):
            matrix = as_matrix(delta)
            count = max(1, int(share * min(matrix.shape)))
            found = thin_svd(matrix.double()).first(count)
            left.append(found.left.clone())
            values.append(found.values * (alpha * repeat))
            right.append(found.right.clone())
        if sum(len(v) for v in values) == 0:
            return base.clone()
        ends = nearest_orthonormal(torch.cat(right).T).T
        starts = nearest_orthonormal(torch.cat(left, dim=1)) * torch.cat(values)
        return (starts @ ends).to(base.dtype).reshape(base.shape).add_(base)

    def flops(self, shape: tuple[int, ...], rows: int) -> float:
        """An SVD per row, and two orthonormal sets of about a side each."""
        return (rows + 3.0) * svd_flops(shape)

    def work_bytes(self, shape: tuple[int, ...], rows: int) -> int:
        """Both sets and what makes them orthonormal, in float64."""
        return 4 * (12 * torch.Size(shape).numel() + 8 * square_of_side(shape))
