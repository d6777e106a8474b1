"""Karcher mean: the middle of the models on the sphere of their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..linalg.gram import delta_gram
from ..linalg.sphere import sphere_mean
from ..params import integer
from ..shapes import Float32
from .average import averaged
from .contract import Method, Rows
from .forecast_rule import ForecastRule
from .registry import register

__all__ = ["Karcher"]


@register
class Karcher(Method):
    """W = the Karcher mean of the M_i = B + α_i δ_i, per tensor.

    The direction with the least Σ r_i ∠(W, M_i)², at the mean of their lengths.

    SLERP for any number of models: it keeps the weights' length, which the average shortens a
    little. Where the models' directions cancel or the base is zero it is the average.
    """

    name = "karcher"
    label = "Karcher mean"
    summary = "The mean direction of all models at their mean length: SLERP for more than one row."
    reference = "Karcher 1977, doi:10.1002/cpa.3160300502; mergekit karcher"
    averages = True
    forecast = ForecastRule("nominal")  # the sphere is nearly flat where deltas are small
    params = (
        integer(
            "iterations",
            10,
            1,
            1000,
            "Maximum number of steps; it stops earlier once it converges.",
        ),
    )

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """B + (a − 1) B + Σ c_i δ_i, coordinates along B/‖B‖ and the deltas' parts across it."""
        steps = self.check_options(options)["iterations"]
        gram = delta_gram([base, *rows.deltas])
        length = gram[0, 0].sqrt()
        if not bool(length > 0):
            return averaged(base, rows)
        along = gram[0, 1:] / length  # ⟨B/‖B‖, δ_i⟩
        count = len(rows)
        metric = torch.zeros(count + 1, count + 1, dtype=torch.float64)
        metric[0, 0] = 1.0
        metric[1:, 1:] = gram[1:, 1:] - along[:, None] * along[None, :]
        alphas = torch.tensor(list(rows.alphas), dtype=torch.float64)
        points = torch.cat([(length + alphas * along)[:, None], torch.diag(alphas)], dim=1)
        weights = torch.tensor([float(r) for r in rows.repeats], dtype=torch.float64)
        found = sphere_mean(metric, points, weights / weights.sum(), steps)
        if found is None:
            return averaged(base, rows)
        on_base = (found[0] - length - found[1:] @ along) / length
        change = base * float(on_base)
        for delta, weight in zip(rows.deltas, found[1:].tolist(), strict=True):
            change.add_(delta, alpha=weight)
        return change.add_(base)

    def flops(self, shape: tuple[int, ...], rows: int) -> float:
        """The Gram of base and deltas in float64."""
        return 200.0 * (rows + 1) * float(torch.Size(shape).numel())

    def work_bytes(self, shape: tuple[int, ...], rows: int) -> int:
        """The change, and some pieces of the Gram in float64."""
        return 4 * torch.Size(shape).numel() + 24 * (rows + 1) * (1 << 18)
