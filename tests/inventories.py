"""Key → shape lists of real models, and small models built from them."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "fixtures" / "inventories"

Shapes = dict[str, tuple[int, ...]]


@cache
def _load(name: str) -> dict[str, list[Any]]:
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))


def inventory(name: str) -> Shapes:
    """Key → shape of a real model."""
    return {key: tuple(shape) for key, shape in _load(name).items()}


def diffusers_names(name: str) -> dict[str, tuple[str, int | None, int | None, bool]]:
    """Diffusers key → (canonical key, first row, rows, halves swapped).

    Recorded from ComfyUI's tables, and from diffusers' converters where ComfyUI has none.
    """
    return {k: (c, start, rows, bool(s)) for k, (c, start, rows, s) in _load(name).items()}


def shrunk(shapes: Shapes, factor: int = 64) -> Shapes:
    """The same keys with every axis divided: whole ratios stay, so that joins still fit."""
    return {
        key: tuple(max(1, size // factor) if size >= factor else size for size in shape)
        for key, shape in shapes.items()
    }


def small_sd3(depth: int = 2, hidden: int = 128) -> Shapes:
    """An SD3 MMDiT of any size, with the key names of the real one."""
    shapes: Shapes = {
        "pos_embed": (1, 16, hidden),
        "x_embedder.proj.weight": (hidden, 16, 2, 2),
        "x_embedder.proj.bias": (hidden,),
        "context_embedder.weight": (hidden, 96),
        "context_embedder.bias": (hidden,),
        "final_layer.linear.weight": (64, hidden),
        "final_layer.linear.bias": (64,),
        "final_layer.adaLN_modulation.1.weight": (2 * hidden, hidden),
        "final_layer.adaLN_modulation.1.bias": (2 * hidden,),
    }
    for name, width in (("t_embedder", 256), ("y_embedder", 64)):
        shapes |= {f"{name}.mlp.0.weight": (hidden, width), f"{name}.mlp.0.bias": (hidden,)}
        shapes |= {f"{name}.mlp.2.weight": (hidden, hidden), f"{name}.mlp.2.bias": (hidden,)}
    for block in range(depth):
        for side in ("x_block", "context_block"):
            last = side == "context_block" and block == depth - 1
            shapes |= _sd3_block(f"joint_blocks.{block}.{side}", hidden, last)
    return shapes


def _sd3_block(name: str, hidden: int, last: bool) -> Shapes:
    linear = {"attn.qkv": (3 * hidden, hidden), "adaLN_modulation.1": (6 * hidden, hidden)}
    linear |= {"attn.proj": (hidden, hidden)}
    linear |= {"mlp.fc1": (4 * hidden, hidden), "mlp.fc2": (hidden, 4 * hidden)}
    if last:  # the last context block only feeds the attention
        linear = {"attn.qkv": (3 * hidden, hidden), "adaLN_modulation.1": (2 * hidden, hidden)}
    weights = {f"{name}.{part}.weight": shape for part, shape in linear.items()}
    return weights | {f"{name}.{part}.bias": shape[:1] for part, shape in linear.items()}
