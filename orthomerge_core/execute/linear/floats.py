"""Grams and sums in float32, of tensors in any dtypes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...concurrency.pool import Tick
from ...io.scratch import Scratch
from ...linalg.block_gram import BlockGram
from ...linalg.gram import last_products, row_gram
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
from ..fallback import is_finite, only_finite
from ..output.tensor_writer import TensorOut
from ..plan.model import Plan, TensorPlan
from .sums import LinearSum, shared

__all__ = ["FloatSums", "Sound"]


@dataclass
class Sound:
    """Which rows are finite in a tensor, the Gram of what is finite of all rows, and whether the
    base and the texture are finite."""

    rows: set[int]
    gram: Float64[Tensor, "rows rows"]
    base: bool = True
    texture: bool = True


class FloatSums:
    """`Sums` of any tensor, `chunk` elements at a time; one per thread."""

    def __init__(self, plan: Plan, chunk: int) -> None:
        self._plan, self._chunk = plan, chunk
        self._own = plan.has_own_rows()
        self._buffer = new_buffer(len(plan.models), chunk)
        self._rows = torch.empty(len(plan.rows) + 1, 0 if self._own else chunk)
        self._scratch = Scratch()
        self._out, self._texture = torch.empty(chunk), torch.empty(chunk)

    def gram(self, tensor: TensorPlan, tick: Tick) -> Float64[Tensor, "rows rows"]:
        """`BlockGram` of all rows."""
        sums = BlockGram(len(self._plan.rows))
        for chunk in self._chunks(tensor, tick):
            sums.add(self._row_deltas(chunk)[:-1])
        return sums.total

    def add_up(
        self, tensor: TensorPlan, what: LinearSum, out: TensorOut, tick: Tick
    ) -> tuple[Float64[Tensor, "s s"], Float64[Tensor, "s"]] | None:
        """See `Sums`."""
        size = len(self._plan.rows) + 1
        gram = torch.zeros(size, size, dtype=torch.float64)
        rounding = torch.zeros(size, dtype=torch.float64)
        for chunk in self._chunks(tensor, tick):
            matrix = self._with_delta(chunk, what)
            if what.gram_known:
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

    def error_products(
        self,
        tensor: TensorPlan,
        error: Float32[Tensor, "n"],
        missing: tuple[int, ...],
        tick: Tick,
    ) -> Float64[Tensor, "s"]:
        """⟨e, δ_i⟩ of every row and ‖e‖² of a rounding error that is known at the end only; reads
        the tensor once more, from the system's cache."""
        total = torch.zeros(len(self._plan.rows) + 1, dtype=torch.float64)
        for chunk in self._chunks(tensor, shared(tick, 0.0)):
            matrix = self._finite_row_deltas(chunk, missing)
            matrix[-1].copy_(error[chunk.job.start : chunk.job.stop])
            total += last_products(matrix)
        return total

    def find_sound(self, tensor: TensorPlan) -> Sound:
        """Read a tensor once for what of it is finite."""
        size = len(self._plan.rows)
        found = Sound(set(range(size)), torch.zeros(size, size, dtype=torch.float64))
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

    def finite_gram(self, tensor: TensorPlan, tick: Tick) -> Float64[Tensor, "rows rows"]:
        """Gram of what is finite of the rows."""
        size = len(self._plan.rows)
        gram = torch.zeros(size, size, dtype=torch.float64)
        for chunk in self._chunks(tensor, shared(tick, 0.0)):
            gram += row_gram(only_finite(self._row_deltas(chunk)[:-1]))
        return gram

    def _chunks(self, tensor: TensorPlan, tick: Tick) -> Iterator[Chunk]:
        """The tensor once through."""
        plan, cost = self._plan, tensor.read_bytes / tensor.numel
        readers = chunk_readers(plan.aligned.base, plan.models, tensor.key, self._scratch)
        for start in range(0, tensor.numel, self._chunk):
            job = Job(tensor.key, start, min(start + self._chunk, tensor.numel))
            yield fill_chunk(readers, job, self._buffer)
            tick(cost * (job.stop - job.start))

    def _with_delta(self, chunk: Chunk, what: LinearSum) -> Float32[Tensor, "s n"]:
        """[rows + 1, size]: the rows' deltas and Δ = Σ c_i δ_i + texture."""
        matrix = self._finite_row_deltas(chunk, what.missing)
        delta = matrix[-1]
        add_rows(matrix, what.rows, what.coefficients, delta)
        if what.texture is not None:
            alpha, model, parent = what.texture
            texture = self._texture[: chunk.size]
            difference(chunk.deltas, model, parent, texture)
            delta.add_(texture, alpha=alpha)
        return matrix

    def _finite_row_deltas(self, chunk: Chunk, missing: tuple[int, ...]) -> Float32[Tensor, "s n"]:
        """`_row_deltas`; of rows that are not finite here, what is finite, to be measured only."""
        matrix = self._row_deltas(chunk)
        for i in missing:
            only_finite(matrix[i])
        return matrix

    def _result(self, chunk: Chunk) -> Float32[Tensor, "n"]:
        delta = chunk.buffer[-1] if self._own else self._rows[-1]
        return torch.add(chunk.base, delta[: chunk.size], out=self._out[: chunk.size])

    def _row_deltas(self, chunk: Chunk) -> Float32[Tensor, "s n"]:
        """[rows + 1, size]: the rows' deltas and room for Δ."""
        if self._own:
            return chunk.buffer[1:, : chunk.size]
        matrix = self._rows[:, : chunk.size]
        row_deltas(self._plan, chunk.deltas, matrix[:-1])
        return matrix
