"""Small SD3 models in memory."""

from __future__ import annotations

import torch

from tests.fakes import MemorySource
from tests.inventories import small_sd3


def sd3(seed: int = 0, hidden: int = 8, dtype: torch.dtype = torch.bfloat16, **changes):
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        key: torch.randn(shape, generator=generator).to(dtype)
        for key, shape in small_sd3(hidden=hidden).items()
    }
    return tensors | changes


def source(name: str, tensors, prefix: str = "", **rest) -> MemorySource:
    return MemorySource(name, {prefix + k: v for k, v in tensors.items()} | rest)
