"""Coefficients of a merge from Grams alone: exact for linear methods, an estimate for the others.

A merge of one tensor is described by shares: (f, c) says that the share f of every delta's energy
is merged with the coefficients c [rows], so that ⟨W−B, δ_r⟩ = Σ f (G c)_r and
‖W−B‖² = Σ f cᵀ G c. A linear method has the one share (1, c).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..methods.contract import LinearMethod, Method
from .reduction import Floats

__all__ = ["Shares", "Tensorwise", "asked_weights", "can_foresee", "noise_frac", "shares"]

Options = Mapping[str, Any]
Shares = list[tuple[float, Floats]]

MEDIAN_STEPS = 6
"""Weiszfeld steps of the geometric median's estimate; more change the fourth digit."""


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

    @property
    def mean(self) -> Floats:
        """r_i α_i / Σ r_i."""
        return self.repeats * self.alphas / self.repeats.sum()


def can_foresee(method: Method) -> bool:
    """Whether the Gram tells enough: not where single weights decide, as in TIES' vote of signs."""
    return isinstance(method, LinearMethod) or method.name in _ESTIMATES


def asked_weights(method: Method, options: Options, rows: Tensorwise) -> Floats:
    """What the table asks of each row before rows meet: r_i α_i, over Σ r_i where it averages."""
    if method.name == "orthomerge":
        averages = options["residual_agg"] == "mean"
    else:
        averages = method.name in ("average", "model_stock", "geometric_median")
    return rows.mean if averages else rows.repeats * rows.alphas


def noise_frac(options: Options) -> float:
    """Energy that dropping at random adds, as a share of Σ (w_i ‖δ_i‖)²: p/(1 − p)."""
    drop = float(options.get("drop", 0.0))
    return drop / (1.0 - drop)


def shares(method: Method, options: Options, rows: Tensorwise) -> Shares:
    """How the rows of one tensor are merged; `options` complete, the method foreseeable."""
    if isinstance(method, LinearMethod):
        gram, repeats = torch.from_numpy(rows.gram), [int(r) for r in rows.repeats]
        found = method.coefficients(gram, rows.alphas.tolist(), repeats, options)
        return [(1.0, found.numpy())]
    return _ESTIMATES[method.name](options, asked_weights(method, options, rows), rows)


def _as_asked(options: Options, asked: Floats, rows: Tensorwise) -> Shares:
    """Slerp turns little, and what is dropped at random is made up for in the mean."""
    return [(1.0, asked)]


def _pruned(options: Options, asked: Floats, rows: Tensorwise) -> Shares:
    """Keeping large changes more often keeps more energy: 1/π a unit of spread if normal."""
    return [(1.0, asked * (1.0 + options["spread"] / (np.pi * (1.0 - options["drop"]))))]


def _rotated(options: Options, asked: Floats, rows: Tensorwise) -> Shares:
    """The share `spin` as a rotation, as if ⟨A_i, A_j⟩ ∝ ⟨δ_i, δ_j⟩; the rest as asked.

    Direction Σ r_i w_i A_i/θ_i, length from `theta_agg`, growth over the mean capped at √rows, as
    in `methods.orthomerge`; the true generators weight weak directions of the base more.
    """
    if not 0 < rows.side <= options["max_rotation_dim"]:
        return [(1.0, asked)]
    own = np.sqrt(np.diagonal(rows.gram))
    angles = np.abs(rows.alphas) * own
    say = np.ones_like(angles) if options["direction_weight"] == "equal" else angles
    direction = rows.repeats * say * np.sign(rows.alphas) / own
    length = _norm(rows.gram, direction)
    if length <= 1e-12 * float((rows.repeats * say).sum()):
        return [(1.0 - rows.spin, asked), (rows.spin, np.zeros_like(direction))]
    cap = len(angles) ** 0.5 * _norm(rows.gram, rows.mean)
    wanted = min(_aggregate(angles, rows.repeats, options["theta_agg"]), cap)
    return [(1.0 - rows.spin, asked), (rows.spin, direction * (wanted / length))]


def _stock(options: Options, asked: Floats, rows: Tensorwise) -> Shares:
    """t · mean with the tensor's own cosine of neighbouring copies instead of each output row's."""
    place = np.repeat(np.arange(len(asked)), rows.repeats.astype(np.intp))
    count = len(place)
    if count == 1:
        return [(1.0, asked)]
    norms = np.sqrt(np.diagonal(rows.gram))
    cosines = rows.gram / (norms[:, None] * norms[None, :])
    cosines = cosines * np.sign(rows.alphas)[:, None] * np.sign(rows.alphas)[None, :]
    cosine = float(np.mean(cosines[place[:-1], place[1:]]))
    below = 1.0 + (count - 1) * cosine
    return [(1.0, asked * (count * cosine / below if below != 0.0 else 0.0))]


def _median(options: Options, asked: Floats, rows: Tensorwise) -> Shares:
    """Weiszfeld's iteration on coefficients: all distances follow from the Gram."""
    scaled = rows.gram * rows.alphas[:, None] * rows.alphas[None, :]
    weights = rows.repeats / rows.repeats.sum()
    for _ in range(min(MEDIAN_STEPS, options["iterations"])):
        product = scaled @ weights
        distance2 = np.diagonal(scaled) - 2.0 * product + float(weights @ product)
        nearness = rows.repeats / np.sqrt(np.maximum(distance2, 1e-12))
        weights = nearness / nearness.sum()
    return [(1.0, weights * rows.alphas)]


_ESTIMATES: Mapping[str, Callable[[Options, Floats, Tensorwise], Shares]] = {
    "dare": _as_asked,
    "della": _pruned,
    "geometric_median": _median,
    "model_stock": _stock,
    "orthomerge": _rotated,
    "slerp": _as_asked,
}


def _norm(gram: Floats, weights: Floats) -> float:
    return max(float(weights @ gram @ weights), 0.0) ** 0.5


def _aggregate(angles: Floats, repeats: Floats, how: str) -> float:
    copies = np.repeat(angles, repeats.astype(np.intp))
    if how == "median":
        return float(np.median(copies))
    return float({"mean": copies.mean(), "max": copies.max(), "sum": copies.sum()}[how])
