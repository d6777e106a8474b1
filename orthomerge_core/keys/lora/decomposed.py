"""DoRA: a LoRA that also sets the length of every row or column of the weight.

With δ the LoRA's change, W' = m ⊙ (W + δ) / ‖·‖ (Liu et al., arXiv:2402.09353). Which vectors are
measured is told by the file:

- `dora_scale` of one number per column (input): columns of W + δ, as in the paper.
- `dora_scale` of one number per row (output): rows of W without δ. This is what ComfyUI computes,
  so that a row of the table is what its LoRA loader gives.
- `lora_magnitude_vector` (PEFT): rows of W + δ.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from ...io.source import Read, Source
from ...shapes import Float32
from .factors import Delta, Module

__all__ = ["Lengths", "fits", "is_decomposed", "lengths_of"]

_EPS = torch.finfo(torch.float32).eps
_ROWS = 64
"""Rows that are read at a time."""


def is_decomposed(module: Module) -> bool:
    """Whether a module sets lengths."""
    return "dora" in module.parts or "magnitude" in module.parts


def fits(module: Module, source: Source, shape: tuple[int, int]) -> bool:
    """Whether its lengths are one per row or one per column of a weight of [rows, cols]."""
    if "magnitude" in module.parts:
        return prod(source.entries[module.parts["magnitude"]].shape) == shape[0]
    scale = source.entries[module.parts["dora"]].shape
    count = prod(scale)
    return count == shape[0] if scale[0] == shape[0] else bool(count) and shape[1] % count == 0


class Lengths:
    """Factor of every element of W + δ: one per row, or one per column and its kernel."""

    def __init__(self, factors: Float32[Tensor, "n"], cols: int, by_row: bool) -> None:
        self._factors, self._cols, self._by_row = factors, cols, by_row

    def at(self, start: int, stop: int) -> Float32[Tensor, "n"]:
        """The factors of elements [start, stop) of the flattened weight."""
        place = torch.arange(start, stop)
        if self._by_row:
            return self._factors[place // self._cols]
        return self._factors[(place % self._cols) // (self._cols // len(self._factors))]


def lengths_of(
    module: Module, source: Source, delta: Delta, read_base: Read, start: int
) -> Lengths:
    """m / ‖·‖ of a module whose weight begins at element `start` of what `read_base` reads.

    Reads the weight once, a few rows at a time.
    """
    rows, cols = delta.shape
    peft = "magnitude" in module.parts
    wanted = source.read(module.parts["magnitude" if peft else "dora"])
    by_row = peft or wanted.shape[0] == rows
    wanted = wanted.reshape(-1)
    squares = torch.zeros(rows if by_row else len(wanted), dtype=torch.float64)
    for first in range(0, rows, _ROWS):
        last = min(first + _ROWS, rows)
        weight = torch.empty((last - first) * cols)
        read_base(weight, start + first * cols)
        weight = weight.reshape(-1, cols)
        if peft or not by_row:
            weight = weight + delta.rows(first, last)
        energy = weight.double().square_()
        if by_row:
            squares[first:last] = energy.sum(dim=1)
        else:
            squares += energy.reshape(last - first, len(wanted), -1).sum(dim=(0, 2))
    return Lengths(wanted / (squares.sqrt().float() + _EPS), cols, by_row)
