"""Inner products of deltas, summed in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..shapes import Float, Float32, Float64

__all__ = ["CHUNK", "delta_gram", "last_products", "row_gram", "run_gram", "run_length"]

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


def delta_gram(deltas: Sequence[Float[Tensor, "..."]]) -> Float64[Tensor, "rows rows"]:
    """G_ij = ⟨δ_i, δ_j⟩ over all elements, float64 on the CPU.

    The deltas are any tensors of one common number of elements. Products and sums are float64,
    taken in chunks: the chunk size changes memory only. Cost: rows² · elements.
    """
    flat = [delta.reshape(-1) for delta in deltas]
    total = torch.zeros(len(flat), len(flat), dtype=torch.float64)
    for start in range(0, flat[0].numel() if flat else 0, CHUNK):
        wide = torch.stack([f[start : start + CHUNK].double() for f in flat])
        total += (wide @ wide.T).cpu()
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


def last_products(rows: Float32[Tensor, "rows params"]) -> Float64[Tensor, "rows"]:
    """⟨x_i, x_last⟩ of every row, as exact as `row_gram`; float32 on the CPU."""

    def products(parts: NDArray[np.float32]) -> NDArray[np.float64]:
        return _products_with(parts, len(parts) - 1)

    total = torch.from_numpy(_of_runs(rows.numpy(), products))
    return total if bool(torch.isfinite(total).all()) else rows.double() @ rows[-1].double()


def run_gram(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """`row_gram` of [R, C] with contiguous rows on one thread, not finite where squares leave
    float32."""
    return _of_runs(rows, _gram_of_runs)


def _of_runs(
    rows: NDArray[np.float32], function: Callable[[NDArray[np.float32]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """A sum over columns, of whole runs and of the rest with zeros behind it."""
    whole = rows.shape[1] // _RUN * _RUN
    with np.errstate(all="ignore"):
        total = function(rows[:, :whole])
        if whole < rows.shape[1]:
            rest = np.zeros((len(rows), _RUN), dtype=np.float32)
            rest[:, : rows.shape[1] - whole] = rows[:, whole:]
            total += function(rest)
    return total


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
        gram[i, i:] = gram[i:, i] = _products_with(rows[i:], 0)
    return gram


def _products_with(rows: NDArray[np.float32], place: int) -> NDArray[np.float64]:
    """Inner products of all rows with the one at `place`; whole runs."""
    count, columns = rows.shape
    run = run_length(count)
    parts = rows.reshape(count, columns // run, run).transpose(1, 0, 2)
    products = np.matmul(parts, parts[:, place, :, None])[..., 0]
    return products.sum(axis=0, dtype=np.float64)
