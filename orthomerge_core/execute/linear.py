"""Linear methods at the speed of the disk: W = B + Σ c_i δ_i, in chunks, a tensor per thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from ..analysis.pool import Ticker, run_abandonable, run_pool, usable_cores
from ..analysis.work import key_groups
from ..io.scratch import Scratch
from ..linalg.compiled import WORTH_COMPILING_BYTES
from ..linalg.gram import row_gram
from ..methods.contract import LinearMethod
from ..shapes import Float64
from .chunks import CHUNK, Chunk, Job, chunk_readers, fill_chunk, new_buffer
from .emit import TensorOut
from .estimate import read_bytes
from .fused import Sweep, fused_sweep
from .plan import TensorPlan
from .stored_sum import StoredSum
from .work import (
    Fate,
    Outcome,
    Work,
    acting_rows,
    add_rows,
    difference,
    has_own_rows,
    is_finite,
    row_deltas,
)

__all__ = ["LinearMerge"]

_MAX_THREADS = 8


class LinearMerge:
    """Merges every tensor of a plan whose method is linear.

    A method that needs the Gram reads a tensor twice, the second time from the system's cache:
    holding it in float32 instead measured no faster. Where the coefficients depend on which rows
    have a delta there (an average), all are assumed to, and a tensor where one has none is done
    again. `chunk` and `threads` change memory and time only.
    """

    def __init__(
        self,
        work: Work,
        method: LinearMethod,
        *,
        chunk: int = CHUNK,
        threads: int | None = None,
    ) -> None:
        self._work, self._method, self._chunk = work, method, chunk
        self._threads = threads or min(usable_cores(), _MAX_THREADS)

    def total(self) -> float:
        """Progress units: bytes to read."""
        return float(sum(read_bytes(self._work.plan, t) for t in self._work.plan.tensors))

    def run(self) -> None:
        """Merge all tensors."""
        plan = self._work.plan
        outcomes: dict[int, Outcome] = {}
        progress = self._work.progress
        sweeps = self._sweeps()

        def worker() -> _Task:
            return _Task(_Worker(self._work, self._method, self._chunk, sweeps), outcomes)

        run_pool(key_groups(plan.aligned), worker, self._threads, progress)
        for index, tensor in enumerate(plan.tensors):
            self._work.record(tensor, outcomes[index])

    def _sweeps(self) -> dict[str, Sweep]:
        """Compiled sums by stored dtype, for large merges, where numba is installed."""
        plan, found = self._work.plan, {}
        if self.total() < WORTH_COMPILING_BYTES:
            return {}
        for dtype in sorted({tensor.stored.dtype for tensor in plan.tensors}):
            sweep = run_abandonable(partial(fused_sweep, dtype), self._work.progress)
            if sweep is not None:
                found[dtype] = sweep
        return found


class _Task:
    """What a thread does with a group of tensors."""

    def __init__(self, worker: _Worker, outcomes: dict[int, Outcome]) -> None:
        self._worker, self._outcomes = worker, outcomes

    def __call__(self, group: list[int], tick: Ticker) -> None:
        with torch.inference_mode():  # a property of the thread
            for index in group:
                self._outcomes[index] = self._worker.merge(index, tick)


class _Worker:
    """One thread's buffers and its way with a tensor."""

    def __init__(
        self, work: Work, method: LinearMethod, chunk: int, sweeps: Mapping[str, Sweep]
    ) -> None:
        self._plan, self._emitter, self._method = work.plan, work.emitter, method
        longest = max((t.numel for t in work.plan.tensors), default=1)
        self._chunk = max(1, min(chunk, longest))
        self._own = has_own_rows(work.plan)
        self._buffer = new_buffer(len(work.plan.models), self._chunk)
        self._rows = torch.empty(len(work.plan.rows) + 1, 0 if self._own else self._chunk)
        self._scratch = Scratch()
        self._stored = StoredSum(work.plan, sweeps, self._chunk)
        self._out, self._texture = torch.empty(self._chunk), torch.empty(self._chunk)

    def merge(self, index: int, tick: Ticker) -> Outcome:
        """Merge one tensor and store it."""
        plan, tensor = self._plan, self._plan.tensors[index]
        rows, size = acting_rows(tensor), len(self._plan.rows)
        if not tensor.numel or not (plan.rows or plan.texture):
            tick(float(read_bytes(plan, tensor)))
            return self._keep(tensor, tick)
        if not rows and plan.texture is None:
            gram = self._sum_gram(tensor, tick)
            return self._keep(tensor, tick, gram)
        if not (self._method.needs_gram and rows):
            blank = torch.zeros(size, size, dtype=torch.float64)
            chosen = self._coefficients(tensor, rows, blank)
            return self._merge(tensor, rows, chosen, tick)
        gram = self._sum_gram(tensor, tick)
        if not torch.isfinite(gram[rows][:, rows]).all():
            return self._repair(tensor, tick)
        rows = [i for i in rows if gram[i, i] > 0.0]
        chosen = self._coefficients(tensor, rows, gram)
        return self._merge(tensor, rows, chosen, tick, share=0.0)

    def _merge(
        self,
        tensor: TensorPlan,
        rows: Sequence[int],
        chosen: Sequence[float],
        tick: Ticker,
        share: float = 1.0,
    ) -> Outcome:
        found, out = None, TensorOut(self._emitter, tensor, lambda: tick(0.0))
        if self._stored.fits(tensor):
            found = self._stored.run(tensor, rows, chosen, out, tick)
            share = 0.0
        if found is None:
            out = TensorOut(self._emitter, tensor, lambda: tick(0.0))
            found = self._sum(tensor, rows, chosen, out, tick, share)
        if found is None:
            return self._repair(tensor, tick)
        gram, rounding = found
        there = [i for i in rows if gram[i, i] > 0.0]
        better = self._coefficients(tensor, there, gram)
        if not there and self._plan.texture is None:
            return self._keep(tensor, tick, gram)
        if better != list(chosen) and not self._method.needs_gram:
            return self._merge(tensor, there, better, tick, share=0.0)
        return Outcome(Fate.MERGED, gram, rounding + out.finish())

    def _sum(
        self,
        tensor: TensorPlan,
        rows: Sequence[int],
        chosen: Sequence[float],
        out: TensorOut,
        tick: Ticker,
        share: float,
    ) -> tuple[Float64[Tensor, "r r"], float] | None:
        """As `StoredSum.run`, in float32, of any dtypes."""
        size = len(self._plan.rows) + 1
        gram, rounding = torch.zeros(size, size, dtype=torch.float64), 0.0
        for chunk in self._chunks(tensor, tick, share=share):
            gram += self._delta(chunk, rows, chosen)
            if not torch.isfinite(gram[-1, -1]):
                return None
            result = self._result(chunk)
            if not is_finite(result):
                return None
            rounding += out.put(result)
        return gram, rounding

    def _keep(self, tensor: TensorPlan, tick: Ticker, gram: Tensor | None = None) -> Outcome:
        self._emitter.copy_base(tensor, lambda: tick(0.0))
        return Outcome(Fate.FROM_BASE, gram)

    def _repair(self, tensor: TensorPlan, tick: Ticker) -> Outcome:
        self._emitter.copy_base(tensor, lambda: tick(0.0))
        return Outcome(Fate.REPAIRED)

    def _coefficients(self, tensor: TensorPlan, rows: Sequence[int], gram: Tensor) -> list[float]:
        """c over all rows of the recipe, zero for rows that do not act here."""
        full = [0.0] * len(self._plan.rows)
        if not rows:
            return full
        found = self._method.coefficients(
            gram[rows][:, rows],
            [tensor.alphas[i] for i in rows],
            [self._plan.rows[i].row.repeat for i in rows],
            self._plan.options,
        )
        for i, value in zip(rows, found.tolist(), strict=True):
            full[i] = value
        return full

    def _chunks(self, tensor: TensorPlan, tick: Ticker, *, share: float = 1.0) -> Iterator[Chunk]:
        """The tensor once through; `share` of its bytes counts as progress."""
        plan, cost = self._plan, share * read_bytes(self._plan, tensor) / tensor.numel
        readers = chunk_readers(plan.aligned.base, plan.models, tensor.key, self._scratch)
        for start in range(0, tensor.numel, self._chunk):
            job = Job(tensor.key, start, min(start + self._chunk, tensor.numel))
            yield fill_chunk(readers, job, self._buffer)
            tick(cost * (job.stop - job.start))

    def _sum_gram(self, tensor: TensorPlan, tick: Ticker) -> Float64[Tensor, "r r"]:
        """Gram of all rows, with a last row of zeros for Δ."""
        size = len(self._plan.rows) + 1
        gram = torch.zeros(size, size, dtype=torch.float64)
        for chunk in self._chunks(tensor, tick):
            gram[:-1, :-1] += row_gram(self._row_deltas(chunk)[:-1])
        return gram

    def _delta(self, chunk: Chunk, rows: Sequence[int], chosen: Sequence[float]) -> Tensor:
        """Δ = Σ c_i δ_i + texture into the last row; returns the Gram of all rows and Δ."""
        matrix = self._row_deltas(chunk)
        delta = matrix[-1]
        add_rows(matrix, rows, chosen, delta)
        if self._plan.texture is not None:
            alpha, model, parent = self._plan.texture
            texture = self._texture[: chunk.size]
            difference(chunk.deltas, model, parent, texture)
            delta.add_(texture, alpha=alpha)
        return row_gram(matrix)

    def _result(self, chunk: Chunk) -> Tensor:
        delta = chunk.buffer[-1] if self._own else self._rows[-1]
        return torch.add(chunk.base, delta[: chunk.size], out=self._out[: chunk.size])

    def _row_deltas(self, chunk: Chunk) -> Tensor:
        """[rows + 1, size]: the rows' deltas and room for Δ."""
        if self._own:
            return chunk.buffer[1:, : chunk.size]
        matrix = self._rows[:, : chunk.size]
        row_deltas(self._plan, chunk.deltas, matrix[:-1])
        return matrix
