"""Orthogonal projection: what several models share is added once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..linalg.projection import dual, sequential, symmetric
from ..params import choice
from ..shapes import Float64
from .contract import LinearMethod
from .forecast_rule import ForecastRule
from .registry import register

__all__ = ["OrthogonalProjection"]

_VARIANTS = {"sequential": sequential, "symmetric": symmetric, "dual": dual}


@register
class OrthogonalProjection(LinearMethod):
    """W = B + Σ r_i α_i δ'_i with the δ' made from the δ by projection, within every tensor.

    sequential, symmetric: the δ' are orthogonal to each other. dual: each is orthogonal to the
    other rows' δ, so that the merge keeps exactly r_i α_i of every row where the δ are independent.
    """

    name = "orthogonal_projection"
    label = "Orthogonal projection"
    summary = "Adds differences after removing what an earlier row already contributes."
    reference = (
        "Gram–Schmidt; symmetric: Löwdin 1950, doi:10.1063/1.1747632; dual: biorthogonal basis"
    )
    needs_gram = True
    forecast = ForecastRule("projected", exact=True)
    order_matters = True  # only the sequential variant has one
    params = (
        choice(
            "variant",
            tuple(_VARIANTS),
            "sequential",
            "sequential: earlier rows keep their whole delta, later ones what is new in them. "
            "symmetric: order does not matter, every delta yields a little. "
            "dual: order does not matter, alpha is exactly the fraction of a delta that is kept.",
        ),
    )

    def coefficients(
        self,
        gram: Float64[Tensor, "rows rows"],
        alphas: Sequence[float],
        repeats: Sequence[int],
        options: Mapping[str, Any],
    ) -> Float64[Tensor, "rows"]:
        """c_j = Σ_i r_i α_i T_ij, T from `linalg.projection`."""
        variant = _VARIANTS[self.check_options(options)["variant"]]
        weights = [a * r for a, r in zip(alphas, repeats, strict=True)]
        return torch.tensor(weights, dtype=torch.float64) @ variant(gram.double().cpu())
