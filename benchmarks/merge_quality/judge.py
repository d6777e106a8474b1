"""A small classifier that says what a picture shows, trained on drawn pictures only."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .pictures import BASE_SHAPES, COLOURS, SIZE, Style, draw
from .skills import TILT_RAD

__all__ = ["MARKS", "SHAPES", "Judge", "batch"]

SHAPES = (*BASE_SHAPES, "star")
MARKS = ("outline", "tilt", "stripes", "grey")
_COMBINATIONS = tuple(
    itertools.product((0.0, 1.1, 1.6), (0.0, TILT_RAD), (False, True), (0.12, 0.4))
)
_STEPS, _EACH = 900, 6
_COLOURS = tuple(COLOURS)
_VERSION = 1  # of this file and of `pictures.draw`: counted up when what the judge sees changes


def batch(generator: torch.Generator, each: int = _EACH) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pictures [n, 3, SIZE, SIZE] of every combination of styles, and what they show.

    shapes [n], colours [n]: numbers. marks [n, 4]: 0 or 1, NaN where a circle's tilt has no answer.
    """
    drawn, shapes, colours, marks = [], [], [], []
    for outline, tilt, stripes, ground in _COMBINATIONS:
        shape = torch.randint(len(SHAPES), (each,), generator=generator)
        colour = torch.randint(len(_COLOURS), (each,), generator=generator)
        asked = [f"a {_COLOURS[c]} {SHAPES[s]}" for s, c in zip(shape, colour, strict=True)]
        style = Style(outline=outline, tilt_rad=tilt, ground=ground, stripes=stripes)
        drawn.append(draw(asked, style, generator))
        truth = torch.tensor([outline > 0, tilt > 0, stripes, ground > 0.2]).float().repeat(each, 1)
        truth[shape == SHAPES.index("circle"), 1] = torch.nan
        marks.append(truth)
        shapes.append(shape)
        colours.append(colour)
    return torch.cat(drawn), torch.cat(shapes), torch.cat(colours), torch.cat(marks)


def roughen(drawn: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures as a sampler might leave them: uneven, noisy, some pixels lost."""
    count = len(drawn)
    level = 0.15 * torch.rand(count, 1, 1, 1, generator=generator)
    noisy = drawn + level * torch.randn(drawn.shape, generator=generator)
    share = 0.25 * torch.rand(count, 1, 1, 1, generator=generator)
    lost = torch.rand(count, 1, SIZE, SIZE, generator=generator) < share
    around = nn.functional.avg_pool2d(drawn, 3, 1, 1)
    return torch.where(lost, around, noisy).clamp(0, 1)


class Judge(nn.Module):
    """Three convolutions and a hidden layer. Deterministic: the same bytes for the same code."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, 48, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(48, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(64 * 16, 128), nn.ReLU(),
            nn.Linear(128, len(SHAPES) + len(_COLOURS) + len(MARKS)),
        )  # fmt: skip
        self.accuracy: dict[str, float] = {}

    def heads(self, drawn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits: shapes [n, 5], colours [n, 4], marks [n, 4]."""
        parts = [len(SHAPES), len(_COLOURS), len(MARKS)]
        shapes, colours, marks = self.body(drawn - 0.3).split(parts, dim=1)
        return shapes, colours, marks

    @torch.inference_mode()
    def look(self, drawn: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
        """What pictures [n] show, bool [n] each: every mark of `MARKS`, `star`, and `right`.

        right: shape and colour are the prompt's.
        """
        shapes, colours, marks = self.heads(drawn)
        words = [p.split() for p in prompts]
        shape = torch.tensor([SHAPES.index(w[2]) for w in words])
        colour = torch.tensor([_COLOURS.index(w[1]) for w in words])
        seen = {name: marks[:, i] > 0 for i, name in enumerate(MARKS)}
        seen["star"] = shapes.argmax(1) == SHAPES.index("star")
        seen["right"] = (shapes.argmax(1) == shape) & (colours.argmax(1) == colour)
        return seen

    def teach(self, seed: int = 5) -> None:
        """Train from scratch, about a minute; then measure on drawn pictures of another seed."""
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for layer in self.body:
                if hasattr(layer, "reset_parameters"):
                    layer.reset_parameters()
        optimiser = torch.optim.AdamW(self.parameters(), lr=2e-3, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _STEPS)
        for _ in range(_STEPS):
            drawn, shape, colour, marks = batch(generator)
            heads = self.heads(roughen(drawn, generator))
            known = ~marks.isnan()
            loss = nn.functional.cross_entropy(heads[0], shape)
            loss = loss + nn.functional.cross_entropy(heads[1], colour)
            loss = loss + 4 * nn.functional.binary_cross_entropy_with_logits(
                heads[2][known], marks[known]
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        self.accuracy = self.measure(seed + 1)

    @torch.inference_mode()
    def measure(self, seed: int) -> dict[str, float]:
        """Shares answered rightly on roughened pictures of a seed."""
        generator = torch.Generator().manual_seed(seed)
        drawn, shape, colour, marks = batch(generator, each=100)
        heads = self.heads(roughen(drawn, generator))
        found = {
            "shape": float((heads[0].argmax(1) == shape).float().mean()),
            "colour": float((heads[1].argmax(1) == colour).float().mean()),
        }
        for i, name in enumerate(MARKS):
            known = ~marks[:, i].isnan()
            hit = (heads[2][known, i] > 0) == (marks[known, i] > 0.5)
            found[name] = float(hit.float().mean())
        return found

    @classmethod
    def ready(cls, folder: Path) -> Judge:
        """The judge from `folder`, trained and left there first where there is none yet."""
        weights = folder / f"judge-{_VERSION}.safetensors"
        figures = weights.with_suffix(".json")
        judge = cls().requires_grad_(True)
        if not figures.exists():
            threads = torch.get_num_threads()
            torch.set_num_threads(1)  # sums depend on how many there are
            judge.teach()
            torch.set_num_threads(threads)
            folder.mkdir(parents=True, exist_ok=True)
            save_file(judge.state_dict(), weights)
            figures.write_text(json.dumps(judge.accuracy), encoding="utf-8")
        judge.load_state_dict(load_file(weights))
        judge.accuracy = json.loads(figures.read_text(encoding="utf-8"))
        return judge.eval()
