"""The rotation of ConvRot formats, undone on integers, where it is exact."""

from __future__ import annotations

import torch
from torch import Tensor

from ...shapes import Float32, Float64

__all__ = ["is_rotation_size", "regular_hadamard", "rotate", "rotate_integers"]

_H4 = ((1, 1, 1, -1), (1, 1, -1, 1), (1, -1, 1, 1), (-1, 1, 1, 1))


def is_rotation_size(size: object) -> bool:
    """Whether a regular Hadamard matrix of that size is defined here: a power of 4, 4 to 4096."""
    return isinstance(size, int) and size in (4, 16, 64, 256, 1024, 4096)


def regular_hadamard(size: int) -> Float32[Tensor, "size size"]:
    """H ⊗ … ⊗ H of the 4×4 matrix with −1 on its anti-diagonal; entries ±1.

    It is symmetric, and H/√size is its own inverse.
    """
    four = torch.tensor(_H4, dtype=torch.float32)
    found = four
    while len(found) < size:
        found = torch.kron(found, four)
    return found


def rotate_integers(values: Float32[Tensor, "n size"], out: Float32[Tensor, "n size"]) -> None:
    """out = values · H, exactly, of integers of 8 bits.

    All sums stay below 2^24, so float32 holds them in whatever order they are taken. The division
    by √size (a power of 2) and the layer's scale, equal along a row, come after it with a single
    rounding. Cost: H is a product of two factors of a and b, so 2(a + b) operations a value instead
    of 2·size.
    """
    size = values.shape[-1]
    right = regular_hadamard(min(size, 16))
    turned = values.reshape(-1, len(right)) @ right
    if size > len(right):
        blocks = turned.view(-1, size // len(right), len(right))
        turned = torch.matmul(regular_hadamard(size // len(right)), blocks)
    out.copy_(turned.view(values.shape))


def rotate(values: Float32[Tensor, "n size"]) -> Float64[Tensor, "n size"]:
    """values · Hᵀ / √size in float64, always in the same order of summation, whatever n is.

    For numbers that are no integers. H is a Kronecker power, so each factor of 4 turns one axis of
    length 4, where row i of the 4×4 matrix gives the sum of all four minus twice the (3 − i)-th.
    """
    size = values.shape[-1]
    turned = values.to(torch.float64).reshape(-1)
    stride = 1
    while stride < size:
        fours = turned.view(-1, 4, stride)
        a, b, c, d = fours.unbind(1)
        total = (a + b) + (c + d)
        turned = (total.unsqueeze(1) - 2 * fours.flip(1)).reshape(-1)
        stride *= 4
    return turned.mul_(size**-0.5).view(values.shape)
