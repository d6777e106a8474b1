"""The common ggml block types in torch: the same numbers as the `gguf` package, many times faster.

Each function fills float32 `out` [blocks, elements] from `raw` [blocks, bytes] (uint8). `n` is the
number of blocks. Every product and sum is rounded on its own, in gguf's order, so the results are
bit-identical.
Source: ggml-quants.c; gguf-py, quants.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

__all__ = ["TORCH_DECODERS", "low_bits"]

# Type → (bytes before the codes, bytes of codes, bits that move every code by one step). Where the
# upper bits of a code lie elsewhere, only its lower ones are among these.
_CODES = {
    "Q4_0": (2, 16, 0x11),
    "Q4_1": (4, 16, 0x11),
    "Q5_0": (6, 16, 0x11),
    "Q5_1": (8, 16, 0x11),
    "Q8_0": (2, 32, 0x01),
    "Q2_K": (16, 64, 0x55),
    "Q3_K": (32, 64, 0x55),
    "Q4_K": (16, 128, 0x11),
    "Q5_K": (48, 128, 0x11),
    "Q6_K": (0, 128, 0x11),
    "IQ4_NL": (2, 16, 0x11),
    "IQ4_XS": (8, 128, 0x11),
}


def low_bits(form: str, unit_bytes: int) -> bytes:
    """What to flip in one block so that every code moves by one step; b"" for an unknown type."""
    if form not in _CODES:
        return b""
    before, codes, mask = _CODES[form]
    return bytes(before) + bytes([mask]) * codes + bytes(unit_bytes - before - codes)


def _f16(raw: Tensor) -> Tensor:
    return raw.contiguous().view(torch.float16).to(torch.float32)  # (n, 1)


def _nibbles(packed: Tensor, out: Tensor) -> None:
    """Low nibbles of (…, w) into `out` (…, 0, w), high ones into (…, 1, w)."""
    out[..., 0, :].copy_(packed & 15)
    out[..., 1, :].copy_(packed >> 4)


def _fifth_bits(raw: Tensor, out: Tensor) -> None:
    """Add 16 where bit i of the 4 bytes is set for element i of 32."""
    bits = (raw.unsqueeze(-1) >> torch.arange(8, dtype=torch.uint8)) & 1  # (n, 4, 8)
    out.view(-1, 4, 8).add_(bits, alpha=16)


def _q4_0(raw: Tensor, out: Tensor) -> None:
    """W = d · (q − 8)."""
    _nibbles(raw[:, 2:], out.view(-1, 2, 16))
    out.sub_(8).mul_(_f16(raw[:, :2]))


def _q4_1(raw: Tensor, out: Tensor) -> None:
    """W = d · q + m."""
    _nibbles(raw[:, 4:], out.view(-1, 2, 16))
    out.mul_(_f16(raw[:, :2])).add_(_f16(raw[:, 2:4]))


def _q5_0(raw: Tensor, out: Tensor) -> None:
    """W = d · (q − 16), q of 5 bits."""
    _nibbles(raw[:, 6:], out.view(-1, 2, 16))
    _fifth_bits(raw[:, 2:6], out)
    out.sub_(16).mul_(_f16(raw[:, :2]))


def _q5_1(raw: Tensor, out: Tensor) -> None:
    """W = d · q + m, q of 5 bits."""
    _nibbles(raw[:, 8:], out.view(-1, 2, 16))
    _fifth_bits(raw[:, 4:8], out)
    out.mul_(_f16(raw[:, :2])).add_(_f16(raw[:, 2:4]))


def _q8_0(raw: Tensor, out: Tensor) -> None:
    """W = d · q."""
    out.copy_(raw[:, 2:].view(torch.int8))
    out.mul_(_f16(raw[:, :2]))


def _six_bit_scales(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Eight scales and eight minima of 6 bits each from 12 bytes."""
    low, low_min, rest = raw.view(-1, 3, 4).unbind(1)
    scale = torch.cat((low & 63, (rest & 15) | ((low >> 2) & 48)), 1)
    minimum = torch.cat((low_min & 63, (rest >> 4) | ((low_min >> 2) & 48)), 1)
    return scale.to(torch.float32), minimum.to(torch.float32)  # (n, 8)


def _scale_eighths(raw: Tensor, out: Tensor) -> None:
    """W = (d · scale) · q − (dmin · minimum), one pair per 32 of 256 elements."""
    scale, minimum = _six_bit_scales(raw[:, 4:16].contiguous())
    eighths = out.view(-1, 8, 32)
    eighths.mul_((scale * _f16(raw[:, :2])).unsqueeze(-1))
    eighths.sub_((minimum * _f16(raw[:, 2:4])).unsqueeze(-1))


def _q4_k(raw: Tensor, out: Tensor) -> None:
    """See `_scale_eighths`, q of 4 bits."""
    _nibbles(raw[:, 16:].unflatten(1, (4, 32)), out.view(-1, 4, 2, 32))
    _scale_eighths(raw, out)


def _q5_k(raw: Tensor, out: Tensor) -> None:
    """See `_scale_eighths`, q of 5 bits, bit j of 32 bytes for the j-th eighth."""
    _nibbles(raw[:, 48:].unflatten(1, (4, 32)), out.view(-1, 4, 2, 32))
    shifts = torch.arange(8, dtype=torch.uint8).unsqueeze(-1)
    out.view(-1, 8, 32).add_((raw[:, 16:48].unsqueeze(1) >> shifts) & 1, alpha=16)
    _scale_eighths(raw, out)


def _q6_k(raw: Tensor, out: Tensor) -> None:
    """W = (d · scale) · (q − 32), q of 6 bits, one signed scale per 16 of 256 elements."""
    _nibbles(raw[:, :128].unflatten(1, (2, 64)), out.view(-1, 2, 2, 64))
    shifts = torch.arange(0, 8, 2, dtype=torch.uint8).unsqueeze(-1)
    high = (raw[:, 128:192].unflatten(1, (2, 1, 32)) >> shifts) & 3  # (n, 2, 4, 32)
    out.view(-1, 2, 4, 32).add_(high, alpha=16).sub_(32)
    scale = raw[:, 192:208].view(torch.int8).to(torch.float32) * _f16(raw[:, 208:])
    out.view(-1, 16, 16).mul_(scale.unsqueeze(-1))


TORCH_DECODERS: Mapping[str, Callable[[Tensor, Tensor], None]] = {
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q8_0": _q8_0,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}
