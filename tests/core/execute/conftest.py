"""A small family of models in memory and on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from orthomerge_core.errors import Cancelled
from orthomerge_core.keys.setspec import ModelSpec, SetSpec
from orthomerge_core.progress import Progress
from orthomerge_core.recipe.model import ModelRef, Recipe, Row
from tests.fakes import MemorySource

SHAPES = {
    "blocks.0.attn.weight": (32, 48),
    "blocks.0.attn.bias": (32,),
    "blocks.1.mlp.weight": (64, 16),
    "blocks.1.norm.scale": (16,),
    "final.weight": (4, 3, 2, 2),
    "final.gate": (),
}

Tensors = dict[str, Tensor]


def base_tensors(dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> Tensors:
    draw = torch.Generator().manual_seed(seed)
    tensors = {k: torch.randn(s, generator=draw).to(dtype) for k, s in SHAPES.items()}
    return tensors | {"step": torch.tensor([7], dtype=torch.int64)}


def tuned(base: Tensors, seed: int, strength: float = 0.02) -> Tensors:
    """A fine-tune: every float tensor moved a little, in its dtype."""
    draw = torch.Generator().manual_seed(seed)
    return {
        k: (t.float() + strength * torch.randn(t.shape, generator=draw)).to(t.dtype)
        if t.is_floating_point()
        else t.clone()
        for k, t in base.items()
    }


def live_spec(models: Mapping[str, Tensors]) -> SetSpec:
    """A set over tensors in memory; "base" is the base."""
    specs = {
        name: ModelSpec(name, f"{name}.safetensors", source=MemorySource(name, tensors))
        for name, tensors in models.items()
    }
    base = specs.pop("base")
    return SetSpec(base, tuple(specs.values()))


def recipe_for(spec: SetSpec, *rows: Row, **fields: object) -> Recipe:
    fields = {"method": "task_arithmetic", **fields}
    models = {m.name: ModelRef(m.file) for m in spec.models}
    return Recipe(base=spec.base.file, models=models, rows=rows, **fields)


class StopAfter(Progress):
    """Cancels after so many advances; remembers what it was told."""

    def __init__(self, advances: int) -> None:
        self.left, self.total, self.done = advances, 0.0, 0.0

    def start(self, total: float, label: str) -> None:
        self.total += total

    def advance(self, amount: float) -> None:
        self.done += amount
        self.left -= 1
        self.check()

    def check(self) -> None:
        if self.left <= 0:
            raise Cancelled


@pytest.fixture
def family() -> dict[str, Tensors]:
    base = base_tensors()
    a = tuned(base, 1)
    return {"base": base, "a": a, "b": tuned(base, 2), "child": tuned(a, 3, 0.01)}


@pytest.fixture
def on_disk(tmp_path: Path, family: dict[str, Tensors]) -> Callable[[], SetSpec]:
    """Write the family as files and give their spec."""

    def write() -> SetSpec:
        specs = {}
        for name, tensors in family.items():
            path = tmp_path / f"{name}.safetensors"
            save_file(tensors, path)
            specs[name] = ModelSpec(name, path.name, path=path)
        base = specs.pop("base")
        return SetSpec(base, tuple(specs.values()))

    return write
