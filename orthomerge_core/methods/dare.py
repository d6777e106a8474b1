"""DARE and DELLA: drop most of every delta at random, scale up the rest, add."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..params import integer, number
from ..shapes import Float32
from ._mecha import draw_seed, tensor_function
from .contract import Method, Rows
from .forecast_rule import ForecastRule
from .registry import register

__all__ = ["Dare", "Della"]

_DROP = number("drop", 0.5, 0.0, 0.99, "Fraction of each delta dropped at random; 0 drops none.")
_SEED = integer("seed", 0, 0, 2**31 - 1, "A different seed drops different weights.")


@register
class Dare(Method):
    """W = B + Σ r_i α_i m_i∘δ_i/(1 − p), m_i random masks; by sd-mecha's `dropout` on each row.

    Every row and every key draws its own mask from the key's generator.
    """

    name = "dare"
    label = "DARE"
    summary = "Drops a random share of every change and scales up the rest, then adds."
    reference = "Yu et al. 2023, arXiv:2311.03099; sd-mecha dropout"
    order_matters = True  # rows draw their masks in turn
    params = (_DROP, _SEED)
    forecast = ForecastRule("nominal", drop="drop")
    flops_per_value = 1700.0

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """B + Σ r_i α_i dropout(δ_i)."""
        drop = self.check_options(options)["drop"]
        thin = tensor_function("dropout")
        merged = base.clone()
        for delta, alpha, repeat in zip(rows.deltas, rows.alphas, rows.repeats, strict=True):
            kept = thin(delta, probability=drop, seed=draw_seed(generator))
            merged.add_(kept.to(base.dtype), alpha=alpha * repeat)
        return merged


@register
class Della(Method):
    """As `dare`, with small changes dropped more often than large ones (MAGPRUNE).

    Keep probability = 1 − p + ε·(rank − mid)/n by the size of each change within its tensor; by
    sd-mecha's `ties_sum_with_dropout` on each row, its sign election having nothing to elect.
    """

    name = "della"
    label = "DELLA"
    summary = "Like DARE, but small changes are dropped more often than large ones."
    reference = "Deep et al. 2024, arXiv:2406.11617; sd-mecha ties_sum_with_dropout"
    order_matters = True  # rows draw their masks in turn
    forecast = ForecastRule("nominal", drop="drop", spread="spread")
    flops_per_value = 1700.0
    params = (
        _DROP,
        _SEED,
        number(
            "spread",
            0.2,
            0.0,
            1.0,
            "How far the keep probability varies with a change's rank; 0 is DARE.",
        ),
    )

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """B + Σ r_i α_i magprune(δ_i)."""
        chosen = self.check_options(options)
        thin = tensor_function("ties_sum_with_dropout")
        merged = base.clone()
        if base.numel() == 0:
            return merged
        for delta, alpha, repeat in zip(rows.deltas, rows.alphas, rows.repeats, strict=True):
            # apply_stock=True is what switches the model-stock factor off in sd-mecha.
            kept = thin(
                delta,
                probability=chosen["drop"],
                della_eps=chosen["spread"],
                k=1.0,
                apply_stock=True,
                seed=draw_seed(generator),
            )
            merged.add_(kept.to(base.dtype), alpha=alpha * repeat)
        return merged
