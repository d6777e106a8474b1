"""The cosine pair: interpolates each column by its similarity to the base's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..shapes import Float32
from .contract import Method, Rows
from .registry import register

__all__ = ["AddCosineA", "AddCosineB"]


class _Cosine(Method):
    """W = B + k ∘ δ, k = 1 − clamp(s − r α, 0, 1), s a similarity of B and M = B + δ; one row.

    Alpha is not a strength here: it is subtracted from the similarity. At 1 the whole model is
    taken; near 0 only columns that differ from the base's move.
    """

    max_rows = 1
    continuous = False
    flops_per_value = 570.0

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """B + k ∘ δ; a number is a column of one."""
        self.check_options(options)
        if base.numel() == 0:
            return base.clone()
        delta, alpha = rows.deltas[0], rows.alphas[0] * rows.repeats[0]
        similarity = self._similarity(*_columns(base, delta))
        share = 1.0 - (similarity - alpha).clamp(0.0, 1.0)
        return base + delta * share.to(base.dtype).reshape(base.shape[1:])

    @abstractmethod
    def _similarity(self, bb: Tensor, bm: Tensor, mm: Tensor) -> Tensor:
        """s of each column from ‖B‖², ⟨B, M⟩ and ‖M‖²."""

    def work_bytes(self, shape: tuple[int, ...], rows: int) -> int:
        """The float64 forms of B and M, or the change and the result."""
        return 4 * 6 * torch.Size(shape).numel()


@register
class AddCosineA(_Cosine):
    """`_Cosine` with s the cosine of each column, computed over the first axis (output rows)."""

    name = "add_cosine_a"
    label = "Cosine A"
    summary = "Moves each column toward the model, further where the two are less similar; one row."
    reference = "supermerger's cosineA; sd-mecha add_cosine_a"

    def _similarity(self, bb: Tensor, bm: Tensor, mm: Tensor) -> Tensor:
        return _cosine(bb, bm, mm)


@register
class AddCosineB(_Cosine):
    """`_Cosine` with s the mean of each column's cosine and the cosine of the whole tensor."""

    name = "add_cosine_b"
    label = "Cosine B"
    summary = "Like Cosine A, with the similarity of the whole tensor averaged in."
    reference = "supermerger's cosineB; sd-mecha add_cosine_b"

    def _similarity(self, bb: Tensor, bm: Tensor, mm: Tensor) -> Tensor:
        return (_cosine(bb, bm, mm) + _cosine(bb.sum(), bm.sum(), mm.sum())) / 2.0


def _columns(base: Tensor, delta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """‖B‖², ⟨B, M⟩ and ‖M‖² over the first axis, float64 [columns]."""
    b = base.double().reshape(base.shape[0] if base.ndim else 1, -1)
    m = delta.double().reshape(b.shape).add_(b)
    return (b * b).sum(dim=0), (b * m).sum(dim=0), (m * m).sum(dim=0)


def _cosine(aa: Tensor, ab: Tensor, bb: Tensor) -> Tensor:
    """⟨a, b⟩ / ‖a‖‖b‖, 0 where a length is."""
    lengths = (aa * bb).sqrt()
    return torch.where(lengths > 0, ab / lengths.where(lengths > 0, torch.ones_like(ab)), 0.0)
