"""8-bit integers with one float scale per tensor or per output row, plain or rotated (ConvRot).

    W = float32(q) · scale                       `int8_tensorwise`
    W = (q Hᵀ / √g) · scale per g columns        with `convrot`, g = `convrot_groupsize` (256)

Source: comfy-kitchen, `dequantize_int8_simple` and `dequantize_int8_convrot_weight`. The latter
rotates after scaling and rounds at every addition; here the sum is exact and rounded once (see
`hadamard`).

Written with s = max |W| / 127 of the tensor or of each row and q = round(W / s), ties to even, as
comfy-kitchen's `quantize_int8_tensorwise` and `quantize_int8_rowwise` do. ConvRot rotates W first,
in float64, where comfy-kitchen rounds in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import gcd
from typing import Any, ClassVar

import torch
from torch import Tensor

from .contract import LayerSpec, QuantLayer, Scales
from .encoder import Announced, Encoder, finite_top
from .hadamard import is_rotation_size, rotate, rotate_integers, rotation_factors
from .registry import register

__all__ = ["Int8", "Int8ConvRot", "Int8RowWise", "Int8TensorWise"]

_PIECE = 256
_TOP = 127.0
_LEAST_SCALE = 1e-30
_GROUP = 256


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


class _Int8Encoder(Encoder):
    """What the three ways of writing int8 share."""

    format = "int8_tensorwise"
    dtype = "I8"

    def encode_rows(self, values: Tensor, scale: Tensor) -> tuple[Tensor, Tensor | None, int]:
        """See `Encoder`. What is not finite becomes 0 or the largest number."""
        codes, clipped = values / scale, 0
        if not bool(torch.isfinite(codes.sum())):
            clipped = int((~torch.isfinite(values)).sum())
            codes.nan_to_num_(nan=0.0, posinf=_TOP, neginf=-_TOP)
        return codes.round_().clamp_(-_TOP, _TOP).to(torch.int8), None, clipped

    def pack(self, scale: Tensor, own: Tensor | None) -> dict[str, Tensor]:
        """See `Encoder`."""
        return {"weight_scale": scale if own is None else own}


class Int8TensorWise(_Int8Encoder):
    """One scale for the whole weight."""

    output = "int8_tensorwise"
    rounding = "by up to 0.4 % of the largest weight of its tensor"

    def sides(self, shape: tuple[int, ...]) -> dict[str, Announced]:
        """See `Encoder`."""
        return {"weight_scale": ("F32", ())}

    def scale_of(self, values: Tensor) -> Tensor:
        """See `Encoder`."""
        return (finite_top(values) / _TOP).clamp_(min=_LEAST_SCALE)


class Int8RowWise(_Int8Encoder):
    """One scale per output row: the same format, less rounding."""

    output = "int8_rowwise"
    rounding = "by up to 0.4 % of the largest weight of its row"

    def sides(self, shape: tuple[int, ...]) -> dict[str, Announced]:
        """See `Encoder`."""
        return {"weight_scale": ("F32", (shape[0], 1))}

    def scale_of(self, values: Tensor) -> Tensor:
        """See `Encoder`: nothing depends on the whole."""
        return torch.ones(())

    def encode_rows(self, values: Tensor, scale: Tensor) -> tuple[Tensor, Tensor | None, int]:
        """See `Encoder`."""
        own = (finite_top(values, by_row=True) / _TOP).clamp_(min=_LEAST_SCALE)
        codes, _, clipped = super().encode_rows(values, own)
        return codes, own, clipped


class Int8ConvRot(Int8RowWise):
    """Each row rotated in groups of 256 columns, then one scale per row; where 256 does not divide
    the width, the layer is written without the rotation."""

    output = "int8_convrot"
    rounding = "by up to 0.4 % of the largest weight of its row, after a rotation that evens them"

    def options(self, shape: tuple[int, ...]) -> Mapping[str, Any]:
        """See `Encoder`."""
        return {"convrot": True, "convrot_groupsize": _GROUP} if shape[1] % _GROUP == 0 else {}

    def encode_rows(self, values: Tensor, scale: Tensor) -> tuple[Tensor, Tensor | None, int]:
        """See `Encoder`."""
        lost = 0
        if values.shape[1] % _GROUP == 0:
            whole = values.reshape(-1, _GROUP)
            if not bool(torch.isfinite(whole.sum())):
                lost = int((~torch.isfinite(whole)).sum())
                whole = whole.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
            values = rotate(whole).to(torch.float32).view(values.shape)
        codes, own, clipped = super().encode_rows(values, scale)
        return codes, own, clipped + lost
