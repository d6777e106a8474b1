"""How a method can be forecast from Grams alone: what it states, and what it is given.

A merge of one tensor is described by shares: (f, c) says that the share f of every delta's energy
is merged with the coefficients c [rows], so that ⟨W−B, δ_r⟩ = Σ f (G c)_r and
‖W−B‖² = Σ f cᵀ G c. A linear method has the one share (1, c).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "ForecastRule", "Formula", "GramRows", "Shares"]

Floats = NDArray[np.float64]
Shares = list[tuple[float, Floats]]
Formula = Literal["", "nominal", "projected", "rotated", "stock", "median", "spherical"]


@dataclass(frozen=True)
class ForecastRule:
    """What a method states about its forecast.

    formula: the browser's implementation of the method's `shares`; "" where only Python has one.
    exact: the forecast equals what the merge measures; else it is an estimate.
    drop: name of the option with the fraction p of weights dropped at random, which adds
    p/(1 − p) Σ (w_i ‖δ_i‖)² of energy. spread: name of the option by which large changes are kept
    more often, which multiplies every weight by 1 + spread/(π (1 − p)) for normal deltas.
    """

    formula: Formula = ""
    exact: bool = False
    drop: str = ""
    spread: str = ""

    def noise_frac(self, options: Mapping[str, Any]) -> float:
        """Energy that dropping at random adds, as a fraction of Σ (w_i ‖δ_i‖)²: p/(1 − p)."""
        drop = float(options[self.drop]) if self.drop else 0.0
        return drop / (1.0 - drop)

    def gain(self, options: Mapping[str, Any]) -> float:
        """Factor on every weight: large changes are kept more often than small ones."""
        if not self.spread:
            return 1.0
        drop = float(options[self.drop]) if self.drop else 0.0
        return 1.0 + float(options[self.spread]) / (np.pi * (1.0 - drop))

    def to_json(self) -> dict[str, Any]:
        """The rule as plain JSON, for the browser."""
        return dict(vars(self))


@dataclass(frozen=True)
class GramRows:
    """The rows that act on one tensor, as `contract.Rows` but without their deltas.

    gram [rows, rows]: ⟨δ_i, δ_j⟩. rotation_frac: fraction of a delta's energy that is rotation,
    0..0.5. side: the smaller side of the matrix, 0 for a vector.
    """

    gram: Floats
    alphas: Floats
    repeats: Floats
    rotation_frac: float = 0.0
    side: int = 0

    @property
    def total(self) -> Floats:
        """r_i α_i."""
        return self.repeats * self.alphas

    @property
    def mean(self) -> Floats:
        """r_i α_i / Σ r_i."""
        return self.total / self.repeats.sum()
