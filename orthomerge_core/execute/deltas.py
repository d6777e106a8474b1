"""Base, models' deltas and rows' deltas of a planned tensor, a chunk at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..io.scratch import Scratch
from ..io.source import Read
from ..keys.aligned import AlignedModel
from ..linalg.gram import CHUNK
from ..shapes import Float32
from .plan.model import Plan

__all__ = [
    "CHUNK",
    "Chunk",
    "Job",
    "add_rows",
    "chunk_readers",
    "difference",
    "fill_chunk",
    "new_buffer",
    "row_deltas",
]


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


def chunk_readers(
    base: AlignedModel, models: Sequence[AlignedModel], key: str, scratch: Scratch
) -> list[Read | None]:
    """How a tensor is read from the base and each model, in their order; None where it lacks it."""
    return [m.reader(key, scratch) if m.has(key) else None for m in (base, *models)]


def fill_chunk(readers: Sequence[Read | None], job: Job, buffer: Tensor) -> Chunk:
    """Fill a buffer. Where the base is not finite, so is every delta: it cannot pass unseen."""
    chunk = Chunk(job, buffer)
    base, deltas = chunk.base, chunk.deltas
    for read, row in zip(readers, (base, *deltas), strict=True):
        if read is None:
            row.copy_(base)
        else:
            read(row, job.start)
    deltas.sub_(base)
    return chunk


def row_deltas(
    plan: Plan, deltas: Float32[Tensor, "models n"], out: Float32[Tensor, "rows n"]
) -> None:
    """δ_i = D_model − D_parent of every row, into `out`."""
    for row, target in zip(plan.rows, out, strict=True):
        difference(deltas, row.model, row.parent, target)


def add_rows(
    matrix: Float32[Tensor, "rows n"],
    rows: Sequence[int],
    coefficients: Sequence[float],
    out: Float32[Tensor, "n"],
) -> None:
    """Σ c_i δ_i over `rows` into `out`, in their order; `linear.kernel` repeats each rounding."""
    if not rows:
        out.zero_()
        return
    torch.mul(matrix[rows[0]], coefficients[rows[0]], out=out)
    for i in rows[1:]:
        out.add_(matrix[i], alpha=coefficients[i])


def difference(deltas: Tensor, model: int, parent: int, out: Tensor) -> None:
    """D_model − D_parent into `out`; −1 is the base, whose D is zero."""
    if model < 0:
        out.zero_()
    else:
        out.copy_(deltas[model])
    if parent >= 0:
        out.sub_(deltas[parent])
