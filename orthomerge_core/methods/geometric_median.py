"""Geometric median: the point nearest to all models at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..params import integer
from ..shapes import Float32
from ._mecha import copies, tensor_function
from .contract import Method, Rows
from .forecast_rule import ForecastRule, GramRows, Shares
from .registry import register

__all__ = ["GeometricMedian"]

_FORECAST_STEPS = 6
"""Weiszfeld steps of the forecast; more change the fourth digit."""


@register
class GeometricMedian(Method):
    """W = B + argmin_x Σ ‖x − α_i δ_i‖ per tensor.

    Weiszfeld's iteration, sd-mecha's `geometric_median`. A repeat counts as that many copies. One
    odd model among several is nearly ignored.
    """

    name = "geometric_median"
    label = "Geometric median"
    summary = "The point nearest to all models at once; an outlier has little influence."
    reference = "Weiszfeld 1937; sd-mecha geometric_median"
    averages = True
    forecast = ForecastRule("median")
    params = (
        integer(
            "iterations",
            100,
            1,
            1000,
            "Maximum number of steps; it stops earlier once it converges.",
        ),
    )
    flops_per_value = 2400.0

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """B + geometric_median(α_i δ_i)."""
        chosen = self.check_options(options)
        if base.numel() == 0:
            return base.clone()
        joined = tensor_function("geometric_median")(*copies(rows), maxiter=chosen["iterations"])
        return base + joined

    def shares(self, rows: GramRows, options: Mapping[str, Any]) -> Shares:
        """Weiszfeld's iteration on coefficients: all distances follow from the Gram."""
        scaled = rows.gram * rows.alphas[:, None] * rows.alphas[None, :]
        weights = rows.repeats / rows.repeats.sum()
        for _ in range(min(_FORECAST_STEPS, options["iterations"])):
            product = scaled @ weights
            distance2 = np.diagonal(scaled) - 2.0 * product + float(weights @ product)
            nearness = rows.repeats / np.sqrt(np.maximum(distance2, 1e-12))
            weights = nearness / nearness.sum()
        return [(1.0, weights * rows.alphas)]

    def work_bytes(self, shape: tuple[int, ...], rows: int) -> int:
        """The scaled copies, and the iteration's points."""
        return 4 * (rows + 4) * torch.Size(shape).numel()
