"""OrthoMerge: merges rotations as rotations, and the rest as differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..linalg.lie import cayley_on
from ..linalg.procrustes import (
    Workspace,
    exact_rotation,
    frame_of,
    refined_rotation,
    small_error,
    small_generator,
    small_rotation,
)
from ..linalg.products import product, product_t
from ..linalg.spectrum import square_of_side
from ..params import choice, flag, integer, number
from ..shapes import Float32, Shaped
from ._rotations import RotationStore, weighted_sums
from .average import average_coefficients
from .contract import DecomposedMethod, Rows
from .forecast_rule import ForecastRule, GramRows, Shares
from .registry import register

__all__ = ["OrthoMerge"]

_TOLERANCE = 1e-3
_ROUNDING = 0.3
_SERIES = 2e-4
_REASONS = (
    "",
    "they are not matrices",
    "their smaller side is above max_rotation_dim",
    "the base is zero or rank-deficient there",
)


@register
class OrthoMerge(DecomposedMethod):
    """Orthogonal–residual decoupling with a damped Procrustes rotation per row.

    Per tensor as a matrix W0 [d, n] over its smaller side: R_i = polar((W0 + δ_i) W0ᵀ + λI) with
    generator A_i = (R_i + I)⁻¹(R_i − I) and residual ρ_i = W0 + δ_i − R_i W0. The generators, times
    α_i, are joined in direction and length separately, and
    W = W0 + Σ c_i δ_i + [(R − I) − Σ c_i (R_i − I)] W0, c_i = r_i α_i / Σ r (mean) or r_i α_i
    (sum), so that no residual is ever formed. Where the second-order rotations of
    `linalg.procrustes` are not within 1e-3 of the delta, that row is done by SVD in float64.

    Vectors, scalars, zero or rank-deficient bases and d > max_rotation_dim: `average`.
    Cost: one d×d eigendecomposition per tensor, four products per row, one inverse.
    """

    name = "orthomerge"
    label = "OrthoMerge (rotations)"
    summary = "Merges the rotation in every layer as a rotation and averages the rest."
    reference = "Yang, Shi, Liu 2026, arXiv:2602.05943; damping, signs and cap are ours"
    averages = ("residual_agg", "mean")
    forecast = ForecastRule("rotated")
    decompose_params = ("conflict_aware", "damping", "max_rotation_dim")
    params = (
        choice(
            "theta_agg",
            ("mean", "median", "max", "sum"),
            "mean",
            "How the angle of the joint rotation follows from the rows' angles.",
        ),
        choice(
            "direction_weight",
            ("theta", "magnitude", "equal"),
            "theta",
            "What a row's weight in the joint direction grows with: its rotation, its whole "
            "delta, or nothing.",
        ),
        choice(
            "residual_agg",
            ("mean", "sum"),
            "mean",
            "Whether the part that is not a rotation is averaged or summed.",
        ),
        flag(
            "conflict_aware",
            False,
            "Rotate only the output rows of a delta that oppose the mean delta.",
        ),
        number(
            "damping",
            1e-3,
            0.0,
            1.0,
            "Keeps near-empty directions of the base from rotating far; 0 is the published scheme.",
        ),
        integer(
            "max_rotation_dim",
            4096,
            1,
            65536,
            "Matrices with a longer smaller side are averaged; time grows with its cube.",
        ),
    )

    def decompose(
        self,
        base: Float32[Tensor, "*shape"],
        deltas: Sequence[Float32[Tensor, "*shape"]],
        options: Mapping[str, Any],
        device: torch.device | str | None = None,
    ) -> dict[str, Shaped[Tensor, "..."]]:
        """Rotations of all rows, none of which depends on alpha.

        For row i within tolerance `packed.i` [d, d]: X_i + X_i²/2, A_i = X_i/2; else `generator.i`
        and `rotation.i` [d, d]. Where one is int16 there is a `….scale` [d] that its lines are to
        be multiplied by. `gram` [rows, rows] float64 of the generators; `norms` [rows] float64 of
        the deltas. A tensor that is averaged has only `plain`, the number of the reason.
        """
        chosen = self.check_options(options)
        reason = _shape_reason(base, chosen["max_rotation_dim"])
        if reason:
            return {"plain": torch.tensor([reason])}
        where = base.device if device is None else torch.device(device)
        flip = base.shape[0] > base[0].numel()
        frame = frame_of(_working(base.to(where), flip).contiguous(), chosen["damping"])
        if frame.deficient:
            return {"plain": torch.tensor([3])}
        masked = _conflicting(deltas) if chosen["conflict_aware"] else deltas
        norms = torch.tensor([float(torch.linalg.vector_norm(d)) for d in deltas]).double()
        kept = _kept_share(deltas, norms)
        tolerance = _TOLERANCE * kept
        base_norm = float(torch.linalg.vector_norm(frame.base))
        work, store = Workspace(frame), RotationStore(len(deltas), base_norm)
        for row, delta in enumerate(masked):
            target = _working(delta.to(where), flip)
            size = float(torch.linalg.vector_norm(target))
            if size == 0.0:  # nothing of it opposes the mean
                store.add_small(row, torch.zeros_like(frame.rest), 0.0)
                continue
            allowed = _ROUNDING * tolerance * size
            small_rotation(frame, target, work)
            if small_error(frame, size, work) <= tolerance:
                store.add_small(row, small_generator(frame, work), allowed)
                continue
            found = refined_rotation(frame, size, work, tolerance) or exact_rotation(frame, target)
            generator, rotation = (frame.leave(part) for part in found)
            store.add_large(row, generator, rotation, allowed)
        return {"gram": store.gram, "norms": norms, **store.parts}

    def compose(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        parts: Mapping[str, Shaped[Tensor, "..."]],
        options: Mapping[str, Any],
    ) -> Float32[Tensor, "*shape"]:
        """Steps 4 to 6: alpha, joint direction and length, rotation, residuals."""
        chosen = self.check_options(options)
        share = average_coefficients(rows.alphas, rows.repeats)
        if "plain" not in parts and chosen["residual_agg"] == "sum":
            share = share * float(sum(rows.repeats))
        first, *others = share.tolist()
        added = torch.mul(rows.deltas[0].to(base.device), first)
        for delta, weight in zip(rows.deltas[1:], others, strict=True):
            added.add_(delta.to(base.device), alpha=weight)
        if "plain" in parts or (len(rows) == 1 and rows.alphas[0] == 1.0 and share[0] == 1.0):
            return added.add_(base)  # one row at full strength is the fine-tune itself
        allowed = _SERIES * float(torch.linalg.vector_norm(added))
        turn = _joint_weights(rows.alphas, rows.repeats, parts["gram"], parts["norms"], chosen)
        generators, rotations = weighted_sums(parts, turn, share, base.device)
        matrix = base.reshape(base.shape[0], -1)
        flip = matrix.shape[0] > matrix.shape[1]
        w0 = matrix.T if flip else matrix
        turned = cayley_on(generators, w0, allowed).sub_(rotations)
        change = product_t(matrix, turned) if flip else product(turned, matrix)
        return added.add_(change.reshape(base.shape)).add_(base)

    def shares(self, rows: GramRows, options: Mapping[str, Any]) -> Shares:
        """`rotation_frac` as a rotation, as if ⟨A_i, A_j⟩ ∝ ⟨δ_i, δ_j⟩; the rest as nominal.

        The true generators give weak directions of the base more weight.
        """
        nominal = self.nominal_weights(rows, options)
        if not 0 < rows.side <= options["max_rotation_dim"]:
            return [(1.0, nominal)]
        norms = torch.from_numpy(np.sqrt(np.diagonal(rows.gram)))
        repeats = [int(r) for r in rows.repeats]
        gram = torch.from_numpy(rows.gram)
        turn = _joint_weights(rows.alphas.tolist(), repeats, gram, norms, options)
        return [(1.0 - rows.rotation_frac, nominal), (rows.rotation_frac, turn.numpy())]

    def plain_reason(self, parts: Mapping[str, Shaped[Tensor, "..."]]) -> str:
        """Why a tensor was averaged instead of rotated, or ""."""
        return _REASONS[int(parts["plain"][0])] if "plain" in parts else ""

    def flops(self, shape: tuple[int, ...], rows: int) -> float:
        """An eigendecomposition and some five products per row, at an eighth of their flops,
        since products run so much faster than what the unit of `Method.flops` counts.
        """
        count = float(torch.Size(shape).numel())
        if len(shape) < 2 or count == 0:
            return 4.0 * rows * count
        d = min(float(shape[0]), count / shape[0])
        if d > 4096:
            return 4.0 * rows * count
        return 0.12 * (24.0 * d**3 + 6.0 * d * count + rows * (4.0 * d * count + 6.5 * d**3))

    def work_bytes(self, shape: tuple[int, ...], rows: int) -> int:
        """Float64 squares of the smaller side, a float32 one per row, and some copies."""
        side2 = square_of_side(shape)
        if side2 > 4096**2:  # averaged, as max_rotation_dim has it unless it is raised
            return 8 * torch.Size(shape).numel()
        return 16 * torch.Size(shape).numel() + 28 * side2 + 4 * rows * side2


def _joint_weights(
    alphas: Sequence[float],
    repeats: Sequence[int],
    gram: Tensor,
    norms: Tensor,
    chosen: Mapping[str, Any],
) -> Tensor:
    """w [rows] float64 with A = Σ w_i A_i: joint direction, length and cap.

    gram [rows, rows]: ⟨A_i, A_j⟩ of the generators. norms [rows]: ‖δ_i‖.
    """
    gram = gram.double().cpu()
    scale, count = torch.tensor(alphas, dtype=torch.float64), torch.tensor(repeats).double()
    own = gram.diagonal().clamp_min(0).sqrt()
    angles = scale.abs() * own
    unit = torch.where(own > 0, scale.sign() / torch.where(own > 0, own, 1.0), 0.0)
    weight = {
        "theta": angles,
        "magnitude": scale.abs() * norms.double().cpu(),
        "equal": torch.ones_like(angles),
    }[chosen["direction_weight"]]
    direction = count * weight * unit
    length = float((direction @ gram @ direction).clamp_min(0).sqrt())
    mean = count * scale / count.sum()
    cap = len(repeats) ** 0.5 * float((mean @ gram @ mean).clamp_min(0).sqrt())
    if length <= 1e-12 * float((count * weight).sum()):
        return torch.zeros_like(direction)
    return direction * (min(_aggregate(angles, repeats, chosen["theta_agg"]), cap) / length)


def _aggregate(angles: Tensor, repeats: Sequence[int], how: str) -> float:
    copies = torch.repeat_interleave(angles, torch.tensor(repeats))
    if how == "median":
        return float(torch.quantile(copies, 0.5))
    if how == "max":
        return float(copies.max())
    return float(copies.sum() if how == "sum" else copies.mean())


def _working(tensor: Tensor, flip: bool) -> Tensor:
    """The tensor as a matrix over its smaller side; a view."""
    matrix = tensor.reshape(tensor.shape[0], -1)
    return matrix.T if flip else matrix


def _kept_share(deltas: Sequence[Tensor], norms: Tensor) -> float:
    """How much of the deltas survives in their mean: 1 for unrelated ones, near 0 if they cancel.

    Errors are judged against the merged delta, so rows that cancel must be that much more exact.
    """
    mean = deltas[0].clone()
    for delta in deltas[1:]:
        mean.add_(delta)
    expected = float(norms.square().sum().sqrt())
    share = float(torch.linalg.vector_norm(mean)) / expected if expected > 0 else 1.0
    return min(1.0, max(share, 1e-3))


def _conflicting(deltas: Sequence[Tensor]) -> list[Tensor]:
    """Each delta's output rows (first axis) that oppose the mean delta; the others zero."""
    mean = deltas[0].clone()
    for delta in deltas[1:]:
        mean.add_(delta)
    mean = mean.reshape(len(mean), -1)

    def masked(delta: Tensor) -> Tensor:
        matrix = delta.reshape(len(mean), -1)
        against = (matrix * mean).sum(dim=1, dtype=torch.float64) < 0
        return (matrix * against[:, None]).reshape(delta.shape)

    return [masked(delta) for delta in deltas]


def _shape_reason(base: Tensor, limit: int) -> int:
    if base.ndim < 2 or min(base.shape[0], base.numel()) < 2 or base[0].numel() < 2:
        return 1
    return 2 if min(base.shape[0], base[0].numel()) > limit else 0
