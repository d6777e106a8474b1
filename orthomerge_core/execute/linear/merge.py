"""Linear methods at the speed of the disk: W = B + Σ c_i δ_i, in chunks, a tensor per thread."""

from __future__ import annotations

from functools import partial

import torch

from ...concurrency.background import run_abandonable
from ...concurrency.pool import Ticker, default_workers, run_pool
from ...keys.reading import key_groups
from ...linalg.compiled import BLOCK, WORTH_COMPILING_BYTES
from ...methods.contract import LinearMethod
from ..deltas import CHUNK
from ..fallback import Outcome, Work
from .gram_cache import GramCache
from .kernel import Kernel, fused_kernel
from .worker import RowGrams, TensorWorker

__all__ = ["LinearMerge"]


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
        self.reused = False
        """Whether some of the work came from a cache."""

    def total(self) -> float:
        """Progress units: bytes to read."""
        return float(sum(t.read_bytes for t in self._work.plan.tensors))

    def run(self) -> None:
        """Merge all tensors."""
        plan = self._work.plan
        outcomes: dict[int, Outcome] = {}
        progress = self._work.progress
        kernels = self._kernels()
        known = self._grams.find(plan) if self._grams else None
        self.reused = known is not None
        grams = RowGrams(known, len(plan.tensors))

        def worker() -> _Task:
            return _Task(
                TensorWorker(self._work, self._method, self._chunk, kernels, grams), outcomes
            )

        run_pool(key_groups(plan.aligned), worker, self._threads, progress)
        for index, tensor in enumerate(plan.tensors):
            self._work.record(tensor, outcomes[index])
        found = grams.in_order()
        if self._grams and found is not None:
            self._grams.put(plan, found)

    def _kernels(self) -> dict[str, Kernel]:
        """Compiled sums by stored dtype, for large merges, where numba is installed."""
        plan, found = self._work.plan, {}
        if self.total() < WORTH_COMPILING_BYTES:
            return {}
        for dtype in sorted({tensor.stored.dtype for tensor in plan.tensors}):
            kernel = run_abandonable(partial(fused_kernel, dtype), self._work.progress)
            if kernel is not None:
                found[dtype] = kernel
        return found


class _Task:
    """What a thread does with a group of tensors."""

    def __init__(self, worker: TensorWorker, outcomes: dict[int, Outcome]) -> None:
        self._worker, self._outcomes = worker, outcomes

    def __call__(self, group: list[int], tick: Ticker) -> None:
        with torch.inference_mode():  # a property of the thread
            for index in group:
                self._outcomes[index] = self._worker.merge(index, tick)
