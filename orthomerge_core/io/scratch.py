"""A buffer that stored bytes pass through on their way to float32."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["BUFFER_BYTES", "Scratch"]

BUFFER_BYTES = 1 << 19
"""Fits in the second-level cache: bytes are still there when they are hashed and converted."""

_MOST_VIEWS = 32


class Scratch:
    """One buffer and the views of it that were asked for; for one thread at a time.

    A worker that reads several sources in turn gives them all the same scratch: the buffer then
    stays in the cache.
    """

    def __init__(self) -> None:
        # numpy, since a torch tensor made under inference_mode could not be used outside it
        self._buffer: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._views: dict[tuple[torch.dtype, int], tuple[memoryview, Tensor]] = {}

    def bytes(self, n_bytes: int) -> NDArray[np.uint8]:
        """The first `n_bytes`; good until the next call."""
        if self._buffer.size < n_bytes:
            self._buffer = np.empty(max(n_bytes, BUFFER_BYTES), np.uint8)
            self._views.clear()
        return self._buffer[:n_bytes]

    def view(self, dtype: torch.dtype, count: int) -> tuple[memoryview, Tensor]:
        """The first `count` elements as bytes and as a tensor; bytes for one-byte dtypes.

        Both are kept: making them costs as much as converting some thousand elements.
        """
        found = self._views.get((dtype, count))
        if found is None:
            if len(self._views) >= _MOST_VIEWS:
                self._views.clear()
            raw = self.bytes(count * dtype.itemsize)
            stored = torch.uint8 if dtype.itemsize == 1 else dtype
            with torch.inference_mode(False):
                tensor = torch.from_numpy(raw).view(stored)
            found = self._views[dtype, count] = raw.data, tensor
        return found
