"""Rotations and their generators: the Cayley transform and its inverse."""

from __future__ import annotations

import torch
from torch import Tensor

from ..shapes import Float
from .probes import gaussian
from .products import mirrored, product_t

__all__ = ["cayley_change", "cayley_on", "generator_of", "series_degree", "skew_part"]

_GUARD = 1e-9
_DEGREES = (2, 3, 4, 8, 16)


def cayley_change(generator: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """R − I for R = (I − A)⁻¹(I + A), as 2[(I − A)⁻¹ − I].

    A must be skew; I − A is then never singular (|1 − iμ| ≥ 1) and R is a rotation with det +1.
    In the generator's dtype. Cost: one d×d inverse.
    """
    eye = torch.eye(len(generator), dtype=generator.dtype, device=generator.device)
    return torch.linalg.inv(eye - generator).sub_(eye).mul_(2.0)


def cayley_on(
    generator: Float[Tensor, "d d"], image: Float[Tensor, "d n"], allowed: float
) -> Float[Tensor, "d d"]:
    """A stand-in T for R − I with ‖(T − (R − I)) W‖ ≤ `allowed`, W = `image`, by A's own powers.

    R − I = 2(A + A² + …), and what a sum up to degree m leaves out is at most 2 ‖A^(m+1) W‖, since
    ‖(I − A)⁻¹‖ ≤ 1 for skew A; probes measure it first. Beyond degree 16 the inverse is exact.
    Cost: half a d×d product at degree 2, a whole one at 3, then one and a half per doubling.
    """
    degree = series_degree(generator, image, 0.5 * allowed)
    if degree is None:
        return cayley_change(generator)
    square = mirrored(generator, generator).neg_()  # A² = −A Aᵀ
    if degree == 3:
        cube = mirrored(square, generator, sign=-1.0)  # A² Aᵀ = −A³
        return torch.sub(square, cube, out=cube).add_(generator).mul_(2.0)
    total, reached = generator + square, 2
    while reached < degree:
        total.add_(product_t(total, square))  # powers of A commute, and A² is symmetric
        reached *= 2
        if reached < degree:
            square = mirrored(square, square)
    return total.mul_(2.0)


def series_degree(
    generator: Float[Tensor, "d d"], image: Float[Tensor, "d n"], allowed: float
) -> int | None:
    """The first m of 2, 3, 4, 8, 16 with ‖A^(m+1) W‖ ≤ `allowed`, by Gaussian probes, or None."""
    count, reached = 8, 0
    moved = gaussian(count, image.shape[1], image.device) @ image.T
    for degree in _DEGREES:
        for _ in range(degree + 1 - reached):
            moved = moved @ generator  # rows: v Aᵀ = −v A, and a sign changes no norm
        reached = degree + 1
        if float(moved.square().sum() / count) ** 0.5 <= allowed:
            return degree
    return None


def generator_of(rotation: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """The skew A with cayley(A) = R: (R + I)⁻¹(R − I) = I − 2(R + I)⁻¹, made exactly skew.

    A half turn has no Cayley generator. A guard of 1e-9 on the diagonal keeps ‖A‖ finite there,
    so a caller that needs the pair to agree takes R back from A by `cayley_change`.
    """
    eye = torch.eye(len(rotation), dtype=rotation.dtype, device=rotation.device)
    return skew_part(torch.linalg.inv(rotation + (1.0 + _GUARD) * eye).mul_(-2.0))


def skew_part(matrix: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """(M − Mᵀ)/2, a new tensor."""
    turned = torch.empty_like(matrix).copy_(matrix.T)  # nine times as fast as reading M.T in place
    return torch.sub(matrix, turned, out=turned).mul_(0.5)
