"""Effective rank: over how many directions a delta spreads. Range (0, 1]; low is focused."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["effective_rank", "spread_word"]

_ENERGY_FRAC = 0.9


def effective_rank(energies: NDArray[np.float64]) -> float:
    """Smallest r with Σ_{k≤r} σ_k² ≥ 0.9 Σσ_k², divided by the number of singular values.

    Args:
        energies: σ_k², descending, [ranks].

    NaN where there is no energy at all.
    """
    total = float(energies.sum())
    if total <= 0.0:
        return float("nan")
    reached = np.cumsum(energies) >= _ENERGY_FRAC * total * (1.0 - 1e-12)
    return (int(np.argmax(reached)) + 1) / len(energies)


def spread_word(rank: float) -> Literal["focused", "moderate", "diffuse", "unknown"]:
    """Below 0.3 focused, up to 0.6 moderate, above diffuse; unknown for NaN."""
    if np.isnan(rank):
        return "unknown"
    return "focused" if rank < 0.3 else "moderate" if rank <= 0.6 else "diffuse"
