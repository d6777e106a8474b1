"""Average: the mean of the differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..shapes import Float32, Float64
from .contract import LinearMethod, Rows
from .forecast_rule import ForecastRule
from .registry import register

__all__ = ["Average", "average_coefficients", "averaged"]


def average_coefficients(
    alphas: Sequence[float], repeats: Sequence[int]
) -> Float64[Tensor, "rows"]:
    """c_i = r_i α_i / Σ r_i, float64: a repeat counts as that many copies of the row."""
    total = float(sum(repeats))
    return torch.tensor(
        [a * r / total for a, r in zip(alphas, repeats, strict=True)], dtype=torch.float64
    )


def averaged(base: Float32[Tensor, "*shape"], rows: Rows) -> Float32[Tensor, "*shape"]:
    """B + Σ r_i α_i δ_i / Σ r_i, where another method cannot be computed."""
    out = base.clone()
    weights = average_coefficients(rows.alphas, rows.repeats).tolist()
    for delta, weight in zip(rows.deltas, weights, strict=True):
        out.add_(delta, alpha=weight)
    return out


@register
class Average(LinearMethod):
    """W = B + Σ r_i α_i δ_i / Σ r_i. A row without a delta on a tensor does not dilute it there."""

    name = "average"
    label = "Average"
    summary = "The mean of all differences: never overshoots, keeps less of each model."
    reference = "Wortsman et al. 2022, arXiv:2203.05482"
    averages = True
    forecast = ForecastRule("nominal", exact=True)

    def coefficients(
        self,
        gram: Float64[Tensor, "rows rows"],
        alphas: Sequence[float],
        repeats: Sequence[int],
        options: Mapping[str, Any],
    ) -> Float64[Tensor, "rows"]:
        """c_i = r_i α_i / Σ r_i."""
        return average_coefficients(alphas, repeats)
