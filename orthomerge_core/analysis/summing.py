"""Per-thread accumulation of chunk sums; float64 fallback for unusual chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from ..concurrency.background import run_abandonable
from ..io.scratch import Scratch
from ..io.source import Read
from ..keys.aligned import AlignedModel, AlignedSet, common_dtype
from ..keys.reading import total_bytes
from ..linalg.compiled import KINDS, WORTH_COMPILING_BYTES
from ..progress import Progress
from .compiled import CompiledKernel, Kernel, compiled_kernel
from .device_kernel import DeviceKernel
from .kernel import ChunkKernel, ChunkSums, exact_sums

__all__ = ["Engine", "Summer", "engine_for"]

SumChunk = Callable[[int, int], ChunkSums]
"""(start, size): the sums of elements [start, start + size) of a tensor."""


@dataclass(frozen=True)
class Engine:
    """What sums chunks: on the CPU compiled code by stored dtype ("F32" for float32 rows), where
    there is any; else NumPy or, elsewhere, the device."""

    device: torch.device
    kernels: dict[str, Kernel] = field(default_factory=dict)

    def kernel(self, rows: int, columns: int) -> Callable[..., ChunkSums | None]:
        """What sums float32 rows."""
        if self.device.type != "cpu":
            return DeviceKernel(self.device)
        if "F32" in self.kernels:
            return CompiledKernel(self.kernels["F32"], rows)
        return ChunkKernel(rows, columns)


def engine_for(device: torch.device, aligned: AlignedSet, progress: Progress) -> Engine:
    """Compiled code for large sets on the CPU, where numba is installed."""
    if device.type != "cpu" or total_bytes(aligned) < WORTH_COMPILING_BYTES:
        return Engine(device)
    models = (aligned.base, *aligned.models)
    stored = {common_dtype([m for m in models if m.has(key)], key) for key in aligned.keys}
    kernels = {
        dtype: run_abandonable(partial(compiled_kernel, dtype), progress)
        for dtype in ("F32", *(name for name in KINDS if name in stored))
    }
    return Engine(device, {name: found for name, found in kernels.items() if found is not None})


class Summer:
    """Reads and sums one tensor after the other in the same memory; one per thread.

    Args:
        engine: see there.
        models: most models of a tensor, the base included.
        columns: most elements of a chunk, a multiple of 4096.
    """

    def __init__(self, engine: Engine, models: int, columns: int) -> None:
        self._engine, self._shape = engine, (models, columns)
        self._kernel = engine.kernel(models, columns)
        self._scratch = Scratch()
        self._floats: NDArray[np.float32] | None = None
        self._halves: NDArray[np.uint16] | None = None

    def tensor(self, key: str, models: Sequence[AlignedModel]) -> SumChunk:
        """What sums chunks of a tensor that these models hold, the base first."""
        exact = self._floats_of(key, models)
        dtype = common_dtype(models, key)
        kernel = self._engine.kernels.get(dtype) if dtype in KINDS else None
        if kernel is None:
            return exact
        return self._stored_of(key, models, CompiledKernel(kernel, len(models)), exact)

    def _floats_of(self, key: str, models: Sequence[AlignedModel]) -> SumChunk:
        readers = [model.reader(key, self._scratch) for model in models]

        def sums(start: int, size: int) -> ChunkSums:
            if self._floats is None:
                self._floats = np.empty(self._shape, dtype=np.float32)
            rows = self._floats[: len(readers)]
            _fill(readers, rows, start, size)
            found = self._kernel(rows, size)
            if found is None:
                _fill(readers, rows, start, size)
                found = exact_sums(rows, size)
            return found

        return sums

    def _stored_of(
        self, key: str, models: Sequence[AlignedModel], kernel: CompiledKernel, exact: SumChunk
    ) -> SumChunk:
        """The same from 16-bit numbers as they are stored, widened where they are summed."""
        readers = [read for m in models if (read := m.stored_reader(key)) is not None]

        def sums(start: int, size: int) -> ChunkSums:
            if self._halves is None:
                self._halves = np.empty(self._shape, dtype=np.uint16)
            rows = self._halves[: len(readers)]
            for row, read in zip(rows, readers, strict=True):
                read(row[:size].view(np.uint8).data, start)
            found = kernel(rows, size)
            return exact(start, size) if found is None else found

        return sums


def _fill(readers: Sequence[Read], rows: NDArray[np.float32], start: int, size: int) -> None:
    """Elements [start, start + size) of a tensor, one model a row."""
    for row, read in zip(torch.from_numpy(rows)[:, :size], readers, strict=True):
        read(row, start)
