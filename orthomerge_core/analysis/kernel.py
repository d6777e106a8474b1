"""The sums of one chunk: Gram, sign counts and maxima of a base and its deltas, on the CPU.

Everything is a NumPy call on one thread, so that workers scale without a second level of threads:
at these sizes torch's comparisons, `aminmax` and L∞ norm cost five to thirty times NumPy's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ChunkSums", "chunk_sums", "padded"]

Rows32 = NDArray[np.float32]
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_ALIGN = 4096
_BLAS_ONE_THREAD = 8192
"""OpenBLAS splits larger products over threads of its own, which then wait for each other."""

_SMALLEST_SQUARE = 1e-15
"""Below this, squares leave float32's normal range and the chunk is summed in float64."""


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


def chunk_sums(rows: Rows32, size: int) -> ChunkSums:
    """Subtract the base from every other row, in place, and sum.

    Args:
        rows: float32 [R, C] with contiguous rows; row 0 is the base, the others are models.
            C ≥ `size` is a multiple of 4096; columns from `size` on are overwritten.
        size: number of elements in this chunk.

    Products are float32 over runs of at most 4096 elements, summed in float64. Elements at which
    the base or a model is not finite count as zero there; chunks that hold such elements, or values
    whose squares leave float32, are summed in float64. Cost: R(R+1)/2 multiply-adds per element.
    """
    used = rows[:, : padded(size)]
    used[:, size:] = 0.0
    with np.errstate(all="ignore"):
        base_is_finite = bool(np.isfinite(used[0].sum()))
        nonfinite = _count_nonfinite(used) if not base_is_finite else None
        np.subtract(used[1:], used[0], out=used[1:])
        gram = _gram(used)
        if nonfinite is not None or not np.isfinite(gram).all():
            nonfinite = _zero_nonfinite(used, nonfinite)
            gram = _gram64(used)
        max_abs = np.maximum(used[1:].max(axis=1), -used[1:].min(axis=1)).astype(np.float64)
        if np.any((max_abs < _SMALLEST_SQUARE) & (max_abs > 0)):
            gram = _gram64(used)
    active, conflict = sign_counts(used[1:])
    if nonfinite is None:
        nonfinite = np.zeros(len(rows), dtype=np.int64)
    return ChunkSums(gram, active, conflict, max_abs, nonfinite)


def _gram(rows: Rows32) -> Floats:
    """rows · rowsᵀ, [R, R] float64; float32 inside runs short enough for single-threaded BLAS."""
    count, columns = rows.shape
    run = _ALIGN
    while run > 256 and run * count > _BLAS_ONE_THREAD:
        run //= 2
    runs = rows.reshape(count, columns // run, run).transpose(1, 0, 2)
    gram = np.empty((count, count), dtype=np.float64)
    for i in range(count):
        # Symmetric by halves: measured 1.3 to 2 times faster here than one batched matrix product.
        dots = np.matmul(runs[:, i:], runs[:, i, :, None])[..., 0].sum(axis=0, dtype=np.float64)
        gram[i, i:] = gram[i:, i] = dots
    return gram


def _gram64(rows: Rows32) -> Floats:
    """rows · rowsᵀ in float64 throughout, 4096 columns at a time."""
    count, columns = rows.shape
    gram = np.zeros((count, count), dtype=np.float64)
    for start in range(0, columns, _ALIGN):
        part = rows[:, start : start + _ALIGN].astype(np.float64)
        gram += part @ part.T
    return gram


def _count_nonfinite(rows: Rows32) -> Counts:
    """Non-finite elements per row."""
    counts: Counts = np.count_nonzero(~np.isfinite(rows), axis=1).astype(np.int64)
    return counts


def _zero_nonfinite(rows: Rows32, counted: Counts | None) -> Counts:
    """Zero elements that are not finite after subtraction, in all rows where the base is not.

    Returns their counts. `counted` are those from before subtraction where the base had some, since
    a bad base hides the rest; with a finite base, a delta is non-finite exactly where its model is.
    """
    bad = ~np.isfinite(rows)
    counts: Counts = np.count_nonzero(bad, axis=1).astype(np.int64) if counted is None else counted
    bad[1:] |= bad[0]
    rows[bad] = 0.0
    return counts


def sign_counts(deltas: Rows32) -> tuple[Counts, Counts]:
    """Active and conflicting elements of all pairs, from packed sign bits.

    Args:
        deltas: float32 [N, C], C a multiple of 64, finite.

    Returns `active`, `conflict`, each [N, N] int64 and symmetric. Cost: two comparisons per element
    and two population counts per pair and 64 elements.
    """
    count = len(deltas)
    positive = _packed(deltas > 0)
    nonzero = _packed(deltas != 0)
    active = np.zeros((count, count), dtype=np.int64)
    conflict = np.zeros((count, count), dtype=np.int64)
    for i in range(count):
        both = nonzero[i:] & nonzero[i]
        opposite = (positive[i:] ^ positive[i]) & both
        active[i, i:] = active[i:, i] = _ones(both)
        conflict[i, i:] = conflict[i:, i] = _ones(opposite)
    return active, conflict


def _packed(flags: NDArray[np.bool_]) -> NDArray[np.uint64]:
    return np.packbits(flags, axis=1).view(np.uint64)


def _ones(words: NDArray[np.uint64]) -> Counts:
    """Set bits per row."""
    if hasattr(np, "bitwise_count"):
        return np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    # NumPy 1.26 has no population count.
    return _BITS_OF_16[words.view(np.uint16)].sum(axis=1, dtype=np.int64)


_BITS_OF_16 = np.array([bin(i).count("1") for i in range(1 << 16)], dtype=np.uint8)
