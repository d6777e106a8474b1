"""Estimates one strength per item from pairwise comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["bradley_terry"]

_STEPS = 100
_CLOSE = 1e-10


def bradley_terry(
    count: int, comparisons: Sequence[tuple[int, int, float]], spread: float = 1.0
) -> NDArray[np.float64]:
    """Strengths s [count]: P(a is preferred to b) = 1 / (1 + exp(s_b − s_a)).

    The maximum of Σ w log P(a, b) + (1 − w) log P(b, a) − Σ s² / (2 spread²), by Newton's method:
    the model of Bradley and Terry 1952 with a normal prior, so that an item which always won has a
    finite strength and an item without a comparison has 0. Strengths sum to 0.

    Args:
        comparisons: (a, b, w): w is 1 where a was preferred, 0 where b was, 0.5 for neither.
        spread: the prior's standard deviation.

    Cost: a solve of count³ per step, of which there are fewer than ten.
    """
    strengths = np.zeros(count)
    if not comparisons:
        return strengths
    a = np.asarray([first for first, _, _ in comparisons])
    b = np.asarray([second for _, second, _ in comparisons])
    won = np.asarray([w for _, _, w in comparisons], dtype=np.float64)
    for _ in range(_STEPS):
        chance = 1.0 / (1.0 + np.exp(strengths[b] - strengths[a]))
        slope = -strengths / spread**2
        np.add.at(slope, a, won - chance)
        np.add.at(slope, b, chance - won)
        bend = np.eye(count) / spread**2
        weight = chance * (1.0 - chance)
        for place, other, sign in ((a, a, 1.0), (b, b, 1.0), (a, b, -1.0), (b, a, -1.0)):
            np.add.at(bend, (place, other), sign * weight)
        step = np.linalg.solve(bend, slope)
        strengths = strengths + step
        if np.abs(step).max() < _CLOSE:
            break
    return np.asarray(strengths)
