"""Base and deltas of a planned tensor, a chunk at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..keys.aligned import AlignedModel
from ..shapes import Float32

__all__ = ["CHUNK", "Chunk", "Job", "new_buffer", "read_chunk"]

CHUNK = 1 << 17
"""Elements per chunk: half of it costs more calls, twice of it leaves the cache. Time only."""


@dataclass(frozen=True)
class Job:
    """Elements [start, stop) of a canonical tensor."""

    key: str
    start: int
    stop: int


@dataclass(frozen=True)
class Chunk:
    """A job's values.

    `buffer` [2 + models, chunk] float32 holds the base, each D_i = M_i − B, and a spare row.
    """

    job: Job
    buffer: Tensor

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.job.stop - self.job.start

    @property
    def base(self) -> Float32[Tensor, "params"]:
        """The base's values."""
        return self.buffer[0, : self.size]

    @property
    def deltas(self) -> Float32[Tensor, "models params"]:
        """D_i = M_i − B, zero for a model without the key."""
        return self.buffer[1:-1, : self.size]


def new_buffer(models: int, chunk: int) -> Float32[Tensor, "rows params"]:
    """Room for a chunk of a base and that many models."""
    return torch.empty(models + 2, chunk, dtype=torch.float32)


def read_chunk(
    base: AlignedModel, models: Sequence[AlignedModel], job: Job, buffer: Tensor
) -> Chunk:
    """Fill a buffer. Where the base is not finite, so is every delta: it cannot pass unseen."""
    chunk = Chunk(job, buffer)
    base.read_into(job.key, chunk.base, job.start)
    for model, row in zip(models, chunk.deltas, strict=True):
        if model.has(job.key):
            model.read_into(job.key, row, job.start)
        else:
            row.copy_(chunk.base)
    chunk.deltas.sub_(chunk.base)
    return chunk
