"""Trains the demo's model family: a base and its fine-tunes, with the loss SD3 sampling expects.

    python scripts/train_family.py --out DIR         family 1 again, about half an hour on two cores
    python scripts/train_family.py --seed 2 --fast   what family 2 lacks, into .cache/families/2
    python scripts/train_family.py ink star          these anew, from their parents on disk

Flow matching: x_s = s·noise + (1 − s)·x, target noise − x, s shifted by 3 as ComfyUI samples it.
Every number comes from a seed, so a run can be repeated on the same kind of machine. Each model is
written when it is finished, in bf16, so a run that was stopped continues with the models it left.
Family 1 is the demo's and lies in `scripts/support/weights`; `benchmarks/quality.py` needs more.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.support import env

if __name__ == "__main__":
    env.in_venv(dev=False)

import torch
from safetensors.torch import load_file
from torch import Tensor

from scripts.support import family
from scripts.support.pictures import STYLES, all_prompts, draw

BATCH, BASE_STEPS = 96, 2600
WIDTH = 768  # columns of the text encoder's output that are not padding


class Trainer:
    """A model of the family under training, and the prompts' encodings."""

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

    def train(self, name: str, steps: int, rate: float, seed: int) -> None:
        """Run `steps` of AdamW with a cosine rate on the pictures of a style."""
        style = STYLES[name]
        generator = torch.Generator().manual_seed(seed)
        asked = [self.names.index(p) for p in all_prompts(style.shapes)]
        parameters = [*self.model.parameters(), *self.embed.parameters()]
        optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0, betas=(0.9, 0.98))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, rate / 20)
        started, mean = time.monotonic(), None
        for step in range(steps):
            pick = torch.randint(len(asked), (BATCH,), generator=generator)
            prompts = torch.tensor(asked)[pick]
            pictures = draw([self.names[i] for i in prompts], style, generator)
            dropped = torch.rand(BATCH, generator=generator) < 0.1
            prompts = torch.where(dropped, self.names.index(""), prompts)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
                loss = self.loss(family.to_latent(pictures), prompts, generator)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
            if step % 100 == 0 or step == steps - 1:
                spent = time.monotonic() - started
                env.say(f"{name} {step + 1}/{steps} loss {mean:.4f} ({spent:.0f} s)")

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


def encode_prompts(clip_file: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Prompt → (context [77, 768], pooled [2048]) by ComfyUI's own SD3 text encoder."""
    comfy_import()
    import comfy.sd

    clip = comfy.sd.load_clip([str(clip_file)], clip_type=comfy.sd.CLIPType.SD3)
    found = {}
    with torch.inference_mode():
        for prompt in ["", *all_prompts()]:
            context, pooled = clip.encode_from_tokens(clip.tokenize(prompt), return_pooled=True)
            if context[..., WIDTH:].abs().max() > 0:
                raise RuntimeError("the text encoder fills more columns than expected")
            found[prompt] = (context[0, :77, :WIDTH].float().clone(), pooled[0].float().clone())
    return found


PLAN = {
    "ink": ("base", 500, 6e-4),
    "ink-fine": ("ink", 300, 4e-4),
    "paint": ("base", 400, 6e-4),
    "paint-copy": ("paint", 25, 5e-5),
    "photo": ("base", 300, 3e-4),
    "star": ("base", 400, 6e-4),
    "joint": ("base", 400, 6e-4),
}
"""Fine-tune → (its parent, steps, peak learning rate). `joint` is trained only where asked for."""


def family_folder(seed: int) -> Path:
    """Where a family lives: the repository's own is number 1."""
    return family.WEIGHTS if seed == 1 else env.CACHE / "families" / str(seed)


def train_family(seed: int, folder: Path, wanted: Collection[str], fast: bool) -> None:
    """Train the models named in `wanted`, parents first, into `folder`.

    A family's seed sets the initial weights, the order of the data, the timesteps and the noise.
    fast: matrix products in bf16 and plain attention; the same training with other last digits, in
    0.4 of the time on a CPU with AVX-512 BF16.
    """
    clip = env.CACHE / "host" / "models"
    family.make_helpers(clip)
    prompts = encode_prompts(clip / "text_encoders" / family.CLIP_FILE)
    folder.mkdir(parents=True, exist_ok=True)
    plan = {"base": ("", BASE_STEPS, 2e-3), **PLAN}
    for number, (name, (parent, steps, rate)) in enumerate(plan.items()):
        if name not in wanted:
            continue
        if parent:
            there = folder / f"{parent}.safetensors"
            start = load_file(there if there.exists() else family_folder(seed) / there.name)
        else:
            start = family.initial(torch.Generator().manual_seed(seed))
        trainer = Trainer(start, prompts, fast)
        trainer.train(name, steps, rate, 10 * seed + number)
        family.save(trainer.weights(), folder / f"{name}.safetensors", torch.bfloat16)


def main() -> None:
    """Train what was asked for; without names, what the folder lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="MODEL", help=" | ".join(family.MODELS))
    parser.add_argument("--seed", type=int, default=1, help="the family's number (default 1)")
    parser.add_argument("--out", type=Path, help="folder of the weights (default: the family's)")
    parser.add_argument("--fast", action="store_true", help="bf16 products: other last digits")
    parser.add_argument("--threads", type=int, help="threads of PyTorch (default: its own choice)")
    asked = parser.parse_args()
    if unknown := set(asked.names) - {"base", *PLAN}:
        parser.error(f"no such model: {', '.join(sorted(unknown))}; {' | '.join(PLAN)}")
    if asked.threads:
        torch.set_num_threads(asked.threads)
    folder = asked.out or family_folder(asked.seed)
    present = {path.stem for path in folder.glob("*.safetensors")}
    wanted = asked.names or [name for name in family.MODELS if name not in present]
    if not wanted:
        env.say(f"family {asked.seed} is complete; name a model to train it anew")
    else:
        train_family(asked.seed, folder, wanted, asked.fast)


if __name__ == "__main__":
    main()
