"""Held-out pictures with fixed noise and noise levels: the same questions for every model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .latent import to_latent
from .painter import Painter
from .pictures import STYLES, Style, all_prompts, draw
from .skills import SKILLS, Subset, composed_style, exam_shapes

__all__ = ["SIZE", "Paper", "composed_paper", "losses", "papers"]

SIZE = 80
"""Pictures per skill."""

_SEED = 900_001
"""Far from every seed of the training, which stay below 1000."""


@dataclass(frozen=True)
class Paper:
    """One exam: data, noise [n, 16, h, w], levels s [n], prompts [n] as words."""

    data: Tensor
    noise: Tensor
    s: Tensor
    prompts: Sequence[str]


def paper(style: Style, seed: int, size: int = SIZE) -> Paper:
    """Pictures of a style; levels follow the training's distribution, evenly spread over it."""
    generator = torch.Generator().manual_seed(seed)
    asked = all_prompts(style.shapes)
    prompts = [asked[i % len(asked)] for i in range(size)]
    data = to_latent(draw(prompts, style, generator))
    u = (torch.randperm(size, generator=generator) + 0.5) / size
    noise = torch.randn(data.shape, generator=generator)
    return Paper(data, noise, 3 * u / (1 + 2 * u), prompts)


def papers() -> dict[str, Paper]:
    """One per skill, and `base` for what may be forgotten."""
    found = {"base": paper(STYLES["base"], _SEED)}
    for number, skill in enumerate(SKILLS, start=1):
        style = replace(STYLES[skill], shapes=exam_shapes(skill))
        found[skill] = paper(style, _SEED + number)
    return found


def composed_paper(subset: Subset) -> Paper:
    """Pictures that show everything the subset's models add, at once."""
    return paper(composed_style(subset.models), _SEED + 100)


def losses(painter: Painter, asked: dict[str, Paper], chunk: int = 80) -> dict[str, float]:
    """Mean loss of a model on each paper. Chunks change memory only."""
    found = {}
    for name, one in asked.items():
        numbers, parts = painter.index(one.prompts), []
        for low in range(0, len(one.data), chunk):
            part = slice(low, low + chunk)
            parts.append(
                painter.losses(one.data[part], one.noise[part], one.s[part], numbers[part])
            )
        found[name] = float(torch.cat(parts).double().mean())
    return found
