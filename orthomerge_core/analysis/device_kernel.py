"""Sums of a chunk in torch, on a device other than the CPU."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .kernel import ChunkSums

__all__ = ["DeviceKernel"]


class DeviceKernel:
    """Sums chunks on `device`, called like `kernel.ChunkKernel`.

    Products are float64 where the device has it: a host may have allowed TF32, whose ten bits would
    break the stated accuracy.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __call__(self, rows: NDArray[np.float32], size: int) -> ChunkSums | None:
        """See `ChunkKernel`; `rows` stay as they are. None also where memory does not suffice."""
        try:
            return _sums(torch.from_numpy(rows[:, :size]).to(self._device))
        except torch.OutOfMemoryError:
            return None


def _sums(rows: Tensor) -> ChunkSums | None:
    deltas = rows[1:] - rows[0]
    gram = _gram(torch.cat([rows[:1], deltas]))
    peaks = deltas.abs().amax(dim=1).double().cpu().numpy()
    if not bool(torch.isfinite(gram).all()) or not np.isfinite(peaks).all():
        return None
    # Counts up to 2²⁴ are exact in float32, and so are −1, 0 and 1 in any reduced precision.
    signs = torch.sign(deltas)
    nonzero = signs.abs()
    active = (nonzero @ nonzero.T).round().long().cpu().numpy()
    agreement = (signs @ signs.T).round().long().cpu().numpy()
    nothing = np.zeros(len(rows), dtype=np.int64)
    return ChunkSums(gram.numpy(), active, (active - agreement) // 2, peaks, nothing)


def _gram(rows: Tensor) -> Tensor:
    """rows · rowsᵀ in float64, on the CPU; runs of 4096 in float32 where there is no float64."""
    if rows.device.type != "mps":
        wide = rows.double()
        return (wide @ wide.T).cpu()
    return torch.stack([(run @ run.T).cpu() for run in rows.split(4096, dim=1)]).double().sum(dim=0)
