"""NVFP4: 4-bit floats, an fp8 scale per 16 columns and one float scale per tensor.

    W = e2m1(nibble) · (float32(weight_scale_2) · float32(weight_scale))

Two values to a byte, the high nibble first. Rows and columns are padded to 16; the scales are
interleaved in tiles (see `blocks`). A `pre_quant_scale` (one factor per input column, from
smoothing) is folded in
last: the layer multiplies its input by it, so the effective weight is W · pre_quant_scale.
Source: comfy-kitchen, `dequantize_nvfp4`.

Written with weight_scale_2 = max |W| / (448 · 6) and weight_scale = fp8(max of the block / 6 /
weight_scale_2), as comfy-kitchen's `quantize_nvfp4` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from .blocks import swizzle, swizzled_shape, unswizzle
from .contract import LayerSpec, QuantLayer, Scales
from .encoder import Announced, Encoder, finite_top
from .registry import register

__all__ = ["NvFp4", "NvFp4Encoder"]

_BLOCK = 16
_TOP, _TOP_SCALE = 6.0, 448.0
_BEYOND = 7.0  # half a step beyond the largest number
_E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


@register
class NvFp4(QuantLayer):
    """See the module."""

    formats: ClassVar[tuple[str, ...]] = ("nvfp4",)
    matrix: ClassVar[bool] = True
    padding: int = 16
    low_bits: bytes = b"\x11"  # two codes to a byte

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        self.quant, self.needs = "nvfp4", ("weight_scale", "weight_scale_2")
        block, tensor, weight = self.side("weight_scale"), self.side("weight_scale_2"), spec.weight
        self.expect("number of axes", 2, len(weight.shape))
        self.expect_in("weight dtype", ("U8", "I8"), weight.dtype)
        self.expect_in("block scale dtype", ("F8_E4M3", "U8"), block.dtype)
        self.expect("tensor scale dtype", "F32", tensor.dtype)
        self.expect_count("tensor scales", torch.Size([1]), tensor)
        rows, cols = weight.shape[0], weight.shape[1] * 2
        self.expect("width modulo 16", 0, cols % _BLOCK)
        self.shape, self._blocks = (rows, cols), (rows, cols // _BLOCK)
        self.expect_count("block scales", torch.Size(swizzled_shape(*self._blocks)), block)
        self.unit, self.unit_bytes = _BLOCK, _BLOCK // 2
        if "pre_quant_scale" in spec.sides:
            self.needs += ("pre_quant_scale",)
            smooth = self.side("pre_quant_scale")
            self.expect_in("pre_quant_scale dtype", ("F32", "F16", "BF16"), smooth.dtype)
            self.expect_count("pre_quant_scale", torch.Size([cols]), smooth)

    def load(self, read: Callable[[str], Tensor]) -> Scales:
        """See `QuantLayer`: block scales [blocks, 1], a table byte → two values, smoothing
        [blocks, 16]."""
        block = read("weight_scale").view(torch.float8_e4m3fn).to(torch.float32)
        scale = unswizzle(block, *self._blocks).mul_(read("weight_scale_2").reshape(1))
        values = torch.tensor([*_E2M1, *(-v for v in _E2M1)])
        pairs = torch.cartesian_prod(values, values).view(torch.float64).reshape(-1)
        scales = {"scale": scale, "pairs": pairs}
        if "pre_quant_scale" in self.needs:
            scales["smooth"] = read("pre_quant_scale").to(torch.float32).reshape(-1, _BLOCK)
        return scales

    def decode(self, scales: Scales, raw: Tensor, first: int, out: Tensor) -> None:
        """See `QuantLayer`. Both values of a byte come from one look-up of 64 bits."""
        pairs = torch.index_select(scales["pairs"], 0, raw.to(torch.int32))
        blocks = out.view(-1, _BLOCK)
        last = first + len(blocks)
        torch.mul(
            pairs.view(torch.float32).view(-1, _BLOCK), scales["scale"][first:last], out=blocks
        )
        if "smooth" in scales:
            column = torch.arange(first, last) % self._blocks[1]
            blocks.mul_(scales["smooth"][column])


class NvFp4Encoder(Encoder):
    """See the module."""

    output = "nvfp4"
    format = "nvfp4"
    dtype = "U8"
    rounding = "by up to 25 %, and small ones in a block of 16 by more"

    def stored_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See `Encoder`: two values to a byte."""
        return shape[0], shape[1] // 2

    def sides(self, shape: tuple[int, ...]) -> dict[str, Announced]:
        """See `Encoder`."""
        blocks = swizzled_shape(shape[0], shape[1] // _BLOCK)
        return {"weight_scale": ("F8_E4M3", blocks), "weight_scale_2": ("F32", ())}

    def scale_of(self, values: Tensor) -> Tensor:
        """See `Encoder`: `weight_scale_2`; 1 for a layer of zeros."""
        scale = finite_top(values) / (_TOP_SCALE * _TOP)
        return torch.where(scale > 0, scale, torch.ones(()))

    def encode_rows(self, values: Tensor, scale: Tensor) -> tuple[Tensor, Tensor | None, int]:
        """See `Encoder`. What is not finite becomes 0 or the largest number."""
        blocks, clipped = values.reshape(len(values), -1, _BLOCK), 0
        if not bool(torch.isfinite(values.sum())):
            clipped = int((~torch.isfinite(values)).sum())
        top = finite_top(blocks.reshape(-1, _BLOCK), by_row=True).view(len(values), -1)
        own = (top / _TOP / scale).clamp_(max=_TOP_SCALE).to(torch.float8_e4m3fn)
        factor = (scale * own.to(torch.float32)).unsqueeze(-1)
        scaled = torch.where(factor > 0, blocks / factor, 0.0)
        scaled.nan_to_num_(nan=0.0)
        clipped += int(((scaled.abs() >= _BEYOND) & torch.isfinite(blocks)).sum())
        return _packed(scaled.view(values.shape)), own, clipped

    def pack(self, scale: Tensor, own: Tensor | None) -> dict[str, Tensor]:
        """See `Encoder`."""
        assert own is not None  # every row has its blocks  # noqa: S101
        return {"weight_scale": swizzle(own), "weight_scale_2": scale}


def _packed(scaled: Tensor) -> Tensor:
    """The nearest e2m1 numbers, ties to the even one, two to a byte.

    On the grids of steps ½ to 2, 1 to 4 and 2 above, rounding to a whole number of steps is
    rounding to even.
    """
    size = scaled.abs().clamp_(max=_TOP)
    # codes 0 to 4 are multiples of ½ up to 2, 4 to 6 of 1 up to 4, 6 and 7 of 2
    code = torch.where(
        size <= 2.0,
        (size * 2.0).round(),
        torch.where(size <= 4.0, size.round() + 2.0, (size / 2.0).round() + 4.0),
    ).to(torch.uint8)
    code |= torch.signbit(scaled).to(torch.uint8) << 3
    pairs = code.view(len(code), -1, 2)
    return (pairs[..., 0] << 4) | pairs[..., 1]
