"""Coefficients of a merge from Grams alone: exact for linear methods, an estimate for the others.

A merge of one tensor is described by shares: (f, c) says that the share f of every delta's energy
is merged with the coefficients c [rows], so that ⟨W−B, δ_r⟩ = Σ f (G c)_r and
‖W−B‖² = Σ f cᵀ G c.
A linear method has the one share (1, c).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..methods.contract import LinearMethod, Method
from .geometry import Floats

__all__ = ["Shares", "Tensorwise", "asked_weights", "shares"]

Shares = list[tuple[float, Floats]]


@dataclass(frozen=True)
class Tensorwise:
    """The rows that act on one tensor, as `methods.contract.Rows` but without their deltas.

    gram [rows, rows]: ⟨δ_i, δ_j⟩. spin: share of a delta's energy that is rotation, 0..0.5.
    side: the smaller side of the matrix, 0 for a vector.
    """

    gram: Floats
    alphas: Floats
    repeats: Floats
    spin: float
    side: int


def asked_weights(method: Method, options: Mapping[str, Any], rows: Tensorwise) -> Floats:
    """What the table asks of each row before rows meet: r_i α_i, over Σ r_i where it averages."""
    weights = rows.repeats * rows.alphas
    if _averages(method, options):
        weights = weights / rows.repeats.sum()
    return weights


def _averages(method: Method, options: Mapping[str, Any]) -> bool:
    if method.name == "orthomerge":
        return bool(options["residual_agg"] == "mean")
    return method.name in ("average", "model_stock", "geometric_median")


def shares(method: Method, options: Mapping[str, Any], rows: Tensorwise) -> Shares:
    """How the rows of one tensor are merged; `options` complete."""
    if isinstance(method, LinearMethod):
        found = method.coefficients(
            torch.from_numpy(rows.gram),
            rows.alphas.tolist(),
            [int(r) for r in rows.repeats],
            options,
        )
        return [(1.0, found.numpy())]
    asked = asked_weights(method, options, rows)
    if method.name == "orthomerge" and 0 < rows.side <= options["max_rotation_dim"]:
        return [(1.0 - rows.spin, asked), (rows.spin, _rotation(options, rows))]
    return [(1.0, asked)]


def _rotation(options: Mapping[str, Any], rows: Tensorwise) -> Floats:
    """Coefficients of orthomerge's rotational share, as if ⟨A_i, A_j⟩ ∝ ⟨δ_i, δ_j⟩.

    Direction Σ r_i w_i A_i/θ_i, length from `theta_agg`, growth over the mean capped at √rows, as
    in `methods.orthomerge`; the true generators weight weak directions of the base more.
    """
    own = np.sqrt(np.diagonal(rows.gram))
    angles = np.abs(rows.alphas) * own
    say = np.ones_like(angles) if options["direction_weight"] == "equal" else angles
    direction = rows.repeats * say * np.sign(rows.alphas) / own
    length = _norm(rows.gram, direction)
    if length <= 1e-12 * float((rows.repeats * say).sum()):
        return np.zeros_like(direction)
    mean = rows.repeats * rows.alphas / rows.repeats.sum()
    cap = len(angles) ** 0.5 * _norm(rows.gram, mean)
    wanted = min(_aggregate(angles, rows.repeats, options["theta_agg"]), cap)
    return np.asarray(direction * (wanted / length))


def _norm(gram: Floats, weights: Floats) -> float:
    return max(float(weights @ gram @ weights), 0.0) ** 0.5


def _aggregate(angles: Floats, repeats: Sequence[float] | Floats, how: str) -> float:
    copies = np.repeat(angles, np.asarray(repeats, dtype=np.intp))
    if how == "median":
        return float(np.median(copies))
    return float({"mean": copies.mean(), "max": copies.max(), "sum": copies.sum()}[how])
