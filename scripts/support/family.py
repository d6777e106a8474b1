"""The demo's model family: small, trained, with a known history, on a real architecture.

    base ── ink ── ink-fine        outlines; a child of a child: thin and tilted
      ├──── paint ── paint-copy    stripes; a near-duplicate
      ├──── photo                  a sunset behind the shape
      └──── star                   a shape that the base has never seen

All are SD3 MMDiTs of hidden size 128 and depth 2 that draw the shapes of `pictures`, trained by
`train_family.py`; their weights lie in `weights/`. A text encoder with CLIP-L's shapes and seeded
weights and the decoder of `decoder` come with them, so that the whole graph consists of ComfyUI's
own nodes and ours. `family_extras` adds what other workflows need.
"""

from __future__ import annotations

import filecmp
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from .decoder import LATENT, SCALE, SHIFT, to_fields, to_latent, vae_weights

__all__ = [
    "CLIP_FILE",
    "FOLDER",
    "LATENT",
    "MODELS",
    "PARENTS",
    "SCALE",
    "SHIFT",
    "VAE_FILE",
    "WEIGHTS",
    "config",
    "initial",
    "make_family",
    "make_helpers",
    "save",
    "save_tensors",
    "to_fields",
    "to_latent",
]

FOLDER = "orthomerge_demo"
CLIP_FILE = "orthomerge_demo_clip.safetensors"
VAE_FILE = "orthomerge_demo_vae.safetensors"

PARENTS: Mapping[str, str] = {
    "ink": "base",
    "ink-fine": "ink",
    "paint": "base",
    "paint-copy": "paint",
    "photo": "base",
    "star": "base",
}
"""Each fine-tune's true parent."""

MODELS = ("base", *PARENTS)

WEIGHTS = Path(__file__).parent / "weights"

HIDDEN, DEPTH, CONTEXT, POOLED, GRID = 128, 2, 4096, 2048, 32


def make_family(models_dir: Path) -> None:
    """Write what is missing below a ComfyUI `models` folder. Same bytes on every run."""
    folder = models_dir / "diffusion_models" / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        place = folder / f"{name}.safetensors"
        if not place.exists() or not filecmp.cmp(WEIGHTS / place.name, place, shallow=False):
            shutil.copyfile(WEIGHTS / place.name, place)
    make_helpers(models_dir)
    from .family_extras import make_extras  # stands on this module

    make_extras(models_dir)


def make_helpers(models_dir: Path) -> None:
    """Write the text encoder where it is missing, and the decoder where it is another one."""
    clip, vae = models_dir / "text_encoders" / CLIP_FILE, models_dir / "vae" / VAE_FILE
    for path in (clip.parent, vae.parent):
        path.mkdir(parents=True, exist_ok=True)
    fresh = vae.with_name(f"{VAE_FILE}.{os.getpid()}.new")
    save(vae_weights(), fresh, torch.float32)
    if vae.exists() and filecmp.cmp(fresh, vae, shallow=False):
        fresh.unlink()
    else:
        fresh.replace(vae)
    if not clip.exists():
        save(_clip(), clip, torch.float16)


def config() -> dict[str, object]:
    """Arguments of ComfyUI's MMDiT that give this family's shapes."""
    linear = {"in_features": CONTEXT, "out_features": HIDDEN}
    return {
        "input_size": None,
        "in_channels": LATENT,
        "out_channels": LATENT,
        "depth": DEPTH,
        "adm_in_channels": POOLED,
        "context_embedder_config": {"target": "torch.nn.Linear", "params": linear},
        "num_patches": GRID * GRID,
        "pos_embed_max_size": GRID,
    }


