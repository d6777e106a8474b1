"""16-bit floats in compiled code: widened exactly, rounded once to nearest even.

Plain loops that numba turns into vector code; `stored` and `out` are uint16, `bits` are the bytes
of `row` as uint32. Fields are those of IEEE 754; a bfloat16 is a float32's upper half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["NARROW", "WIDEN"]

_TO_FLOAT = np.float32(2.0**112)
_LARGEST_F16 = np.float32(65504.0)
_NORMAL_F16 = np.float32(2.0**-14)
_HALF = np.float32(0.5)


def _widen_bf16(stored, row, bits):  # type: ignore[no-untyped-def]  # compiled
    for k in range(row.shape[0]):
        bits[k] = np.uint32(stored[k]) << np.uint32(16)


def _widen_f16(stored, row, bits):  # type: ignore[no-untyped-def]  # compiled
    # The fields of a float16, moved, are those of a float32 whose value is 2^112 too small.
    for k in range(row.shape[0]):
        half = np.uint32(stored[k])
        size = half & np.uint32(0x7FFF)
        bits[k] = (half >> np.uint32(15) << np.uint32(31)) | (size << np.uint32(13))
    for k in range(row.shape[0]):
        row[k] *= _TO_FLOAT
    for k in range(row.shape[0]):  # infinity and NaN would have become 65536 and more
        if stored[k] & np.uint16(0x7C00) == np.uint16(0x7C00):
            row[k] = np.float32(np.nan)


def _narrow_bf16(row, bits, out):  # type: ignore[no-untyped-def]  # compiled
    for k in range(row.shape[0]):
        odd = (bits[k] >> np.uint32(16)) & np.uint32(1)
        out[k] = np.uint16((bits[k] + np.uint32(0x7FFF) + odd) >> np.uint32(16))


def _narrow_f16(row, bits, out):  # type: ignore[no-untyped-def]  # compiled
    # One view of the memory per loop, so that each becomes vector code.
    for k in range(out.shape[0]):
        out[k] = np.uint16((bits[k] >> np.uint32(16)) & np.uint32(0x8000))
    for k in range(row.shape[0]):  # beyond the range: the largest, as `outputs.cast` stores it
        size = abs(row[k])
        row[k] = size if size < _LARGEST_F16 else _LARGEST_F16
    for k in range(out.shape[0]):
        odd = (bits[k] >> np.uint32(13)) & np.uint32(1)
        moved = (bits[k] - np.uint32(0x38000000) + np.uint32(0xFFF) + odd) >> np.uint32(13)
        normal = bits[k] >= np.uint32(0x38800000)  # 2^-14, the smallest normal float16
        out[k] |= np.uint16(moved if normal else np.uint32(0))
    for k in range(row.shape[0]):
        # Beside 1/2 float32 has room for just a subnormal float16, rounded to nearest even.
        row[k] = row[k] + _HALF if row[k] < _NORMAL_F16 else _HALF
    for k in range(out.shape[0]):
        out[k] |= np.uint16(bits[k] - np.uint32(0x3F000000))


WIDEN: Mapping[str, Callable[..., Any]] = {"BF16": _widen_bf16, "F16": _widen_f16}
"""dtype → (stored, row, bits): fill `row` with the values. Infinity becomes NaN in F16."""

NARROW: Mapping[str, Callable[..., Any]] = {"BF16": _narrow_bf16, "F16": _narrow_f16}
"""dtype → (row, bits, out): round finite values; `row` is overwritten."""
