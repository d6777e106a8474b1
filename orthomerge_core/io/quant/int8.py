"""8-bit integers with one float scale per tensor or per output row, plain or rotated (ConvRot).

    W = float32(q) · scale                       `int8_tensorwise`
    W = (q Hᵀ / √g) · scale per g columns        with `convrot`, g = `convrot_groupsize` (256)

Source: comfy-kitchen, `dequantize_int8_simple` and `dequantize_int8_convrot_weight`. The latter
rotates after scaling and rounds at every addition; here the sum is exact and rounded once (see
`hadamard`).
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import ClassVar

import torch
from torch import Tensor

from .contract import LayerSpec, QuantLayer, Scales
from .hadamard import is_rotation_size, rotate_integers, rotation_factors
from .registry import register

__all__ = ["Int8"]

_PIECE = 256


def _piece(cols: int) -> int:
    """A unit that divides the row, large enough that looking up its row costs nothing."""
    part = gcd(cols, _PIECE)
    return max(part if part >= _PIECE // 4 else cols, 1)


@register
class Int8(QuantLayer):
    """See the module."""

    formats: ClassVar[tuple[str, ...]] = ("int8_tensorwise",)
    rotates: ClassVar[bool] = True

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        scale, weight = self.side("weight_scale"), spec.weight
        self.expect("weight dtype", "I8", weight.dtype)
        self.expect_in("scale dtype", ("F32", "F16", "BF16"), scale.dtype)
        self.shape, self.needs = weight.shape, ("weight_scale",)
        rows = weight.shape[0] if weight.shape else 1
        cols = torch.Size(weight.shape[1:]).numel()
        if torch.Size(scale.shape).numel() != 1:
            expected = (rows, *(1 for _ in weight.shape[1:]))
            self.expect_in("scale shape", tuple({expected: 0, (rows, 1): 0}), scale.shape)
        self._group = self._rotation(spec, cols) if spec.option("convrot", False) else 0
        self.rotated = bool(self._group)
        self.quant = "int8_convrot" if self._group else "int8_tensorwise"
        self.unit = self.unit_bytes = self._group or _piece(cols)
        self._units_per_row = max(cols // self.unit, 1)

    def _rotation(self, spec: LayerSpec, cols: int) -> int:
        group = spec.option("convrot_groupsize", 256)
        self.expect("number of axes", 2, len(spec.weight.shape))
        if not is_rotation_size(group) or cols % group:
            self.refuse("convrot_groupsize", f"a power of 4 that divides {cols}", group)
        return int(group)

    def load(self, read: Callable[[str], Tensor]) -> Scales:
        """See `QuantLayer`: float32 scale [1, 1] or [rows, 1], and the rotation where there is
        one."""
        rotation = rotation_factors(self._group) if self._group else {}
        return {"scale": read("weight_scale").to(torch.float32).reshape(-1, 1), **rotation}

    def decode(self, scales: Scales, raw: Tensor, first: int, out: Tensor) -> None:
        """See `QuantLayer`."""
        units, whole = out.view(-1, self.unit), raw.view(torch.int8).view(-1, self.unit)
        if self._group:
            rotate_integers(whole.to(torch.float32), scales, units)
            units.mul_(self._group**-0.5)
        else:
            units.copy_(whole)
        scale = scales["scale"]
        if len(scale) > 1:
            row = torch.arange(first, first + len(units)) // self._units_per_row
            scale = scale[row]
        units.mul_(scale)
