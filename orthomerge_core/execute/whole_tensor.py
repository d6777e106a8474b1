"""Merges with methods that need whole tensors, computed beside the thread that reads and stores."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..concurrency.background import BackgroundCalls
from ..io.scratch import Scratch
from ..linalg.gram import last_products, row_gram
from ..messages import Message
from ..methods.contract import DecomposedMethod
from ..shapes import Float32, Float64
from .decomposition_cache import DecompositionCache, decomposition_key
from .deltas import CHUNK, Job, chunk_readers, fill_chunk, row_deltas
from .fallback import TEXTURE, Fate, Outcome, Work, is_finite, only_finite
from .output.tensor_writer import TensorOut
from .plan.cost import Need, fills_memory, has_room, tensors_at_once
from .plan.model import TensorPlan
from .whole_values import Loaded, Merged, WholeValues

__all__ = ["WholeMerge"]


class WholeMerge:
    """Merges every tensor of a plan with any method.

    On the CPU several tensors are computed at once, each on one thread, since the large
    decompositions gain nothing from more; a tensor that needs more than half of
    `TOGETHER_BYTES` has the machine for itself. Which of the two depends on its size alone, so that
    the bytes do not depend on what else runs. On a device without room for a tensor it is done on
    the CPU, and the report says so.
    """

    def __init__(
        self,
        work: Work,
        device: torch.device,
        cache: DecompositionCache | None = None,
    ) -> None:
        self._work, self._device, self._cache = work, device, cache
        self._values = WholeValues(work.plan, device, cache)
        self._own = work.plan.has_own_rows()
        self._at_once = tensors_at_once() if device.type == "cpu" else 1
        self._loaded: dict[int, Loaded] = {}
        self._spare: list[tuple[Tensor, Tensor]] = []
        self._outcomes: dict[int, Outcome] = {}
        self._plain: dict[int, str] = {}
        self.on_cpu = 0

    def run(self) -> None:
        """Merge all tensors."""
        plan = self._work.plan
        with BackgroundCalls[Merged](self._at_once) as calls:
            for index, tensor in enumerate(plan.tensors):
                self._make_room(calls, plan.need(tensor))
                self._begin(calls, index, tensor)
            while calls.open:
                self._settle(calls)
        for index, tensor in enumerate(plan.tensors):
            self._work.record(tensor, self._outcomes[index])
            if reason := self._plain.get(index):
                self._work.plain[reason] = self._work.plain.get(reason, 0) + 1
        if self.on_cpu:
            values = {"count": self.on_cpu, "device": str(self._device)}
            self._work.notes.append(Message("merge.on_cpu", values))

    @property
    def reused(self) -> bool:
        """Whether some of the work came from a cache."""
        return self._values.reused

    def total(self) -> float:
        """Progress units: bytes to read, and FLOPs, ten to a byte."""
        plan = self._work.plan
        return sum(t.read_bytes + self._cost(t) for t in plan.tensors)

    def _cost(self, tensor: TensorPlan) -> float:
        rows = len(tensor.acting_rows)
        return self._work.plan.method.flops(tensor.shape, rows) / 10.0 if rows else 0.0

    def _make_room(self, calls: BackgroundCalls[Merged], need: Need) -> None:
        """Settle what has to be out of memory before a tensor with that need comes in."""
        plan = self._work.plan
        while calls.open:
            inside = [plan.need(loaded.tensor) for loaded in self._loaded.values()]
            if has_room(inside, need, self._at_once):
                return
            self._settle(calls)

    def _begin(self, calls: BackgroundCalls[Merged], index: int, tensor: TensorPlan) -> None:
        """Read a tensor and start its merge, or finish it at once where nothing acts on it."""
        plan, progress = self._work.plan, self._work.progress
        found = self._load(tensor)
        if isinstance(found, Outcome):
            self._outcomes[index] = found
            progress.advance(self._cost(tensor))
            return
        if self._cache and isinstance(plan.method, DecomposedMethod) and found.rows:
            found.key = decomposition_key(plan, plan.method, tensor, found.rows)
        self._loaded[index] = found
        large = fills_memory(plan.need(tensor))
        alone = large or self._device.type != "cpu"
        calls.start(index, lambda: self._values(found), calls.threads if alone else 1)

    def _settle(self, calls: BackgroundCalls[Merged]) -> None:
        """Store the merge that ends next."""
        index, merged = calls.next(self._work.progress)
        loaded = self._loaded.pop(index)
        if not merged.texture:
            loaded.missing = (*loaded.missing, TEXTURE)
        self._outcomes[index] = self._store(loaded, merged.values)
        self._spare.append((loaded.buffer, loaded.matrix))
        self.on_cpu += merged.on_cpu
        self._plain[index] = merged.plain
        self._work.progress.advance(self._cost(loaded.tensor))

    def _load(self, tensor: TensorPlan) -> Loaded | Outcome:
        """Base and deltas of a tensor, or its outcome where nothing is to be computed."""
        plan, progress = self._work.plan, self._work.progress
        if tensor.copied or not tensor.numel or not (plan.rows or plan.texture):
            progress.advance(float(tensor.read_bytes))
            return self._keep(tensor)
        buffer, matrix = self._memory(tensor.numel)
        there, broken = self._read(tensor, buffer, matrix)
        if broken and not is_finite(buffer[0]):
            return self._repair(tensor, matrix)
        for i in broken if plan.texture is None else ():  # else its D may be among them
            only_finite(matrix[i])
        missing = tuple(i for i in tensor.acting_rows if i in broken)
        rows = [i for i in tensor.acting_rows if i in there and i not in broken]
        if not rows and plan.texture is None:
            matrix[-1].zero_()
            return replace(self._keep(tensor, self._gram(matrix)), missing=missing)
        return Loaded(tensor, buffer, matrix, rows, missing)

    def _memory(self, numel: int) -> tuple[Tensor, Tensor]:
        """Buffer and matrix of a tensor: a former one's of the same size, whose pages exist."""
        while self._spare:
            buffer, matrix = self._spare.pop()
            if buffer.shape[1] == numel:
                return buffer, matrix
        plan = self._work.plan
        buffer = torch.empty(len(plan.models) + 2, numel)
        return buffer, buffer[1:] if self._own else torch.empty(len(plan.rows) + 1, numel)

    def _read(
        self, tensor: TensorPlan, buffer: Tensor, matrix: Tensor
    ) -> tuple[set[int], set[int]]:
        """Fill buffer and matrix; the rows with a delta here, and those with one not finite."""
        plan, there, broken = self._work.plan, set[int](), set[int]()
        share = tensor.read_bytes / tensor.numel
        readers = chunk_readers(plan.aligned.base, plan.models, tensor.key, Scratch())
        for start in range(0, tensor.numel, CHUNK):
            job = Job(tensor.key, start, min(start + CHUNK, tensor.numel))
            piece, rows = buffer[:, start : job.stop], matrix[:, start : job.stop]
            fill_chunk(readers, job, piece)
            if not self._own:
                row_deltas(plan, piece[1:-1], rows[:-1])
            for i, row in enumerate(rows[:-1]):
                if i not in there and row.count_nonzero():
                    there.add(i)
                if not is_finite(row):
                    broken.add(i)
            self._work.progress.advance(share * (job.stop - job.start))
        return there, broken

    def _keep(self, tensor: TensorPlan, gram: Tensor | None = None) -> Outcome:
        self._work.emitter.copy_base(tensor, self._work.progress.check)
        return Outcome(Fate.FROM_BASE, gram)

    def _repair(self, tensor: TensorPlan, matrix: Tensor) -> Outcome:
        """The base's tensor; what is finite of the rows counts, and none of it is kept."""
        only_finite(matrix[:-1])
        matrix[-1].zero_()
        self._work.emitter.copy_base(tensor, self._work.progress.check)
        return Outcome(Fate.REPAIRED, self._gram(matrix))

    def _gram(self, matrix: Tensor) -> Tensor:
        """Gram of the rows of a matrix, in pieces that stay in the processor's cache."""
        total = torch.zeros(len(matrix), len(matrix), dtype=torch.float64)
        for piece in matrix.split(CHUNK, dim=1):
            total += row_gram(piece)
            self._work.progress.check()
        return total

    def _store(self, loaded: Loaded, values: Tensor) -> Outcome:
        work, tensor, matrix = self._work, loaded.tensor, loaded.matrix
        if not is_finite(values):
            return self._repair(tensor, matrix)
        gram = torch.zeros(len(matrix), len(matrix), dtype=torch.float64)
        out = TensorOut(work.emitter, tensor, work.progress.check)
        rounding = torch.zeros(len(matrix), dtype=torch.float64)
        for start in range(0, tensor.numel, CHUNK):
            piece = slice(start, min(start + CHUNK, tensor.numel))
            torch.sub(values[piece], loaded.buffer[0, piece], out=matrix[-1, piece])
            gram += row_gram(matrix[:, piece])
            error = out.put(values[piece])
            if error is not None:
                rounding += _error_products(matrix[:, piece], error)
            work.progress.check()
        error = out.finish()
        if error is not None:
            for start in range(0, tensor.numel, CHUNK):
                piece = slice(start, min(start + CHUNK, tensor.numel))
                rounding += _error_products(matrix[:, piece], error[piece])
        return Outcome(Fate.MERGED, gram, rounding, out.clipped, loaded.missing)


def _error_products(
    matrix: Float32[Tensor, "s n"], error: Float32[Tensor, "n"]
) -> Float64[Tensor, "s"]:
    """⟨e, δ_i⟩ of every row and ‖e‖²; overwrites W − B, the matrix's last row."""
    matrix[-1].copy_(error)
    return last_products(matrix)
