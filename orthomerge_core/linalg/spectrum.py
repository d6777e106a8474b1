"""Singular directions of a delta, from the Gram of its smaller side."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..shapes import Float64, Shaped

__all__ = ["Svd", "as_matrix", "nearest_orthonormal", "square_of_side", "svd_flops", "thin_svd"]

_LEAST = 1e-5
"""Of the largest singular value: what is smaller has no direction that rounding leaves alone."""
_LEAST_SQUARE = 9e-10
"""Of the largest squared singular value of columns that are to become orthonormal."""


class Svd(NamedTuple):
    """M = U diag(s) Vh: `left` U [m, rank], `values` s [rank] descending, `right` Vh [rank, n]."""

    left: Float64[Tensor, "m rank"]
    values: Float64[Tensor, "rank"]
    right: Float64[Tensor, "rank n"]

    def first(self, count: int) -> Svd:
        """The `count` largest directions."""
        return Svd(self.left[:, :count], self.values[:count], self.right[:count])


def as_matrix(tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "m n"]:
    """[output rows, the rest]; a vector or a number is one row."""
    return tensor.reshape(1, -1) if tensor.ndim < 2 else tensor.flatten(1)


def thin_svd(matrix: Float64[Tensor, "m n"]) -> Svd:
    """U, s, Vh of the directions with s above 1e-5 of the largest; no direction of a zero matrix.

    An eigendecomposition of M Mᵀ or MᵀM, whichever is smaller, and one product: several times
    faster than an SVD, and exact to 1e-6 for the directions that are kept.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    vectors = torch.linalg.eigh(wide @ wide.T).eigenvectors.flip(1)  # the largest first
    other = vectors.T @ wide
    lengths = torch.linalg.vector_norm(other, dim=1)
    keep = lengths > _LEAST * lengths.max()
    own, other, lengths = vectors[:, keep], other[keep] / lengths[keep, None], lengths[keep]
    return Svd(other.T, lengths, own.T) if tall else Svd(own, lengths, other)


def nearest_orthonormal(columns: Float64[Tensor, "d k"]) -> Float64[Tensor, "d k"]:
    """C (CᵀC)^(−1/2): P Qᵀ of the SVD C = P S Qᵀ, without the directions of dependent columns.

    Those have an s below 3e-5 of the largest. N equal columns become N columns that add up to √N
    of one.
    """
    values, vectors = torch.linalg.eigh(columns.T @ columns)
    keep = values > _LEAST_SQUARE * values.max().clamp_min(torch.finfo(torch.float64).tiny)
    inverse = torch.where(keep, values.clamp_min(1e-300).rsqrt(), torch.zeros_like(values))
    return columns @ ((vectors * inverse) @ vectors.T)


def square_of_side(shape: tuple[int, ...]) -> int:
    """d² with d the smaller side of a tensor's matrix: elements of its Gram."""
    count = torch.Size(shape).numel()
    return min(shape[0], count // shape[0]) ** 2 if len(shape) > 1 and count else min(count, 1)


def svd_flops(shape: tuple[int, ...]) -> float:
    """Rough cost of `thin_svd`, products at an eighth of their count, as they run faster."""
    count = float(torch.Size(shape).numel())
    if len(shape) < 2 or count == 0:
        return 4.0 * count
    d = min(float(shape[0]), count / shape[0])
    return 0.12 * (24.0 * d**3 + 4.0 * d * count)
