"""Means of directions on a sphere, from inner products alone."""

from __future__ import annotations

import torch
from torch import Tensor

from ..shapes import Float64

__all__ = ["sphere_mean"]

_OPPOSITE = 1e-9
_STILL_RAD = 1e-12


def sphere_mean(
    metric: Float64[Tensor, "k k"],
    points: Float64[Tensor, "rows k"],
    weights: Float64[Tensor, "rows"],
    steps: int,
) -> Float64[Tensor, "k"] | None:
    """The weighted mean direction of `points`, its length the weighted mean of theirs.

    Coordinates along any k vectors whose inner products are `metric`; weights are ≥ 0 and add up to
    one. Starts at the direction m of the straight mean of the unit vectors u_i; each step follows
    the mean of the arcs to them, exp_m(Σ w_i log_m u_i), and ends where that is nothing. One step
    is mergekit's multislerp, steps until nothing moves give the Karcher (Fréchet) mean.

    None where there is no such direction: the unit vectors cancel. (Karcher 1977.)
    """
    lengths = _length(metric, points)
    units = points / torch.where(lengths > 0, lengths, torch.ones_like(lengths))[:, None]
    mean = weights @ units
    size = _length(metric, mean)
    if not bool(size > _OPPOSITE):
        return None
    mean = mean / size
    for _ in range(steps):
        along = units @ (metric @ mean)
        away = units - along[:, None] * mean
        sines = _length(metric, away)
        factors = torch.atan2(sines, along) / torch.where(sines > 0, sines, torch.ones_like(sines))
        factors = torch.where(sines > 0, factors, torch.ones_like(factors))
        step = (weights * factors) @ away
        angle = _length(metric, step)
        if not bool(angle > _STILL_RAD):
            break
        mean = angle.cos() * mean + angle.sin() / angle * step
        mean = mean / _length(metric, mean)
    return (weights @ lengths) * mean


def _length(metric: Tensor, vectors: Tensor) -> Tensor:
    """√(vᵀ G v) of one vector or of each row."""
    return ((vectors @ metric) * vectors).sum(dim=-1).clamp_min(0).sqrt()
