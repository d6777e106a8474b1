"""A small family of files that sd-mecha and our executor both read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from orthomerge_core.methods.registry import get_method
from orthomerge_core.recipe.model import ModelRef, Recipe, Row

SHAPES = {
    "double_blocks.0.img_attn.qkv.weight": (24, 16),
    "double_blocks.1.img_mlp.0.weight": (16, 24),
    "double_blocks.1.img_mlp.0.bias": (16,),
    "single_blocks.0.linear1.weight": (20, 20),
    "final.scale": (),
}


def write_models(folder: Path) -> None:
    """`base`, `detail`, `flash` (which lacks a key) and `style`, bf16."""
    g = torch.Generator().manual_seed(0)
    base = {key: torch.randn(shape, generator=g) for key, shape in SHAPES.items()}
    states = {"base": base}
    for name in ("detail", "flash", "style"):
        states[name] = {k: v + 0.03 * torch.randn(v.shape, generator=g) for k, v in base.items()}
    del states["flash"]["double_blocks.1.img_mlp.0.bias"]
    for name, state in states.items():
        tensors = {k: v.to(torch.bfloat16) for k, v in state.items()}
        save_file(tensors, folder / f"{name}.safetensors")


def recipe_for(method: str, **changes: object) -> Recipe:
    """Rows with a repeat, a parent, layer weights, a negative alpha, and one that is off."""
    rows = (
        Row("detail", alpha=0.8, repeat=2),
        Row("flash", delta_from="detail", alpha=0.5, layers="double_blocks.0=0.25, default=1"),
        Row("style", alpha=-0.4),
        Row("style", alpha=1.0, enabled=False),
    )
    if get_method(method).max_rows == 1:
        rows = rows[:1]
    models = {n: ModelRef(f"{n}.safetensors") for n in ("detail", "flash", "style")}
    return replace(Recipe("base.safetensors", models, rows, method=method), **changes)
