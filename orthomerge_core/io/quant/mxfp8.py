"""MXFP8: fp8 values with one power-of-two scale per 32 columns.

    W = float32(w) · 2^(e − 127),  e stored as a byte, e = 0 meaning 0

`weight_scale` holds the bytes, interleaved in tiles (see `blocks`). Rows and columns are padded to
32.
Source: OCP Microscaling Formats 1.0; zero and 255 as in comfy-kitchen's `e8m0_to_f32`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from ..dtypes import torch_dtype
from ..upcast import upcast
from .blocks import swizzled_shape, unswizzle
from .contract import LayerSpec, QuantLayer, Scales
from .registry import register

__all__ = ["MxFp8"]

_BLOCK = 32


@register
class MxFp8(QuantLayer):
    """See the module."""

    formats: ClassVar[tuple[str, ...]] = ("mxfp8",)
    matrix: ClassVar[bool] = True
    padding: int = 32

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        self.quant, self.needs = "mxfp8", ("weight_scale",)
        scale, weight = self.side("weight_scale"), spec.weight
        self.expect("number of axes", 2, len(weight.shape))
        self.expect_in("weight dtype", ("F8_E4M3", "F8_E5M2"), weight.dtype)
        self.expect_in("scale dtype", ("U8", "F8_E8M0"), scale.dtype)
        self.shape = weight.shape
        self._blocks = weight.shape[0], weight.shape[1] // _BLOCK
        self.expect("width modulo 32", 0, weight.shape[1] % _BLOCK)
        self.expect_count("block scales", torch.Size(swizzled_shape(*self._blocks)), scale)
        self._dtype = torch_dtype(weight.dtype)
        self.unit = self.unit_bytes = _BLOCK

    def load(self, read: Callable[[str], Tensor]) -> Scales:
        """See `QuantLayer`: float32 [blocks, 1]."""
        exponent = read("weight_scale").view(torch.uint8).to(torch.int32)
        scale = exponent.bitwise_left_shift_(23).view(torch.float32)
        return {"scale": unswizzle(scale, *self._blocks)}

    def decode(self, scales: Scales, raw: Tensor, first: int, out: Tensor) -> None:
        """See `QuantLayer`."""
        upcast(raw, self._dtype, out)
        blocks = out.view(-1, _BLOCK)
        blocks.mul_(scales["scale"][first : first + len(blocks)])
