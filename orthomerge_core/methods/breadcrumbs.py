"""Model breadcrumbs: neither the smallest changes nor the largest."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..linalg.trim import size_of_rank
from ..params import number
from ..shapes import Float32
from .contract import Method, Rows
from .registry import register

__all__ = ["Breadcrumbs"]


@register
class Breadcrumbs(Method):
    """W = B + Σ r_i α_i m_i∘δ_i: m_i drops the γ largest changes and the 1 − density − γ smallest.

    By size within each tensor; nothing is scaled up for what was dropped.
    """

    name = "breadcrumbs"
    label = "Breadcrumbs"
    summary = "Drops the largest changes as outliers and the smallest as noise, then adds."
    reference = "Davari, Belilovsky 2023, arXiv:2312.06795"
    neutral: ClassVar[Mapping[str, Any]] = MappingProxyType({"density": 1.0, "gamma": 0.0})
    params = (
        number(
            "density",
            0.9,
            0.01,
            1.0,
            "Fraction of each delta that is kept; 1 keeps all but the outliers.",
        ),
        number(
            "gamma",
            0.01,
            0.0,
            0.5,
            "Fraction of each delta dropped as outliers, largest first; 0 drops none.",
        ),
    )

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """B + Σ r_i α_i m_i∘δ_i."""
        chosen = self.check_options(options)
        change = torch.zeros_like(base)
        for delta, alpha, repeat in zip(rows.deltas, rows.alphas, rows.repeats, strict=True):
            kept = _between(delta, chosen["density"], chosen["gamma"])
            change.add_(kept, alpha=alpha * repeat)
        return change.add_(base)

    def flops(self, shape: tuple[int, ...], rows: int) -> float:
        """Two selections per row."""
        return 650.0 * rows * float(torch.Size(shape).numel())

    def work_bytes(self, shape: tuple[int, ...], rows: int) -> int:
        """Change, sizes and what a selection holds: values and their places."""
        return 4 * 7 * torch.Size(shape).numel()


def _between(delta: Tensor, density: float, gamma: float) -> Tensor:
    """The delta without its `gamma` largest weights, then all but `density` of it, smallest first.

    Weights of one size are kept or dropped together: all of a size that is dropped as an outlier
    go, unless that would leave nothing.
    """
    count = delta.numel()
    above, below = int(gamma * count), int(max(1.0 - density - gamma, 0.0) * count)
    if count == 0 or not (above or below):
        return delta
    sizes = delta.abs()
    keep = torch.ones_like(sizes, dtype=torch.bool)
    if below:
        keep &= sizes > size_of_rank(sizes, below)
    if above:
        keep &= sizes <= size_of_rank(sizes, count - above)
    return torch.where(keep, delta, torch.zeros_like(delta))
