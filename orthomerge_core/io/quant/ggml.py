"""Blocks of ggml types, written by the `gguf` package's own reference functions."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...errors import UnsupportedError
from .contract import QuantLayer
from .encoder import Announced, Encoder

__all__ = ["GgmlEncoder", "Q4One", "Q4Zero", "Q5One", "Q5Zero", "Q8Zero", "require_gguf"]

_BLOCK = 32


def require_gguf() -> Any:
    """The `gguf` package, or `UnsupportedError` where it is not installed."""
    try:
        import gguf
    except ImportError:
        raise UnsupportedError(
            "a GGUF file is written with the gguf package, which is not installed",
            fix="Install it: pip install gguf.",
        ) from None
    return gguf


class GgmlEncoder(Encoder):
    """A ggml type of 32 weights a block. `number` and `block_bytes` are ggml's; `file_type` is
    what the file says that most of it is."""

    dtype = "U8"
    marks_layers = False
    in_gguf = True
    number: ClassVar[int]
    block_bytes: ClassVar[int]
    file_type: ClassVar[int]

    def fits(self, shape: tuple[int, ...]) -> bool:
        """See `Encoder`: whole blocks in every row."""
        return len(shape) == 2 and all(shape) and shape[1] % _BLOCK == 0

    def stored_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See `Encoder`: the bytes, one after the other."""
        return (shape[0] * shape[1] // _BLOCK * self.block_bytes,)

    def sides(self, shape: tuple[int, ...]) -> dict[str, Announced]:
        """See `Encoder`: the scales lie in the blocks."""
        return {}

    def scale_of(self, values: Tensor) -> Tensor:
        """See `Encoder`: nothing depends on the whole."""
        return torch.ones(())

    def encode_rows(self, values: Tensor, scale: Tensor) -> tuple[Tensor, Tensor | None, int]:
        """See `Encoder`. What is not finite becomes 0, and so do the weights of blocks beyond the
        range of their fp16 scale."""
        gguf = require_gguf()
        limit = 65504.0  # of a scale, which is at least a 127th of the block's largest
        lost = (~torch.isfinite(values)) | (values.abs() > limit)
        clipped = int(lost.sum())
        if clipped:
            values = torch.where(lost, values.nan_to_num(nan=0.0).clamp(-limit, limit), values)
        kind = gguf.GGMLQuantizationType(self.number)
        codes = gguf.quants.quantize(np.ascontiguousarray(values.numpy()), kind)
        return torch.from_numpy(codes).reshape(-1), None, clipped

    def pack(self, scale: Tensor, own: Tensor | None) -> dict[str, Tensor]:
        """See `Encoder`."""
        return {}

    def reader(self, shape: tuple[int, ...]) -> QuantLayer:
        """See `Encoder`."""
        from ..gguf import GgufBlocks
        from ..gguf_header import GgufTensor
        from ..header import TensorInfo

        stored = self.stored_shape(shape)
        info = TensorInfo("U8", stored, 0, stored[0])
        return GgufBlocks("", ".weight", GgufTensor(shape, self.number, 0), info)


class Q8Zero(GgmlEncoder):
    """W = d · q, q of 8 bits."""

    output, format = "gguf_q8_0", "Q8_0"
    number, block_bytes, file_type = 8, 34, 7
    rounding = "by up to 0.4 % of the largest weight in its block of 32"


class Q5One(GgmlEncoder):
    """W = d · q + m, q of 5 bits."""

    output, format = "gguf_q5_1", "Q5_1"
    number, block_bytes, file_type = 7, 24, 9
    rounding = "by up to 1.6 % of the span of its block of 32"


class Q5Zero(GgmlEncoder):
    """W = d · (q − 16), q of 5 bits."""

    output, format = "gguf_q5_0", "Q5_0"
    number, block_bytes, file_type = 6, 22, 8
    rounding = "by up to 6 % of the largest weight in its block of 32"


class Q4One(GgmlEncoder):
    """W = d · q + m, q of 4 bits."""

    output, format = "gguf_q4_1", "Q4_1"
    number, block_bytes, file_type = 3, 20, 3
    rounding = "by up to 3.4 % of the span of its block of 32"


class Q4Zero(GgmlEncoder):
    """W = d · (q − 8), q of 4 bits."""

    output, format = "gguf_q4_0", "Q4_0"
    number, block_bytes, file_type = 2, 18, 2
    rounding = "by up to 12.5 % of the largest weight in its block of 32"
