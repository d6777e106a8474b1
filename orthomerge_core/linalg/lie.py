"""Rotations and their generators: the Cayley transform, both ways."""

from __future__ import annotations

import torch
from torch import Tensor

from ..shapes import Float

__all__ = ["cayley_change", "generator_of", "skew_part"]

_GUARD = 1e-9


def cayley_change(generator: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """R − I for R = (I − A)⁻¹(I + A), as 2[(I − A)⁻¹ − I].

    A must be skew; I − A is then never singular (|1 − iμ| ≥ 1) and R is a rotation with det +1.
    In the generator's dtype. Cost: one d×d inverse.
    """
    eye = torch.eye(len(generator), dtype=generator.dtype, device=generator.device)
    return torch.linalg.inv(eye - generator).sub_(eye).mul_(2.0)


def generator_of(rotation: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """The skew A with cayley(A) = R: (R + I)⁻¹(R − I) = I − 2(R + I)⁻¹, made exactly skew.

    A half turn has no Cayley generator. A guard of 1e-9 on the diagonal keeps ‖A‖ finite there,
    so a caller that needs the pair to agree takes R back from A by `cayley_change`.
    """
    eye = torch.eye(len(rotation), dtype=rotation.dtype, device=rotation.device)
    return skew_part(torch.linalg.inv(rotation + (1.0 + _GUARD) * eye).mul_(-2.0))


def skew_part(matrix: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """(M − Mᵀ)/2."""
    return torch.sub(matrix, matrix.T).mul_(0.5)
