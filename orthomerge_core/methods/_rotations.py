"""Rotations of a tensor's rows in their stored form, and sums over them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..linalg.products import mirrored
from ..shapes import Float, Float32, Float64, Shaped

__all__ = ["RotationStore", "weighted_sums"]

_STEPS = 32767.0


class RotationStore:
    """Collects rotations row by row in their kept form, with the Gram of their generators.

    Args:
        rows: how many will come.
        base_norm: ‖W0‖, by which the rounding of a kept rotation is judged.
    """

    def __init__(self, rows: int, base_norm: float) -> None:
        self._base_norm = base_norm
        self.parts: dict[str, Tensor] = {}
        self.gram = torch.zeros(rows, rows, dtype=torch.float64)

    def add_small(self, row: int, x: Float32[Tensor, "d d"], allowed: float) -> None:
        """R ≈ I + X + X²/2 from skew X = 2A. Skew and symmetric part share one matrix.

        Cost: half a d³ product.
        """
        self._measure(row, x, 0.5)
        self._keep("packed", row, mirrored(x, x).mul_(-0.5).add_(x), allowed)

    def add_large(
        self,
        row: int,
        generator: Float[Tensor, "d d"],
        rotation: Float[Tensor, "d d"],
        allowed: float,
    ) -> None:
        """A and R − I side by side: a large turn has no common form."""
        self._measure(row, generator.float(), 1.0)
        self._keep("generator", row, generator.float(), 0.5 * allowed)  # R − I = 2A + …
        self._keep("rotation", row, rotation.float(), allowed)

    def _keep(self, kind: str, row: int, matrix: Tensor, allowed: float) -> None:
        """int16 in steps of each line's maximum / 32767, where that is exact enough; else float32.

        Rounding moves the matrix times W0 by ‖W0‖ (Σ steps² / 12)^½, expected.
        """
        scale = torch.linalg.vector_norm(matrix, torch.inf, dim=1) / _STEPS
        self.parts[f"{kind}.{row}"] = matrix
        if float((scale.double().square().sum() / 12).sqrt()) * self._base_norm <= allowed:
            inverse = torch.where(scale > 0, 1.0 / scale, torch.zeros_like(scale))
            self.parts[f"{kind}.{row}"] = (matrix * inverse[:, None]).round_().to(torch.int16)
            self.parts[f"{kind}.{row}.scale"] = scale

    def _measure(self, row: int, x: Tensor, factor: float) -> None:
        """⟨A_row, A_other⟩; the kept symmetric part drops out since x is skew."""
        self.gram[row, row] = factor * factor * _dot(x, x)
        buffer = torch.empty_like(x)
        for other in range(row):
            found = _kept(self.parts, other, "generator", buffer)
            self.gram[row, other] = self.gram[other, row] = factor * found * _dot(x, buffer)


def weighted_sums(
    parts: Mapping[str, Shaped[Tensor, "..."]],
    turn: Float64[Tensor, "rows"],
    share: Float64[Tensor, "rows"],
    device: torch.device,
) -> tuple[Float32[Tensor, "d d"], Float32[Tensor, "d d"]]:
    """(Σ turn_i A_i, Σ share_i (R_i − I)), in one pass over what is kept."""
    first = parts["packed.0"] if "packed.0" in parts else parts["generator.0"]
    generators, rotations, buffer = (
        torch.zeros(first.shape, dtype=torch.float32, device=device) for _ in range(3)
    )
    for i, (w, c) in enumerate(zip(turn.tolist(), share.tolist(), strict=True)):
        generators.add_(buffer, alpha=w * _kept(parts, i, "generator", buffer))
        if f"packed.{i}" not in parts:
            _kept(parts, i, "rotation", buffer)
        rotations.add_(buffer, alpha=c)
    buffer.copy_(generators.T)  # their symmetric part is P's
    return generators.sub_(buffer).mul_(0.5), rotations


def _kept(parts: Mapping[str, Shaped[Tensor, "..."]], row: int, kind: str, out: Tensor) -> float:
    """A row's kept matrix into `out`; A is it (less a symmetric part) times what is returned."""
    small = f"packed.{row}" in parts
    name = f"{'packed' if small else kind}.{row}"
    out.copy_(parts[name])
    if f"{name}.scale" in parts:
        out.mul_(parts[f"{name}.scale"].to(out.device)[:, None])
    return 0.5 if small else 1.0


def _dot(a: Tensor, b: Tensor) -> float:
    """⟨a, b⟩: float32 along a line, float64 over the lines."""
    return float(torch.linalg.vecdot(a, b).sum(dtype=torch.float64))
