"""Estimates the error of a rotation from products with a few random vectors.

Vectors are rows: [probes, d] times a matrix is several times faster than the other way round.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..shapes import Float32

__all__ = ["gaussian", "residual_error"]

_REPEAT = 2
_STEP = 1.0
_LOOKS = 6
_DEFINITE = 0.7

Product = Callable[[Tensor, bool], Tensor]
"""(rows v, transposed) → v Mᵀ, or v M where transposed: M v and Mᵀ v of every row."""


def residual_error(values: Float32[Tensor, "d"], target: Product, turn: Product) -> float:
    """Estimate of ‖(R − polar(M)) Λ^½‖, M ≈ Λ = diag(values); inf where R is another turning point.

    An error e of R leaves r = RᵀM − MᵀR with e_jk = r_jk/(λ_j + λ_k), and so
    ‖e Λ^½‖² = ½ Σ r_jk²/(λ_j + λ_k). With 1/(λ_j + λ_k) = ∫ exp(−tλ_j) exp(−tλ_k) dt as a sum
    over t, every term is a norm that Gaussian probes estimate. Cost: four products with about
    thirty vectors, 24 with four.
    """

    def both(v: Tensor) -> tuple[Tensor, Tensor]:
        return turn(target(v, False), True), target(turn(v, False), True)

    if not _definite(values, both):
        return math.inf
    times = _times(values)
    decay = torch.exp(-0.5 * times[:, None] * values[None, :]).repeat(_REPEAT, 1)
    skew = torch.sub(*both(gaussian(len(decay), len(values), values.device) * decay)) * decay
    total = (skew.square().sum(dim=1) * times.repeat(_REPEAT)).sum() * _STEP / _REPEAT
    error = float((0.5 * total).sqrt())
    return error if math.isfinite(error) else math.inf


def gaussian(count: int, size: int, device: torch.device) -> Float32[Tensor, "count size"]:
    """Gaussian row vectors, the same on every call."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    return torch.randn(count, size, generator=generator).to(device)


def _definite(values: Tensor, both: Callable[[Tensor], tuple[Tensor, Tensor]]) -> bool:
    """Whether H = (RᵀM + MᵀR)/2 stays within 70 % of Λ: a power iteration on Λ^−½ H Λ^−½ − I.

    A rotation that makes RᵀM symmetric but not positive is a turning point, not the nearest one.
    """
    root = values.clamp_min(1e-30).sqrt()
    v = gaussian(4, len(values), values.device)
    for _ in range(_LOOKS):
        v = v / v.norm(dim=1, keepdim=True).clamp_min(1e-30)
        left, right = both(v / root)
        v = 0.5 * (left + right) / root - v
    return bool(v.norm(dim=1).max() < _DEFINITE)


def _times(values: Tensor) -> Tensor:
    """Points t with Σ_t step·t·exp(−tλ) ≈ 1/λ for λ between twice the extremes of `values`."""
    low = max(float(values.min()), 1e-7 * float(values.max())) * 2.0
    first, last = -math.log(2.0 * float(values.max())) - 3.0, -math.log(low) + 1.5
    count = int((last - first) / _STEP) + 2
    return torch.exp(first + _STEP * torch.arange(count, device=values.device))
