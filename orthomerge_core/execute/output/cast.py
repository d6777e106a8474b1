"""The one cast at the end: rounding to the stored dtype, and the scale of an fp8 layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...io.dtypes import torch_dtype

__all__ = ["FP8_MAX", "cast", "fp8_scale"]

FP8_MAX = 448.0
"""Largest finite float8_e4m3fn."""

_LIMITS = {"F16": 65504.0, "F8_E4M3": FP8_MAX, "F8_E5M2": 57344.0}


def cast(values: Tensor, dtype: str) -> Tensor:
    """Float32 to the stored dtype, rounded once to nearest even.

    Finite values beyond the range of fp16 and fp8 become its largest finite value.
    """
    if dtype == "F32":
        return values
    limit = _LIMITS.get(dtype)
    if limit is not None:
        values = values.clamp(-limit, limit)
    return values.to(torch_dtype(dtype))


def fp8_scale(values: Tensor) -> float:
    """max |W| / 448 as float32: the largest weight uses the whole range; 1 for a zero tensor.

    Weights that are not finite (a damaged base's) do not count.
    """
    top = float(values.abs().max()) if values.numel() else 0.0
    if not math.isfinite(top):
        top = float(values.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).abs().max())
    scale = float(torch.tensor(top / FP8_MAX, dtype=torch.float32))
    return scale if scale > 0.0 else 1.0
