"""Per-thread merge of one tensor: Gram of the rows, coefficients, then the sum in chunks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...concurrency.pool import Tick
from ...io.scratch import Scratch
from ...linalg.block_gram import BlockGram
from ...linalg.gram import last_products, row_gram
from ...methods.contract import LinearMethod
from ...shapes import Float32, Float64
from ..deltas import (
    Chunk,
    Job,
    add_rows,
    chunk_readers,
    difference,
    fill_chunk,
    new_buffer,
    row_deltas,
)
from ..fallback import TEXTURE, Fate, Outcome, Work, is_finite, only_finite
from ..output.tensor_writer import TensorOut
from ..plan.model import TensorPlan
from .half import StoredSum
from .kernel import Sweep

__all__ = ["RowGrams", "TensorWorker"]

_NEGLIGIBLE = 2.0**-149


class RowGrams:
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


@dataclass
class _Sound:
    """Which rows are finite in a tensor, the Gram of what is finite of all rows, and whether the
    base and the texture are finite."""

    rows: set[int]
    gram: Float64[Tensor, "rows rows"]
    base: bool = True
    texture: bool = True


class TensorWorker:
    """Buffers of one thread, and the merge of one tensor after the other in them."""

    def __init__(
        self,
        work: Work,
        method: LinearMethod,
        chunk: int,
        sweeps: Mapping[str, Sweep],
        grams: RowGrams,
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
        # of the tensor at hand: the texture, None where it is not finite; rows that are not finite
        self._boost, self._missing = work.plan.texture, tuple[int, ...]()

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
        if not bool(torch.isfinite(gram.diagonal()[rows]).all()):
            return self._merge_sound_rows(tensor, rows, tick, gram)
        return self._merge_by_gram(tensor, rows, gram, tick)

    def _merge_by_gram(
        self, tensor: TensorPlan, rows: list[int], gram: Float64[Tensor, "r r"], tick: Tick
    ) -> Outcome:
        """Merge rows whose Gram is finite."""
        energies = [float(gram[i, i]) for i in rows]
        # a delta that is negligible beside the largest has a coefficient outside of float32
        least = _NEGLIGIBLE * max((e for e in energies if e < math.inf), default=0.0)
        rows = [i for i, e in zip(rows, energies, strict=True) if not e <= least]
        if rows or self._boost is not None:
            chosen = self._coefficients(tensor, rows, gram)
            return self._merge(tensor, rows, chosen, tick, gram)
        if self._grams.known is not None:  # then nothing was read
            tick(float(tensor.read_bytes))
        return self._keep(tensor, tick, _with_delta(gram))

    def _merge_sound_rows(
        self,
        tensor: TensorPlan,
        rows: Sequence[int],
        tick: Tick,
        gram: Float64[Tensor, "r r"] | None = None,
    ) -> Outcome:
        """Merge again without the rows that are not finite here.

        The base's tensor takes the place of the result where the base itself is not finite, or
        where a sum of finite rows is not.
        """
        if gram is not None and self._grams.known is not None:  # nothing was read so far
            tick(float(tensor.read_bytes))
        found = self._look_for_sound(tensor)
        missing = tuple(i for i in rows if i not in found.rows)
        lost = missing if found.texture else (*missing, TEXTURE)
        if not found.base or not lost:
            return self._repair(tensor, tick)
        sound, silent = [i for i in rows if i in found.rows], _shared(tick, 0.0)
        self._boost = self._plan.texture if found.texture else None
        self._missing = tuple(set(range(len(self._plan.rows))) - found.rows)
        try:
            if not sound and self._boost is None:
                outcome = self._keep(tensor, silent, _with_delta(found.gram))
            elif gram is not None:
                known = torch.where(torch.isfinite(gram), gram, found.gram)
                outcome = self._merge_by_gram(tensor, sound, known, silent)
            else:
                chosen = self._coefficients(tensor, sound, torch.zeros_like(found.gram))
                outcome = self._merge(tensor, sound, chosen, silent, last=True)
        finally:
            self._boost, self._missing = self._plan.texture, ()
        return replace(outcome, missing=lost)

    def _look_for_sound(self, tensor: TensorPlan) -> _Sound:
        """Read a tensor once for what of it is finite."""
        size = len(self._plan.rows)
        found = _Sound(set(range(size)), torch.zeros(size, size, dtype=torch.float64))
        for chunk in self._chunks(tensor, lambda amount: None):
            found.base = found.base and is_finite(chunk.base)
            if self._plan.texture is not None:
                _, model, parent = self._plan.texture
                difference(chunk.deltas, model, parent, self._texture[: chunk.size])
                found.texture = found.texture and is_finite(self._texture[: chunk.size])
            matrix = self._row_deltas(chunk)[:-1]
            found.rows = {i for i in found.rows if is_finite(matrix[i])}
            found.gram += row_gram(only_finite(matrix))
        return found

    def _merge(
        self,
        tensor: TensorPlan,
        rows: Sequence[int],
        chosen: Sequence[float],
        tick: Tick,
        gram: Float64[Tensor, "r r"] | None = None,
        *,
        again: bool = False,
        last: bool = False,
    ) -> Outcome:
        """`gram` is that of the rows where it had to be known; `again`: all of this was read;
        `last`: the rows are known to be finite."""
        share = 0.0 if again or (gram is not None and self._grams.known is None) else 1.0
        known, found = gram is not None, None
        out = TensorOut(self._emitter, tensor, lambda: tick(0.0))
        if self._stored.fits(tensor) and not self._missing and self._boost == self._plan.texture:
            found = self._stored.run(tensor, rows, chosen, out, _shared(tick, share), known=known)
            share = 0.0
        if found is None:
            out = TensorOut(self._emitter, tensor, lambda: tick(0.0))
            found = self._sum(tensor, rows, chosen, out, _shared(tick, share), known=known)
        if found is None:
            if last or gram is not None:
                return self._repair(tensor, tick)
            return self._merge_sound_rows(tensor, rows, tick)
        whole, rounding = found
        if gram is not None:
            whole[:-1, :-1] = gram
        there = [i for i in rows if whole[i, i] > 0.0]
        if not there and self._boost is None:
            return self._keep(tensor, tick, whole)
        if gram is None:
            better = self._coefficients(tensor, there, whole)
            if better != list(chosen):
                return self._merge(tensor, there, better, tick, again=True, last=last)
        error = out.finish()
        if error is not None:
            rounding = self._error_products(tensor, error, tick)
        return Outcome(Fate.MERGED, whole, rounding, out.clipped)

    def _error_products(
        self, tensor: TensorPlan, error: Float32[Tensor, "n"], tick: Tick
    ) -> Float64[Tensor, "s"]:
        """⟨e, δ_i⟩ of every row and ‖e‖² of a rounding error that is known at the end only; reads
        the tensor once more, from the system's cache."""
        total = torch.zeros(len(self._plan.rows) + 1, dtype=torch.float64)
        for chunk in self._chunks(tensor, _shared(tick, 0.0)):
            matrix = self._finite_row_deltas(chunk)
            matrix[-1].copy_(error[chunk.job.start : chunk.job.stop])
            total += last_products(matrix)
        return total

    def _sum(
        self,
        tensor: TensorPlan,
        rows: Sequence[int],
        chosen: Sequence[float],
        out: TensorOut,
        tick: Tick,
        *,
        known: bool,
    ) -> tuple[Float64[Tensor, "s s"], Float64[Tensor, "s"]] | None:
        """As `StoredSum.run`, in float32, of any dtypes."""
        size = len(self._plan.rows) + 1
        gram = torch.zeros(size, size, dtype=torch.float64)
        rounding = torch.zeros(size, dtype=torch.float64)
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
            error = out.put(result)
            if error is not None:
                matrix[-1].copy_(error)  # Δ is measured
                rounding += last_products(matrix)
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
        strength = self._plan.recipe.strength
        for i, value in zip(rows, found.tolist(), strict=True):
            full[i] = value * strength
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
        matrix = self._finite_row_deltas(chunk)
        delta = matrix[-1]
        add_rows(matrix, rows, chosen, delta)
        if self._boost is not None:
            alpha, model, parent = self._boost
            texture = self._texture[: chunk.size]
            difference(chunk.deltas, model, parent, texture)
            delta.add_(texture, alpha=alpha)
        return matrix

    def _finite_row_deltas(self, chunk: Chunk) -> Float32[Tensor, "s n"]:
        """`_row_deltas`; of rows that are not finite here, what is finite, to be measured only."""
        matrix = self._row_deltas(chunk)
        for i in self._missing:
            only_finite(matrix[i])
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
