"""`ChunkKernel` in one sweep of compiled code, where the optional package numba is installed.

NumPy's kernel goes over a chunk about fifteen times, and a chunk of many rows does not stay in the
cache that is near a core. This one takes the chunk block by block and leaves a block only when
everything is known of it; it holds no lock of the interpreter, so that threads do not wait for each
other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..linalg.compiled import BLOCK, add_upper_gram, compile_once, fingerprint
from ..linalg.halves import WIDEN
from .kernel import SMALLEST_PEAK, ChunkSums, padded

__all__ = ["HALVES", "CompiledKernel", "Sweep", "compiled_sweep"]

Sweep = Callable[..., None]

HALVES = tuple(WIDEN)
"""Stored dtypes that a sweep widens itself, block by block: they never lie in memory as float32."""


class CompiledKernel:
    """See `ChunkKernel`: the same arguments, the same sums, within its accuracy.

    Products are float32 in lanes over blocks of 1024 elements, summed in float64. `sweep` is what
    `compiled_sweep` gives; one for `HALVES` takes uint16 rows instead, the bytes as stored.
    """

    def __init__(self, sweep: Sweep, rows: int) -> None:
        self._sweep = sweep
        self._block = np.empty((rows, BLOCK), dtype=np.float32)
        self._marks = np.empty((2, max(rows - 1, 1), BLOCK), dtype=np.uint8)

    def __call__(self, rows: NDArray[Any], size: int) -> ChunkSums | None:
        """See `ChunkKernel`. Cost: R(R+1)/2 multiply-adds per element, and one pass."""
        columns, count = padded(size), len(rows)
        rows = np.ascontiguousarray(rows)
        rows[:, size:columns] = 0
        gram = np.zeros((count, count), dtype=np.float64)
        counts = np.zeros((2, count - 1, count - 1), dtype=np.int64)
        peaks = np.zeros(count, dtype=np.uint32)
        block, words = self._block[:count], self._marks.view(np.uint64)
        bits = block.view(np.uint32)
        self._sweep(rows, columns, block, bits, self._marks, words, gram, counts, peaks)
        largest = peaks.view(np.float32)[1:]
        if not np.isfinite(gram).all() or ((largest < SMALLEST_PEAK) & (largest > 0)).any():
            return None
        active, conflict = (_mirrored(part) for part in counts)
        nothing = np.zeros(count, dtype=np.int64)
        return ChunkSums(_mirrored(gram), active, conflict, largest.astype(np.float64), nothing)


@lru_cache(maxsize=len(HALVES) + 1)
def compiled_sweep(dtype: str = "F32") -> Sweep | None:
    """The sweep over a chunk of a stored dtype; None without numba, see
    `linalg.compiled.compile_once`."""
    return compile_once(lambda numba, keep: _build(numba, keep, dtype))


def _mirrored(upper: NDArray[Any]) -> NDArray[Any]:
    """A symmetric matrix from its upper triangle."""
    return upper + np.triu(upper, 1).T


def _build(numba: Any, keep: bool, dtype: str) -> Sweep:
    exact = numba.njit(nogil=True, cache=keep)
    loop = {"F32": _from_floats, **WIDEN}[dtype]
    loops = fingerprint(loop, _subtract, _mark, _largest, _agreement, _sum_of_bytes)
    widen = exact(loop)
    subtract, mark, largest = exact(_subtract), exact(_mark), exact(_largest)
    agreement, bytes_of = exact(_agreement), exact(_sum_of_bytes)
    add_gram = add_upper_gram(numba, keep)
    stored = "f4" if dtype == "F32" else "u2"
    matrices = f"{stored}[:,::1],i8,f4[:,::1],u4[:,::1],u1[:,:,::1],u8[:,:,::1]"
    arguments = f"{matrices},f8[:,::1],i8[:,:,::1],u4[::1]"

    @numba.njit(f"void({arguments})", nogil=True, cache=keep)
    def sweep(stored, columns, rows, bits, marks, words, gram, counts, peaks):  # type: ignore[no-untyped-def]
        count = rows.shape[0] if len(loops) else 0  # kept only while these are the loops
        for low in range(0, columns, BLOCK):
            for i in range(count):
                widen(stored[i, low : low + BLOCK], rows[i], bits[i])
            for i in range(1, count):
                subtract(rows[i], rows[0])
                mark(rows[i], marks[0, i - 1], marks[1, i - 1])
                peaks[i] = largest(bits[i], peaks[i])
            add_gram(rows, 0, BLOCK, gram)
            for i in range(count - 1):
                for j in range(i, count - 1):
                    both, against = agreement(words[0, i], words[0, j], words[1, i], words[1, j])
                    counts[0, i, j] += bytes_of(both)
                    counts[1, i, j] += bytes_of(against)

    found: Sweep = sweep
    return found


# What follows is compiled: plain loops, which numba turns into vector code.


def _from_floats(stored, row, bits):  # type: ignore[no-untyped-def]
    for k in range(row.shape[0]):
        row[k] = stored[k]


def _subtract(row, base):  # type: ignore[no-untyped-def]
    for k in range(row.shape[0]):
        row[k] -= base[k]


def _mark(row, positive, nonzero):  # type: ignore[no-untyped-def]
    """One byte per element: 1 where it is positive, and 1 where it is not zero."""
    for k in range(row.shape[0]):
        positive[k] = row[k] > np.float32(0)
        nonzero[k] = row[k] != np.float32(0)


def _largest(bits, before):  # type: ignore[no-untyped-def]
    """Bits of the largest magnitude of these and `before`; above infinity's for a NaN."""
    most = np.uint32(before)
    for k in range(bits.shape[0]):
        most = max(most, bits[k] & np.uint32(0x7FFFFFFF))
    return most


def _agreement(positive, positive_too, nonzero, nonzero_too):  # type: ignore[no-untyped-def]
    """Two rows' active and conflicting elements, as sums of words of eight one-byte counts.

    A block has 128 words, so that no byte of a sum overflows.
    """
    active, conflict = np.uint64(0), np.uint64(0)
    for k in range(positive.shape[0]):
        both = nonzero[k] & nonzero_too[k]
        active += both
        conflict += both & (positive[k] ^ positive_too[k])
    return active, conflict


def _sum_of_bytes(word):  # type: ignore[no-untyped-def]
    even = np.uint64(0x00FF00FF00FF00FF)
    pairs = (word & even) + ((word >> np.uint64(8)) & even)
    return np.int64((pairs * np.uint64(0x0001000100010001)) >> np.uint64(48))
