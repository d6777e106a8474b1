"""Cosine: whether two deltas point the same way. Range [−1, 1]; 1 same, 0 unrelated, −1 opposed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["cosine"]


def cosine(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """⟨δ_i, δ_j⟩ / (‖δ_i‖‖δ_j‖) from the deltas' Gram [N, N]; 0 where a delta is zero.

    The diagonal is exactly 1 for every delta that is not zero.
    """
    norms = np.sqrt(np.clip(np.diagonal(gram), 0.0, None))
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    found = np.clip(gram * scale[:, None] * scale[None, :], -1.0, 1.0)
    np.fill_diagonal(found, (norms > 0).astype(np.float64))
    return found
