"""Block scales as NVIDIA's matrix units need them: tiles of 128 rows by 4 columns, interleaved."""

from __future__ import annotations

import torch
from torch import Tensor

from ...shapes import Float32

__all__ = ["swizzle", "swizzled_shape", "unswizzle"]


def swizzled_shape(rows: int, cols: int) -> tuple[int, int]:
    """Rows and columns of block scales, rounded up to whole tiles."""
    return -(-rows // 128) * 128, -(-cols // 4) * 4


def unswizzle(blocked: Tensor, rows: int, cols: int) -> Float32[Tensor, "blocks 1"]:
    """Block scales in row-major order, one row per block of the weight.

    A tile of 128·4 values is stored as 32·4·4: value (r, c) of a tile lies at (r mod 32, r div 32,
    c).

    Args:
        blocked: float32, `swizzled_shape(rows, cols)` values in storage order.
        rows, cols: the number of blocks down and across.

    Source: cuBLAS manual, "1D block scaling factors layout".
    """
    tall, wide = swizzled_shape(rows, cols)
    tiles = blocked.reshape(tall // 128, wide // 4, 32, 4, 4)
    plain = tiles.permute(0, 3, 2, 1, 4).reshape(tall, wide)
    return plain[:rows, :cols].to(torch.float32).reshape(-1, 1)


def swizzle(blocks: Tensor) -> Tensor:
    """The inverse of `unswizzle`: block scales [rows, cols] of one byte each in storage order.

    Tiles that the blocks do not fill are padded with zeros.
    """
    rows, cols = blocks.shape
    tall, wide = swizzled_shape(rows, cols)
    padded = torch.zeros(tall, wide, dtype=torch.uint8)
    padded[:rows, :cols] = blocks.view(torch.uint8)
    tiles = padded.reshape(tall // 128, 4, 32, wide // 4, 4).permute(0, 3, 2, 1, 4)
    return tiles.reshape(tall, wide).view(blocks.dtype)
