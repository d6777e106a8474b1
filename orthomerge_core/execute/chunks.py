"""Base and deltas of the planned tensors, in chunks that one thread reads ahead of another."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..keys.aligned import AlignedModel
from ..shapes import Float32

__all__ = ["CHUNK", "HOLD_BYTES", "Chunk", "Job", "ReadAhead", "read_chunk"]

CHUNK = 1 << 17
"""Elements per chunk: some rows of it fit in the cache. It changes time and memory only."""

HOLD_BYTES = 192 << 20
"""What a tensor's chunks may occupy so that a second pass need not read again."""

_AHEAD = 3


@dataclass(frozen=True)
class Job:
    """Elements [start, stop) of a canonical tensor."""

    key: str
    start: int
    stop: int


@dataclass
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


class ReadAhead:
    """Yields the jobs' chunks in order; a context manager that stops its thread.

    `free` gives a chunk's buffer back. At most `buffers` are out at a time, so the reader must free
    what it does not hold on to. Errors of the reading thread surface in `next_chunk`.
    """

    def __init__(
        self,
        base: AlignedModel,
        models: Sequence[AlignedModel],
        jobs: Iterator[Job],
        *,
        chunk: int = CHUNK,
        buffers: int = _AHEAD,
    ) -> None:
        self._base, self._models, self._jobs = base, models, jobs
        self._chunk, self._buffers = chunk, buffers
        self._made = 0
        self._free: queue.SimpleQueue[Tensor | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[Chunk | BaseException] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="orthomerge-read", daemon=True)
        self._stopped = False

    def next_chunk(self, timeout_s: float = 0.1) -> Chunk | None:
        """The next chunk, or None if it is not there within the timeout."""
        try:
            found = self._ready.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(found, BaseException):
            raise found
        return found

    def free(self, chunk: Chunk) -> None:
        """Let the reader use this chunk's buffer again."""
        self._free.put(chunk.buffer)

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._free.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            with torch.inference_mode():
                for job in self._jobs:
                    buffer = self._take()
                    if buffer is None or self._stopped:
                        return
                    self._ready.put(read_chunk(self._base, self._models, job, buffer))
        except BaseException as error:  # raised by `next_chunk`
            self._ready.put(error)

    def _take(self) -> Tensor | None:
        if self._free.empty() and self._made < self._buffers:
            self._made += 1
            return torch.empty(len(self._models) + 2, self._chunk, dtype=torch.float32)
        return self._free.get()
