"""Selects the weights of a delta that are large."""

from __future__ import annotations

import torch
from torch import Tensor

from ..shapes import Float, Float32

__all__ = ["largest", "size_of_rank"]


def size_of_rank(sizes: Float[Tensor, "..."], rank: int) -> Float[Tensor, ""]:
    """The value that `rank` of the sizes, 1 being the smallest, do not exceed; a tensor of no axes.

    Ranks beyond the ends mean the ends.
    """
    flat = sizes.reshape(-1)
    return flat.kthvalue(min(max(rank, 1), flat.numel())).values


def largest(delta: Float32[Tensor, "*shape"], density: float) -> Float32[Tensor, "*shape"]:
    """The delta with all but the `density` largest of its weights set to zero, a new tensor.

    Weights of the same size as the last one kept are kept as well. 1 keeps all.
    """
    if density >= 1.0 or delta.numel() == 0:
        return delta.clone()
    sizes = delta.abs()
    least = size_of_rank(sizes, int((1.0 - density) * delta.numel()))
    return torch.where(sizes >= least, delta, torch.zeros_like(delta))
