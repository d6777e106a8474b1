"""Large float32 products: oneDNN's where torch has it, and half the work for symmetric results.

Measured at 3072×3072 on an AMD core: 0.28 s by oneDNN, 0.58 s by the BLAS behind `torch.mm`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from ..shapes import Float

__all__ = ["mirrored", "product", "product_t"]

_BLOCKS = 6
_SMALL = 1 << 18
_THIN = 256


def product(a: Float[Tensor, "m k"], b: Float[Tensor, "k n"]) -> Float[Tensor, "m n"]:
    """A B, a new tensor. Copies Bᵀ unless B is a contiguous matrix's transpose or A is thin."""
    worth = len(a) >= _THIN or b.T.is_contiguous()
    return product_t(a, b.T) if worth and _by_onednn(a, b) else a @ b


def product_t(a: Float[Tensor, "m k"], b: Float[Tensor, "n k"]) -> Float[Tensor, "m n"]:
    """A Bᵀ, a new tensor."""
    linear = _linear()
    if linear is None or not _by_onednn(a, b):
        return a @ b.T
    return linear(a.contiguous(), b.contiguous(), None, "none", [], "")


def mirrored(
    a: Float[Tensor, "d k"], b: Float[Tensor, "d k"], sign: float = 1.0
) -> Float[Tensor, "d d"]:
    """A Bᵀ where that equals `sign` · its own transpose: only blocks on and above the diagonal."""
    d = len(a)
    out = torch.empty(d, d, dtype=a.dtype, device=a.device)
    step = max(64, -(-d // _BLOCKS))
    for low in range(0, d, step):
        high = min(low + step, d)
        block = product_t(a[low:high], b[low:])
        out[low:high, low:] = block
        out[high:, low:high] = block[:, high - low :].T
        if sign != 1.0:
            out[high:, low:high].mul_(sign)
    return out


def _by_onednn(a: Tensor, b: Tensor) -> bool:
    large = a.numel() * max(b.shape) >= _SMALL
    return large and a.device.type == "cpu" and a.dtype == b.dtype == torch.float32


@cache
def _linear() -> Callable[..., Tensor] | None:
    """x wᵀ by oneDNN, tried once on a case that is exact; None where torch has no such operator."""
    try:
        linear: Callable[..., Tensor] = torch.ops.mkldnn._linear_pointwise
        x = torch.arange(6.0).reshape(2, 3)
        right = torch.equal(linear(x, x, None, "none", [], ""), x @ x.T)
    except (AttributeError, RuntimeError, TypeError):
        return None
    return linear if right else None
