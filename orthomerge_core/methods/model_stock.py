"""Model Stock: an average that leans back to the base where the models disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..shapes import Float32
from ._mecha import copies, tensor_function
from .average import average_coefficients
from .contract import Method, Rows
from .forecast_rule import ForecastRule, GramRows, Shares
from .registry import register

__all__ = ["ModelStock"]


@register
class ModelStock(Method):
    """W = B + t · mean(α_i δ_i), t = n cos/(1 + (n − 1) cos) per output row, held to −1..1.

    sd-mecha's `model_stock` on matrices of output rows (a convolution's kernel is one row; over its
    last axis alone, two or three numbers, the cosine would be chance). cos is the mean cosine of
    neighboring rows of the table, so their order matters a little for three and more. Where it
    nears −1/(n − 1), t has a pole: the bounds keep such a row finite. A single row of the table
    has no cosine: it is added as it is.
    """

    name = "model_stock"
    label = "Model Stock"
    summary = "Averages, and pulls back to the base where the models disagree."
    reference = "Jang et al. 2024, arXiv:2403.19522; sd-mecha model_stock"
    order_matters = True
    averages = True
    forecast = ForecastRule("stock")
    flops_per_value = 600.0

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """B + model_stock(α_i δ_i), vectors as one row."""
        self.check_options(options)
        deltas = copies(rows)
        if base.numel() == 0:
            return base.clone()
        if len(deltas) == 1:
            weight = float(average_coefficients(rows.alphas, rows.repeats)[0])
            return base.add(rows.deltas[0], alpha=weight)
        flat = [d.reshape(1, -1) if d.ndim < 2 else d.flatten(1) for d in deltas]
        mean = torch.stack(flat).mean(dim=0)
        joined = tensor_function("model_stock")(*flat)
        longer = torch.linalg.vector_norm(joined.double(), dim=1, keepdim=True)
        own = torch.linalg.vector_norm(mean.double(), dim=1, keepdim=True)
        joined = torch.where(longer > own, joined * (own / longer), joined)
        return base + joined.to(base.dtype).reshape(base.shape)

    def shares(self, rows: GramRows, options: Mapping[str, Any]) -> Shares:
        """t · mean, with the whole tensor's cosine of neighbors instead of each output row's."""
        place = np.repeat(np.arange(len(rows.alphas)), rows.repeats.astype(np.intp))
        count = len(place)
        if count == 1:
            return [(1.0, rows.mean)]
        norms = np.sqrt(np.diagonal(rows.gram))
        cosines = rows.gram / (norms[:, None] * norms[None, :])
        cosines = cosines * np.sign(rows.alphas)[:, None] * np.sign(rows.alphas)[None, :]
        cosine = float(np.mean(cosines[place[:-1], place[1:]]))
        below = 1.0 + (count - 1) * cosine
        return [(1.0, rows.mean * (count * cosine / below if below != 0.0 else 0.0))]

    def work_bytes(self, shape: tuple[int, ...], rows: int) -> int:
        """The scaled copies, their mean, and what makes the cosines."""
        return 4 * (rows + 9) * torch.Size(shape).numel()
