"""Survival: how much of a delta's direction is left in the sum of all. In percent, −100 to 100."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["survival"]


def survival(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """100 · ⟨u_i, Σ_j u_j⟩ / ‖Σ_j u_j‖ with u = δ/‖δ‖, from cosines [N, N]; [N].

    100 when all point the same way, 100/√N when all are unrelated, 0 for a zero delta or where the
    directions cancel.
    """
    with_sum = cosines.sum(axis=1)
    squared = float(with_sum.sum())
    if squared <= 1e-12:
        return np.zeros(len(cosines), dtype=np.float64)
    found: NDArray[np.float64] = 100.0 * with_sum / np.sqrt(squared)
    return found
