"""The best low-rank approximation of a change, and rules for its rank."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import OrthoMergeError
from ..shapes import Float, Float32

__all__ = ["RANK_RULES", "RankRule", "leading_singular"]

RANK_RULES = ("fixed", "energy", "ratio", "knee")
_FIRST_GUESS = 64
_OVERSAMPLES, _ITERATIONS = 16, 3
_SMALL = 128
"""Matrices whose smaller side is not longer are decomposed exactly: it costs nothing."""


@dataclass(frozen=True)
class RankRule:
    """How many singular directions σ₁ ≥ σ₂ ≥ … of a matrix are kept, `limit` at most.

    kind "fixed": `value` directions. "energy": the fewest whose Σ σ² is at least `value` (0..1) of
    the whole. "ratio": all with σ ≥ `value` · σ₁. "knee": up to the point of the curve of the first
    `limit` values that lies farthest below the line from its first to its last; `value` is unused.
    """

    kind: str
    value: float = 0.0
    limit: int = 256

    def __post_init__(self) -> None:
        bounds = {"fixed": (1, 4096), "energy": (0, 1), "ratio": (0, 1), "knee": (0, 0)}
        if self.kind not in bounds:
            raise OrthoMergeError(f'unknown rank rule "{self.kind}"', expected=", ".join(bounds))
        low, high = bounds[self.kind]
        if not low <= self.value <= high or self.limit < 1:
            what = f"{self.kind} rank"
            raise OrthoMergeError(what, expected=f"a value in {low}..{high}", received=self.value)

    def first_guess(self, smaller: int) -> int:
        """How many singular values to compute first, of a matrix with that smaller side."""
        wanted = {"fixed": int(self.value), "knee": self.limit}.get(self.kind, _FIRST_GUESS)
        return min(wanted, self.limit, smaller)

    def choose(self, sigma: Float[Tensor, "rank"], energy: float, complete: bool) -> int | None:
        """The rank, 1 or more; None where more singular values than these must be known.

        Args:
            sigma: leading singular values, descending.
            energy: Σ σ² of all.
            complete: no more values can be asked for.
        """
        count = len(sigma)
        if self.kind == "fixed":
            return count
        if self.kind == "knee":
            return _knee(sigma)
        if self.kind == "energy":
            reached = sigma.double().square().cumsum(0) >= self.value * energy * (1 - 1e-9)
            enough = int((~reached).sum()) + 1
            known = enough <= count
        else:
            enough = int((sigma >= self.value * sigma[0]).sum())
            known = enough < count
        return min(max(enough, 1), count) if known or complete else None


def _knee(sigma: Tensor) -> int:
    count = len(sigma)
    span = float(sigma[0] - sigma[-1])
    if count < 3 or span <= 0.0:
        return count
    line = 1.0 - torch.arange(count, dtype=torch.float64) / (count - 1)
    curve = (sigma.double() - float(sigma[-1])) / span
    return int((line - curve).argmax()) + 1


def leading_singular(
    matrix: Float32[Tensor, "rows cols"], rule: RankRule, seed: int = 0
) -> tuple[Float32[Tensor, "rows rank"], Float32[Tensor, "rank"], Float32[Tensor, "rank cols"]]:
    """U, σ, Vᵀ of the leading singular directions that `rule` keeps.

    Exact for small matrices and for ranks above a third of the smaller side, else by a randomized
    range finder with three power iterations (Halko, Martinsson, Tropp 2011, arXiv:0909.4061), whose
    approximation error is within a few per cent of the best. The number of directions is doubled
    until the rule is met. Cost: O(rows · cols · rank). The matrix must be finite and not zero.
    """
    smaller = min(matrix.shape)
    energy = float(matrix.double().square().sum())
    cap = min(rule.limit, smaller)
    count = rule.first_guess(smaller)
    while True:
        u, sigma, v_t = _leading(matrix, count, seed)
        rank = rule.choose(sigma, energy, complete=count >= cap)
        if rank is not None:
            return u[:, :rank], sigma[:rank], v_t[:rank]
        count = min(2 * count, cap)


def _leading(matrix: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    smaller = min(matrix.shape)
    if smaller <= _SMALL or 3 * (count + _OVERSAMPLES) >= smaller:
        u, sigma, v_t = torch.linalg.svd(matrix, full_matrices=False)
        return u[:, :count], sigma[:count], v_t[:count]
    generator = torch.Generator().manual_seed(seed)
    width = count + _OVERSAMPLES
    probes = torch.randn(matrix.shape[1], width, generator=generator)
    basis = torch.linalg.qr(matrix @ probes).Q
    for _ in range(_ITERATIONS):
        basis = torch.linalg.qr(matrix.T @ basis).Q
        basis = torch.linalg.qr(matrix @ basis).Q
    inner, sigma, v_t = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    return (basis @ inner)[:, :count], sigma[:count], v_t[:count]
