"""Inner products of deltas, summed in float64."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..shapes import Float64

__all__ = ["delta_gram"]

_CHUNK = 1 << 18


def delta_gram(deltas: Sequence[Tensor]) -> Float64[Tensor, "rows rows"]:
    """G_ij = ⟨δ_i, δ_j⟩ over all elements, float64 on the CPU.

    The deltas are any tensors of one common number of elements. Products and sums are float64,
    taken in chunks: the chunk size changes memory only. Cost: rows² · elements.
    """
    count = len(deltas)
    flat = [delta.reshape(-1) for delta in deltas]
    total = torch.zeros(count, count, dtype=torch.float64)
    size = flat[0].numel() if flat else 0
    for start in range(0, size, _CHUNK):
        part = torch.stack([f[start : start + _CHUNK].double() for f in flat])
        total += (part @ part.T).cpu()
    return total
