"""`ChunkKernel` in one pass of compiled code, where the optional package numba is installed.

NumPy's kernel goes over a chunk about fifteen times, and a chunk of many rows does not stay in the
cache that is near a core. This one takes the chunk block by block and leaves a block only when
everything is known of it; it holds no lock of the interpreter, so that threads do not wait for each
other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..linalg.compiled import BLOCK, KINDS, loops
from .kernel import SMALLEST_PEAK, ChunkSums, padded

__all__ = ["CompiledKernel", "Kernel", "compiled_kernel"]

Kernel = Callable[..., None]


class CompiledKernel:
    """See `ChunkKernel`: the same arguments, the same sums, within its accuracy.

    Products are float32 in lanes over blocks of 1024 elements, summed in float64. `kernel` is what
    `compiled_kernel` gives; one for a 16-bit dtype takes uint16 rows instead, the bytes as stored,
    and widens them block by block: they never lie in memory as float32.
    """

    def __init__(self, kernel: Kernel, rows: int) -> None:
        self._kernel = kernel
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
        self._kernel(rows, columns, block, bits, self._marks, words, gram, counts, peaks)
        largest = peaks.view(np.float32)[1:]
        if not np.isfinite(gram).all() or ((largest < SMALLEST_PEAK) & (largest > 0)).any():
            return None
        active, conflict = (_mirrored(part) for part in counts)
        nothing = np.zeros(count, dtype=np.int64)
        return ChunkSums(_mirrored(gram), active, conflict, largest.astype(np.float64), nothing)


@lru_cache(maxsize=len(KINDS) + 1)
def compiled_kernel(dtype: str = "F32") -> Kernel | None:
    """The kernel over a chunk of a stored dtype, compiled; None without numba."""
    found = loops()
    if found is None:
        return None
    kernel: Kernel = found.sum_floats
    if dtype != "F32":
        kernel = partial(_of_kind, found.sum_halves, KINDS[dtype])
    stored = np.zeros((2, BLOCK), dtype=np.float32 if dtype == "F32" else np.uint16)
    CompiledKernel(kernel, 2)(stored, BLOCK)  # compiles it
    return kernel


def _of_kind(kernel: Kernel, kind: int, stored: NDArray[np.uint16], *rest: Any) -> None:
    kernel(stored, kind, *rest)


def _mirrored(upper: NDArray[Any]) -> NDArray[Any]:
    """A symmetric matrix from its upper triangle."""
    return upper + np.triu(upper, 1).T
