"""Masked projection: what TIES would keep of the rows, projected instead of averaged."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..linalg.block_gram import block_gram
from ..linalg.trim import largest
from ..params import number
from ..shapes import Float32
from .contract import Method, Rows
from .orthogonal_projection import OrthogonalProjection
from .registry import register

__all__ = ["MaskedProjection"]

_PROJECTION = OrthogonalProjection()


@register
class MaskedProjection(Method):
    """W = B + Σ r_i α_i (m_i∘δ_i)', ' being `orthogonal_projection` of the masked deltas.

    m_i keeps the largest `density` of |δ_i| and of those the weights whose α_i δ_i has the sign of
    Σ r_i α_i δ_i over what is kept: what TIES averages. Where a single row acts there is nothing to
    vote on, and it passes whole.
    """

    name = "masked_projection"
    label = "Masked projection"
    summary = (
        "Keeps large changes that agree in sign, then adds what earlier rows do not contribute."
    )
    reference = "Yadav et al. 2023, arXiv:2306.01708, for the mask; Gram–Schmidt for the sum"
    order_matters = True  # only the sequential variant has one
    neutral: ClassVar[Mapping[str, Any]] = MappingProxyType({"density": 1.0})
    params = (
        number(
            "density",
            0.2,
            0.01,
            1.0,
            "Fraction of each delta that is kept, largest first; 1 keeps all that agree in sign.",
        ),
        *OrthogonalProjection.params,
    )

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """Mask, then the projection's coefficients of the masked deltas."""
        chosen = self.check_options(options)
        if len(rows) == 1 or base.numel() == 0:
            return base.add(rows.deltas[0], alpha=rows.alphas[0] * rows.repeats[0])
        masked = [largest(delta, chosen["density"]) for delta in rows.deltas]
        weights = [a * r for a, r in zip(rows.alphas, rows.repeats, strict=True)]
        total = torch.zeros_like(base)
        for delta, weight in zip(masked, weights, strict=True):
            total.add_(delta, alpha=weight)
        signs = total.sign_()
        for delta, weight in zip(masked, weights, strict=True):
            agrees = delta.sign().mul_(signs) == (1.0 if weight > 0 else -1.0)
            delta.mul_(agrees)
        variant = {"variant": chosen["variant"]}
        found = _PROJECTION.coefficients(block_gram(masked), rows.alphas, rows.repeats, variant)
        change = total.zero_()
        for delta, weight in zip(masked, found.tolist(), strict=True):
            change.add_(delta, alpha=weight)
        return change.add_(base)

    def flops(self, shape: tuple[int, ...], rows: int) -> float:
        """A selection and some passes per row, and the Gram of the masked rows."""
        return (600.0 * rows + 4.0 * rows**2) * float(torch.Size(shape).numel())

    def work_bytes(self, shape: tuple[int, ...], rows: int) -> int:
        """Every row's masked delta, the sum, and a selection's values and places."""
        return 4 * (rows + 3) * torch.Size(shape).numel()
