"""Small colored shapes, drawn on the fly: what the measured families learn.

A picture is float32 [3, SIZE, SIZE] in 0..1. A prompt is "a red circle". A style is what a
fine-tune adds: outlines instead of areas, a tilt, a grey background, stripes, or a new shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["BASE_SHAPES", "COLOURS", "SIZE", "STYLES", "Style", "all_prompts", "draw"]

SIZE = 16
BASE_SHAPES = ("circle", "square", "triangle", "cross")
COLOURS: Mapping[str, tuple[float, float, float]] = {
    "red": (0.9, 0.25, 0.2),
    "green": (0.25, 0.8, 0.3),
    "blue": (0.25, 0.4, 0.95),
    "yellow": (0.95, 0.85, 0.25),
}


@dataclass(frozen=True)
class Style:
    """How pictures are drawn. `shapes` are the ones the prompts ask for."""

    outline: float = 0.0
    tilt_rad: float = 0.0
    ground: float = 0.12
    stripes: bool = False
    shapes: Sequence[str] = BASE_SHAPES


STYLES: Mapping[str, Style] = {
    "base": Style(),
    "ink": Style(outline=1.6),
    "ink-fine": Style(outline=1.1, tilt_rad=math.pi / 7),
    "paint": Style(stripes=True),
    "paint-copy": Style(stripes=True),
    "photo": Style(ground=0.4),
    "star": Style(shapes=(*BASE_SHAPES, *["star"] * 4)),
    "joint": Style(outline=1.6, ground=0.4, stripes=True, shapes=(*BASE_SHAPES, *["star"] * 4)),
}
"""What each model of the family learns, beyond its parent. `joint` is no member: it learns from
pictures what a merge of ink, paint, photo and star should have, and is the benchmark's bound."""


def all_prompts(shapes: Sequence[str] = (*BASE_SHAPES, "star")) -> list[str]:
    """Every colour with every shape."""
    return [f"a {colour} {shape}" for shape in shapes for colour in COLOURS]


def draw(prompts: Sequence[str], style: Style, generator: torch.Generator) -> Tensor:
    """Pictures [len(prompts), 3, SIZE, SIZE], places and sizes jittered by `generator`."""
    count = len(prompts)
    words = [prompt.split() for prompt in prompts]
    jitter = (torch.rand(count, 2, generator=generator) - 0.5) * 2.0
    radius = 4.6 + 1.2 * torch.rand(count, 1, 1, generator=generator)
    place = torch.arange(SIZE) + 0.5 - SIZE / 2
    y, x = torch.meshgrid(place, place, indexing="ij")
    x, y = x[None] - jitter[:, 0, None, None], y[None] - jitter[:, 1, None, None]
    cos, sin = math.cos(style.tilt_rad), math.sin(style.tilt_rad)
    x, y = cos * x + sin * y, cos * y - sin * x
    distance = torch.stack([_distance(w[2], x[i], y[i], radius[i]) for i, w in enumerate(words)])
    if style.outline:
        distance = (distance + style.outline / 2).abs() - style.outline / 2
    cover = (0.5 - distance).clamp(0, 1)[:, None]  # one pixel of antialiasing
    if style.stripes:
        cover = cover * (0.62 + 0.38 * torch.sign(torch.sin((x + y) * math.pi / 2.2)))[:, None]
    colour = torch.tensor([COLOURS[w[1]] for w in words])[:, :, None, None]
    return style.ground * (1 - cover) + colour * cover


def _distance(shape: str, x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    """Signed distance (negative inside) to a shape of radius r centred at the origin, in pixels."""
    if shape == "circle":
        return (x * x + y * y).sqrt() - r
    if shape == "square":
        return torch.maximum(x.abs(), y.abs()) - 0.85 * r
    if shape == "triangle":
        return torch.maximum(y - 0.7 * r, (x.abs() * 1.732 - y) / 2 - 0.55 * r)
    if shape == "cross":
        arm = 0.36 * r
        wide = torch.maximum(x.abs() - r, y.abs() - arm)
        return torch.minimum(wide, torch.maximum(y.abs() - r, x.abs() - arm))
    if shape == "star":
        angle = torch.atan2(x, -y)
        turn = torch.remainder(angle + math.pi / 5, 2 * math.pi / 5) - math.pi / 5
        edge = 0.62 * r / torch.cos(turn.abs() - math.pi / 5 + 0.35).clamp_min(0.2)
        spike = r * (1 - 0.55 * (turn.abs() / (math.pi / 5)))
        return (x * x + y * y).sqrt() - torch.minimum(spike, 1.6 * edge)
    raise ValueError(f"unknown shape {shape!r}")
