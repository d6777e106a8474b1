"""The interface of a quantization scheme: one layer, checked at once and decoded in pieces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor

from ...errors import HeaderError, UnsupportedError
from ..header import TensorInfo

__all__ = ["LayerSpec", "QuantLayer", "Scales"]

Scales = Mapping[str, Tensor]


@dataclass(frozen=True)
class LayerSpec:
    """A quantized layer as found in a file.

    `layer` is the key without ".weight"; `format` the scheme's name in the file; `options` the
    marker's other fields; `sides` the stored tensors beside the weight: suffix ("weight_scale") →
    info.
    """

    file: str
    layer: str
    format: str
    weight: TensorInfo
    sides: Mapping[str, TensorInfo]
    options: Mapping[str, Any]

    def option(self, name: str, default: Any) -> Any:
        """A field of the marker, or of the `params` object that some converters put into it."""
        inner = self.options.get("params")
        if name not in self.options and isinstance(inner, dict):
            return inner.get(name, default)
        return self.options.get(name, default)


class QuantLayer(ABC):
    """One quantized weight. Subclasses decode one scheme and say which `formats` name it.

    The weight is a run of units of `unit` elements, each stored in `unit_bytes` bytes; decoding
    works on any run of whole units, so that nothing larger than a chunk is ever resident.

    `rotates`: the scheme knows ConvRot's rotation. `matrix`: it is defined for two axes only; a
    third in front makes the tensor a stack of such matrices (see `expert_stack`).

    `low_bits`: what to flip in the stored bytes, over and over, so that every code moves by one
    step; see `steps`. `rotated`: codes are those of a rotated weight, so that one step of a code
    spreads over several elements.

    Attributes set by `__init__`, which raises `UnsupportedError` or `HeaderError` for what does
    not add up:
        shape: logical shape (padded, where `padding` is not 0; see `source.Entry`).
        unit, unit_bytes: see above.
        needs: suffixes of the side tensors that decoding needs.
    """

    formats: ClassVar[tuple[str, ...]]
    rotates: ClassVar[bool] = False
    matrix: ClassVar[bool] = False
    padding: int = 0
    low_bits: bytes = b"\x01"
    rotated: bool = False

    quant: str
    shape: tuple[int, ...]
    unit: int
    unit_bytes: int
    needs: tuple[str, ...]

    def __init__(self, spec: LayerSpec) -> None:
        self.spec = spec

    @abstractmethod
    def load(self, read: Callable[[str], Tensor]) -> Scales:
        """What `decode` needs beside the weight. `read(suffix)` gives a side tensor as stored."""

    @abstractmethod
    def decode(self, scales: Scales, raw: Tensor, first: int, out: Tensor) -> None:
        """Fill float32 `out` [units·unit] from `raw` [units·unit_bytes], uint8, from unit
        `first`."""

    def steps(self, scales: Scales, raw: Tensor, first: int, out: Tensor) -> None:
        """Fill `out`, as `decode` does, with the distance to a neighboring value.

        Where `rotated`, only the sum of squares over a unit means something: a rotation keeps it.
        """
        if not self.low_bits:
            out.zero_()  # unknown: taken for exact, so that no model is taken for a copy
            return
        mask = torch.frombuffer(bytearray(self.low_bits), dtype=torch.uint8)
        other = torch.empty_like(out)
        self.decode(scales, raw, first, out)
        self.decode(scales, raw ^ mask.repeat(len(raw) // len(mask)), first, other)
        # One above the largest code may be no number: fp8 has a NaN there.
        there = torch.isfinite(other).logical_or_(~torch.isfinite(out))
        out.copy_(torch.where(there, (other - out).abs(), out.abs() / 8.0)).nan_to_num_(0.0)

    def side(self, suffix: str) -> TensorInfo:
        """The side tensor of that suffix, or `HeaderError` where the file lacks it."""
        if suffix in self.spec.sides:
            return self.spec.sides[suffix]
        raise HeaderError(
            f'layer "{self.spec.layer}" in "{self.spec.file}" lacks its {self.spec.format} scale',
            kind="quantization",
            expected=f'"{self.spec.layer}.{suffix}"',
            fix="The file is incomplete: download or convert it again.",
        )

    def expect(self, what: str, expected: object, received: object) -> None:
        """`UnsupportedError` about this layer unless the two are equal."""
        if expected != received:
            self.refuse(what, expected, received)

    def expect_in(self, what: str, expected: tuple[object, ...], received: object) -> None:
        """`UnsupportedError` about this layer unless `received` is one of those expected."""
        if received not in expected:
            self.refuse(what, " or ".join(str(item) for item in expected), received)

    def expect_count(self, what: str, expected: torch.Size, received: TensorInfo) -> None:
        """`UnsupportedError` about this layer unless a side tensor has that many elements."""
        count = torch.Size(received.shape).numel()
        self.expect(f"number of {what}", expected.numel(), count)

    def refuse(self, what: str, expected: object, received: object) -> NoReturn:
        """Raise `UnsupportedError` about this layer."""
        where = f'layer "{self.spec.layer}" in "{self.spec.file}" ({self.spec.format})'
        raise UnsupportedError(
            f"{where} has an unknown {what}",
            expected=expected,
            received=str(received)[:80],
            fix="Use the BF16 or FP8 version of this model.",
        )
