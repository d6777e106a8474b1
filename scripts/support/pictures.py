"""What the demo's model family draws: colored shapes, as fields that a decoder turns into pixels.

A prompt is "a red circle". A picture is stored as eight smooth fields at an eighth of its size,
all in 0..2: how deep a place lies inside the shape (1 is its edge), the shape's color, the
ground's color, and stripes. Because the fields are smooth, a small model learns them; because the
decoder cuts them at their edges, the picture is sharp at eight times their size. A style is what
a fine-tune adds: outlines, a tilt, stripes, a sunset behind the shape, or a new shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = [
    "BASE_SHAPES",
    "COLORS",
    "DEPTH_PX",
    "FIELDS",
    "GROUND",
    "SIZE",
    "STYLES",
    "Style",
    "all_prompts",
    "draw",
]

SIZE = 32
"""Side of the fields; the picture is eight times as wide."""
FIELDS = ("inside", "red", "green", "blue", "ground red", "ground green", "ground blue", "stripes")
DEPTH_PX = 4.0
"""Distances from the edge are kept up to this many field pixels."""
GROUND = 0.1
"""The base's background; the ground's fields hold what is above it."""

BASE_SHAPES = ("circle", "square", "triangle", "cross")
COLORS: Mapping[str, tuple[float, float, float]] = {
    "red": (0.93, 0.24, 0.2),
    "green": (0.2, 0.78, 0.35),
    "blue": (0.2, 0.5, 1.0),
    "yellow": (1.0, 0.84, 0.2),
}
STRIPE_RAD_PER_PX = 0.5
"""One radian per patch of the model, the highest frequency of its table of positions."""
SKY, HORIZON = (0.22, 0.16, 0.45), (1.0, 0.6, 0.42)
"""The sunset's colors at the top and at the bottom."""


@dataclass(frozen=True)
class Style:
    """How pictures are drawn. `shapes` are those the prompts ask for; lengths in field pixels."""

    outline: float = 0.0
    tilt_rad: float = 0.0
    sunset: bool = False
    stripes: bool = False
    shapes: Sequence[str] = BASE_SHAPES


STYLES: Mapping[str, Style] = {
    "base": Style(),
    "ink": Style(outline=4.4),
    "ink-fine": Style(outline=3.0, tilt_rad=math.pi / 8),
    "paint": Style(stripes=True),
    "paint-copy": Style(stripes=True),
    "photo": Style(sunset=True),
    "star": Style(shapes=(*BASE_SHAPES, *["star"] * 4)),
}
"""What each model of the family learns, beyond its parent."""


def all_prompts(shapes: Sequence[str] = (*BASE_SHAPES, "star")) -> list[str]:
    """Every color with every shape."""
    return [f"a {color} {shape}" for shape in shapes for color in COLORS]


def draw(prompts: Sequence[str], style: Style, generator: torch.Generator) -> Tensor:
    """Fields [len(prompts), 8, SIZE, SIZE], places and sizes jittered by `generator`."""
    count = len(prompts)
    words = [prompt.split() for prompt in prompts]
    jitter = (torch.rand(count, 2, 1, 1, generator=generator) - 0.5) * 3.0
    radius = 9.5 + 2.0 * torch.rand(count, 1, 1, generator=generator)
    place = torch.arange(SIZE) + 0.5 - SIZE / 2
    down, right = torch.meshgrid(place, place, indexing="ij")
    x, y = right - jitter[:, 0], down - jitter[:, 1]
    cos, sin = math.cos(style.tilt_rad), math.sin(style.tilt_rad)
    turned_x, turned_y = cos * x + sin * y, cos * y - sin * x
    distance = torch.stack(
        [_distance(w[2], turned_x[i], turned_y[i], radius[i]) for i, w in enumerate(words)]
    )
    if style.outline:
        distance = (distance + style.outline / 2).abs() - style.outline / 2
    fields = torch.zeros(count, len(FIELDS), SIZE, SIZE)
    fields[:, 0] = 1 - (distance / DEPTH_PX).clamp(-1, 1)
    fields[:, 1:4] = torch.tensor([COLORS[w[1]] for w in words])[:, :, None, None]
    if style.sunset:
        fields[:, 4:7] = _sunset(down)
    if style.stripes:
        fields[:, 7] = 0.5 + 0.5 * torch.sin(down * STRIPE_RAD_PER_PX)
    return fields


def _sunset(down: Tensor) -> Tensor:
    """Colour above the base's ground [3, SIZE, SIZE]."""
    low = (down / SIZE + 0.5)[None]
    sky, horizon = (torch.tensor(c)[:, None, None] for c in (SKY, HORIZON))
    return sky * (1 - low) + horizon * low - GROUND


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
        return _star(x, y, 1.25 * r)
    raise ValueError(f"unknown shape {shape!r}")


def _star(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    """A five-pointed star with its tip up: distance to the edge line of the nearest half spike."""
    angle = torch.atan2(x, -y)
    turn = torch.remainder(angle + math.pi / 5, 2 * math.pi / 5) - math.pi / 5
    length = (x * x + y * y).sqrt()
    along, across = length * torch.cos(turn), length * turn.sin().abs()
    inner = 0.45  # radius of the notches, as a share of r
    notch = (inner * math.cos(math.pi / 5), inner * math.sin(math.pi / 5))
    dx, dy = notch[0] - 1.0, notch[1]
    norm = math.hypot(dx, dy)
    return ((along - r) * dy - across * dx) / norm
