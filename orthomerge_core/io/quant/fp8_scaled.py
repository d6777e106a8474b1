"""Scaled fp8: fp8 values and one float scale per tensor, or per output row.

    W = float32(w) · float32(scale)

Found as `scale_weight` under a `scaled_fp8` marker, as `weight_scale`, and as the formats
`float8_e4m3fn` and `float8_e5m2` of ComfyUI's layer markers. Written as e4m3 with one scale per
tensor, max |W| / 448.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from ..dtypes import torch_dtype
from ..upcast import upcast
from .contract import LayerSpec, QuantLayer, Scales
from .encoder import ENCODED_AT_ONCE, Announced, Encoder, finite_top
from .registry import register

__all__ = ["FP8_MAX", "ScaledFp8", "ScaledFp8Encoder", "fp8_scale"]

FP8_MAX = 448.0
"""Largest finite float8_e4m3fn."""

_STORED = ("F8_E4M3", "F8_E5M2", "F16", "BF16", "F32")
_SCALES = ("F32", "F16", "BF16")


@register
class ScaledFp8(QuantLayer):
    """See the module. Layers left in 16 or 32 bits beside a scale follow the same formula."""

    formats: ClassVar[tuple[str, ...]] = ("float8_e4m3fn", "float8_e5m2")

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        self.quant = "fp8_scaled"
        self._suffix = "scale_weight" if "scale_weight" in spec.sides else "weight_scale"
        scale, weight = self.side(self._suffix), spec.weight
        self.expect_in("weight dtype", _STORED, weight.dtype)
        self.expect_in("scale dtype", _SCALES, scale.dtype)
        self.shape, self.needs = weight.shape, (self._suffix,)
        self._dtype = torch_dtype(weight.dtype)
        self.low_bits = bytes([1, *[0] * (self._dtype.itemsize - 1)])
        rows = weight.shape[0] if weight.shape else 1
        per_row = torch.Size(weight.shape[1:]).numel()
        count = torch.Size(scale.shape).numel()
        if count not in (1, rows) or (count > 1 and scale.shape[0] != rows):
            self.refuse("scale shape", f"[] or [{rows}, 1]", list(scale.shape))
        self.unit = max(per_row, 1) if count > 1 else 1
        self.unit_bytes = self.unit * self._dtype.itemsize

    def load(self, read: Callable[[str], Tensor]) -> Scales:
        """See `QuantLayer`: the scale as float32 [1] or [rows, 1]."""
        return {"scale": read(self._suffix).to(torch.float32).reshape(-1, 1)}

    def decode(self, scales: Scales, raw: Tensor, first: int, out: Tensor) -> None:
        """See `QuantLayer`."""
        upcast(raw, self._dtype, out)
        scale = scales["scale"]
        if len(scale) == 1:
            out.mul_(scale[0])
        else:
            rows = out.view(-1, self.unit)
            rows.mul_(scale[first : first + len(rows)])


class ScaledFp8Encoder(Encoder):
    """See the module. ComfyUI reads it from 0.3.68 on, where the header names the layers."""

    output = "fp8_e4m3fn"
    format = "float8_e4m3fn"
    dtype = "F8_E4M3"
    rounding = "by up to 6 %"
    marks_layers = False
    keeps_modulation = False

    def sides(self, shape: tuple[int, ...]) -> dict[str, Announced]:
        """See `Encoder`."""
        return {"weight_scale": ("F32", ())}

    def scale_of(self, values: Tensor) -> Tensor:
        """See `Encoder`."""
        return torch.tensor(fp8_scale(values), dtype=torch.float32)

    def encode_rows(self, values: Tensor, scale: Tensor) -> tuple[Tensor, Tensor | None, int]:
        """See `Encoder`. A NaN stays one; infinities become the largest number."""
        codes = (values / scale).clamp_(-FP8_MAX, FP8_MAX)
        return codes.to(torch.float8_e4m3fn), None, 0

    def pack(self, scale: Tensor, own: Tensor | None) -> dict[str, Tensor]:
        """See `Encoder`."""
        return {"weight_scale": scale}


def fp8_scale(values: Tensor) -> float:
    """max |W| / 448 as float32: the largest weight uses the whole range; 1 for a zero tensor.

    Weights that are not finite (a damaged base's) do not count.
    """
    if not values.numel():
        return 1.0
    parts = values.reshape(1, -1).split(ENCODED_AT_ONCE, dim=1)
    top = max(float(finite_top(part)) for part in parts)
    scale = torch.tensor(top / FP8_MAX, dtype=torch.float32)
    if not bool(torch.isfinite(scale * FP8_MAX)):  # the largest weights of all: do not read as inf
        scale = torch.nextafter(scale, torch.zeros_like(scale))
    return float(scale) if float(scale) > 0.0 else 1.0
