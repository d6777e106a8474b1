"""Training of small model families: SD3 MMDiTs from scratch, with the loss SD3 sampling expects.

Flow matching: x_s = s·noise + (1 − s)·x, target noise − x, s shifted by 3 as ComfyUI samples it.
Every number comes from a seed, so a run can be repeated on the same kind of machine. Each model is
written when it is finished, in bf16, so a run that was stopped continues with the models it left.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from . import env, family

__all__ = ["Look", "Step", "Trainer", "asked_models", "encode_prompts", "parser", "train_family"]

WIDTH = 768  # columns of the text encoder's output that are not padding


@dataclass(frozen=True)
class Step:
    """One model of a family: its parent ("" for none), training steps and peak learning rate."""

    parent: str
    steps: int
    rate: float


@dataclass(frozen=True)
class Look:
    """What a family draws.

    prompts: all of them. asked: model → those that it trains on. latents: model, prompts and a
    generator → what the model sees [n, 16, h, w]. batch: pictures of one training step.
    """

    prompts: Sequence[str]
    asked: Callable[[str], Sequence[str]]
    latents: Callable[[str, Sequence[str], torch.Generator], Tensor]
    batch: int


class Trainer:
    """A model of a family under training, and the prompts' encodings."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        prompts: Mapping[str, tuple[Tensor, Tensor]],
        fast: bool = False,
    ) -> None:
        comfy_import()
        import comfy.ops
        from comfy.ldm.modules import attention
        from comfy.ldm.modules.diffusionmodules import mmdit

        self.fast = fast
        if fast:  # the fused kernel's backward pass is slow on short sequences
            mmdit.optimized_attention = attention.attention_basic
        self.names = list(prompts)
        self.context = torch.stack([prompts[p][0] for p in self.names])
        self.pooled = torch.stack([prompts[p][1] for p in self.names])
        self.model = mmdit.MMDiT(**family.config(), operations=comfy.ops.disable_weight_init)
        self.model.load_state_dict({k: v.float() for k, v in weights.items()})
        self.model.requires_grad_(True)
        self.embed, self.model.context_embedder = (
            self.model.context_embedder,
            torch.nn.Identity(),
        )

    def context_codes(self) -> Tensor:
        """Every prompt's context as the model embeds it [prompts, 77, hidden]."""
        weight = self.embed.weight[:, :WIDTH]
        return torch.nn.functional.linear(self.context, weight, self.embed.bias)

    def loss(self, data: Tensor, prompts: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error of the predicted velocity; data [n, 16, h, w], prompts [n] indices."""
        count = len(data)
        u = torch.rand(count, generator=generator)
        s = (3 * u / (1 + 2 * u)).view(-1, 1, 1, 1)
        noise = torch.randn(data.shape, generator=generator)
        context = self.context_codes()[prompts]
        out = self.model(
            s * noise + (1 - s) * data, s.view(-1) * 1000, self.pooled[prompts], context
        )
        return (out - (noise - data)).square().mean()

    def train(self, name: str, look: Look, step: Step, seed: int) -> None:
        """Run AdamW with a cosine rate on the pictures of a model."""
        generator = torch.Generator().manual_seed(seed)
        asked = [self.names.index(p) for p in look.asked(name)]
        parameters = [*self.model.parameters(), *self.embed.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=step.rate, weight_decay=0.0, betas=(0.9, 0.98))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, step.steps, step.rate / 20)
        started, mean = time.monotonic(), None
        for number in range(step.steps):
            pick = torch.randint(len(asked), (look.batch,), generator=generator)
            prompts = torch.tensor(asked)[pick]
            data = look.latents(name, [self.names[i] for i in prompts], generator)
            dropped = torch.rand(look.batch, generator=generator) < 0.1
            prompts = torch.where(dropped, self.names.index(""), prompts)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
                loss = self.loss(data, prompts, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
            if number % 100 == 0 or number == step.steps - 1:
                spent = time.monotonic() - started
                env.say(f"{name} {number + 1}/{step.steps} loss {mean:.4f} ({spent:.0f} s)")

    def weights(self) -> dict[str, Tensor]:
        """The state dict under ComfyUI's names."""
        found = dict(self.model.state_dict())
        found |= {f"context_embedder.{k}": v for k, v in self.embed.state_dict().items()}
        return {k: v.detach().clone() for k, v in found.items()}


def comfy_import() -> None:
    """Make ComfyUI's own modules importable, on the CPU."""
    folder = str(env.ensure_comfyui())
    if folder not in sys.path:
        sys.path.insert(0, folder)
        import comfy.options

        comfy.options.enable_args_parsing(False)
        from comfy.cli_args import args

        args.cpu, args.use_pytorch_cross_attention = True, True


def encode_prompts(clip_file: Path, prompts: Sequence[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Prompt → (context [77, 768], pooled [2048]) by ComfyUI's SD3 text encoder; "" comes first."""
    comfy_import()
    import comfy.sd

    clip = comfy.sd.load_clip([str(clip_file)], clip_type=comfy.sd.CLIPType.SD3)
    found = {}
    with torch.inference_mode():
        for prompt in ["", *prompts]:
            context, pooled = clip.encode_from_tokens(clip.tokenize(prompt), return_pooled=True)
            if context[..., WIDTH:].abs().max() > 0:
                raise RuntimeError("the text encoder fills more columns than expected")
            found[prompt] = (context[0, :77, :WIDTH].float().clone(), pooled[0].float().clone())
    return found


def train_family(
    look: Look,
    plan: Mapping[str, Step],
    wanted: Collection[str],
    seed: int,
    folder: Path,
    parents: Path,
    fast: bool,
) -> None:
    """Train the models named in `wanted`, in the order of `plan`, into `folder`.

    A family's seed sets the initial weights, the order of the data, the timesteps and the noise.
    parents: where a parent lies that `folder` lacks. fast: matrix products in bf16 and plain
    attention; the same training with other last digits, in 0.4 of the time on a CPU with AVX-512
    BF16.
    """
    clip = env.CACHE / "host" / "models"
    family.make_helpers(clip)
    prompts = encode_prompts(clip / "text_encoders" / family.CLIP_FILE, look.prompts)
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, step) in enumerate(plan.items()):
        if name not in wanted:
            continue
        if step.parent:
            there = folder / f"{step.parent}.safetensors"
            start = load_file(there if there.exists() else parents / there.name)
        else:
            start = family.initial(torch.Generator().manual_seed(seed))
        trainer = Trainer(start, prompts, fast)
        trainer.train(name, look, step, 10 * seed + number)
        family.save(trainer.weights(), folder / f"{name}.safetensors", torch.bfloat16)


def parser(description: str, plan: Mapping[str, Step]) -> argparse.ArgumentParser:
    """The options that every training script has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("names", nargs="*", metavar="MODEL", help=" | ".join(plan))
    made.add_argument("--seed", type=int, default=1, help="the family's number (default 1)")
    made.add_argument("--out", type=Path, help="folder of the weights (default: the family's)")
    made.add_argument("--fast", action="store_true", help="bf16 products: other last digits")
    made.add_argument("--threads", type=int, help="threads of PyTorch (default: its own choice)")
    return made


def asked_models(
    made: argparse.ArgumentParser, asked: Any, plan: Mapping[str, Step], folder: Path
) -> list[str]:
    """The models to train: those named, else those of the plan that `folder` lacks."""
    if unknown := set(asked.names) - set(plan):
        made.error(f"no such model: {', '.join(sorted(unknown))}; {' | '.join(plan)}")
    if asked.threads:
        torch.set_num_threads(asked.threads)
    return asked.names or [n for n in plan if not (folder / f"{n}.safetensors").exists()]
