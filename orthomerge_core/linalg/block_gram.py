"""Inner products that have the same bits in any order of summation, exact within blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..shapes import Float, Float32, Float64
from .compiled import BLOCK
from .gram import CHUNK, run_length

__all__ = ["BITS", "BlockGram", "block_gram"]

BITS = 21
"""Two such integers have a product of at most 2^42, and 1024 of those a sum that float64 holds."""

_LARGEST_POWER = 127  # of two in float32
_PIECE = 128 * BLOCK  # of a few rows this stays in the cache, and is worth the calls


class BlockGram:
    """G_ij = Σ over blocks of 1024 of ⟨x̂_i, x̂_j⟩, with x̂ = 2^(e−21) · rint(2^(21−e) · x).

    2^e is the least power of two above the block's values of that row. A block's products are sums
    of integers, which float64 holds exactly, so their order is free; blocks are added one after the
    other. So ⟨x_i, x_j⟩ is the same to the last bit on every processor, with any library, beside
    any other rows, and from the compiled `loops.gram_halves`. x̂ differs from x by at most 2^−21 of
    the largest value of a block, so that a product is off by at most 1e-7 of ‖x_i‖ ‖x_j‖ where
    values are of a kind; x̂ itself is off by 2^−16 of ‖x‖ at worst.

    A row with a value that is not finite has NaN wherever it takes part. Float32 on the CPU.
    Cost: rows² / 2 products per element in float64.
    """

    def __init__(self, rows: int) -> None:
        self._sum = np.zeros((rows, rows), dtype=np.float64)

    @property
    def total(self) -> Float64[Tensor, "rows rows"]:
        """The Gram of what was added so far."""
        return torch.from_numpy(self._sum.copy())

    def add(self, rows: Float32[Tensor, "rows params"]) -> None:
        """The next columns: a multiple of 1024, but for the last call."""
        count, size = rows.shape
        whole = size // BLOCK * BLOCK if count else 0
        for start in range(0, whole, _PIECE):
            self._add_blocks(rows[:, start : min(start + _PIECE, whole)].unflatten(1, (-1, BLOCK)))
        if count and whole < size:
            rest = torch.zeros(count, 1, BLOCK)
            rest[:, 0, : size - whole] = rows[:, whole:]
            self._add_blocks(rest)

    def _add_blocks(self, blocks: Float32[Tensor, "rows blocks block"]) -> None:
        with np.errstate(invalid="ignore"):
            integers, exponents = _integers(blocks)
            sums = np.zeros((len(exponents[0]) + 1, *self._sum.shape))
            sums[0] = self._sum
            for i in range(len(integers)):
                products = _products(integers[i], integers[i:])
                scaled = np.ldexp(products, exponents[i:].T + exponents[i][:, None] - 2 * BITS)
                sums[1:, i, i:] = sums[1:, i:, i] = scaled
        self._sum = np.add.accumulate(sums, axis=0)[-1]


def block_gram(deltas: Sequence[Float[Tensor, "..."]]) -> Float64[Tensor, "rows rows"]:
    """`BlockGram` of deltas of one size, any shape: what streaming them sums."""
    flat = [delta.detach().reshape(-1).to("cpu", torch.float32) for delta in deltas]
    gram = BlockGram(len(flat))
    for start in range(0, flat[0].numel() if flat else 0, CHUNK):
        gram.add(torch.stack([f[start : start + CHUNK] for f in flat]))
    return gram.total


def _integers(
    blocks: Float32[Tensor, "rows blocks block"],
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """2^(21−e) · x rounded to nearest, ties to even, and e [rows, blocks]."""
    tops = blocks.abs().amax(dim=-1).numpy()
    exponents = np.frexp(tops)[1]
    scales = np.where(np.isfinite(tops), np.ldexp(1.0, BITS - exponents), np.nan)
    # a power of two changes no digit: where float32 holds it, float32 rounds as float64 would
    narrow = exponents.min() >= BITS - _LARGEST_POWER
    factors = torch.from_numpy(scales)[..., None].to(torch.float32 if narrow else torch.float64)
    return (blocks * factors).round_().double().numpy(), exponents


def _products(row: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inner products of a row's blocks with those of others, [blocks, others]."""
    run = min(BLOCK, run_length(len(others)))
    parts = others.reshape(len(others), -1, run).transpose(1, 0, 2)
    products = np.matmul(parts, row.reshape(-1, run, 1))[..., 0]
    return products.reshape(len(row), -1, len(others)).sum(axis=1)
