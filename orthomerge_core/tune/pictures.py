"""Similarity of two pictures: structure at several scales, and color at a coarse one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import RecipeError

__all__ = ["agreement", "color_agreement", "structure_agreement"]

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_AFAR = 8


def agreement(one: Tensor, other: Tensor) -> float:
    """(structure + color) / 2 of two batches [pictures, height, width, 3] in 0..1; 1 for equals.

    A batch of one is compared with every picture of the other batch. Other sizes are an error.

    Raises: RecipeError for batches that do not fit.
    """
    counts = (one.shape[0], other.shape[0])
    if one.shape[1:3] != other.shape[1:3] or (1 not in counts and counts[0] != counts[1]):
        raise RecipeError(
            "pictures to compare have different sizes",
            expected=f"{tuple(one.shape[:3])} (pictures, height, width)",
            received=tuple(other.shape[:3]),
            fix="Sample both with the same latent.",
        )
    count = max(counts)
    a, b = (t[..., :3].float().expand(count, -1, -1, -1) for t in (one, other))
    return (structure_agreement(a, b) + color_agreement(a, b)) / 2.0


def structure_agreement(one: Tensor, other: Tensor) -> float:
    """Mean multi-scale structural similarity of the luma, 0..1 (Wang, Simoncelli, Bovik 2003).

    Per scale s the mean of (2 σ_ab + C2) / (σ_a² + σ_b² + C2), at the coarsest also times
    (2 μ_a μ_b + C1) / (μ_a² + μ_b² + C1), with a Gaussian window of 11 pixels (σ 1.5) and
    C1 = 0.01², C2 = 0.03²; the product of the means to the powers 0.0448, 0.2856, 0.3001, 0.2363,
    0.1333, each below 0 counting as 0. Every scale halves the picture. Scales that are smaller than
    the window are left out, and the other powers divided by their sum; the first always counts.
    """
    luma = torch.tensor([0.299, 0.587, 0.114])
    a, b = ((t.cpu() @ luma)[:, None] for t in (one, other))
    sides = [min(a.shape[2:]) // 2**s for s in range(len(_WEIGHTS))]
    scales = max(1, sum(side >= _WINDOW for side in sides))
    total = sum(_WEIGHTS[:scales])
    found = torch.ones(a.shape[0])
    for scale in range(scales):
        contrast, light = _similarity(a, b)
        value = contrast * light if scale == scales - 1 else contrast
        power = _WEIGHTS[scale] / total
        found = found * value.mean(dim=(1, 2, 3)).clamp_min(0.0) ** power
        a, b = functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)
    return float(found.mean())


def color_agreement(one: Tensor, other: Tensor) -> float:
    """1 − the mean absolute difference of both pictures averaged to 8 × 8 fields of RGB, 0..1."""
    a, b = (
        functional.adaptive_avg_pool2d(t.cpu().movedim(-1, 1), (_AFAR, _AFAR)) for t in (one, other)
    )
    return float(1.0 - (a - b).abs().mean())


def _similarity(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Contrast-structure and luminance terms of every window that lies inside the picture."""
    size = min(_WINDOW, *a.shape[2:])
    place = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    line = torch.exp(-(place**2) / (2 * _SIGMA**2))
    line = line / line.sum()
    window = (line[:, None] * line[None, :])[None, None]
    mean_a, mean_b = functional.conv2d(a, window), functional.conv2d(b, window)
    var_a = functional.conv2d(a * a, window) - mean_a**2
    var_b = functional.conv2d(b * b, window) - mean_b**2
    both = functional.conv2d(a * b, window) - mean_a * mean_b
    light = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return (2 * both + _C2) / (var_a + var_b + _C2), light
