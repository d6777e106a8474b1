"""SCE: selects where the models differ, weights them by energy, drops minority signs."""

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

__all__ = ["Sce"]


@register
class Sce(Method):
    """W = B + Σ η_i s∘e_i∘(α_i δ_i), per tensor.

    s selects the weights whose α_i δ_i vary most between the rows; η_i = r_i ‖s∘α_i δ_i‖² over
    their sum; e_i erases weights whose sign differs from that of Σ r_i s∘α_i δ_i. A repeat counts
    as that many copies. Rows of which one acts have no variance: it is added as it is.
    """

    name = "sce"
    label = "SCE"
    summary = "Keeps the weights that vary most, weights models by energy, drops minority signs."
    reference = "Wan et al. 2024, arXiv:2408.07990"
    averages = True
    neutral: ClassVar[Mapping[str, Any]] = MappingProxyType({"density": 1.0})
    params = (
        number(
            "density",
            0.1,
            0.01,
            1.0,
            "Fraction of the weights that is kept, those that vary most first; 1 keeps all, "
            "0.1 is the paper's.",
        ),
    )

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """Select, calculate, erase."""
        density = self.check_options(options)["density"]
        if len(rows) == 1 or base.numel() == 0:
            return base.add(rows.deltas[0], alpha=rows.alphas[0])
        pairs = list(zip(rows.deltas, rows.alphas, rows.repeats, strict=True))
        selected = _selected(rows, density)
        total, energies = torch.zeros_like(base), []
        for delta, alpha, repeat in pairs:
            kept = (delta * alpha).mul_(selected)
            energies.append(
                repeat * float(torch.linalg.vector_norm(kept, dtype=torch.float64)) ** 2
            )
            total.add_(kept, alpha=repeat)
        sign, whole = total.sign_(), sum(energies)
        change = torch.zeros_like(base)
        for (delta, alpha, _), energy in zip(pairs, energies, strict=True):
            kept = (delta * alpha).mul_(selected)
            kept.mul_(kept.sign() == sign)
            change.add_(kept, alpha=energy / whole if whole > 0 else 0.0)
        return change.add_(base)

    def flops(self, shape: tuple[int, ...], rows: int) -> float:
        """Passes over every row, and one selection."""
        return (260.0 * rows + 560.0) * float(torch.Size(shape).numel())

    def work_bytes(self, shape: tuple[int, ...], rows: int) -> int:
        """Mean, variance and a selection's values and places; or sums, signs and one row."""
        return 4 * 6 * torch.Size(shape).numel()


def _selected(rows: Rows, density: float) -> Tensor:
    """True where the rows' α_i δ_i vary most; a row counts as often as it repeats."""
    if density >= 1.0:
        return torch.ones_like(rows.deltas[0], dtype=torch.bool)
    copies = float(sum(rows.repeats))
    mean = torch.zeros_like(rows.deltas[0])
    for delta, alpha, repeat in zip(rows.deltas, rows.alphas, rows.repeats, strict=True):
        mean.add_(delta, alpha=alpha * repeat / copies)
    variance = torch.zeros_like(mean)
    for delta, alpha, repeat in zip(rows.deltas, rows.alphas, rows.repeats, strict=True):
        apart = (delta * alpha).sub_(mean)
        variance.addcmul_(apart, apart, value=repeat / copies)
    least = size_of_rank(variance, int((1.0 - density) * variance.numel()) + 1)
    return variance >= least
