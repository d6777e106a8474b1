"""Conflict ratio: how often two deltas push opposite ways. Range [0, 1]; 0.5 is chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["conflict_ratio"]


def conflict_ratio(conflict: NDArray[np.int64], active: NDArray[np.int64]) -> NDArray[np.float64]:
    """conflicts / active, elementwise, [N, N]; 0 where no element is active in both."""
    shape = np.broadcast_shapes(conflict.shape, active.shape)
    return np.divide(conflict, active, out=np.zeros(shape, dtype=np.float64), where=active > 0)
