"""MultiSLERP: a spherical mean of changes, which keeps their length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..linalg.sphere import sphere_mean
from ..shapes import Float64
from .average import average_coefficients
from .contract import LinearMethod
from .forecast_rule import ForecastRule
from .registry import register

__all__ = ["MultiSlerp"]


@register
class MultiSlerp(LinearMethod):
    """W = B + L m: m the mean direction of the α_i δ_i on their sphere, L their mean length.

    Weights r_i / Σ r, per tensor; one step of `linalg.sphere.sphere_mean`. The average of N
    unrelated changes has a length of 1/√N of theirs, this one all of it. Where the directions
    cancel it is the average.
    """

    name = "multislerp"
    label = "MultiSLERP"
    summary = "The mean direction of all differences, at the mean of their lengths."
    reference = "mergekit multislerp with a base; Buss, Fillmore 2001, doi:10.1145/502122.502124"
    needs_gram = True
    averages = True
    forecast = ForecastRule("spherical", exact=True)

    def coefficients(
        self,
        gram: Float64[Tensor, "rows rows"],
        alphas: Sequence[float],
        repeats: Sequence[int],
        options: Mapping[str, Any],
    ) -> Float64[Tensor, "rows"]:
        """c with Σ c_i δ_i = L m."""
        scales = torch.tensor(list(alphas), dtype=torch.float64)
        weights = torch.tensor([float(r) for r in repeats], dtype=torch.float64)
        weights = weights / weights.sum()
        found = sphere_mean(gram.double().cpu(), torch.diag(scales), weights, 1)
        return average_coefficients(alphas, repeats) if found is None else found
