"""Inner products of deltas, summed in float64."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..shapes import Float32, Float64

__all__ = ["delta_gram", "row_gram"]

_CHUNK = 1 << 18
_RUN = 1 << 12


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


def row_gram(rows: Float32[Tensor, "rows params"]) -> Float64[Tensor, "rows rows"]:
    """G_ij = ⟨x_i, x_j⟩, float64 on the CPU: float32 products in runs of 4096, summed in float64.

    Within 3e-7 of float64 relative to ‖x_i‖‖x_j‖, and as fast as one float32 product, which over
    65,536 elements loses ten times as much. All in float64 where squares leave float32; not finite
    where a value is not.
    """
    runs = rows.shape[1] // _RUN
    parts = rows[:, : runs * _RUN].unflatten(1, (runs, _RUN)).transpose(0, 1)
    total = torch.bmm(parts, parts.transpose(1, 2)).sum(dim=0, dtype=torch.float64)
    rest = rows[:, runs * _RUN :]
    total = (total + torch.mm(rest, rest.T)).cpu()
    return total if bool(torch.isfinite(total.diagonal()).all()) else delta_gram(list(rows))
