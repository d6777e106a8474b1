"""Spherical interpolation, from three inner products."""

from __future__ import annotations

import torch
from torch import Tensor

from ..shapes import Float64

__all__ = ["slerp_coefficients"]

_PARALLEL_RAD = 1e-6


def slerp_coefficients(
    bb: Float64[Tensor, "units"],
    bd: Float64[Tensor, "units"],
    dd: Float64[Tensor, "units"],
    t: float,
) -> tuple[Float64[Tensor, "units"], Float64[Tensor, "units"]]:
    """(a, b) with W = a·B + b·δ: direction on the arc from B to M = B + δ, norm linear in t.

    `bb` = ‖B‖², `bd` = ⟨B, δ⟩, `dd` = ‖δ‖² of each unit (the whole tensor, or one row each).
    W = n(t)·[sin((1−t)Ω)/sin Ω · B/‖B‖ + sin(tΩ)/sin Ω · M/‖M‖], n(t) = (1−t)‖B‖ + t‖M‖.
    Ω comes from atan2 of the Gram's determinant, which keeps its digits at the small angles of
    fine-tunes. Linear, a = 1 and b = t, where Ω is within 1e-6 rad of 0 or π or a norm is zero.
    (Shoemake 1985.)
    """
    mm = (bb + 2 * bd + dd).clamp_min(0)
    norm_b, norm_m = bb.clamp_min(0).sqrt(), mm.sqrt()
    cross = (bb * dd - bd * bd).clamp_min(0).sqrt()
    omega = torch.atan2(cross, bb + bd)
    linear = (omega < _PARALLEL_RAD) | (omega > torch.pi - _PARALLEL_RAD)
    linear |= (norm_b == 0) | (norm_m == 0)
    one = torch.ones_like(bb)
    sine = torch.where(linear, one, omega.sin())
    length = (1 - t) * norm_b + t * norm_m
    on_b = length * ((1 - t) * omega).sin() / sine / torch.where(norm_b > 0, norm_b, one)
    on_m = length * (t * omega).sin() / sine / torch.where(norm_m > 0, norm_m, one)
    return torch.where(linear, one, on_b + on_m), torch.where(linear, t * one, on_m)
