"""A model of the family ready to draw: ComfyUI's MMDiT, the prompts encoded once, Euler steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from scripts.support import env, family
from scripts.support.training import Trainer, encode_prompts

from .latent import to_picture
from .pictures import SIZE, all_prompts

__all__ = ["CFG", "STEPS", "Painter", "prompt_codes", "read", "simple_sigmas", "start_noise"]

STEPS, CFG, SHIFT = 12, 2.5, 3.0
"""The quickstart's KSampler: euler, simple, 12 steps, cfg 2.5; SD3's shift."""


@cache
def prompt_codes() -> dict[str, tuple[Tensor, Tensor]]:
    """Prompt → (context, pooled) by the family's text encoder."""
    models = env.CACHE / "host" / "models"
    family.make_helpers(models)
    return encode_prompts(models / "text_encoders" / family.CLIP_FILE, all_prompts())


def simple_sigmas(steps: int = STEPS) -> list[float]:
    """Noise levels [steps + 1] of ComfyUI's `simple` scheduler over SD3's 1000 levels."""
    levels = [SHIFT * t / (1 + (SHIFT - 1) * t) for t in (i / 1000 for i in range(1, 1001))]
    picked = [levels[-(1 + int(i * len(levels) / steps))] for i in range(steps)]
    return [*picked, 0.0]


class Painter:
    """Weights on ComfyUI's MMDiT. Products in bf16, as the files are; all else in float32."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._trainer = Trainer(weights, prompt_codes(), fast=True)
        self._trainer.model.requires_grad_(False)
        self.load(weights)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take other weights of the same shapes."""
        trainer = self._trainer
        embed = "context_embedder."
        inner = {k: v.float() for k, v in weights.items() if not k.startswith(embed)}
        trainer.model.load_state_dict(inner)
        trainer.embed.load_state_dict(
            {k.removeprefix(embed): v.float() for k, v in weights.items() if k.startswith(embed)}
        )
        self._context = trainer.context_codes()

    def index(self, prompts: Sequence[str]) -> Tensor:
        """Numbers of prompts [n]; "" is the empty prompt's."""
        return torch.tensor([self._trainer.names.index(p) for p in prompts])

    def velocity(self, x: Tensor, s: Tensor, prompts: Tensor) -> Tensor:
        """Predicted noise − picture [n, 16, h, w] at noise levels s [n] for prompt numbers [n]."""
        pooled = self._trainer.pooled[prompts]
        return self._trainer.model(x, s * 1000, pooled, self._context[prompts])

    @torch.inference_mode()
    def losses(self, data: Tensor, noise: Tensor, s: Tensor, prompts: Tensor) -> Tensor:
        """The training's loss per picture [n]: mean squared error of the velocity."""
        mixed = s.view(-1, 1, 1, 1)
        with torch.autocast("cpu", torch.bfloat16):
            out = self.velocity(mixed * noise + (1 - mixed) * data, s, prompts).float()
        return (out - (noise - data)).square().mean(dim=(1, 2, 3))

    @torch.inference_mode()
    def draw(self, noise: Tensor, prompts: Tensor, fast: bool = True) -> Tensor:
        """Pictures [n, 3, SIZE, SIZE] from noise [n, 16, SIZE, SIZE], as KSampler would.

        fast: products in bf16. Levels, guidance and steps are the quickstart's.
        """
        sigmas, empty = simple_sigmas(), self.index([""]).expand(len(noise))
        both, x = torch.cat([prompts, empty]), noise * simple_sigmas()[0]
        for now, after in pairwise(sigmas):
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                level = torch.full((len(both),), now)
                out = self.velocity(torch.cat([x, x]), level, both).float()
            with_prompt, without = out.chunk(2)
            x = x + (after - now) * (without + CFG * (with_prompt - without))
        return to_picture(x)


def start_noise(count: int, seed: int) -> Tensor:
    """Noise [count, 16, SIZE, SIZE]; picture i has ComfyUI's noise of KSampler seed `seed` + i."""
    made = [
        torch.randn(1, family.LATENT, SIZE, SIZE, generator=torch.manual_seed(seed + i))
        for i in range(count)
    ]
    return torch.cat(made)


def read(path: Path) -> dict[str, Tensor]:
    """All tensors of a file."""
    from safetensors.torch import load_file

    return load_file(path)
