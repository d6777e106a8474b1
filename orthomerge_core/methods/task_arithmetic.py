"""Task arithmetic: add every difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..shapes import Float64
from .contract import LinearMethod
from .forecast_rule import ForecastRule
from .registry import register

__all__ = ["TaskArithmetic"]


@register
class TaskArithmetic(LinearMethod):
    """W = B + Σ r_i α_i δ_i. With one row it is the weighted sum of the base and that model."""

    name = "task_arithmetic"
    label = "Add difference (task arithmetic)"
    summary = "Adds every model's difference at full strength; a good first try."
    reference = "Ilharco et al. 2023, arXiv:2212.04089"
    forecast = ForecastRule("nominal", exact=True)

    def coefficients(
        self,
        gram: Float64[Tensor, "rows rows"],
        alphas: Sequence[float],
        repeats: Sequence[int],
        options: Mapping[str, Any],
    ) -> Float64[Tensor, "rows"]:
        """c_i = r_i α_i."""
        return torch.tensor(
            [a * r for a, r in zip(alphas, repeats, strict=True)], dtype=torch.float64
        )
