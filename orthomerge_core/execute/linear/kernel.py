"""W = B + Σ c_i δ_i in one pass over 16-bit weights, where the optional numba is installed.

The kernel does to each element exactly what `LinearMerge` does with torch, in the same order of
roundings; where coefficients need the rows' Gram, a second kernel runs first and sums it to the
last bit as `BlockGram` does. Both are tried on numbers before they are used (`_agrees`), so that a
file's bytes never depend on them. A tensor with a value that is not finite is left to
`floats`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...io.dtypes import torch_dtype
from ...linalg.block_gram import BlockGram
from ...linalg.compiled import BLOCK, KINDS, loops
from ..deltas import add_rows, difference
from ..output.cast import cast

__all__ = ["FusedSum", "Kernel", "Terms", "fused_kernel"]

_MOST = 360
_POWERS = np.ldexp(1.0, np.arange(-_MOST, _MOST + 1))
"""2^k for every k that two blocks' exponents and their digits come to."""


@dataclass(frozen=True)
class Kernel:
    """The compiled functions over weights of one stored dtype."""

    merge: Callable[..., None]
    gram: Callable[..., None]


@dataclass(frozen=True)
class Terms:
    """What is summed, for all chunks of a tensor.

    `models`, `parents` [rows] are places in the chunk's D's, −1 for the base; a texture is one row
    more than `measured`, the recipe's. `coefficients` [rows] float32; `acting` are the rows that
    are added up, in this order. `own`: row i is all of model i's D, for every model. `known`: the
    rows' Gram is not asked for.
    """

    models: NDArray[np.int64]
    parents: NDArray[np.int64]
    coefficients: NDArray[np.float32]
    acting: NDArray[np.int64]
    measured: int
    own: bool = False
    known: bool = False


class FusedSum:
    """The kernels for one stored dtype, with their own memory; one per thread."""

    def __init__(self, kernel: Kernel, models: int, rows: int) -> None:
        self._kernel = kernel
        self._wide = np.empty((models + 2, BLOCK), dtype=np.float32)
        self._rows = np.empty((rows + 1, BLOCK), dtype=np.float32)
        self._result = np.empty((2, BLOCK), dtype=np.float32)
        self._whole = np.empty((rows, BLOCK), dtype=np.float64)

    def __call__(
        self, stored: NDArray[np.uint16], size: int, terms: Terms, out: NDArray[np.uint16]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sum the first `size` columns.

        Args:
            stored: uint16 [1 + models, C], the base first; C a multiple of 1024, columns from
                `size` on are overwritten.
            terms: see there.
            out: uint16 [C], filled with the rounded result.

        Returns: the Gram of [δ_1 … δ_measured, W − B] in float64, of which only the last row and
        column are filled where the rest is known, and [measured + 1] the products of the rounding
        error with the rows and itself. One of them is not finite where a value was not.
        """
        upper = np.zeros((terms.measured + 1, terms.measured + 1), dtype=np.float64)
        error = np.zeros_like(upper)
        self._kernel.merge(
            stored,
            _whole_blocks(stored, size),
            _with_bits(self._wide),
            self._of(terms),
            _with_bits(self._result),
            (terms.models, terms.parents, terms.acting, terms.own, terms.known),
            terms.coefficients,
            upper,
            error,
            out,
        )
        return upper + np.triu(upper, 1).T, error[:, -1].copy()

    def add_gram(
        self, stored: NDArray[np.uint16], size: int, terms: Terms, upper: NDArray[np.float64]
    ) -> None:
        """Add the first `size` columns of the measured rows to the upper half of their
        `BlockGram`; call with chunks of a multiple of 1024, but for the last."""
        rows = self._of(terms)
        self._kernel.gram(
            stored,
            _whole_blocks(stored, size),
            _with_bits(self._wide),
            _with_bits(rows),
            self._whole[: terms.measured],
            (terms.models[: terms.measured], terms.parents[: terms.measured], terms.own),
            _POWERS,
            upper,
        )

    def _of(self, terms: Terms) -> NDArray[np.float32]:
        return self._wide[1:] if terms.own else self._rows[: len(terms.models) + 1]


def _whole_blocks(stored: NDArray[np.uint16], size: int) -> int:
    """Columns up to the end of a block, zero from `size` on."""
    columns = -(-size // BLOCK) * BLOCK
    stored[:, size:columns] = 0
    return columns


def _with_bits(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    return values, values.view(np.uint32)


@lru_cache(maxsize=len(KINDS))
def fused_kernel(dtype: str) -> Kernel | None:
    """The kernels over weights of a stored dtype, compiled; None without numba, or if they are not
    torch's equal."""
    found = loops()
    if found is None or dtype not in KINDS:
        return None
    kind = KINDS[dtype]
    kernel = Kernel(
        partial(_of_kind, found.merge_halves, kind), partial(_of_kind, found.gram_halves, kind)
    )
    return kernel if _agrees(kernel, dtype) else None


def _of_kind(
    function: Callable[..., Any], kind: int, stored: NDArray[np.uint16], *rest: Any
) -> Any:
    return function(stored, kind, *rest)


def _agrees(kernel: Kernel, dtype: str) -> bool:
    """Whether a trial gives torch's bytes: numbers of many sizes, rows with and without parents."""
    count, size = 3, 64 * BLOCK
    generator = torch.Generator().manual_seed(0)
    scale = torch.exp2(torch.randint(-24, 4, (size,), generator=generator).float())
    base = torch.randn(size, generator=generator) * scale
    moved = base + 0.05 * scale * torch.randn(count, size, generator=generator)
    stored = torch.cat([base[None], moved]).to(torch_dtype(dtype))
    own = _trial([0, 1, 2], [-1, -1, -1], [0.3, -1.7, 0.45], own=True)
    mixed = _trial([0, 1, 2, 2], [-1, 0, -1, 1], [0.3, -1.7, 1.0, 0.45])
    return all(_same_bytes(kernel, dtype, stored, terms) for terms in (own, mixed))


def _trial(
    models: Sequence[int], parents: Sequence[int], numbers: Sequence[float], *, own: bool = False
) -> Terms:
    acting, coefficients = np.arange(len(models)), np.array(numbers, np.float32)
    return Terms(np.array(models), np.array(parents), coefficients, acting, len(models), own)


def _same_bytes(kernel: Kernel, dtype: str, stored: Tensor, terms: Terms) -> bool:
    count, size = len(terms.models), stored.shape[1]
    matrix, deltas = torch.empty(count + 1, size), stored[1:].float() - stored[0].float()
    for i in range(count):
        difference(deltas, int(terms.models[i]), int(terms.parents[i]), matrix[i])
    add_rows(matrix[:-1], range(count), terms.coefficients.tolist(), matrix[-1])
    wanted = cast(torch.add(stored[0].float(), matrix[-1]), dtype)
    gram = BlockGram(count)
    gram.add(matrix[:-1])
    out, upper = np.empty(size, dtype=np.uint16), np.zeros((count, count))
    halves = stored.clone().view(torch.int16).numpy().view(np.uint16)
    sums = FusedSum(kernel, len(stored) - 1, count)
    sums(halves, size, terms, out)
    sums.add_gram(halves, size, terms, upper)
    return bool(
        np.array_equal(out, wanted.view(torch.int16).numpy().view(np.uint16))
        and np.array_equal(upper, np.triu(gram.total.numpy()))
    )
