"""Inner products of deltas, summed in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..shapes import Float32, Float64

__all__ = ["CHUNK", "chunked_gram", "delta_gram", "row_gram", "run_gram", "run_length"]

CHUNK = 1 << 18
"""Elements at a time: half of it costs more calls, between which threads wait for each other, twice
of it leaves the cache."""
_RUN = 1 << 12
_FEW = 6
"""Up to so many rows a batched matrix product is faster on several threads than products of a
matrix and a vector, which in OpenBLAS wait for each other; for more it wastes what it computes
twice."""

_BLAS_ONE_THREAD = 9215
"""OpenBLAS splits larger products over threads of its own, which then wait for each other."""


def delta_gram(deltas: Sequence[Tensor]) -> Float64[Tensor, "rows rows"]:
    """G_ij = ⟨δ_i, δ_j⟩ over all elements, float64 on the CPU.

    The deltas are any tensors of one common number of elements. Products and sums are float64,
    taken in chunks: the chunk size changes memory only. Cost: rows² · elements.
    """

    def product(rows: Tensor) -> Tensor:
        wide = rows.double()
        return (wide @ wide.T).cpu()

    return _sum_of_chunks(deltas, product)


def chunked_gram(deltas: Sequence[Tensor]) -> Float64[Tensor, "rows rows"]:
    """`row_gram` of deltas of one size, chunk by chunk: what streaming them sums, to the last bit
    where BLAS takes the same rows."""
    return _sum_of_chunks(deltas, lambda rows: row_gram(rows.float()))


def _sum_of_chunks(
    deltas: Sequence[Tensor], product: Callable[[Tensor], Tensor]
) -> Float64[Tensor, "rows rows"]:
    flat = [delta.reshape(-1) for delta in deltas]
    total = torch.zeros(len(flat), len(flat), dtype=torch.float64)
    for start in range(0, flat[0].numel() if flat else 0, CHUNK):
        total += product(torch.stack([f[start : start + CHUNK] for f in flat]))
    return total


def row_gram(rows: Float32[Tensor, "rows params"]) -> Float64[Tensor, "rows rows"]:
    """G_ij = ⟨x_i, x_j⟩, float64 on the CPU: float32 products in runs of 4096, summed in float64.

    Within 1e-6 of float64 relative to ‖x_i‖‖x_j‖, and as fast as one float32 product, which over
    65,536 elements loses ten times as much. All in float64 where squares leave float32; not finite
    where a value is not.
    """
    if rows.device.type == "cpu":
        total = torch.from_numpy(run_gram(rows.numpy()))
    else:
        runs = rows.shape[1] // _RUN
        parts = rows[:, : runs * _RUN].unflatten(1, (runs, _RUN)).transpose(0, 1)
        total = torch.bmm(parts, parts.transpose(1, 2)).sum(dim=0, dtype=torch.float64)
        rest = rows[:, runs * _RUN :]
        total = (total + torch.mm(rest, rest.T)).cpu()
    return total if bool(torch.isfinite(total.diagonal()).all()) else delta_gram(list(rows))


def run_gram(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """`row_gram` of [R, C] with contiguous rows on one thread, not finite where squares leave
    float32."""
    whole = rows.shape[1] // _RUN * _RUN
    with np.errstate(all="ignore"):
        gram = _gram_of_runs(rows[:, :whole])
        if whole < rows.shape[1]:
            rest = np.zeros((len(rows), _RUN), dtype=np.float32)
            rest[:, : rows.shape[1] - whole] = rows[:, whole:]
            gram += _gram_of_runs(rest)
    return gram


def run_length(rows: int) -> int:
    """Columns per product of that many rows and a vector, 4096 or less, so that BLAS stays on this
    thread."""
    run = _RUN
    while run > 256 and run * rows > _BLAS_ONE_THREAD:
        run //= 2
    return run


def _gram_of_runs(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    count, columns = rows.shape
    if count <= _FEW:
        runs = torch.from_numpy(rows).unflatten(1, (columns // _RUN, _RUN)).transpose(0, 1)
        return torch.bmm(runs, runs.transpose(1, 2)).sum(dim=0, dtype=torch.float64).numpy()
    gram = np.empty((count, count), dtype=np.float64)
    for i in range(count):
        run = run_length(count - i)
        parts = rows.reshape(count, columns // run, run)[i:].transpose(1, 0, 2)
        dots = np.matmul(parts, parts[:, 0, :, None])[..., 0].sum(axis=0, dtype=np.float64)
        gram[i, i:] = gram[i:, i] = dots
    return gram
