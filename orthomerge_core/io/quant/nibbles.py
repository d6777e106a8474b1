"""Two 4-bit numbers to a byte, the low one first."""

from __future__ import annotations

from torch import Tensor

__all__ = ["unpack_low_first"]


def unpack_low_first(raw: Tensor, out: Tensor) -> None:
    """Fill 1-D `out` [2·bytes] with the numbers 0 to 15 of `raw` [bytes], uint8."""
    pairs = out.view(-1, 2)
    pairs[:, 0].copy_(raw & 15)
    pairs[:, 1].copy_(raw >> 4)
