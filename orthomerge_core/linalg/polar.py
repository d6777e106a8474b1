"""The rotation nearest to a matrix: its polar factor."""

from __future__ import annotations

import torch
from torch import Tensor

from ..shapes import Float64

__all__ = ["nearest_rotation"]


def nearest_rotation(matrix: Float64[Tensor, "d d"]) -> Float64[Tensor, "d d"]:
    """argmax ⟨R, M⟩ over rotations with det R = +1 (Kabsch): U Vᵀ of the SVD M = U S Vᵀ.

    Where U Vᵀ is a reflection, the direction of the smallest singular value is flipped, which costs
    the least. Cost: one d×d SVD.
    """
    left, _, right = torch.linalg.svd(matrix)
    rotation = left @ right
    if torch.linalg.slogdet(rotation).sign < 0:
        left[:, -1] *= -1.0
        rotation = left @ right
    return rotation
