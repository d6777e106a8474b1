"""Per-thread merge of one tensor: Gram of the rows, coefficients, then the sum in chunks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...concurrency.pool import Tick
from ...methods.contract import LinearMethod
from ...shapes import Float64
from ..fallback import TEXTURE, Fate, Outcome, Work
from ..output.tensor_writer import TensorOut
from ..plan.model import TensorPlan
from .floats import FloatSums
from .half import HalfSums
from .kernel import Kernel
from .sums import LinearSum, shared

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


class TensorWorker:
    """Buffers of one thread, and the merge of one tensor after the other in them."""

    def __init__(
        self,
        work: Work,
        method: LinearMethod,
        chunk: int,
        kernels: Mapping[str, Kernel],
        grams: RowGrams,
    ) -> None:
        self._plan, self._emitter, self._method = work.plan, work.emitter, method
        self._grams = grams
        longest = max((t.numel for t in work.plan.tensors), default=1)
        chunk = max(1, min(chunk, longest))
        self._floats = FloatSums(work.plan, chunk)
        self._halves = HalfSums(work.plan, kernels, chunk)
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
        found = self._floats.find_sound(tensor)
        missing = tuple(i for i in rows if i not in found.rows)
        lost = missing if found.texture else (*missing, TEXTURE)
        if not found.base or not lost:
            return self._repair(tensor, tick)
        sound, silent = [i for i in rows if i in found.rows], shared(tick, 0.0)
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
        what = LinearSum(rows, chosen, self._boost, self._missing, gram is not None)
        found = None
        if self._halves.fits(tensor, what):
            out = self._out(tensor, tick)
            found = self._halves.add_up(tensor, what, out, shared(tick, share))
            share = 0.0
        if found is None:
            out = self._out(tensor, tick)
            found = self._floats.add_up(tensor, what, out, shared(tick, share))
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
            rounding = self._floats.error_products(tensor, error, self._missing, tick)
        return Outcome(Fate.MERGED, whole, rounding, out.clipped)

    def _out(self, tensor: TensorPlan, tick: Tick) -> TensorOut:
        return TensorOut(self._emitter, tensor, lambda: tick(0.0))

    def _keep(self, tensor: TensorPlan, tick: Tick, gram: Tensor | None = None) -> Outcome:
        self._emitter.copy_base(tensor, lambda: tick(0.0))
        return Outcome(Fate.FROM_BASE, gram)

    def _repair(self, tensor: TensorPlan, tick: Tick) -> Outcome:
        """The base's tensor; what is finite of the rows counts, and none of it is kept."""
        gram = self._floats.finite_gram(tensor, tick)
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

    def _gram(self, index: int, tensor: TensorPlan, tick: Tick) -> Float64[Tensor, "r r"]:
        """Gram of all rows, from an earlier merge or from the files."""
        if self._grams.known is not None:
            return self._grams.known[index]
        gram = self._halves.gram(tensor, tick)
        if gram is None:
            gram = self._floats.gram(tensor, tick)
        self._grams[index] = gram
        return gram


def _with_delta(gram: Float64[Tensor, "r r"]) -> Float64[Tensor, "s s"]:
    """The Gram with a last row of zeros, for a Δ of zero."""
    return torch.nn.functional.pad(gram, (0, 1, 0, 1))
