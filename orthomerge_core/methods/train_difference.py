"""Train difference: a change counts less where the merge already has it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..params import number
from ..shapes import Float32
from .contract import Method, Rows
from .registry import register

__all__ = ["TrainDifference"]


@register
class TrainDifference(Method):
    """W_i = W_{i−1} + α_i g s ∘ δ_i with s = |M_i − W_{i−1}| / (|M_i − W_{i−1}| + |M_i − P_i|).

    W_0 = B. M_i − W_{i−1} is how far the merge so far is from the model: where it is there already,
    s is 0; where it is far compared with what was trained, s nears 1. A row from the base itself
    finds s = 1/2 everywhere, as both distances are the same. Rows follow each other, and a repeat
    is that many times in turn.
    """

    name = "train_difference"
    label = "Train difference"
    summary = "Adds each change where the merge does not already have it, as training would."
    reference = "supermerger's trainDifference; sd-mecha train_difference_mask"
    order_matters = True
    needs_origins = True
    neutral: ClassVar[Mapping[str, Any]] = MappingProxyType({"gain": 2.0})
    params = (
        number(
            "gain",
            1.8,
            0.0,
            4.0,
            "Factor g on every change; 1.8 is usual, 2 adds a change from the base whole.",
        ),
    )
    flops_per_value = 260.0

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """Row after row, in float32."""
        gain = self.check_options(options)["gain"]
        change = torch.zeros_like(base)
        origins = rows.origins or [None] * len(rows)
        for delta, alpha, repeat, origin in zip(
            rows.deltas, rows.alphas, rows.repeats, origins, strict=True
        ):
            trained = delta.abs()
            for _ in range(repeat):
                away = delta - change if origin is None else delta + origin - change
                share = away.abs_()
                share = share / (share + trained)  # 0/0 where neither is anything
                change.add_(torch.nan_to_num_(share, nan=0.0).mul_(delta), alpha=alpha * gain)
        return change.add_(base)

    def work_bytes(self, shape: tuple[int, ...], rows: int) -> int:
        """Change, |δ|, distance, their sum, the quotient, and one on its way."""
        return 4 * 6 * torch.Size(shape).numel()
