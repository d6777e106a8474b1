"""SNR: leading against remaining energy of a delta. Range (0, 1e12]; 1/9 is a flat spectrum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["HIGHEST_SNR", "snr"]

HIGHEST_SNR = 1e12
"""What a delta with nothing beside its leading energies has: float32 weights cannot show more."""


def snr(energies: NDArray[np.float64]) -> float:
    """Energy of the top 10 % singular values (at least one) / energy of the rest, at most 1e12.

    Args:
        energies: σ_k², descending, [ranks].

    NaN where there is no energy at all.
    """
    top = max(1, len(energies) // 10)
    signal, noise = float(energies[:top].sum()), float(energies[top:].sum())
    if signal <= 0.0:
        return float("nan")
    return min(signal / noise, HIGHEST_SNR) if noise > 0.0 else HIGHEST_SNR
