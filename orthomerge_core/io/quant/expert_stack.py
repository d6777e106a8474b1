"""A stack of matrices in one tensor: the experts of a mixture, each quantized on its own.

    weight [experts, …], and every scale with the same axis in front, or shared by all of them

The marker says `num_experts`; a scheme for matrices needs no such word, since a third axis has no
other meaning there. Source: ComfyUI, `MoEExperts`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

from torch import Tensor

from ..header import TensorInfo
from .contract import LayerSpec, QuantLayer, Scales

__all__ = ["ExpertStack"]

_SHARED = ("weight_codebook", "pre_quant_scale")  # of one axis, where all experts use the same

_MAX_EXPERTS = 4096


class ExpertStack(QuantLayer):
    """One layer per expert, one after the other."""

    formats = ()

    def __init__(self, spec: LayerSpec, scheme: type[QuantLayer]) -> None:
        super().__init__(spec)
        shape, wanted = spec.weight.shape, spec.option("num_experts", None)
        if len(shape) < 2 or wanted not in (None, shape[0]):
            self.refuse("num_experts", f"the first axis of {list(shape)}", wanted)
        if not 1 <= shape[0] <= _MAX_EXPERTS:
            self.refuse("number of experts", f"1 to {_MAX_EXPERTS}", shape[0])
        self._experts = shape[0]
        sides = {suffix: self._side_of_one(suffix, info) for suffix, info in spec.sides.items()}
        weight = replace(spec.weight, shape=shape[1:], stop=self._stop_of_one(spec.weight))
        self._one = scheme(replace(spec, weight=weight, sides=sides))
        one = self._one
        self.low_bits, self.rotated = one.low_bits, one.rotated
        self.quant, self.needs, self.padding = one.quant, one.needs, one.padding
        self.shape, self.unit, self.unit_bytes = (
            (self._experts, *one.shape),
            one.unit,
            one.unit_bytes,
        )
        self._units = prod(one.shape) // one.unit if one.unit else 0

    def _stop_of_one(self, info: TensorInfo) -> int:
        return info.start + info.n_bytes // self._experts

    def _is_shared(self, suffix: str, shape: tuple[int, ...]) -> bool:
        return prod(shape) == 1 or (suffix in _SHARED and len(shape) == 1)

    def _side_of_one(self, suffix: str, info: TensorInfo) -> TensorInfo:
        if self._is_shared(suffix, info.shape):
            return info
        if info.shape[:1] != (self._experts,):
            self.refuse(f"{suffix} shape", f"[{self._experts}, …]", list(info.shape))
        return replace(info, shape=info.shape[1:], stop=self._stop_of_one(info))

    def load(self, read: Callable[[str], Tensor]) -> Scales:
        """See `QuantLayer`: the scales of every expert, its number in front of their names."""
        stored = {suffix: read(suffix) for suffix in self.needs}
        found: dict[str, Tensor] = {}
        for expert in range(self._experts):
            scales = self._one.load(lambda suffix, i=expert: self._slice(stored, suffix, i))  # type: ignore[misc]
            found.update({f"{expert} {name}": tensor for name, tensor in scales.items()})
        return found

    def _slice(self, stored: Scales, suffix: str, expert: int) -> Tensor:
        tensor = stored[suffix]
        return tensor if self._is_shared(suffix, tuple(tensor.shape)) else tensor[expert]

    def decode(self, scales: Scales, raw: Tensor, first: int, out: Tensor) -> None:
        """See `QuantLayer`."""
        done, total = 0, len(out) // self.unit
        while done < total:
            expert, start = divmod(first + done, self._units)
            count = min(total - done, self._units - start)
            mark = f"{expert} "
            own = {k[len(mark) :]: t for k, t in scales.items() if k.startswith(mark)}
            part = slice(done * self.unit_bytes, (done + count) * self.unit_bytes)
            span = slice(done * self.unit, (done + count) * self.unit)
            self._one.decode(own, raw[part], start, out[span])
            done += count
