"""The demo's model family: small, trained, with a known history, on a real architecture.

    base ── ink ── ink-fine        outlines; a child of a child: thin and tilted
      ├──── paint ── paint-copy    stripes; a near-duplicate
      ├──── photo                  a grey background
      └──── star                   a shape that the base has never seen

All are SD3 MMDiTs of hidden size 128 and depth 2 that draw the shapes of `pictures`, trained by
`train_family.py`; their weights lie in `weights/`. A text encoder with CLIP-L's shapes and seeded
weights, and a TAESD-shaped decoder that shows three mixtures of the latent's channels come with
them, so that the whole graph consists of ComfyUI's own nodes and ours. `family_extras` adds what
other workflows need.
"""

from __future__ import annotations

import filecmp
import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

__all__ = [
    "CLIP_FILE",
    "FOLDER",
    "LATENT",
    "MODELS",
    "PARENTS",
    "VAE_FILE",
    "WEIGHTS",
    "config",
    "initial",
    "make_family",
    "make_helpers",
    "save",
    "save_tensors",
    "to_latent",
    "to_picture",
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

HIDDEN, DEPTH, CONTEXT, POOLED, LATENT, GRID = 128, 2, 4096, 2048, 16, 32


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
    """Write the text encoder and the decoder, where they are missing."""
    clip, vae = models_dir / "text_encoders" / CLIP_FILE, models_dir / "vae" / VAE_FILE
    for path in (clip.parent, vae.parent):
        path.mkdir(parents=True, exist_ok=True)
    if not vae.exists():
        save(_vae(), vae, torch.float32)
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


def to_latent(pictures: Tensor) -> Tensor:
    """Pictures [n, 3, h, w] in 0..1 → what the model sees [n, 16, h, w]; the decoder undoes it."""
    colours = (pictures - 0.5) / 0.25
    latent = torch.einsum("lc,nchw->nlhw", _mixture().T, colours)
    return (latent - 0.0609) * 1.5305  # the shift and scale of ComfyUI's SD3 latent format


def to_picture(latent: Tensor) -> Tensor:
    """The reverse of `to_latent`: [n, 16, h, w] → [n, 3, h, w] in 0..1, values outside cut off."""
    colours = torch.einsum("cl,nlhw->nchw", _mixture(), latent / 1.5305 + 0.0609)
    return (colours * 0.25 + 0.5).clamp(0, 1)


def _mixture() -> Tensor:
    """[3, LATENT], orthonormal rows: which mixture of channels shows as which colour."""
    generator = torch.Generator().manual_seed(99)
    return torch.linalg.qr(torch.randn(LATENT, 3, generator=generator)).Q.T


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


def _vae() -> dict[str, Tensor]:
    """A TAESD-shaped autoencoder set by hand: three latent mixtures are the colours, enlarged.

    Channels 2c and 2c+1 carry the positive and negative part of colour c through the ReLUs.
    """
    mix = _mixture()
    weights: dict[str, Tensor] = {"vae_scale": torch.tensor(1.0), "vae_shift": torch.tensor(0.0)}

    def conv(name: str, out: int, into: int, bias: bool = True) -> Tensor:
        weights[f"{name}.weight"] = torch.zeros(out, into, 3, 3)
        if bias:
            weights[f"{name}.bias"] = torch.zeros(out)
        return weights[f"{name}.weight"]

    def block(name: str) -> None:
        for part in (0, 2, 4):
            conv(f"{name}.conv.{part}", 64, 64)

    blur = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = blur[:, None] * blur[None, :]
    signs = torch.zeros(64, 3)
    for c in range(3):
        signs[2 * c, c], signs[2 * c + 1, c] = 1.0, -1.0

    conv("taesd_decoder.1", 64, LATENT)[:, :, 1, 1] = signs @ mix
    for i in (3, 4, 5, 8, 9, 10, 13, 14, 15, 18):
        block(f"taesd_decoder.{i}")
    for i in (7, 12, 17):
        smooth = conv(f"taesd_decoder.{i}", 64, 64, bias=False)
        for c in range(6):
            smooth[c, c] = kernel
    conv("taesd_decoder.19", 3, 64)[:, :, 1, 1] = signs.T * 0.25
    weights["taesd_decoder.19.bias"] += 0.5

    conv("taesd_encoder.0", 64, 3)[:, :, 1, 1] = signs
    weights["taesd_encoder.0.bias"] -= 0.5 * signs.sum(1)
    for i in (1, 3, 4, 5, 7, 8, 9, 11, 12, 13):
        block(f"taesd_encoder.{i}")
    for i in (2, 6, 10):
        shrink = conv(f"taesd_encoder.{i}", 64, 64, bias=False)
        for c in range(6):
            shrink[c, c] = kernel
    conv("taesd_encoder.14", LATENT, 64)[:, :, 1, 1] = (signs @ mix).T * 4.0
    return weights


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
