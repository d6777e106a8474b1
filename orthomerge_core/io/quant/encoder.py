"""How a quantization scheme writes one layer: float32 values to stored numbers and their scales."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...shapes import Float32
from ..dtypes import n_bytes_of
from ..header import TensorInfo
from .contract import LayerSpec, QuantLayer
from .registry import make_layer

__all__ = ["ENCODED_AT_ONCE", "Announced", "Encoded", "Encoder", "finite_top", "pieces"]

ENCODED_AT_ONCE = 1 << 20
"""Values that are encoded in one piece."""

Announced = tuple[str, tuple[int, ...]]
"""safetensors dtype name and shape of a stored tensor."""


@dataclass(frozen=True)
class Encoded:
    """A quantized layer: `weight` as stored, `sides` by suffix ("weight_scale").

    `clipped` counts finite values that a stored number stands for from more than half a step away,
    and values that are not finite where the format has no such number.
    """

    weight: Tensor
    sides: Mapping[str, Tensor]
    clipped: int = 0


class Encoder(ABC):
    """One way of writing quantized layers; the counterpart of `QuantLayer` for the same format.

    Every value is rounded to the nearest number of the format, ties to even, by scales that depend
    on the layer alone: equal values give equal bytes. A layer is encoded in rows, so that beside
    the values and the stored numbers only a few MiB are held.

    `output` is the name among the output dtypes, `format` the marker's, `dtype` the stored
    weight's. `sides_modulo`: both axes of a layer must be multiples of it. `marks_layers`: each
    layer has a `comfy_quant` tensor; without, the header's `_quantization_metadata` names it.
    `keeps_modulation`: modulation and what lies outside the blocks stays in 16 bits.
    `rounding`: how far a weight may move, in words. `in_gguf`: such a file is a GGUF file.
    """

    output: ClassVar[str]
    format: ClassVar[str]
    dtype: ClassVar[str]
    rounding: ClassVar[str]
    sides_modulo: ClassVar[int] = 16
    marks_layers: ClassVar[bool] = True
    keeps_modulation: ClassVar[bool] = True
    in_gguf: ClassVar[bool] = False

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a weight of that shape can be written in this format."""
        modulo = self.sides_modulo
        return len(shape) == 2 and all(side and side % modulo == 0 for side in shape)

    def options(self, shape: tuple[int, ...]) -> Mapping[str, Any]:
        """The marker's fields beside the format."""
        return {}

    def stored_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the stored weight."""
        return shape

    @abstractmethod
    def sides(self, shape: tuple[int, ...]) -> dict[str, Announced]:
        """Suffix → dtype and shape of what is stored beside the weight."""

    @abstractmethod
    def scale_of(self, values: Float32[Tensor, "rows cols"]) -> Tensor:
        """What of the scales depends on the whole layer."""

    @abstractmethod
    def encode_rows(
        self, values: Float32[Tensor, "rows cols"], scale: Tensor
    ) -> tuple[Tensor, Tensor | None, int]:
        """Stored numbers of some rows, their own scales, and how many values were clipped."""

    @abstractmethod
    def pack(self, scale: Tensor, own: Tensor | None) -> dict[str, Tensor]:
        """The side tensors, from the layer's scale and that of all rows."""

    def encode(
        self, values: Float32[Tensor, "rows cols"], listen: Callable[[], None] = lambda: None
    ) -> Encoded:
        """Quantize a layer that `fits`, calling `listen` between pieces of it.

        Cost: a few passes over the values. Memory: the result, and some copies of a million values.
        """
        scale = self.scale_of(values)
        weight: Tensor | None = None
        own, first, clipped = [], 0, 0
        for part in pieces(values):
            code, row_scale, lost = self.encode_rows(part, scale)
            if weight is None:
                length = len(values) * (len(code) // len(part))
                weight = torch.empty((length, *code.shape[1:]), dtype=code.dtype)
            weight[first : first + len(code)] = code
            own += [] if row_scale is None else [row_scale]
            first, clipped = first + len(code), clipped + lost
            listen()
        assert weight is not None  # a layer has rows  # noqa: S101
        return Encoded(weight, self.pack(scale, torch.cat(own) if own else None), clipped)

    def announced(self, name: str, shape: tuple[int, ...]) -> dict[str, Announced]:
        """Every stored tensor of the layer whose weight is called `name`: name → dtype, shape."""
        layer = name.removesuffix(".weight")
        out = {name: (self.dtype, self.stored_shape(shape))}
        out |= {f"{layer}.{suffix}": form for suffix, form in self.sides(shape).items()}
        if self.marks_layers:
            out[f"{layer}.comfy_quant"] = ("U8", tuple(self.marker(shape).shape))
        return out

    def marker(self, shape: tuple[int, ...]) -> Tensor:
        """`comfy_quant`: the layer's format as the bytes of a JSON text."""
        text = json.dumps({"format": self.format, **self.options(shape)})
        return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)

    def reader(self, shape: tuple[int, ...]) -> QuantLayer:
        """The scheme that decodes what this one encodes."""
        sides = {suffix: _info(*form) for suffix, form in self.sides(shape).items()}
        weight = _info(self.dtype, self.stored_shape(shape))
        return make_layer(LayerSpec("", "", self.format, weight, sides, self.options(shape)))

    def decoded(self, encoded: Encoded, shape: tuple[int, ...]) -> Iterator[tuple[int, Tensor]]:
        """What a reader will get, in order: first element, float32 values."""
        layer = self.reader(shape)
        scales = layer.load(lambda suffix: encoded.sides[suffix])
        raw = encoded.weight.contiguous().view(torch.uint8).reshape(-1)
        step = max(ENCODED_AT_ONCE // layer.unit, 1)
        for first in range(0, prod(shape) // layer.unit, step):
            part = raw[first * layer.unit_bytes : (first + step) * layer.unit_bytes]
            out = torch.empty(len(part) // layer.unit_bytes * layer.unit)
            layer.decode(scales, part, first, out)
            yield first * layer.unit, out


def pieces(values: Float32[Tensor, "rows cols"]) -> Iterator[Tensor]:
    """Runs of rows of about a million values."""
    return iter(values.split(max(ENCODED_AT_ONCE // max(values.shape[-1], 1), 1)))


def finite_top(values: Tensor, *, by_row: bool = False) -> Tensor:
    """The largest finite |value|: [] of all, or [rows, 1] with `by_row`; 0 where there is none."""
    tops = []
    for part in pieces(values):
        size = part.abs()
        top = size.amax(dim=-1, keepdim=True)
        if not bool(torch.isfinite(top).all()):
            top = size.nan_to_num_(nan=0.0, posinf=0.0).amax(dim=-1, keepdim=True)
        tops.append(top)
    found = torch.cat(tops)
    return found if by_row else found.max()


def _info(dtype: str, shape: tuple[int, ...]) -> TensorInfo:
    return TensorInfo(dtype, shape, 0, n_bytes_of(dtype, shape) or 0)
