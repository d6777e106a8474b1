"""The benchmark's pictures against ComfyUI's own sampling of the same model."""

from __future__ import annotations

from pathlib import Path

import torch

from scripts.support import env, family

from .latent import to_picture
from .painter import CFG, STEPS, Painter, read, start_noise

__all__ = ["largest_difference"]


def largest_difference(model: Path, prompt: str = "a blue cross", seed: int = 700_001) -> float:
    """max |ours − ComfyUI's| over one picture in 0..1, both in float32 with the same noise.

    ComfyUI's side: its loader, its text encoder and `comfy.sample`, set as the quickstart's
    KSampler is.
    """
    painter = Painter(read(model))  # makes ComfyUI importable
    import comfy.sample
    import comfy.sd

    clip_file = env.CACHE / "host" / "models" / "text_encoders" / family.CLIP_FILE
    clip = comfy.sd.load_clip([str(clip_file)], clip_type=comfy.sd.CLIPType.SD3)
    conds = []
    for text in (prompt, ""):
        cond, pooled = clip.encode_from_tokens(clip.tokenize(text), return_pooled=True)
        conds.append([[cond, {"pooled_output": pooled}]])
    noise = start_noise(1, seed)
    with torch.inference_mode():
        latent = comfy.sample.sample(
            comfy.sd.load_diffusion_model(str(model), model_options={"dtype": torch.float32}),
            noise, STEPS, CFG, "euler", "simple", *conds, torch.zeros_like(noise),
            seed=seed, disable_pbar=True,
        )  # fmt: skip
    theirs = to_picture((latent.float().cpu() - 0.0609) * 1.5305)
    ours = painter.draw(noise, painter.index([prompt]), fast=False)
    return float((theirs - ours).abs().max())
