"""The sums of one chunk on another device than the CPU: the same result, in torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .kernel import ChunkSums, chunk_sums

__all__ = ["device_sums"]


def device_sums(device: torch.device) -> Callable[[NDArray[np.float32], int], ChunkSums]:
    """A function like `kernel.chunk_sums` that works on `device`.

    Products are float64 where the device has it: a host may have allowed TF32, whose ten bits would
    break the stated accuracy. Chunks that are not finite, or that no longer fit the device's
    memory, are summed on the CPU.
    """
    precise = torch.float32 if device.type == "mps" else torch.float64

    def sums(rows: NDArray[np.float32], size: int) -> ChunkSums:
        try:
            found = _sums(torch.from_numpy(rows[:, :size]).to(device), precise)
        except torch.OutOfMemoryError:
            found = None
        return found or chunk_sums(rows, size)

    return sums


def _sums(rows: Tensor, precise: torch.dtype) -> ChunkSums | None:
    """Sums of float32 [R, C] rows, or None where an element, or a square, is not finite."""
    deltas = rows[1:] - rows[0]
    whole = torch.cat([rows[:1], deltas]).to(precise)
    gram = (whole @ whole.T).double() if precise == torch.float64 else _gram32(whole)
    if not bool(torch.isfinite(gram).all()):
        return None
    # Counts up to 2²⁴ are exact in float32, and so is any reduced precision of −1, 0, 1.
    signs = torch.sign(deltas)
    nonzero = signs.abs()
    both = (nonzero @ nonzero.T).round().long().cpu().numpy()
    agreement = (signs @ signs.T).round().long().cpu().numpy()
    return ChunkSums(
        gram=gram.cpu().numpy(),
        active=both,
        conflict=(both - agreement) // 2,
        max_abs=deltas.abs().amax(dim=1).double().cpu().numpy()
        if len(deltas)
        else np.zeros(0, dtype=np.float64),
        nonfinite=np.zeros(len(rows), dtype=np.int64),
    )


def _gram32(rows: Tensor) -> Tensor:
    """rows · rowsᵀ where the device lacks float64: runs of 4096 in float32, added up on the CPU."""
    runs = rows.split(4096, dim=1)
    return torch.stack([(run @ run.T).cpu() for run in runs]).double().sum(dim=0)
