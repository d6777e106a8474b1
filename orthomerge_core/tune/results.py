"""Results of a study: the best trials, the Pareto front, and the importance of parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .parameters import Parameter

__all__ = ["Finished", "balanced", "best_so_far", "front", "importances"]

_MOST_BINS = 6
_LEAST = 8
"""Trials below which no importance is stated."""


@dataclass(frozen=True)
class Finished:
    """A trial that was scored: its number, values by parameter, and scores."""

    number: int
    values: dict[str, Any]
    scores: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"number": self.number, "values": self.values, "scores": list(self.scores)}


def front(trials: Sequence[Finished], directions: Sequence[str]) -> list[Finished]:
    """The trials that no other one beats in one score without losing in another, by number.

    Of trials with equal scores the first stays. With one score that is the best trial. Cost:
    trials² · scores.
    """
    signs = np.asarray([1.0 if d == "minimize" else -1.0 for d in directions])
    kept: list[Finished] = []
    points = [np.asarray(t.scores) * signs for t in trials]
    for i, trial in enumerate(trials):
        beaten = any(
            bool((other <= points[i]).all() and ((other < points[i]).any() or j < i))
            for j, other in enumerate(points)
            if j != i
        )
        if not beaten:
            kept.append(trial)
    return kept


def best_so_far(trials: Sequence[Finished], direction: str, score: int = 0) -> list[float]:
    """The best value of a score up to each trial."""
    found: list[float] = []
    better = min if direction == "minimize" else max
    for trial in trials:
        value = trial.scores[score]
        found.append(better(found[-1], value) if found else value)
    return found


def importances(
    trials: Sequence[Finished], parameters: Sequence[Parameter], score: int = 0
) -> dict[str, float | None]:
    """How much of the score's variance each parameter explains alone, 0..1; None where unknown.

    ε² of a one-way analysis of variance, (SSB − (k − 1) MSW) / SST and at least 0: of k groups of
    trials, the choices of a parameter, or up to 6 groups of equal size by rank of its values. It is
    corrected for chance, says nothing of parameters that act only together, and is stated from 8
    trials on.
    """
    scores = np.asarray([trial.scores[score] for trial in trials], dtype=np.float64)
    found: dict[str, float | None] = {}
    for parameter in parameters:
        if len(trials) < _LEAST:
            found[parameter.name] = None
            continue
        values = [trial.values[parameter.name] for trial in trials]
        found[parameter.name] = _explained(scores, _groups(values, ranked=not parameter.labels))
    return found


def _groups(values: Sequence[Any], *, ranked: bool) -> NDArray[np.intp]:
    if not ranked:
        known = {value: i for i, value in enumerate(dict.fromkeys(values))}
        return np.asarray([known[value] for value in values])
    numbers = np.asarray(values, dtype=np.float64)
    bins = min(_MOST_BINS, max(2, math.isqrt(len(values) // 2)))
    ranks = np.searchsorted(np.sort(numbers), numbers)  # equal values share a group
    return np.asarray(ranks * bins // len(values))


def _explained(scores: NDArray[np.float64], groups: NDArray[np.intp]) -> float | None:
    total = float(((scores - scores.mean()) ** 2).sum())
    labels = np.unique(groups)
    if total <= 0.0 or len(labels) < 2 or len(scores) <= len(labels):
        return 0.0 if total > 0.0 else None
    inside = sum(
        float(((part - part.mean()) ** 2).sum()) for part in (scores[groups == g] for g in labels)
    )
    noise = inside / (len(scores) - len(labels))
    return max(0.0, (total - inside - (len(labels) - 1) * noise) / total)


def balanced(best: Sequence[Finished], directions: Sequence[str]) -> Finished:
    """The trial of a front that is closest to its best scores, each scaled to the front's range.

    With one score that is the best trial. Raises `ValueError` for an empty front.
    """
    signs = np.asarray([1.0 if d == "minimize" else -1.0 for d in directions])
    points = np.asarray([trial.scores for trial in best]) * signs
    low = points.min(axis=0)
    spread = points.max(axis=0) - low
    scaled = (points - low) / np.where(spread > 0, spread, 1.0)
    return best[int(np.argmin((scaled**2).sum(axis=1)))]
