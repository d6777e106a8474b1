"""4- or 6-bit codes with a scale per group and per output row, rotated (ConvRot), on an 8-bit grid.

    v = clamp(round(level(c) · float32(weight_s_rel)), ±127)     per `group_size` (16) columns
    W = (v Hᵀ / √g) · weight_s_channel                           g = `convrot_groupsize` (256)

level(c) is `weight_codebook[c]` where there is one, else c − 8 (c − 32 with 6 bits). With a
`weight_correction` [groups, rows] the scaled v are shifted by it before the rotation. A row of K
codes is K/2 bytes, the low nibble first; with 6 bits K/4 bytes of upper pairs of bits follow.

Source: comfy-kitchen, `AsymW4A8Int8Layout`. The rounding to 8 bits is part of the format. The
rotation is done on integers, where it is exact; with a correction, in float64 in a fixed order.
"""

from __future__ import annotations

from collections.abc import Callable
from math import lcm
from typing import ClassVar

import torch
from torch import Tensor

from .contract import LayerSpec, QuantLayer, Scales
from .hadamard import is_rotation_size, rotate, rotate_integers, rotation_factors
from .nibbles import unpack_low_first
from .registry import register

__all__ = ["AsymW4A8"]

_FLOATS = ("F32", "F16", "BF16")


def _many(group: int) -> bool:
    return group >= 16 and group % 16 == 0


@register
class AsymW4A8(QuantLayer):
    """See the module."""

    formats: ClassVar[tuple[str, ...]] = ("asym_w4a8_int8",)
    rotates: ClassVar[bool] = True
    matrix: ClassVar[bool] = True

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        self.quant, self.needs = "asym_w4a8_int8", ("weight_s_rel", "weight_s_channel")
        weight, groups = spec.weight, self.side("weight_s_rel")
        self.expect("number of axes", 2, len(weight.shape))
        self.expect_in("weight dtype", ("I8", "U8"), weight.dtype)
        self.expect_in("group scale dtype", ("F8_E4M3", "U8", *_FLOATS), groups.dtype)
        rows, width = weight.shape
        self._group = spec.option("group_size", 16)
        if not isinstance(self._group, int) or not (self._group in (4, 8) or _many(self._group)):
            self.refuse("group_size", "4, 8 or a multiple of 16", self._group)
        self.expect("number of group scale axes", 2, len(groups.shape))
        self.expect("rows of group scales", rows, groups.shape[0])
        cols = groups.shape[1] * self._group
        self._bits = self._depth(width, cols)
        size = spec.option("convrot_groupsize", 256)
        if not is_rotation_size(size) or cols % size:
            self.refuse("convrot_groupsize", f"a power of 4 that divides {cols}", size)
        self._rotation, self.shape = int(size), (rows, cols)
        self._check_sides(rows, groups.shape[1])
        self.unit = cols if self._bits == 6 else lcm(self._rotation, self._group)
        self.unit_bytes = self.unit * self._bits // 8
        low = self.unit // 2  # two codes to a byte; upper bits of six follow
        self.low_bits = b"\x11" * low + b"\x00" * (self.unit_bytes - low)
        self.rotated = True
        self._units_per_row = max(cols // max(self.unit, 1), 1)

    def _depth(self, width: int, cols: int) -> int:
        for bits in (4, 6):
            if cols and width * 8 == cols * bits:
                return bits
        self.refuse("row width", f"{cols // 2} or {cols * 3 // 4} bytes", width)

    def _check_sides(self, rows: int, groups: int) -> None:
        sides = self.spec.sides
        shapes: dict[str, tuple[int, ...]] = {"weight_s_channel": (rows,)}
        if "weight_codebook" in sides:
            shapes["weight_codebook"] = (16,)
        if "weight_correction" in sides:
            shapes["weight_correction"] = (groups, rows)
        if self._bits == 6 and len(shapes) > 1:
            self.refuse("6-bit layout", "neither codebook nor correction", sorted(shapes))
        for suffix, shape in shapes.items():
            self.expect_in(f"{suffix} dtype", _FLOATS, self.side(suffix).dtype)
            if suffix == "weight_s_channel":
                self.expect_count("row scales", torch.Size(shape), self.side(suffix))
            else:
                self.expect(f"{suffix} shape", shape, self.side(suffix).shape)
        self.needs += tuple(s for s in shapes if s not in self.needs)

    def load(self, read: Callable[[str], Tensor]) -> Scales:
        """See `QuantLayer`: `group` [groups, 1], `row` [rows, 1], `levels`, `correction`
        [groups, 1]."""
        group = read("weight_s_rel")
        if group.dtype == torch.uint8:
            group = group.view(torch.float8_e4m3fn)
        half = 1 << (self._bits - 1)
        scales = {
            "group": group.to(torch.float32).reshape(-1, 1),
            "row": read("weight_s_channel").to(torch.float32).reshape(-1, 1),
            "levels": torch.arange(2 * half, dtype=torch.float32) - half,
            **rotation_factors(self._rotation),
        }
        if "weight_codebook" in self.needs:
            scales["levels"] = read("weight_codebook").to(torch.float32)
        if "weight_correction" in self.needs:
            correction = read("weight_correction").to(torch.float32)
            scales["correction"] = correction.t().reshape(-1, 1).contiguous()
        return scales

    def decode(self, scales: Scales, raw: Tensor, first: int, out: Tensor) -> None:
        """See `QuantLayer`."""
        per_unit = self.unit // self._group
        part = slice(first * per_unit, (first + len(out) // self.unit) * per_unit)
        values = self._levels(scales, raw, len(out)).view(-1, self._group)
        values.mul_(scales["group"][part]).round_().clamp_(-127, 127)
        row = torch.arange(first, first + len(out) // self.unit) // self._units_per_row
        by_row = scales["row"][row]
        if "correction" in scales:
            shifted = values.view(-1, self.unit) * by_row
            shifted.view(-1, self._group).add_(scales["correction"][part])
            out.view(-1, self._rotation).copy_(rotate(shifted.view(-1, self._rotation)))
            return
        rotate_integers(values.view(-1, self._rotation), scales, out.view(-1, self._rotation))
        out.view(-1, self.unit).mul_(self._rotation**-0.5).mul_(by_row)

    def _levels(self, scales: Scales, raw: Tensor, count: int) -> Tensor:
        """float32 [count]: the level of every code."""
        rows = raw.view(-1, self.unit_bytes)
        codes = torch.empty(count, dtype=torch.int32)
        unpack_low_first(rows[:, : self.unit // 2].reshape(-1), codes)
        if self._bits == 6:
            upper = rows[:, self.unit // 2 :].unsqueeze(-1)
            pairs = (upper >> torch.arange(0, 8, 2, dtype=torch.uint8)) & 3
            codes.view(-1, 4).add_(pairs.reshape(-1, 4), alpha=16)
        return scales["levels"][codes]
