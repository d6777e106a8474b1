"""Full checkpoints for the examples and the tests: diffusion model, text encoder and VAE in a file.

They are the demo family's models, each with a text encoder of its own and the shared decoder, as
all-in-one files of SD3 store them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from . import family

__all__ = ["CHECKPOINTS", "CHECKPOINT_FOLDER", "OTHER_VAE", "TEXT_CHANGE", "make_checkpoints"]

CHECKPOINT_FOLDER = "orthomerge_demo_checkpoints"
CHECKPOINTS = ("base", "star", "photo")
TEXT_CHANGE = 0.02
"""A fine-tune's change of its text encoder, relative to each matrix."""
OTHER_VAE = "orthomerge_demo_vae_warm.safetensors"
"""A VAE like the demo's, whose pictures are warmer and richer in contrast."""
PREFIXES = {
    "diffusion": "model.diffusion_model.",
    "text": "text_encoders.clip_l.transformer.",
    "vae": "first_stage_model.",
}


def make_checkpoints(models_dir: Path) -> None:
    """Write what is missing or older than the family; the same bytes on every run."""
    weights = models_dir / "diffusion_models" / family.FOLDER
    folder = models_dir / "checkpoints" / CHECKPOINT_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    vae, other = (models_dir / "vae" / name for name in (family.VAE_FILE, OTHER_VAE))
    if not other.exists() or other.stat().st_mtime_ns < vae.stat().st_mtime_ns:
        family.save_tensors(_warm(load_file(vae)), other)
    newest = max(path.stat().st_mtime_ns for path in weights.glob("*.safetensors"))
    for number, name in enumerate(CHECKPOINTS):
        path = folder / f"{name}.safetensors"
        if path.exists() and path.stat().st_mtime_ns >= newest:
            continue
        text = load_file(models_dir / "text_encoders" / family.CLIP_FILE)
        tensors = _named("diffusion", load_file(weights / path.name))
        tensors |= _named("text", _tuned(text, number) if number else text)
        tensors |= _named("vae", load_file(models_dir / "vae" / family.VAE_FILE))
        family.save_tensors(tensors, path)


def _warm(vae: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The decoder's last layer with more contrast, more red and less blue."""
    last = "taesd_decoder.19"
    out = dict(vae)
    out[f"{last}.weight"] = vae[f"{last}.weight"] * 1.25
    out[f"{last}.bias"] = vae[f"{last}.bias"] + torch.tensor([0.12, 0.03, -0.12])
    return out


def _named(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {PREFIXES[part] + key: tensor for key, tensor in tensors.items()}


def _tuned(text: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """The matrices of the last two layers changed by noise of `TEXT_CHANGE` their own size."""
    generator = torch.Generator().manual_seed(seed)
    out = dict(text)
    for key, tensor in text.items():
        if tensor.dim() == 2 and any(f"layers.{n}." in key for n in (10, 11)):
            noise = torch.randn(tensor.shape, generator=generator)
            size = TEXT_CHANGE * tensor.float().std()
            out[key] = (tensor.float() + size * noise).to(tensor.dtype)
    return out
