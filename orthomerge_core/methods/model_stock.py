"""Model Stock: an average that leans back to the base where the models disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ._mecha import copies, tensor_function
from .average import average_coefficients
from .contract import Method, Rows
from .registry import register

__all__ = ["ModelStock"]


@register
class ModelStock(Method):
    """W = B + t · mean(α_i δ_i), t = n cos/(1 + (n − 1) cos) per output row.

    sd-mecha's `model_stock`. cos is the mean cosine of neighbouring rows of the table, so their
    order matters a little for three and more. A single row has no cosine: it is added as it is.
    """

    name = "model_stock"
    label = "Model Stock"
    summary = "Averages, and pulls back to the base wherever the models point apart."
    reference = "Jang et al. 2024, arXiv:2403.19522; sd-mecha model_stock"
    order_matters = True

    def merge(
        self, base: Tensor, rows: Rows, options: Mapping[str, Any], generator: torch.Generator
    ) -> Tensor:
        """B + model_stock(α_i δ_i), vectors as one row."""
        self.check_options(options)
        deltas = copies(rows)
        if base.numel() == 0:
            return base.clone()
        if len(deltas) == 1:
            weight = float(average_coefficients(rows.alphas, rows.repeats)[0])
            return base.add(rows.deltas[0], alpha=weight)
        flat = [d.reshape(1) if d.ndim == 0 else d for d in deltas]
        return base + tensor_function("model_stock")(*flat).reshape(base.shape)
