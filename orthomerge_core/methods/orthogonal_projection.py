"""Orthogonal projection: what two models share is added once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..linalg.projection import sequential, symmetric
from ..params import choice
from .contract import LinearMethod
from .registry import register

__all__ = ["OrthogonalProjection"]


@register
class OrthogonalProjection(LinearMethod):
    """W = B + Σ r_i α_i δ'_i with the δ' orthogonal to each other within every tensor."""

    name = "orthogonal_projection"
    label = "Orthogonal projection"
    summary = "Adds differences after removing what an earlier row already contributes."
    reference = "Gram–Schmidt; symmetric: Löwdin 1950, doi:10.1063/1.1747632"
    needs_gram = True
    order_matters = True  # only the symmetric variant is free of order
    params = (
        choice(
            "variant",
            ("sequential", "symmetric"),
            "sequential",
            "sequential: earlier rows keep their whole delta, later ones what is new in them. "
            "symmetric: no order, every delta gives way a little.",
        ),
    )

    def coefficients(
        self,
        gram: Tensor,
        alphas: Sequence[float],
        repeats: Sequence[int],
        options: Mapping[str, Any],
    ) -> Tensor:
        """c_j = Σ_i r_i α_i T_ij, T from `linalg.projection`."""
        variant = symmetric if self.check_options(options)["variant"] == "symmetric" else sequential
        weights = [a * r for a, r in zip(alphas, repeats, strict=True)]
        return torch.tensor(weights, dtype=torch.float64) @ variant(gram.double().cpu())
