"""Counts, on packed bits, how often two deltas are non-zero and of opposite sign."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SignCounter"]

Counts = NDArray[np.int64]
Words = NDArray[np.uint64]

_BITS_OF_16 = np.array([bin(i).count("1") for i in range(1 << 16)], dtype=np.uint8)


class SignCounter:
    """Counts pairs of rows, chunk after chunk, in the same scratch memory.

    Args:
        rows: most rows of a chunk. columns: most columns of a chunk, a multiple of 64.

    Scratch is about 1.3·rows·columns bytes. Fresh arrays of this size would cost page faults on
    every chunk.
    """

    def __init__(self, rows: int, columns: int) -> None:
        words = columns // 64
        self._flags = np.empty(rows * columns, dtype=np.bool_)
        self._both = np.empty(rows * words, dtype=np.uint64)
        self._opposite = np.empty_like(self._both)
        self._bits = np.empty(rows * words, dtype=np.uint8)

    def __call__(self, deltas: NDArray[np.float32]) -> tuple[Counts, Counts]:
        """Active and conflicting elements of all pairs, each [N, N] int64 and symmetric.

        Args:
            deltas: float32 [N, C], C a multiple of 64, finite.

        Cost: two comparisons per element, and two population counts per pair and 64 elements.
        """
        count = len(deltas)
        flags = self._flags[: deltas.size].reshape(deltas.shape)
        positive = _packed(np.greater(deltas, 0, out=flags))
        nonzero = _packed(np.not_equal(deltas, 0, out=flags))
        active = np.zeros((count, count), dtype=np.int64)
        conflict = np.zeros((count, count), dtype=np.int64)
        for i in range(count):
            shape = (count - i, nonzero.shape[1])
            both, opposite = _part(self._both, shape), _part(self._opposite, shape)
            np.bitwise_and(nonzero[i], nonzero[i:], out=both)
            np.bitwise_xor(positive[i], positive[i:], out=opposite)
            np.bitwise_and(opposite, both, out=opposite)
            active[i, i:] = active[i:, i] = self._ones(both)
            conflict[i, i:] = conflict[i:, i] = self._ones(opposite)
        return active, conflict

    def _ones(self, words: Words) -> NDArray[np.integer[Any]]:
        """Set bits along the last axis."""
        if not hasattr(np, "bitwise_count"):  # NumPy 1.26
            return _BITS_OF_16[words.view(np.uint16)].sum(axis=-1, dtype=np.int64)
        bits = np.bitwise_count(words, out=_part(self._bits, words.shape))
        narrow = words.shape[-1] * 64 < 1 << 16  # fits uint16, which adds up twice as fast
        return bits.sum(axis=-1, dtype=np.uint16 if narrow else np.uint32)


def _packed(flags: NDArray[np.bool_]) -> Words:
    return np.packbits(flags, axis=1).view(np.uint64)


def _part(scratch: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    return scratch[: math.prod(shape)].reshape(shape)
