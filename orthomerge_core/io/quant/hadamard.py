"""The rotation of ConvRot formats, undone on integers, where it is exact."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...shapes import Float32, Float64

__all__ = ["is_rotation_size", "regular_hadamard", "rotate", "rotate_integers", "rotation_factors"]

_H4 = ((1, 1, 1, -1), (1, 1, -1, 1), (1, -1, 1, 1), (-1, 1, 1, 1))


def is_rotation_size(size: object) -> bool:
    """Whether a regular Hadamard matrix of that size is defined here: a power of 4, 4 to 4096."""
    return isinstance(size, int) and size in (4, 16, 64, 256, 1024, 4096)


def regular_hadamard(size: int) -> Float32[Tensor, "size size"]:
    """H ⊗ … ⊗ H of the 4×4 matrix with −1 on its anti-diagonal; entries ±1. [[1]] for 1.

    It is symmetric, and H/√size is its own inverse.
    """
    four = torch.tensor(_H4, dtype=torch.float32)
    found = torch.ones(1, 1)
    while len(found) < size:
        found = torch.kron(found, four)
    return found


def rotation_factors(size: int) -> dict[str, Tensor]:
    """`left` [a, a] and `right` [b, b] with H = left ⊗ right, a·b = size, for `rotate_integers`."""
    right = min(size, 16)
    return {"left": regular_hadamard(size // right), "right": regular_hadamard(right)}


def rotate_integers(
    values: Float32[Tensor, "n size"], factors: Mapping[str, Tensor], out: Float32[Tensor, "n size"]
) -> None:
    """out = values · H, exactly, of integers of 8 bits.

    All sums stay below 2^24, so float32 holds them in whatever order they are taken. The division
    by √size (a power of 2) and the layer's scale, equal along a row, come after it with a single
    rounding. Cost: 2(a + b) operations a value instead of 2·size.
    """
    left, right = factors["left"], factors["right"]
    blocks = (values.reshape(-1, len(right)) @ right).view(-1, len(left), len(right))
    out.copy_(torch.matmul(left, blocks).view(values.shape))


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
