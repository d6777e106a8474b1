"""Every other method: one tensor at a time, whole, on the device, while this thread listens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..analysis.pool import run_abandonable
from ..linalg.gram import row_gram
from ..methods.contract import DecomposedMethod, Rows
from ..methods.seeds import key_generator
from .chunks import CHUNK, Job, read_chunk
from .decomposition_cache import DecompositionCache, decomposition_key
from .emit import TensorOut
from .estimate import read_bytes
from .plan import TensorPlan
from .work import Fate, Outcome, Work, acting_rows, difference, has_own_rows, row_deltas

__all__ = ["WholeMerge"]


class WholeMerge:
    """Merges every tensor of a plan with any method.

    Memory: the largest tensor in float32, (models + rows + 4) times. On a device without room for
    it the tensor is done on the CPU, and the report says so.
    """

    def __init__(
        self,
        work: Work,
        device: torch.device,
        cache: DecompositionCache | None = None,
    ) -> None:
        self._work, self._device, self._cache = work, device, cache
        self._own = has_own_rows(work.plan)
        self.on_cpu = 0

    def run(self) -> None:
        """Merge all tensors in the plan's order."""
        for tensor in self._work.plan.tensors:
            self._work.record(tensor, self._tensor(tensor))
            self._work.progress.advance(self._cost(tensor))
        if self.on_cpu:
            self._work.notes.append(
                f"{self.on_cpu} tensors did not fit the memory of {self._device} and were merged "
                "on the CPU."
            )

    def total(self) -> float:
        """Progress units: bytes to read, and FLOPs, ten to a byte."""
        plan = self._work.plan
        return sum(read_bytes(plan, t) + self._cost(t) for t in plan.tensors)

    def _cost(self, tensor: TensorPlan) -> float:
        rows = len(acting_rows(tensor))
        return self._work.plan.method.flops(tensor.shape, rows) / 10.0 if rows else 0.0

    def _tensor(self, tensor: TensorPlan) -> Outcome:
        plan, work = self._work.plan, self._work
        if not tensor.numel or not (plan.rows or plan.texture):
            work.progress.advance(float(read_bytes(plan, tensor)))
            return self._keep(tensor)
        buffer = self._read(tensor)
        matrix = buffer[1:]
        if not self._own:
            matrix = torch.empty(len(plan.rows) + 1, tensor.numel)
            row_deltas(plan, buffer[1:-1], matrix[:-1])
        delta = matrix[-1].zero_()
        norms = [bool(row.count_nonzero()) for row in matrix[:-1]]
        rows = [i for i in acting_rows(tensor) if norms[i]]
        if any(not torch.isfinite(matrix[i]).all() for i in rows):
            return self._repair(tensor)
        if not rows and plan.texture is None:
            return self._keep(tensor, row_gram(matrix))
        result = self._result(tensor, rows, buffer, matrix)
        torch.sub(result, buffer[0], out=delta)
        return self._store(tensor, result, matrix)

    def _keep(self, tensor: TensorPlan, gram: Tensor | None = None) -> Outcome:
        self._work.emitter.copy_base(tensor, self._work.progress.check)
        return Outcome(Fate.FROM_BASE, gram)

    def _repair(self, tensor: TensorPlan) -> Outcome:
        self._work.emitter.copy_base(tensor, self._work.progress.check)
        return Outcome(Fate.REPAIRED)

    def _read(self, tensor: TensorPlan) -> Tensor:
        """[2 + models, params]: base, D_i, a spare row; in chunks, so that a stop is heard."""
        plan = self._work.plan
        buffer = torch.empty(len(plan.models) + 2, tensor.numel)
        share = read_bytes(plan, tensor) / tensor.numel
        for start in range(0, tensor.numel, CHUNK):
            job = Job(tensor.key, start, min(start + CHUNK, tensor.numel))
            read_chunk(plan.aligned.base, plan.models, job, buffer[:, job.start : job.stop])
            self._work.progress.advance(share * (job.stop - job.start))
        return buffer

    def _result(
        self, tensor: TensorPlan, rows: Sequence[int], buffer: Tensor, matrix: Tensor
    ) -> Tensor:
        """The merged values, flat, texture included."""
        base = buffer[0]
        merged = base
        if rows:
            acting = Rows(
                deltas=[matrix[i].view(tensor.shape) for i in rows],
                alphas=[tensor.alphas[i] for i in rows],
                repeats=[self._work.plan.rows[i].row.repeat for i in rows],
            )
            merged = self._call(tensor, base.view(tensor.shape), acting, rows).reshape(-1)
        if self._work.plan.texture is None:
            return merged
        alpha, model, parent = self._work.plan.texture
        texture = torch.empty_like(base)
        difference(buffer[1:-1], model, parent, texture)
        return texture.mul_(alpha).add_(merged)

    def _call(self, tensor: TensorPlan, base: Tensor, rows: Rows, which: Sequence[int]) -> Tensor:
        try:
            return self._on(self._device, tensor, base, rows, which)
        except torch.cuda.OutOfMemoryError:
            self.on_cpu += 1
            return self._on(torch.device("cpu"), tensor, base, rows, which)

    def _on(
        self,
        device: torch.device,
        tensor: TensorPlan,
        base: Tensor,
        rows: Rows,
        which: Sequence[int],
    ) -> Tensor:
        there = Rows([d.to(device) for d in rows.deltas], rows.alphas, rows.repeats)
        local, method, options = base.to(device), self._work.plan.method, self._work.plan.options

        def merge() -> Tensor:
            with torch.inference_mode():  # a property of the thread
                if isinstance(method, DecomposedMethod):
                    return self._composed(method, tensor, local, there, which)
                generator = key_generator(tensor.key, int(options.get("seed", 0)))
                return method.merge(local, there, options, generator)

        return run_abandonable(merge, self._work.progress).to("cpu")

    def _composed(
        self,
        method: DecomposedMethod,
        tensor: TensorPlan,
        base: Tensor,
        rows: Rows,
        which: Sequence[int],
    ) -> Tensor:
        options = self._work.plan.options
        key = decomposition_key(self._work.plan, method, tensor, which) if self._cache else ""
        parts = self._cache.get(key) if self._cache else None
        if parts is None:
            parts = method.decompose(base, rows.deltas, options)
            if self._cache:
                self._cache.put(key, parts)
        reason = method.plain_reason(parts)
        if reason:
            self._work.plain[reason] = self._work.plain.get(reason, 0) + 1
        return method.compose(base, rows, parts, options)

    def _store(self, tensor: TensorPlan, result: Tensor, matrix: Tensor) -> Outcome:
        work = self._work
        if not torch.isfinite(result).all():
            return self._repair(tensor)
        out, rounding = TensorOut(work.emitter, tensor, work.progress.check), 0.0
        for values in result.split(CHUNK):
            rounding += out.put(values)
            work.progress.check()
        return Outcome(Fate.MERGED, row_gram(matrix), rounding + out.finish())
