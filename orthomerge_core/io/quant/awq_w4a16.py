"""4-bit integers with a float scale and zero point per group of columns (AWQ as ComfyUI stores it).

    W = (q − 8) · float32(scale) + float32(zero),  q = 0 … 15

Two values to a byte, the low nibble first; scales and zero points are stored [groups, rows].
Source: comfy-kitchen, `TensorCoreAWQW4A16Layout`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from .contract import LayerSpec, QuantLayer, Scales
from .nibbles import unpack_low_first
from .registry import register

__all__ = ["AwqW4A16"]


@register
class AwqW4A16(QuantLayer):
    """See the module."""

    formats: ClassVar[tuple[str, ...]] = ("awq_w4a16",)
    matrix: ClassVar[bool] = True

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        self.quant, self.needs = "awq_w4a16", ("weight_scale", "weight_zeros")
        weight = spec.weight
        self.expect("number of axes", 2, len(weight.shape))
        self.expect_in("weight dtype", ("I8", "U8"), weight.dtype)
        rows, cols = weight.shape[0], weight.shape[1] * 2
        groups = (self.side("weight_scale").shape or (0,))[0]
        if not groups or cols % groups or cols // groups % 2:
            self.refuse("number of groups", f"a divisor of {cols}", groups)
        for suffix in self.needs:
            self.expect_in(f"{suffix} dtype", ("F32", "F16", "BF16"), self.side(suffix).dtype)
            self.expect(f"{suffix} shape", (groups, rows), self.side(suffix).shape)
        self.low_bits = b"\x11"  # two codes to a byte
        self.shape, self.unit, self.unit_bytes = (rows, cols), cols // groups, cols // groups // 2

    def load(self, read: Callable[[str], Tensor]) -> Scales:
        """See `QuantLayer`: float32 [rows·groups, 1] each."""
        return {
            name: read(name).to(torch.float32).t().reshape(-1, 1).contiguous()
            for name in self.needs
        }

    def decode(self, scales: Scales, raw: Tensor, first: int, out: Tensor) -> None:
        """See `QuantLayer`."""
        unpack_low_first(raw, out)
        units = out.view(-1, self.unit)
        part = slice(first, first + len(units))
        units.sub_(8).mul_(scales["weight_scale"][part]).add_(scales["weight_zeros"][part])
