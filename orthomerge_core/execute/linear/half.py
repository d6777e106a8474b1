"""A linear merge of tensors that all files, and the result, hold in one 16-bit dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch

from ...concurrency.pool import Tick
from ...io.dtypes import torch_dtype
from ...io.source import ReadStored
from ...keys.aligned import common_dtype
from ...linalg.compiled import BLOCK
from ...shapes import Float64
from ..output.tensor_writer import TensorOut
from ..plan.model import Plan, TensorPlan
from .kernel import FusedSum, Kernel, Terms
from .sums import LinearSum

__all__ = ["HalfSums"]

_F16_MAX_BITS = 0x7BFF  # 65504


class HalfSums:
    """`Sums` of such tensors, chunk by chunk in the same memory; one per thread.

    Args:
        plan: the merge.
        kernels: dtype → `kernel.fused_kernel`; none, and nothing fits.
        chunk: elements at a time, a multiple of 1024; memory and time only.
    """

    def __init__(self, plan: Plan, kernels: Mapping[str, Kernel], chunk: int) -> None:
        self._plan, self._kernels, self._chunk = plan, kernels, chunk
        models, rows = len(plan.models), len(plan.rows) + (plan.texture is not None)
        self._sums = {dtype: FusedSum(kernel, models, rows) for dtype, kernel in kernels.items()}
        columns = -(-chunk // BLOCK) * BLOCK if kernels else 0
        self._stored = np.empty((models + 1, columns), dtype=np.uint16)
        self._out = np.empty(columns, dtype=np.uint16)

    def fits(self, tensor: TensorPlan, what: LinearSum) -> bool:
        """Whether this tensor can be summed here."""
        if what.missing or what.texture != self._plan.texture:
            return False
        return not tensor.stored.scheme and self._dtype(tensor) == tensor.stored.dtype

    def add_up(
        self, tensor: TensorPlan, what: LinearSum, out: TensorOut, tick: Tick
    ) -> tuple[Float64[torch.Tensor, "s s"], Float64[torch.Tensor, "s"]] | None:
        """See `Sums`; where the Gram is known, only its last row and column are summed."""
        terms = self._terms(what.rows, what.coefficients, what.gram_known)
        size = len(self._plan.rows) + 1
        gram = torch.zeros(size, size, dtype=torch.float64)
        rounding = torch.zeros(size, dtype=torch.float64)
        stored = torch.from_numpy(self._out.view(np.int16)).view(torch_dtype(tensor.stored.dtype))
        sums = self._sums[tensor.stored.dtype]
        for count, ticked in self._chunks(tensor, tick):
            found, error = sums(self._stored, count, terms, self._out)
            if not (np.isfinite(found).all() and np.isfinite(error).all()):
                return None
            if tensor.stored.dtype == "F16" and self._at_limit(count):
                return None  # the float32 way counts what is clipped
            gram += torch.from_numpy(found)
            rounding += torch.from_numpy(error)
            out.put_stored(stored[:count])
            ticked()
        return gram, rounding

    def _at_limit(self, count: int) -> bool:
        """Whether any result is the largest finite half: it may have been clipped."""
        return bool(np.any(self._out[:count] & 0x7FFF == _F16_MAX_BITS))

    def gram(self, tensor: TensorPlan, tick: Tick) -> Float64[torch.Tensor, "r r"] | None:
        """`BlockGram` of all rows; None where the files hold this tensor otherwise."""
        dtype, size = self._dtype(tensor), len(self._plan.rows)
        if dtype is None:
            return None
        terms, upper = self._terms((), [0.0] * size), np.zeros((size, size), dtype=np.float64)
        for count, ticked in self._chunks(tensor, tick):
            self._sums[dtype].add_gram(self._stored, count, terms, upper)
            ticked()
        return torch.from_numpy(upper + np.triu(upper, 1).T)

    def _dtype(self, tensor: TensorPlan) -> str | None:
        """The dtype in which all files hold a tensor, if there are kernels for it."""
        models = [m for m in (self._plan.aligned.base, *self._plan.models) if m.has(tensor.key)]
        dtype = common_dtype(models, tensor.key)
        return dtype if dtype in self._sums else None

    def _chunks(self, tensor: TensorPlan, tick: Tick) -> Iterator[tuple[int, Callable[[], None]]]:
        """The tensor in chunks: how many elements were read, and what to call after."""
        readers, share = self._readers(tensor), tensor.read_bytes / tensor.numel
        for start in range(0, tensor.numel, self._chunk):
            count = min(self._chunk, tensor.numel - start)
            self._read(readers, start, count)
            yield count, partial(tick, share * count)

    def _terms(self, rows: Sequence[int], chosen: Sequence[float], known: bool = False) -> Terms:
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
            self._plan.has_own_rows() and self._plan.texture is None,
            known,
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
