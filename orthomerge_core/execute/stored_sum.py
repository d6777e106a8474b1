"""A linear merge of tensors that all files, and the result, hold in one 16-bit dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ..analysis.pool import Ticker
from ..io.dtypes import torch_dtype
from ..io.source import ReadStored
from ..keys.aligned import common_dtype
from ..linalg.compiled import BLOCK
from ..shapes import Float64
from .emit import TensorOut
from .estimate import read_bytes
from .fused import FusedSum, Sweep, Terms
from .plan import Plan, TensorPlan
from .work import has_own_rows

__all__ = ["StoredSum"]


class StoredSum:
    """Reads, sums and stores such tensors chunk by chunk, in the same memory; one per thread.

    Args:
        plan: the merge.
        sweeps: dtype → `fused.fused_sweep`; none, and nothing fits.
        chunk: elements at a time, a multiple of 1024; memory and time only.
    """

    def __init__(self, plan: Plan, sweeps: Mapping[str, Sweep], chunk: int) -> None:
        self._plan, self._sweeps, self._chunk = plan, sweeps, chunk
        models, rows = len(plan.models), len(plan.rows) + (plan.texture is not None)
        self._sums = {dtype: FusedSum(sweep, models, rows) for dtype, sweep in sweeps.items()}
        columns = -(-chunk // BLOCK) * BLOCK if sweeps else 0
        self._stored = np.empty((models + 1, columns), dtype=np.uint16)
        self._out = np.empty(columns, dtype=np.uint16)

    def fits(self, tensor: TensorPlan) -> bool:
        """Whether this tensor can be merged here."""
        dtype, scaled = tensor.stored.dtype, tensor.stored.scaled
        models = [m for m in (self._plan.aligned.base, *self._plan.models) if m.has(tensor.key)]
        return dtype in self._sums and not scaled and common_dtype(models, tensor.key) == dtype

    def run(
        self,
        tensor: TensorPlan,
        rows: Sequence[int],
        chosen: Sequence[float],
        out: TensorOut,
        tick: Ticker,
    ) -> tuple[Float64[torch.Tensor, "r r"], float] | None:
        """Store W = B + Σ c_i δ_i over `rows`; the Gram of all rows and W − B, and the energy of
        the rounding error. None, with part of it stored, where a value is not finite."""
        terms, readers = self._terms(rows, chosen), self._readers(tensor)
        size = len(self._plan.rows) + 1
        gram, rounding = torch.zeros(size, size, dtype=torch.float64), 0.0
        dtype, share = torch_dtype(tensor.stored.dtype), read_bytes(self._plan, tensor)
        stored = torch.from_numpy(self._out.view(np.int16)).view(dtype)
        for start in range(0, tensor.numel, self._chunk):
            count = min(self._chunk, tensor.numel - start)
            self._read(readers, start, count)
            sums = self._sums[tensor.stored.dtype]
            found, energy = sums(self._stored, count, terms, self._out)
            if not (np.isfinite(found).all() and np.isfinite(energy)):
                return None
            gram += torch.from_numpy(found)
            rounding += energy
            out.put_stored(stored[:count])
            tick(share * count / tensor.numel)
        return gram, rounding

    def _terms(self, rows: Sequence[int], chosen: Sequence[float]) -> Terms:
        places = [(row.model, row.parent) for row in self._plan.rows]
        numbers, acting = list(chosen), list(rows)
        if self._plan.texture is not None:
            alpha, model, parent = self._plan.texture
            acting.append(len(places))
            places.append((model, parent))
            numbers.append(alpha)
        models, parents = np.array(places, dtype=np.int64).reshape(-1, 2).T
        return Terms(
            np.ascontiguousarray(models),
            np.ascontiguousarray(parents),
            np.array(numbers, dtype=np.float32),
            np.array(acting, dtype=np.int64),
            len(self._plan.rows),
            has_own_rows(self._plan) and self._plan.texture is None,
        )

    def _readers(self, tensor: TensorPlan) -> list[ReadStored | None]:
        """How each model's tensor is read; None where a model lacks it and its delta is zero."""
        models = (self._plan.aligned.base, *self._plan.models)
        return [m.stored_reader(tensor.key) if m.has(tensor.key) else None for m in models]

    def _read(self, readers: Sequence[ReadStored | None], start: int, count: int) -> None:
        for row, read in zip(self._stored, readers, strict=True):
            if read is None:
                row[:count] = self._stored[0, :count]
            else:
                read(row[:count].view(np.uint8).data, start)
