"""The one cast at the end: rounding to the stored dtype."""

from __future__ import annotations

import torch
from torch import Tensor

from ...io.dtypes import torch_dtype
from ...io.quant.fp8_scaled import FP8_MAX

__all__ = ["LIMITS", "cast", "count_clipped"]

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
