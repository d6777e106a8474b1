"""The latent of the measured families: three mixtures of its channels are the colors."""

from __future__ import annotations

import torch
from torch import Tensor

from scripts.support.family import LATENT, SCALE, SHIFT

__all__ = ["to_latent", "to_picture"]


def to_latent(pictures: Tensor) -> Tensor:
    """Pictures [n, 3, h, w] in 0..1 → what the model sees [n, 16, h, w]."""
    colours = (pictures - 0.5) / 0.25
    latent = torch.einsum("lc,nchw->nlhw", _mixture().T, colours)
    return (latent - SHIFT) * SCALE


def to_picture(latent: Tensor) -> Tensor:
    """The reverse of `to_latent`: [n, 16, h, w] → [n, 3, h, w] in 0..1, values outside cut off."""
    colours = torch.einsum("cl,nlhw->nchw", _mixture(), latent / SCALE + SHIFT)
    return (colours * 0.25 + 0.5).clamp(0, 1)


def _mixture() -> Tensor:
    """[3, LATENT], orthonormal rows: which mixture of channels shows as which color."""
    generator = torch.Generator().manual_seed(99)
    return torch.linalg.qr(torch.randn(LATENT, 3, generator=generator)).Q.T
