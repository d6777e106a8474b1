"""4-bit integers, rotated (ConvRot), with one float scale per output row.

    W = (q Hᵀ / √g) · scale per g columns,  q = −8 … 7,  g = `convrot_groupsize` (256)

Two values to a byte, the low nibble first. Source: comfy-kitchen,
`dequantize_convrot_w4a4_weight`; as in `int8`, the rotation is done on integers, where it is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from .contract import LayerSpec, QuantLayer, Scales
from .hadamard import is_rotation_size, rotate_integers, rotation_factors
from .nibbles import unpack_low_first
from .registry import register

__all__ = ["ConvRotW4A4"]


@register
class ConvRotW4A4(QuantLayer):
    """See the module."""

    formats: ClassVar[tuple[str, ...]] = ("convrot_w4a4",)
    rotates: ClassVar[bool] = True
    matrix: ClassVar[bool] = True

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        self.quant, self.needs = "convrot_w4a4", ("weight_scale",)
        scale, weight = self.side("weight_scale"), spec.weight
        self.expect("number of axes", 2, len(weight.shape))
        self.expect_in("weight dtype", ("I8", "U8"), weight.dtype)
        self.expect_in("scale dtype", ("F32", "F16", "BF16"), scale.dtype)
        rows, cols = weight.shape[0], weight.shape[1] * 2
        self.expect_count("row scales", torch.Size([rows]), scale)
        group = spec.option("convrot_groupsize", 256)
        if not is_rotation_size(group) or cols % group:
            self.refuse("convrot_groupsize", f"a power of 4 that divides {cols}", group)
        self.low_bits, self.rotated = b"\x11", True  # two codes to a byte
        self.shape, self.unit, self.unit_bytes = (rows, cols), int(group), int(group) // 2
        self._units_per_row = max(cols // self.unit, 1)

    def load(self, read: Callable[[str], Tensor]) -> Scales:
        """See `QuantLayer`: float32 [rows, 1] and the rotation."""
        scale = read("weight_scale").to(torch.float32).reshape(-1, 1)
        return {"scale": scale, **rotation_factors(self.unit)}

    def decode(self, scales: Scales, raw: Tensor, first: int, out: Tensor) -> None:
        """See `QuantLayer`."""
        whole = torch.empty(len(out), dtype=torch.float32)
        unpack_low_first(raw, whole)
        whole.add_(8).remainder_(16).sub_(8)  # two's complement: 8 … 15 stand for −8 … −1
        units = out.view(-1, self.unit)
        rotate_integers(whole.view(-1, self.unit), scales, units)
        row = torch.arange(first, first + len(units)) // self._units_per_row
        units.mul_(self.unit**-0.5).mul_(scales["scale"][row])
