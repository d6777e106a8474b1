"""Linear methods at the speed of the disk: W = B + Σ c_i δ_i, chunk by chunk, reading ahead."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..methods.contract import LinearMethod
from ..shapes import Float64
from .chunks import CHUNK, HOLD_BYTES, Chunk, Job, ReadAhead, read_chunk
from .emit import TensorOut
from .plan import TensorPlan
from .work import Work, acting_rows, difference, has_own_rows, row_deltas

__all__ = ["LinearMerge"]


class LinearMerge:
    """Streams every tensor of a plan whose method is linear.

    A method that needs the Gram reads a tensor twice, unless its chunks fit `hold_bytes`. Where the
    coefficients depend on which rows have a delta there (an average), all are assumed to, and a
    tensor where one has none is done again. `chunk` and `hold_bytes` change memory and time only.
    """

    def __init__(
        self, work: Work, method: LinearMethod, chunk: int = CHUNK, hold_bytes: int = HOLD_BYTES
    ) -> None:
        self._work, self._method, self._chunk = work, method, chunk
        plan = work.plan
        self._own = has_own_rows(plan)
        width = len(plan.models) + 2
        self._held = hold_bytes // (4 * width * chunk) if method.needs_gram else 0
        self._rows = torch.empty(len(plan.rows) + 1, 0 if self._own else chunk)
        self._out, self._texture = torch.empty(chunk), torch.empty(chunk)

    def run(self) -> None:
        """Merge all tensors in the plan's order."""
        plan = self._work.plan
        jobs = (job for tensor in plan.tensors for job in self._jobs(tensor))
        with ReadAhead(
            plan.aligned.base, plan.models, jobs, chunk=self._chunk, buffers=self._held + 3
        ) as ahead:
            for tensor in plan.tensors:
                self._tensor(tensor, ahead)

    def passes(self, tensor: TensorPlan) -> int:
        """How often a tensor is read."""
        if not tensor.numel or not (self._work.plan.rows or self._work.plan.texture):
            return 0
        return 2 if self._needs_gram(tensor) and not self._holds(tensor) else 1

    def _needs_gram(self, tensor: TensorPlan) -> bool:
        return self._method.needs_gram and any(tensor.alphas)

    def _holds(self, tensor: TensorPlan) -> bool:
        return math.ceil(tensor.numel / self._chunk) <= self._held

    def _jobs(self, tensor: TensorPlan) -> Iterator[Job]:
        for _ in range(self.passes(tensor)):
            for start in range(0, tensor.numel, self._chunk):
                yield Job(tensor.key, start, min(start + self._chunk, tensor.numel))

    def _tensor(self, tensor: TensorPlan, ahead: ReadAhead) -> None:
        work, rows = self._work, acting_rows(tensor)
        if not self.passes(tensor):
            work.keep_base(tensor)
            work.progress.advance(work.bytes_of(tensor))
        elif not rows and work.plan.texture is None:
            gram, _ = self._sum_gram(tensor, ahead)
            work.measure(tensor, gram)
            work.keep_base(tensor)
        elif self._needs_gram(tensor):
            gram, held = self._sum_gram(tensor, ahead)
            rows = [i for i in rows if gram[i, i] != 0.0]  # NaN stays
            chunks = held or self._chunks(tensor, ahead)
            if torch.isfinite(gram[rows][:, rows]).all():
                self._merge(tensor, rows, self._coefficients(tensor, rows, gram), chunks, ahead)
            else:
                for chunk in chunks:
                    ahead.free(chunk)
                work.repair(tensor)
        else:
            blank = torch.zeros(len(work.plan.rows), len(work.plan.rows), dtype=torch.float64)
            chosen = self._coefficients(tensor, rows, blank)
            self._merge(tensor, rows, chosen, self._chunks(tensor, ahead), ahead)

    def _coefficients(self, tensor: TensorPlan, rows: Sequence[int], gram: Tensor) -> list[float]:
        """c over all rows of the recipe, zero for rows that do not act here."""
        full = [0.0] * len(self._work.plan.rows)
        if not rows:
            return full
        found = self._method.coefficients(
            gram[rows][:, rows],
            [tensor.alphas[i] for i in rows],
            [self._work.plan.rows[i].row.repeat for i in rows],
            self._work.plan.options,
        )
        for i, value in zip(rows, found.tolist(), strict=True):
            full[i] = value
        return full

    def _chunks(self, tensor: TensorPlan, ahead: ReadAhead) -> Iterator[Chunk]:
        """The tensor's next pass, with progress and a chance to stop at least every 0.1 s."""
        count = math.ceil(tensor.numel / self._chunk)
        share = self._work.bytes_of(tensor) / (tensor.numel * self.passes(tensor))
        for _ in range(count):
            chunk = ahead.next_chunk()
            while chunk is None:
                self._work.progress.check()
                chunk = ahead.next_chunk()
            self._work.progress.advance(share * chunk.size)
            yield chunk

    def _sum_gram(self, tensor: TensorPlan, ahead: ReadAhead) -> tuple[Tensor, list[Chunk]]:
        """Gram of all rows, with a last row of zeros for Δ, and the chunks that were kept."""
        size = len(self._work.plan.rows) + 1
        gram = torch.zeros(size, size, dtype=torch.float64)
        keep = self._needs_gram(tensor) and self._holds(tensor)
        held: list[Chunk] = []
        for chunk in self._chunks(tensor, ahead):
            rows = self._row_buffer(chunk)
            rows[-1].zero_()
            gram += _product(rows)
            if keep:
                held.append(chunk)
            else:
                ahead.free(chunk)
        return gram, held

    def _merge(
        self,
        tensor: TensorPlan,
        rows: Sequence[int],
        chosen: Sequence[float],
        chunks: Iterator[Chunk] | list[Chunk],
        ahead: ReadAhead,
    ) -> None:
        work = self._work
        size = len(work.plan.rows) + 1
        gram = torch.zeros(size, size, dtype=torch.float64)
        out, rounding, finite = TensorOut(work.emitter, tensor), 0.0, True
        for chunk in chunks:
            if finite:
                product = self._delta(chunk, rows, chosen)
                finite = bool(torch.isfinite(product[-1, -1]))
                gram += product
                if finite:
                    rounding += out.put(self._result(chunk))
            ahead.free(chunk)
        if not finite:
            work.repair(tensor)
            return
        there = [i for i in rows if gram[i, i] > 0.0]
        better = self._coefficients(tensor, there, gram)
        if not there and work.plan.texture is None:
            work.measure(tensor, gram)
            work.keep_base(tensor)
        elif better != list(chosen) and not self._method.needs_gram:
            self._merge(tensor, there, better, self._again(tensor), ahead)
        else:
            work.settle(tensor, gram, rounding + out.finish())

    def _again(self, tensor: TensorPlan) -> Iterator[Chunk]:
        """One more pass, read by this thread since the other is already further."""
        plan = self._work.plan
        for start in range(0, tensor.numel, self._chunk):
            job = Job(tensor.key, start, min(start + self._chunk, tensor.numel))
            buffer = torch.empty(len(plan.models) + 2, self._chunk)
            self._work.progress.check()
            yield read_chunk(plan.aligned.base, plan.models, job, buffer)

    def _delta(self, chunk: Chunk, rows: Sequence[int], chosen: Sequence[float]) -> Tensor:
        """Δ = Σ c_i δ_i + texture into the last row; returns the Gram of all rows and Δ."""
        matrix = self._row_buffer(chunk)
        delta = matrix[-1].zero_()
        for i in rows:
            delta.add_(matrix[i], alpha=chosen[i])
        if self._work.plan.texture is not None:
            alpha, model, parent = self._work.plan.texture
            texture = self._texture[: chunk.size]
            difference(chunk.deltas, model, parent, texture)
            delta.add_(texture, alpha=alpha)
        return _product(matrix)

    def _result(self, chunk: Chunk) -> Tensor:
        delta = chunk.buffer[-1] if self._own else self._rows[-1]
        return torch.add(chunk.base, delta[: chunk.size], out=self._out[: chunk.size])

    def _row_buffer(self, chunk: Chunk) -> Tensor:
        """[rows + 1, size]: the rows' deltas and room for Δ."""
        if self._own:
            return chunk.buffer[1:, : chunk.size]
        matrix = self._rows[:, : chunk.size]
        row_deltas(self._work.plan, chunk.deltas, matrix[:-1])
        return matrix


def _product(matrix: Tensor) -> Float64[Tensor, "r r"]:
    """Float32 products; once more in float64 where those overflow, NaN where a value is."""
    product = (matrix @ matrix.T).double()
    if torch.isfinite(product.diagonal()).all():
        return product
    wide = matrix.double()
    return wide @ wide.T
