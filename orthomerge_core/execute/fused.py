"""W = B + Σ c_i δ_i in one sweep over 16-bit weights, where the optional numba is installed.

The sweep does to each element exactly what `LinearMerge` does with torch, in the same order of
roundings; that is tried on numbers before it is used (`_agrees`), so that a file's bytes never
depend on it. A tensor in which anything is not finite is left to the other way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..io.dtypes import torch_dtype
from ..linalg.compiled import BLOCK, add_upper_gram, compile_once, fingerprint
from ..linalg.halves import NARROW, WIDEN
from .outputs import cast
from .work import add_rows, difference

__all__ = ["FusedSum", "Sweep", "Terms", "fused_sweep"]

Sweep = Callable[..., float]


@dataclass(frozen=True)
class Terms:
    """What is summed, for all chunks of a tensor.

    `models`, `parents` [rows] are places in the chunk's D's, −1 for the base; a texture is one row
    more than `measured`, the recipe's. `coefficients` [rows] float32; `acting` are the rows that
    are added up, in this order.
    """

    models: NDArray[np.int64]
    parents: NDArray[np.int64]
    coefficients: NDArray[np.float32]
    acting: NDArray[np.int64]
    measured: int


class FusedSum:
    """The sweep for one stored dtype, with its own memory; one per thread."""

    def __init__(self, sweep: Sweep, models: int, rows: int) -> None:
        self._sweep = sweep
        self._wide = np.empty((models + 1, BLOCK), dtype=np.float32)
        self._rows = np.empty((rows + 1, BLOCK), dtype=np.float32)
        self._result = np.empty((2, BLOCK), dtype=np.float32)

    def __call__(
        self, stored: NDArray[np.uint16], size: int, terms: Terms, out: NDArray[np.uint16]
    ) -> tuple[NDArray[np.float64], float]:
        """Sum the first `size` columns.

        Args:
            stored: uint16 [1 + models, C], the base first; C a multiple of 1024, columns from
                `size` on are overwritten.
            terms: see there.
            out: uint16 [C], filled with the rounded result.

        Returns: the Gram of [δ_1 … δ_measured, W − B] in float64, and the energy of the rounding
        error. One of them is not finite where a value was not.
        """
        columns = -(-size // BLOCK) * BLOCK
        stored[:, size:columns] = 0
        upper = np.zeros((terms.measured + 1, terms.measured + 1), dtype=np.float64)
        energy = self._sweep(
            stored,
            columns,
            (self._wide, self._wide.view(np.uint32)),
            self._rows[: len(terms.models) + 1],
            (self._result, self._result.view(np.uint32)),
            (terms.models, terms.parents, terms.acting),
            terms.coefficients,
            upper,
            out,
        )
        return upper + np.triu(upper, 1).T, float(energy)


@lru_cache(maxsize=len(WIDEN))
def fused_sweep(dtype: str) -> Sweep | None:
    """The sweep over weights of a stored dtype; None without numba, or if it is not torch's equal.

    Compiling takes some seconds, once; see `linalg.compiled.compile_once`.
    """
    if dtype not in WIDEN:
        return None
    sweep = compile_once(lambda numba, keep: _build(numba, keep, dtype))
    return sweep if sweep is not None and _agrees(sweep, dtype) else None


def _agrees(sweep: Sweep, dtype: str) -> bool:
    """Whether a trial gives torch's bytes: numbers of many sizes, rows with and without parents."""
    count, size = 3, 64 * BLOCK
    generator = torch.Generator().manual_seed(0)
    scale = torch.exp2(torch.randint(-24, 4, (size,), generator=generator).float())
    base = torch.randn(size, generator=generator) * scale
    moved = base + 0.05 * scale * torch.randn(count, size, generator=generator)
    stored = torch.cat([base[None], moved]).to(torch_dtype(dtype))
    models, parents = [0, 1, 2, 2], [-1, 0, -1, 1]
    numbers = [0.3, -1.7, 1.0, 0.45]
    matrix = torch.empty(len(models) + 1, size)
    deltas = stored[1:].float() - stored[0].float()
    for i, (model, parent) in enumerate(zip(models, parents, strict=True)):
        difference(deltas, model, parent, matrix[i])
    add_rows(matrix[:-1], range(len(models)), numbers, matrix[-1])
    wanted = cast(torch.add(stored[0].float(), matrix[-1]), dtype)
    acting = np.arange(len(models))
    terms = Terms(
        np.array(models), np.array(parents), np.array(numbers, np.float32), acting, len(models)
    )
    out = np.empty(size, dtype=np.uint16)
    halves = stored.view(torch.int16).numpy().view(np.uint16)
    FusedSum(sweep, count, len(models))(halves, size, terms, out)
    return bool(np.array_equal(out, wanted.view(torch.int16).numpy().view(np.uint16)))


