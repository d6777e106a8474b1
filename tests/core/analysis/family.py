"""Small sets for the analysis tests: models in memory, laid over their base."""

import torch

from orthomerge_core.keys.align import align
from orthomerge_core.keys.setspec import ModelSpec, Repairs
from tests.fakes import MemorySource


def aligned(base, models, **options):
    """An aligned set of {key: tensor} dicts; `models` is name → dict."""
    repairs = Repairs(skip_misfits=False)
    sources = [
        (ModelSpec(name, f"{name}.safetensors"), MemorySource(f"{name}.safetensors", tensors))
        for name, tensors in models.items()
    ]
    return align(MemorySource("base.safetensors", base), sources, "generic", repairs, **options)


def family(count=3, scale=1e-2, shapes=None, seed=0, dtype=torch.float32):
    """A base and `count` models of it, as dicts: {key: tensor}, {name: {key: tensor}}."""
    g = torch.Generator().manual_seed(seed)
    shapes = shapes or {
        "blocks.0.attn.weight": (40, 24),
        "blocks.0.norm.weight": (24,),
        "blocks.1.attn.weight": (24, 56),
        "blocks.1.conv.weight": (8, 4, 3, 3),
        "out.scale": (),
    }
    base = {k: torch.randn(s, generator=g).to(dtype) for k, s in shapes.items()}
    models = {
        f"m{i}": {
            k: (t.float() + scale * torch.randn(t.shape, generator=g)).to(dtype)
            for k, t in base.items()
        }
        for i in range(count)
    }
    return base, models
