"""The sums of one chunk: Gram, sign counts and maxima of a base and its deltas, on the CPU.

Everything is a NumPy call on one thread, so that workers scale without a second level of threads:
at these sizes torch's comparisons, `aminmax` and L∞ norm cost five to thirty times NumPy's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..linalg.gram import run_gram
from .signs import SignCounter

__all__ = ["SMALLEST_PEAK", "ChunkKernel", "ChunkSums", "exact_sums", "padded"]

Rows32 = NDArray[np.float32]
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_ALIGN = 4096
SMALLEST_PEAK = 1e-15
"""Below this, squares leave float32's normal range."""


@dataclass(frozen=True)
class ChunkSums:
    """Sums of R rows: the base and R − 1 deltas.

    `gram` [R, R] float64; `active`, `conflict` [R−1, R−1] int64; `max_abs` [R−1]; `nonfinite` [R].
    """

    gram: Floats
    active: Counts
    conflict: Counts
    max_abs: Floats
    nonfinite: Counts


def padded(elements: int) -> int:
    """Columns a buffer needs for a chunk of `elements`: the next multiple of 4096."""
    return -(-elements // _ALIGN) * _ALIGN


class ChunkKernel:
    """Sums chunk after chunk with the same scratch memory; one per thread.

    Args:
        rows: most rows of a chunk, the base included.
        columns: most columns of a chunk, a multiple of 4096.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self._signs = SignCounter(rows - 1, columns)

    def __call__(self, rows: Rows32, size: int) -> ChunkSums | None:
        """Subtract the base from every other row, in place, and sum.

        Args:
            rows: float32 [R, C] with contiguous rows; row 0 is the base, the others are models.
                C ≥ `size` is a multiple of 4096; columns from `size` on are overwritten.
            size: number of elements in this chunk.

        Products are float32 over runs of at most 4096 elements, summed in float64. None where an
        element is not finite, or squares leave float32: such a chunk needs `exact_sums`. Cost:
        R(R+1)/2 multiply-adds and about ten passes per element.
        """
        used = rows[:, : padded(size)]
        used[:, size:] = 0.0
        deltas = used[1:]
        with np.errstate(all="ignore"):
            np.subtract(deltas, used[0], out=deltas)
            gram = run_gram(used)
            peaks = np.maximum(deltas.max(axis=1), -deltas.min(axis=1))
        if not np.isfinite(gram).all() or ((peaks < SMALLEST_PEAK) & (peaks > 0)).any():
            return None
        active, conflict = self._signs(deltas)
        nothing = np.zeros(len(rows), dtype=np.int64)
        return ChunkSums(gram, active, conflict, peaks.astype(np.float64), nothing)


def exact_sums(rows: Rows32, size: int) -> ChunkSums:
    """The sums of any chunk, in float64; rows as in `ChunkKernel`, and overwritten too.

    An element at which the base or a model is not finite counts as zero there.
    """
    used = rows[:, : padded(size)]
    used[:, size:] = 0.0
    bad = ~np.isfinite(used)
    nonfinite = np.count_nonzero(bad, axis=1).astype(np.int64)
    used[bad] = 0.0
    bad[1:] |= bad[0]
    gram = np.zeros((len(used), len(used)), dtype=np.float64)
    peaks = np.zeros(len(used) - 1, dtype=np.float64)
    for start in range(0, used.shape[1], _ALIGN):
        part = used[:, start : start + _ALIGN].astype(np.float64)
        part[1:] -= part[0]
        part[bad[:, start : start + _ALIGN]] = 0.0
        gram += part @ part.T
        peaks = np.maximum(peaks, np.abs(part[1:]).max(axis=1))
        # Only signs are still needed, and a difference of floats keeps its sign in float32.
        used[:, start : start + _ALIGN] = np.sign(part)
    active, conflict = SignCounter(len(used) - 1, used.shape[1])(used[1:])
    return ChunkSums(gram, active, conflict, peaks, nonfinite)
