"""Linear methods at the speed of the disk: W = B + Σ c_i δ_i, in chunks, a tensor per thread."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from ...concurrency.background import run_abandonable
from ...concurrency.pool import Tick, Ticker, default_workers, run_pool
from ...io.scratch import Scratch
from ...keys.reading import key_groups
from ...linalg.block_gram import BlockGram
from ...linalg.compiled import BLOCK, WORTH_COMPILING_BYTES
from ...linalg.gram import last_products, row_gram
from ...methods.contract import LinearMethod
from ...shapes import Float64
from ..deltas import (
    CHUNK,
    Chunk,
    Job,
    add_rows,
    chunk_readers,
    difference,
    fill_chunk,
    new_buffer,
    row_deltas,
)
from ..fallback import Fate, Outcome, Work, is_finite, only_finite
from ..output.tensor_writer import TensorOut
from ..plan.model import TensorPlan
from .gram_cache import GramCache
from .half import StoredSum
from .kernel import Sweep, fused_sweep

__all__ = ["LinearMerge"]


_NEGLIGIBLE = 2.0**-149


class LinearMerge:
    """Merges every tensor of a plan whose method is linear.

    A method that needs the Gram reads a tensor twice, the second time from the system's cache:
    holding it in float32 instead measured no faster. Rows whose Gram is in `grams`, from an earlier
    merge of them, are read once. Where the coefficients depend on which rows have a delta there (an
    average), all are assumed to, and a tensor where one has none is done again. `chunk`, a multiple
    of 1024 or rounded up to one, `threads` and `grams` change memory and time only.
    """

    def __init__(
        self,
        work: Work,
        method: LinearMethod,
        *,
        chunk: int = CHUNK,
        threads: int | None = None,
        grams: GramCache | None = None,
    ) -> None:
        self._work, self._method, self._chunk = work, method, -(-chunk // BLOCK) * BLOCK
        self._threads = threads or default_workers()
        self._grams = grams if method.needs_gram else None

    def total(self) -> float:
        """Progress units: bytes to read."""
        return float(sum(t.read_bytes for t in self._work.plan.tensors))

    def run(self) -> None:
        """Merge all tensors."""
        plan = self._work.plan
        outcomes: dict[int, Outcome] = {}
        progress = self._work.progress
        sweeps = self._sweeps()
        known = self._grams.find(plan) if self._grams else None
        grams = _Grams(known, len(plan.tensors))

        def worker() -> _Task:
            return _Task(_Worker(self._work, self._method, self._chunk, sweeps, grams), outcomes)

        run_pool(key_groups(plan.aligned), worker, self._threads, progress)
        for index, tensor in enumerate(plan.tensors):
            self._work.record(tensor, outcomes[index])
        found = grams.in_order()
        if self._grams and found is not None:
            self._grams.put(plan, found)

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


class _Grams:
    """The rows' Grams of a merge: known ones, or those that its threads find."""

    def __init__(self, known: Float64[Tensor, "tensors rows rows"] | None, count: int) -> None:
        self.known = known
        self._count = count
        self._found: dict[int, Float64[Tensor, "rows rows"]] = {}

    def __setitem__(self, index: int, gram: Float64[Tensor, "rows rows"]) -> None:
        """Found for a tensor."""
        self._found[index] = gram

    def in_order(self) -> list[Float64[Tensor, "rows rows"]] | None:
        """All of them, if none is missing."""
        if len(self._found) < self._count:
            return None
        return [self._found[index] for index in range(self._count)]


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
        self,
        work: Work,
        method: LinearMethod,
        chunk: int,
        sweeps: Mapping[str, Sweep],
        grams: _Grams,
    ) -> None:
        self._plan, self._emitter, self._method = work.plan, work.emitter, method
        self._grams = grams
        longest = max((t.numel for t in work.plan.tensors), default=1)
        self._chunk = max(1, min(chunk, longest))
        self._own = work.plan.has_own_rows()
        self._buffer = new_buffer(len(work.plan.models), self._chunk)
        self._rows = torch.empty(len(work.plan.rows) + 1, 0 if self._own else self._chunk)
        self._scratch = Scratch()
        self._stored = StoredSum(work.plan, sweeps, self._chunk)
        self._out, self._texture = torch.empty(self._chunk), torch.empty(self._chunk)

    def merge(self, index: int, tick: Tick) -> Outcome:
        """Merge one tensor and store it."""
        plan, tensor = self._plan, self._plan.tensors[index]
        rows, size = tensor.acting_rows, len(plan.rows)
        if tensor.copied or not tensor.numel or not (plan.rows or plan.texture):
            tick(float(tensor.read_bytes))
            self._grams[index] = torch.zeros(size, size, dtype=torch.float64)
            return self._keep(tensor, tick)
        if not plan.rows or (not self._method.needs_gram and (rows or plan.texture is not None)):
            blank = torch.zeros(size, size, dtype=torch.float64)
            chosen = self._coefficients(tensor, rows, blank)
            return self._merge(tensor, rows, chosen, tick)
        gram = self._gram(index, tensor, tick)
        energies = [float(gram[i, i]) for i in rows]
        # beside the largest such a delta is nothing, and its coefficient leaves float32
        least = _NEGLIGIBLE * max((e for e in energies if e < math.inf), default=0.0)
        rows = [i for i, e in zip(rows, energies, strict=True) if not e <= least]
        finite = bool(torch.isfinite(gram[rows][:, rows]).all())
        if finite and (rows or plan.texture is not None):
            chosen = self._coefficients(tensor, rows, gram)
            return self._merge(tensor, rows, chosen, tick, gram)
        if self._grams.known is not None:  # then nothing was read
            tick(float(tensor.read_bytes))
        return self._keep(tensor, tick, _with_delta(gram)) if finite else self._repair(tensor, tick)

    def _merge(
        self,
        tensor: TensorPlan,
        rows: Sequence[int],
        chosen: Sequence[float],
        tick: Tick,
        gram: Float64[Tensor, "r r"] | None = None,
        *,
        again: bool = False,
    ) -> Outcome:
        """`gram` is that of the rows where it had to be known; `again`: all of this was read."""
        share = 0.0 if again or (gram is not None and self._grams.known is None) else 1.0
        known, found = gram is not None, None
        out = TensorOut(self._emitter, tensor, lambda: tick(0.0))
        if self._stored.fits(tensor):
            found = self._stored.run(tensor, rows, chosen, out, _shared(tick, share), known=known)
            share = 0.0
        if found is None:
            out = TensorOut(self._emitter, tensor, lambda: tick(0.0))
            found = self._sum(tensor, rows, chosen, out, _shared(tick, share), known=known)
        if found is None:
            return self._repair(tensor, tick)
        whole, rounding = found
        if gram is not None:
            whole[:-1, :-1] = gram
        there = [i for i in rows if whole[i, i] > 0.0]
        if not there and self._plan.texture is None:
            return self._keep(tensor, tick, whole)
        if gram is None:
            better = self._coefficients(tensor, there, whole)
            if better != list(chosen):
                return self._merge(tensor, there, better, tick, again=True)
        return Outcome(Fate.MERGED, whole, rounding + out.finish())

    def _sum(
        self,
        tensor: TensorPlan,
        rows: Sequence[int],
        chosen: Sequence[float],
        out: TensorOut,
        tick: Tick,
        *,
        known: bool,
    ) -> tuple[Float64[Tensor, "r r"], float] | None:
        """As `StoredSum.run`, in float32, of any dtypes."""
        size = len(self._plan.rows) + 1
        gram, rounding = torch.zeros(size, size, dtype=torch.float64), 0.0
        for chunk in self._chunks(tensor, tick):
            matrix = self._with_delta(chunk, rows, chosen)
            if known:
                gram[-1] += last_products(matrix)
            else:
                gram += row_gram(matrix)
            if not torch.isfinite(gram[-1, -1]):
                return None
            result = self._result(chunk)
            if not is_finite(result):
                return None
            rounding += out.put(result)
        gram[:, -1] = gram[-1]
        return gram, rounding

    def _keep(self, tensor: TensorPlan, tick: Tick, gram: Tensor | None = None) -> Outcome:
        self._emitter.copy_base(tensor, lambda: tick(0.0))
        return Outcome(Fate.FROM_BASE, gram)

    def _repair(self, tensor: TensorPlan, tick: Tick) -> Outcome:
        """The base's tensor; what is finite of the rows counts, and none of it is kept."""
        size = len(self._plan.rows)
        gram = torch.zeros(size, size, dtype=torch.float64)
        for chunk in self._chunks(tensor, _shared(tick, 0.0)):
            gram += row_gram(only_finite(self._row_deltas(chunk)[:-1]))
        self._emitter.copy_base(tensor, lambda: tick(0.0))
        return Outcome(Fate.REPAIRED, _with_delta(gram))

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

    def _chunks(self, tensor: TensorPlan, tick: Tick) -> Iterator[Chunk]:
        """The tensor once through."""
        plan, cost = self._plan, tensor.read_bytes / tensor.numel
        readers = chunk_readers(plan.aligned.base, plan.models, tensor.key, self._scratch)
        for start in range(0, tensor.numel, self._chunk):
            job = Job(tensor.key, start, min(start + self._chunk, tensor.numel))
            yield fill_chunk(readers, job, self._buffer)
            tick(cost * (job.stop - job.start))

    def _gram(self, index: int, tensor: TensorPlan, tick: Tick) -> Float64[Tensor, "r r"]:
        """Gram of all rows, from an earlier merge or from the files."""
        if self._grams.known is not None:
            return self._grams.known[index]
        gram = self._stored.gram(tensor, tick)
        if gram is None:
            sums = BlockGram(len(self._plan.rows))
            for chunk in self._chunks(tensor, tick):
                sums.add(self._row_deltas(chunk)[:-1])
            gram = sums.total
        self._grams[index] = gram
        return gram

    def _with_delta(self, chunk: Chunk, rows: Sequence[int], chosen: Sequence[float]) -> Tensor:
        """[rows + 1, size]: the rows' deltas and Δ = Σ c_i δ_i + texture."""
        matrix = self._row_deltas(chunk)
        delta = matrix[-1]
        add_rows(matrix, rows, chosen, delta)
        if self._plan.texture is not None:
            alpha, model, parent = self._plan.texture
            texture = self._texture[: chunk.size]
            difference(chunk.deltas, model, parent, texture)
            delta.add_(texture, alpha=alpha)
        return matrix

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


def _with_delta(gram: Float64[Tensor, "r r"]) -> Float64[Tensor, "s s"]:
    """The Gram with a last row of zeros, for a Δ of zero."""
    return torch.nn.functional.pad(gram, (0, 1, 0, 1))


def _shared(tick: Tick, share: float) -> Tick:
    """`tick` of a share of the work."""
    return lambda amount: tick(share * amount)
