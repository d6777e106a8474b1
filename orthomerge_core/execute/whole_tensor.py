"""Every other method: tensors held whole, computed beside the thread that reads and stores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..concurrency.background import BackgroundCalls
from ..concurrency.pool import usable_cores
from ..io.scratch import Scratch
from ..linalg.gram import last_products, row_gram
from ..messages import Message
from ..methods.average import averaged
from ..methods.contract import DecomposedMethod, Rows
from ..methods.seeds import key_generator
from ..shapes import Float32, Float64
from .decomposition_cache import DecompositionCache, decomposition_key
from .deltas import CHUNK, Job, chunk_readers, difference, fill_chunk, row_deltas
from .fallback import TEXTURE, Fate, Outcome, Work, is_finite, only_finite
from .output.tensor_writer import TensorOut
from .plan.cost import TOGETHER_BYTES
from .plan.model import TensorPlan

__all__ = ["WholeMerge"]

_MAX_AT_ONCE = 8
_LARGE = 2.0**40
"""Beyond it a sum of a million squares of a product of two weights may leave float32."""


@dataclass
class _Loaded:
    """A tensor on its way.

    `buffer` [2 + models, params] holds the base and D_i; `matrix` [rows + 1, params] the rows'
    deltas and room for W − B; `rows` act here. Both are views of one memory where rows are models.
    """

    tensor: TensorPlan
    buffer: Tensor
    matrix: Tensor
    rows: list[int]
    missing: tuple[int, ...] = ()
    key: str = ""


@dataclass(frozen=True)
class _Merged:
    """`values` flat on the CPU; `plain` is the reason for a simpler rule; `on_cpu`: no room;
    `texture` is False where the texture is not finite and was left out."""

    values: Tensor
    plain: str = ""
    on_cpu: bool = False
    texture: bool = True


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
        self._own = work.plan.has_own_rows()
        self._at_once = min(usable_cores(), _MAX_AT_ONCE) if device.type == "cpu" else 1
        self._loaded: dict[int, _Loaded] = {}
        self._spare: list[tuple[Tensor, Tensor]] = []
        self._outcomes: dict[int, Outcome] = {}
        self._plain: dict[int, str] = {}
        self.on_cpu = 0

    def run(self) -> None:
        """Merge all tensors."""
        plan = self._work.plan
        with BackgroundCalls[_Merged](self._at_once) as calls:
            for index, tensor in enumerate(plan.tensors):
                self._make_room(calls, plan.whole_bytes(tensor))
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

    def total(self) -> float:
        """Progress units: bytes to read, and FLOPs, ten to a byte."""
        plan = self._work.plan
        return sum(t.read_bytes + self._cost(t) for t in plan.tensors)

    def _cost(self, tensor: TensorPlan) -> float:
        rows = len(tensor.acting_rows)
        return self._work.plan.method.flops(tensor.shape, rows) / 10.0 if rows else 0.0

    def _make_room(self, calls: BackgroundCalls[_Merged], need: int) -> None:
        """Settle what has to be out of memory before a tensor that needs so many bytes comes in."""
        plan = self._work.plan
        while calls.open:
            held = sum(plan.whole_bytes(loaded.tensor) for loaded in self._loaded.values())
            if calls.open <= self._at_once and held + need <= TOGETHER_BYTES:
                return
            self._settle(calls)

    def _begin(self, calls: BackgroundCalls[_Merged], index: int, tensor: TensorPlan) -> None:
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
        large = plan.whole_bytes(tensor) > TOGETHER_BYTES // 2
        alone = large or self._device.type != "cpu"
        calls.start(index, lambda: self._result(found), calls.threads if alone else 1)

    def _settle(self, calls: BackgroundCalls[_Merged]) -> None:
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

    def _load(self, tensor: TensorPlan) -> _Loaded | Outcome:
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
        return _Loaded(tensor, buffer, matrix, rows, missing)

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

    def _result(self, loaded: _Loaded) -> _Merged:
        """The merged values, texture included. Runs on a thread of its own."""
        plan, base = self._work.plan, loaded.buffer[0]
        merged = _Merged(base)
        with torch.inference_mode():  # a property of the thread
            if loaded.rows:
                merged = self._with_strength(base, self._call(loaded))
            if plan.texture is None:
                return merged
            alpha, model, parent = plan.texture
            texture = torch.empty_like(base)
            difference(loaded.buffer[1:-1], model, parent, texture)
            if not is_finite(texture):
                return replace(merged, texture=False)
            return replace(merged, values=texture.mul_(alpha).add_(merged.values))

    def _with_strength(self, base: Tensor, merged: _Merged) -> _Merged:
        """B + strength · (W − B)."""
        strength = self._work.plan.recipe.strength
        if strength == 1.0:
            return merged
        return replace(merged, values=merged.values.sub(base).mul_(strength).add_(base))

    def _call(self, loaded: _Loaded) -> _Merged:
        try:
            return _Merged(*self._on(self._device, loaded))
        except torch.cuda.OutOfMemoryError:
            return _Merged(*self._on(torch.device("cpu"), loaded), on_cpu=True)

    def _on(self, device: torch.device, loaded: _Loaded) -> tuple[Tensor, str]:
        """The method's result and, where a simpler rule was used, the reason.

        Every method commutes with a power of two: weights so large that their squares leave float32
        are scaled down first, and the result back up.
        """
        plan, tensor, which = self._work.plan, loaded.tensor, loaded.rows
        power = _power_for([loaded.buffer[0], *(loaded.matrix[i] for i in which)])
        scale = 2.0**power
        deltas = [loaded.matrix[i].view(tensor.shape).to(device) for i in which]
        base = loaded.buffer[0].view(tensor.shape).to(device)
        origins = self._origins(loaded, device)
        if power:
            base, deltas = base * scale, [delta * scale for delta in deltas]
            origins = [None if origin is None else origin * scale for origin in origins]
        rows = Rows(
            deltas=deltas,
            alphas=[tensor.alphas[i] for i in which],
            repeats=[plan.rows[i].row.repeat for i in which],
            origins=origins,
        )
        try:
            merged, plain = self._by_method(base, rows, loaded)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # torch has it
            merged, plain = averaged(base, rows), "a decomposition did not converge there"
        merged = merged.to("cpu").reshape(-1)
        return (merged / scale if power else merged), plain

    def _origins(self, loaded: _Loaded, device: torch.device) -> list[Tensor | None]:
        """P_i − B of the rows that act, where the method asks for it."""
        plan = self._work.plan
        if self._own or not plan.method.needs_origins:
            return []
        parents = [plan.rows[i].parent for i in loaded.rows]
        shape = loaded.tensor.shape
        return [None if p < 0 else loaded.buffer[1 + p].view(shape).to(device) for p in parents]

    def _by_method(self, base: Tensor, rows: Rows, loaded: _Loaded) -> tuple[Tensor, str]:
        plan, tensor, plain = self._work.plan, loaded.tensor, ""
        if isinstance(plan.method, DecomposedMethod):
            parts = self._parts(plan.method, loaded.key, base, rows.deltas)
            plain = plan.method.plain_reason(parts)
            merged = plan.method.compose(base, rows, parts, plan.options)
        else:
            generator = key_generator(tensor.key, int(plan.options.get("seed", 0)))
            merged = plan.method.merge(base, rows, plan.options, generator)
        return merged, plain

    def _parts(
        self, method: DecomposedMethod, key: str, base: Tensor, deltas: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        parts = self._cache.get(key) if self._cache else None
        if parts is None:
            parts = method.decompose(base, deltas, self._work.plan.options)
            if self._cache:
                self._cache.put(key, parts)
        return parts

    def _store(self, loaded: _Loaded, values: Tensor) -> Outcome:
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
    """⟨e, δ_i⟩ of every row and ‖e‖²; W − B, the matrix's last row, is measured and gives way."""
    matrix[-1].copy_(error)
    return last_products(matrix)


def _power_for(values: Sequence[Tensor]) -> int:
    """p so that 2^p times these values have squares, and sums of squares, within float32."""
    top = max(float(value.abs().max()) for value in values)
    return 0 if top < _LARGE else -math.frexp(top)[1]
