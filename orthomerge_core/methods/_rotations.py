"""Rotations of a tensor's rows in the form they are kept in, and sums over them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["RotationStore", "weighted_sum"]


class RotationStore:
    """Collects rotations row by row in their kept form, with the Gram of their generators."""

    def __init__(self, rows: int, half: bool) -> None:
        self.half = half
        self.parts: dict[str, Tensor] = {}
        self.scales = torch.zeros(rows, dtype=torch.float64)
        self.gram = torch.zeros(rows, rows, dtype=torch.float64)

    def add_small(self, row: int, x: Tensor, p: Tensor) -> None:
        """Skew X and symmetric P share one matrix, in float16 under a power-of-two scale."""
        self._measure(row, x, 0.5)
        p.add_(x)
        top = float(p.abs().max())
        scale = 2.0 ** (math.frexp(top)[1] - 14) if top > 0 else 1.0
        p.mul_(1.0 / scale)
        self.parts[f"packed.{row}"] = p.half() if self.half else p.clone()
        self.scales[row] = scale
        self.gram[row, row] = self._with(row, x, 0.5, row)

    def add_large(self, row: int, generator: Tensor, rotation: Tensor) -> None:
        """A and R − I side by side, float32: a large turn has no common form."""
        self._measure(row, generator, 1.0)
        self.parts[f"generator.{row}"] = generator.float()
        self.parts[f"rotation.{row}"] = rotation.float()
        self.gram[row, row] = self._with(row, generator, 1.0, row)

    def _measure(self, row: int, x: Tensor, factor: float) -> None:
        for other in range(row):
            self.gram[row, other] = self.gram[other, row] = self._with(row, x, factor, other)

    def _with(self, row: int, x: Tensor, factor: float, other: int) -> float:
        """⟨A_row, A_other⟩; the kept symmetric part drops out since x is skew."""
        if f"packed.{other}" in self.parts:
            scale = 0.5 * float(self.scales[other])
            return factor * scale * _dot(x, self.parts[f"packed.{other}"])
        return factor * _dot(x, self.parts[f"generator.{other}"])


def weighted_sum(
    parts: Mapping[str, Tensor], weights: Tensor, kind: str, device: torch.device
) -> Tensor:
    """Σ w_i A_i ("generator", up to a symmetric part) or Σ w_i (R_i − I) ("rotation"), float32."""
    total = torch.zeros_like(parts["basis"], device=device)
    half = 0.5 if kind == "generator" else 1.0
    for i, weight in enumerate(weights.tolist()):
        if f"packed.{i}" in parts:
            scale = half * weight * float(parts["scales"][i])
            total.add_(parts[f"packed.{i}"].to(device), alpha=scale)
        else:
            total.add_(parts[f"{kind}.{i}"].to(device), alpha=weight)
    return total


def _dot(a: Tensor, b: Tensor) -> float:
    """⟨a, b⟩ summed in float64 over rows of float32 products."""
    step = max(1, (1 << 20) // max(1, a.shape[1]))
    parts = (
        float((a[i : i + step].float() * b[i : i + step].float()).sum(dtype=torch.float64))
        for i in range(0, len(a), step)
    )
    return sum(parts)
