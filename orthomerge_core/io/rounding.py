"""The step of a stored format: the distance between neighboring values at a given value."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["float_steps"]

_FORMATS = {
    "F64": (52, -1022),
    "F32": (23, -126),
    "F16": (10, -14),
    "BF16": (7, -126),
    "F8_E4M3": (3, -6),
    "F8_E5M2": (2, -14),
}
"""dtype → stored mantissa bits, exponent of the smallest normal value."""


def float_steps(dtype: str, values: Tensor, out: Tensor) -> None:
    """Fill `out` with the unit in the last place of each value in a floating-point format.

    step = 2^(max(⌊log₂|x|⌋, e_min) − m) with m mantissa bits; below the smallest normal value the
    step no longer shrinks. Rounding to nearest moves a value by at most half of it.

    Args:
        dtype: a floating-point name of the safetensors header.
        values: float32, any shape; values that are not finite get a step of 0.
        out: float32 of the same shape; may be `values` itself.
    """
    mantissa, smallest = _FORMATS[dtype]
    finite = torch.isfinite(values)
    exponent = torch.frexp(torch.where(finite, values, 0.0)).exponent - 1
    exponent = torch.where(values == 0.0, smallest, exponent).clamp_min(smallest)
    steps = torch.ldexp(torch.ones_like(values), exponent - mantissa)
    out.copy_(torch.where(finite, steps, 0.0))
