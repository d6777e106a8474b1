"""TIES: trim, elect a sign per weight, average those who agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..params import flag, number
from ..shapes import Float32
from ._mecha import copies, tensor_function
from .contract import Method, Rows
from .registry import register

__all__ = ["Ties"]


@register
class Ties(Method):
    """W = B + mean over agreeing copies of the trimmed α_i δ_i, per tensor.

    sd-mecha's `ties_sum`. A repeat counts as that many copies. The trim is per tensor, not over
    the whole model.
    """

    name = "ties"
    label = "TIES"
    summary = "Keeps the largest changes, elects a sign per weight, averages those that agree."
    reference = "Yadav et al. 2023, arXiv:2306.01708; sd-mecha ties_sum"
    params = (
        number(
            "density",
            1.0,
            0.01,
            1.0,
            "Fraction of each delta that is kept, largest first; 1 keeps all. New mixes start with "
            "the paper's 0.2; where nothing is stated it is 1, as it was in older mixes.",
            suggested=0.2,
        ),
        flag(
            "vote_by_size",
            True,
            "Elect the sign by the sum of the changes, as in the paper; off: by counting rows.",
        ),
    )
    flops_per_value = 950.0

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """B + ties_sum(α_i δ_i)."""
        chosen = self.check_options(options)
        if base.numel() == 0:
            return base.clone()
        joined = tensor_function("ties_sum")(
            *copies(rows), k=chosen["density"], vote_sgn=chosen["vote_by_size"]
        )
        return base + joined

    def work_bytes(self, shape: tuple[int, ...], rows: int) -> int:
        """The scaled copies, their stack, and signs, agreement and counts of it."""
        return 4 * (5 * rows + 2) * torch.Size(shape).numel()
