"""The one cast at the end: rounding to the stored dtype, and the scale of an fp8 layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...io.dtypes import torch_dtype

__all__ = ["FP8_MAX", "LIMITS", "cast", "count_clipped", "fp8_scale"]

FP8_MAX = 448.0
"""Largest finite float8_e4m3fn."""

_MANTISSA = {"F16": 10, "BF16": 7, "F8_E4M3": 3, "F8_E5M2": 2}

LIMITS = {
    "F16": 65504.0,
    "BF16": torch.finfo(torch.bfloat16).max,
    "F8_E4M3": FP8_MAX,
    "F8_E5M2": 57344.0,
}
"""Stored dtype → largest finite value, where finite float32 values may exceed it."""


def cast(values: Tensor, dtype: str) -> Tensor:
    """Float32 to the stored dtype, rounded once to nearest even.

    Finite values beyond the range of fp16, bf16 and fp8 become its largest finite value.
    """
    if dtype == "F32":
        return values
    limit = LIMITS.get(dtype)
    if limit is not None:
        values = values.clamp(-limit, limit)
    return values.to(torch_dtype(dtype))


def count_clipped(values: Tensor, dtype: str) -> int:
    """How many finite values `cast` moves to the largest finite value of `dtype`."""
    limit = LIMITS.get(dtype)
    if limit is None or not values.numel():
        return 0
    # half a step beyond the limit still rounds to it
    edge = limit * (1 + 2.0 ** -(_MANTISSA[dtype] + 2))
    size = values.abs()
    return int(((size >= edge) & torch.isfinite(size)).sum()) if float(size.max()) >= edge else 0


def fp8_scale(values: Tensor) -> float:
    """max |W| / 448 as float32: the largest weight uses the whole range; 1 for a zero tensor.

    Weights that are not finite (a damaged base's) do not count.
    """
    top = float(values.abs().max()) if values.numel() else 0.0
    if not math.isfinite(top):
        top = float(values.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).abs().max())
    scale = torch.tensor(top / FP8_MAX, dtype=torch.float32)
    if not bool(torch.isfinite(scale * FP8_MAX)):  # the largest weights of all: do not read as inf
        scale = torch.nextafter(scale, torch.zeros_like(scale))
    return float(scale) if float(scale) > 0.0 else 1.0