def save(weights: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> None:
    """Write weights in one dtype; the file is complete or absent."""
    save_tensors({key: tensor.to(dtype) for key, tensor in weights.items()}, path)


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write every tensor in its own dtype; the file is complete or absent."""
    partial = path.with_suffix(".partial")
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, partial)
    partial.replace(path)


def initial(generator: torch.Generator) -> dict[str, Tensor]:
    """Keys and shapes of ComfyUI's MMDiT; weights scaled as an initialisation would."""
    weights: dict[str, Tensor] = {}

    def linear(name: str, rows: int, cols: int, gain: float = 1.0) -> None:
        weights[f"{name}.weight"] = torch.randn(rows, cols, generator=generator) * (
            gain / math.sqrt(cols)
        )
        weights[f"{name}.bias"] = torch.randn(rows, generator=generator) * 0.02

    h = HIDDEN
    patch = torch.randn(h, LATENT, 2, 2, generator=generator) / math.sqrt(LATENT * 4)
    weights["x_embedder.proj.weight"] = patch
    weights["x_embedder.proj.bias"] = torch.randn(h, generator=generator) * 0.02
    weights["pos_embed"] = _sincos(h, GRID)
    linear("context_embedder", h, CONTEXT)
    linear("y_embedder.mlp.0", h, POOLED)
    linear("y_embedder.mlp.2", h, h)
    linear("t_embedder.mlp.0", h, 256)
    linear("t_embedder.mlp.2", h, h)
    for i in range(DEPTH):
        for side in ("x_block", "context_block"):
            block = f"joint_blocks.{i}.{side}"
            last = i == DEPTH - 1 and side == "context_block"
            linear(f"{block}.adaLN_modulation.1", (2 if last else 6) * h, h, gain=0.5)
            linear(f"{block}.attn.qkv", 3 * h, h)
            if not last:
                linear(f"{block}.attn.proj", h, h)
                linear(f"{block}.mlp.fc1", 4 * h, h)
                linear(f"{block}.mlp.fc2", h, 4 * h)
    linear("final_layer.adaLN_modulation.1", 2 * h, h, gain=0.5)
    linear("final_layer.linear", 4 * LATENT, h)
    return weights


def _sincos(width: int, grid: int) -> Tensor:
    """Fixed 2-D sine-cosine position table [1, grid², width]."""
    omega = 1.0 / 10000 ** (torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    place = torch.arange(grid, dtype=torch.float64)
    angles = place[:, None] * omega[None, :]
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)  # (grid, width / 2)
    table = torch.cat(
        [axis[None, :, :].expand(grid, grid, -1), axis[:, None, :].expand(grid, grid, -1)], dim=2
    )
    return table.reshape(1, grid * grid, width).float()


def _clip() -> dict[str, Tensor]:
    """A text encoder with CLIP-L's shapes and seeded weights: prompts differ, meaning is absent."""
    generator = torch.Generator().manual_seed(7)
    weights: dict[str, Tensor] = {}

    def normal(name: str, *shape: int, scale: float = 0.02) -> None:
        weights[f"text_model.{name}"] = (torch.randn(shape, generator=generator) * scale).half()

    normal("embeddings.token_embedding.weight", 49408, 768)
    normal("embeddings.position_embedding.weight", 77, 768, scale=0.01)
    for i in range(12):
        layer = f"encoder.layers.{i}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            normal(f"{layer}.self_attn.{part}.weight", 768, 768, scale=0.03)
            normal(f"{layer}.self_attn.{part}.bias", 768)
        normal(f"{layer}.mlp.fc1.weight", 3072, 768, scale=0.03)
        normal(f"{layer}.mlp.fc1.bias", 3072)
        normal(f"{layer}.mlp.fc2.weight", 768, 3072, scale=0.015)
        normal(f"{layer}.mlp.fc2.bias", 768)
        for norm in ("layer_norm1", "layer_norm2"):
            weights[f"text_model.{layer}.{norm}.weight"] = torch.ones(768)
            weights[f"text_model.{layer}.{norm}.bias"] = torch.zeros(768)
    weights["text_model.final_layer_norm.weight"] = torch.ones(768)
    weights["text_model.final_layer_norm.bias"] = torch.zeros(768)
    return weights