def _build(numba: Any, keep: bool, dtype: str) -> Sweep:
    exact = numba.njit(nogil=True, cache=keep)
    # torch adds a multiple by one fused multiply-add; so does this, where the processor has it.
    added = numba.njit(nogil=True, cache=keep, fastmath={"contract"})(_added)
    loose = numba.njit(nogil=True, cache=keep, fastmath={"reassoc", "contract", "nsz"})
    widen, narrow = exact(WIDEN[dtype]), exact(NARROW[dtype])
    subtract, scaled, total = exact(_subtract), exact(_scaled), exact(_total)
    error, copy = loose(_error), exact(_copy)
    add_gram = add_upper_gram(numba, keep)
    own = (_subtract, _scaled, _total, _added, _error, _copy)
    loops = fingerprint(WIDEN[dtype], NARROW[dtype], *own)

    @numba.njit(nogil=True, cache=keep)
    def add_up(rows, acting, coefficients, delta):  # type: ignore[no-untyped-def]  # compiled
        if not len(acting):
            delta[:] = 0
            return
        scaled(rows[acting[0]], coefficients[acting[0]], delta)
        for place in range(1, len(acting)):
            added(delta, rows[acting[place]], coefficients[acting[place]])

    @numba.njit(nogil=True, cache=keep)
    def sweep(stored, columns, wide, rows, result, places, coefficients, gram, out):  # type: ignore[no-untyped-def]
        models, parents, acting = places
        (values, bits), (sums, sum_bits) = wide, result
        count, measured, energy = len(models), gram.shape[0] - 1, 0.0
        if not len(loops):  # kept only while these are the loops
            return energy
        for low in range(0, columns, BLOCK):
            high = low + BLOCK
            for i in range(values.shape[0]):
                widen(stored[i, low:high], values[i], bits[i])
            for i in range(1, values.shape[0]):
                subtract(values[i], values[0], values[i])
            for i in range(count):
                if models[i] >= 0:
                    copy(values[models[i] + 1], rows[i])
                else:
                    rows[i, :] = np.float32(0)
                if parents[i] >= 0:
                    subtract(rows[i], values[parents[i] + 1], rows[i])
            add_up(rows, acting, coefficients, rows[count])
            total(values[0], rows[count], sums[0])
            rows[measured, :] = rows[
                count
            ]  # behind the measured rows: the texture has done its part
            add_gram(rows[: measured + 1], 0, BLOCK, gram)
            copy(sums[0], sums[1])
            narrow(sums[1], sum_bits[1], out[low:high])
            widen(out[low:high], sums[1], sum_bits[1])
            energy += error(sums[1], sums[0])
        return energy

    found: Sweep = sweep
    return found


# What follows is compiled: plain loops, which numba turns into vector code.


def _copy(row, out):  # type: ignore[no-untyped-def]
    for k in range(out.shape[0]):
        out[k] = row[k]


def _subtract(a, b, out):  # type: ignore[no-untyped-def]
    for k in range(out.shape[0]):
        out[k] = a[k] - b[k]


def _scaled(row, factor, out):  # type: ignore[no-untyped-def]
    for k in range(out.shape[0]):
        out[k] = row[k] * factor


def _added(out, row, factor):  # type: ignore[no-untyped-def]
    for k in range(out.shape[0]):
        out[k] += row[k] * factor


def _total(a, b, out):  # type: ignore[no-untyped-def]
    for k in range(out.shape[0]):
        out[k] = a[k] + b[k]


def _error(a, b):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for k in range(a.shape[0]):
        total += (a[k] - b[k]) * (a[k] - b[k])
    return total
