"""MXFP8: fp8 values with one power-of-two scale per 32 columns.

    W = float32(w) · 2^(e − 127),  e stored as a byte, e = 0 meaning 0

`weight_scale` holds the bytes, interleaved in tiles (see `blocks`). Rows and columns are padded to
32.
Source: OCP Microscaling Formats 1.0; zero and 255 as in comfy-kitchen's `e8m0_to_f32`.

Written with the smallest power of two that takes a block's largest weight to 448 or below, as
comfy-kitchen's `quantize_mxfp8` does (its float32 logarithm may take the next smaller one where a
largest weight lies within a millionth of 448 · 2^n).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from ..dtypes import torch_dtype
from ..upcast import upcast
from .blocks import swizzle, swizzled_shape, unswizzle
from .contract import LayerSpec, QuantLayer, Scales
from .encoder import Announced, Encoder
from .registry import register

__all__ = ["MxFp8", "MxFp8Encoder"]

_BLOCK = 32
_TOP = 448.0


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


class MxFp8Encoder(Encoder):
    """See the module."""

    output = "mxfp8"
    format = "mxfp8"
    dtype = "F8_E4M3"
    rounding = "by up to 6 %"
    sides_modulo = 32

    def sides(self, shape: tuple[int, ...]) -> dict[str, Announced]:
        """See `Encoder`."""
        return {"weight_scale": ("U8", swizzled_shape(shape[0], shape[1] // _BLOCK))}

    def scale_of(self, values: Tensor) -> Tensor:
        """See `Encoder`: nothing depends on the whole."""
        return torch.ones(())

    def encode_rows(self, values: Tensor, scale: Tensor) -> tuple[Tensor, Tensor | None, int]:
        """See `Encoder`. A NaN stays one; infinities become the largest number."""
        blocks = values.reshape(len(values), -1, _BLOCK)
        size = blocks.abs()
        infinite = 0 if bool(torch.isfinite(size.sum())) else int(torch.isinf(size).sum())
        top = size.nan_to_num_(nan=0.0, posinf=0.0).amax(dim=-1)
        # top / 448 = m · 2^e with 1/2 ≤ m < 1, and 2^e is the power wanted unless m is 1/2
        part, power = torch.frexp(top.double() / _TOP)
        power = torch.where(part == 0.5, power - 1, power).clamp(-126, 127)
        exponent = torch.where(top > 0, power + 127, 0)
        factor = torch.where(top > 0, exponent, 127).bitwise_left_shift(23).view(torch.float32)
        codes = (blocks / factor.unsqueeze(-1)).clamp_(-_TOP, _TOP).to(torch.float8_e4m3fn)
        return codes.view(values.shape), exponent.to(torch.uint8), infinite

    def pack(self, scale: Tensor, own: Tensor | None) -> dict[str, Tensor]:
        """See `Encoder`."""
        assert own is not None  # every row has its blocks  # noqa: S101
        return {"weight_scale": swizzle(own)}
