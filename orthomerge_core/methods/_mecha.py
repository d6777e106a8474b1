"""Access to the tensor functions that some methods borrow from sd-mecha, without its executor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import UnsupportedError
from ..shapes import Float, Float32
from .contract import Rows

__all__ = ["copies", "draw_seed", "tensor_function", "weighted"]


def tensor_function(name: str) -> Callable[..., Float[Tensor, "..."]]:
    """The plain function behind sd-mecha's merge method of that name, on tensors.

    sd-mecha wraps every merge method in a recipe node factory and keeps the function in
    `__wrapped__`; calling that leaves its graph, its threads and its files out.
    """
    try:
        # The package first: another thread may be in the middle of loading it, and its part alone
        # would come back before the methods are registered.
        import sd_mecha  # noqa: F401
        from sd_mecha.extensions import merge_methods
    except ImportError as error:
        raise UnsupportedError(
            f'sd-mecha is not installed, and it holds the function "{name}"',
            fix="Install it (pip install sd-mecha) or choose another method.",
        ) from error
    function: Callable[..., Any] = merge_methods.resolve(name).__wrapped__
    return function


def weighted(rows: Rows) -> list[Float32[Tensor, "..."]]:
    """α_i δ_i, new tensors."""
    return [delta * alpha for delta, alpha in zip(rows.deltas, rows.alphas, strict=True)]


def copies(rows: Rows) -> list[Float32[Tensor, "..."]]:
    """α_i δ_i, each as many times as its row repeats."""
    scaled = zip(weighted(rows), rows.repeats, strict=True)
    return [delta for delta, repeat in scaled for _ in range(repeat)]


def draw_seed(generator: torch.Generator) -> int:
    """A fresh 62-bit seed; successive draws of one key's generator differ."""
    return int(torch.randint(2**62, (1,), generator=generator, device=generator.device).item())
