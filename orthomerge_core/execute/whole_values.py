"""The values of a tensor that is merged whole: method, cached parts, strength, texture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..methods.average import averaged
from ..methods.contract import DecomposedMethod, Rows
from ..methods.seeds import key_generator
from .decomposition_cache import DecompositionCache
from .deltas import difference
from .fallback import is_finite
from .plan.model import Plan, TensorPlan

__all__ = ["Loaded", "Merged", "WholeValues"]

_LARGE = 2.0**40
"""Beyond it a sum of a million squares of a product of two weights may leave float32."""


@dataclass
class Loaded:
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
class Merged:
    """`values` flat on the CPU; `plain` is the reason for a simpler rule; `on_cpu`: no room;
    `texture` is False where the texture is not finite and was left out."""

    values: Tensor
    plain: str = ""
    on_cpu: bool = False
    texture: bool = True


class WholeValues:
    """Computes what `whole_tensor` has loaded. Any thread may call it."""

    def __init__(
        self, plan: Plan, device: torch.device, cache: DecompositionCache | None = None
    ) -> None:
        self._plan, self._device, self._cache = plan, device, cache
        self._own = plan.has_own_rows()
        self.reused = False
        """Whether a decomposition came from the cache."""

    def __call__(self, loaded: Loaded) -> Merged:
        """The merged values, texture included. Runs on a thread of its own."""
        plan, base = self._plan, loaded.buffer[0]
        merged = Merged(base)
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

    def _with_strength(self, base: Tensor, merged: Merged) -> Merged:
        """B + strength · (W − B)."""
        strength = self._plan.recipe.strength
        if strength == 1.0:
            return merged
        return replace(merged, values=merged.values.sub(base).mul_(strength).add_(base))

    def _call(self, loaded: Loaded) -> Merged:
        try:
            return Merged(*self._on(self._device, loaded))
        except torch.cuda.OutOfMemoryError:
            return Merged(*self._on(torch.device("cpu"), loaded), on_cpu=True)

    def _on(self, device: torch.device, loaded: Loaded) -> tuple[Tensor, str]:
        """The method's result and, where a simpler rule was used, the reason.

        Every method commutes with a power of two: weights so large that their squares leave float32
        are scaled down first, and the result back up.
        """
        plan, tensor, which = self._plan, loaded.tensor, loaded.rows
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

    def _origins(self, loaded: Loaded, device: torch.device) -> list[Tensor | None]:
        """P_i − B of the rows that act, where the method asks for it."""
        plan = self._plan
        if self._own or not plan.method.needs_origins:
            return []
        parents = [plan.rows[i].parent for i in loaded.rows]
        shape = loaded.tensor.shape
        return [None if p < 0 else loaded.buffer[1 + p].view(shape).to(device) for p in parents]

    def _by_method(self, base: Tensor, rows: Rows, loaded: Loaded) -> tuple[Tensor, str]:
        plan, tensor, plain = self._plan, loaded.tensor, ""
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
        if parts is not None:
            self.reused = True
            return parts
        parts = method.decompose(base, deltas, self._plan.options)
        if self._cache:
            self._cache.put(key, parts)
        return parts


def _power_for(values: Sequence[Tensor]) -> int:
    """p so that 2^p times these values have squares, and sums of squares, within float32."""
    top = max(float(value.abs().max()) for value in values)
    return 0 if top < _LARGE else -math.frexp(top)[1]
