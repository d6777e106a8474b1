"""From measurements to scores. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .skills import ATTRIBUTES

__all__ = ["Score", "gap_closed", "mean_sd", "recovered_share", "score", "spearman"]


@dataclass(frozen=True)
class Score:
    """One merge, judged. All are shares; higher is better except for `forgetting`.

    recovered: skill → `recovered_share` on that skill's own pictures. composed: `gap_closed` on
    pictures that show all the skills at once. shown: skill → share of sampled pictures that show
    it. together: share that shows all at once and what the prompt asked for. right: share with the
    prompt's shape and colour. forgetting: loss on the base's pictures over the base's own.
    kept: model → forecast retention.
    """

    recovered: Mapping[str, float]
    composed: float
    shown: Mapping[str, float]
    together: float
    right: float
    forgetting: float
    kept: Mapping[str, float | None]


def recovered_share(base: float, merge: float, fine_tune: float) -> float:
    """(L_base − L_merge) / (L_base − L_fine-tune): 1 as good as the fine-tune, 0 as the base.

    Raises `ValueError` where the fine-tune is no better than the base: there is nothing to recover.
    """
    if not fine_tune < base:
        raise ValueError(f"the fine-tune's loss {fine_tune} is not below the base's {base}")
    return (base - merge) / (base - fine_tune)


def gap_closed(base: float, merge: float) -> float:
    """1 − L_merge / L_base: the share of the base's loss that the merge takes away."""
    return 1.0 - merge / base


def score(models: Sequence[str], found: Mapping[str, Any], alone: Mapping[str, Any]) -> Score:
    """Judge one measurement against the family's own models (`alone`: name → measurement)."""
    losses, base, target = found["losses"], alone["base"]["losses"], "+".join(models)
    composed = f"composed:{target}"
    return Score(
        recovered={m: recovered_share(base[m], losses[m], alone[m]["losses"][m]) for m in models},
        composed=gap_closed(base[composed], losses[composed]),
        shown={m: found["marks"][ATTRIBUTES[m]] for m in models},
        together=found["together"][target],
        right=found["marks"]["right"],
        forgetting=losses["base"] / base["base"],
        kept=found.get("forecast", {}),
    )


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and standard deviation of the sample (0 for a single value)."""
    numbers = np.asarray(values, dtype=np.float64)
    return float(numbers.mean()), float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Rank correlation −1..1, ties sharing their mean rank; NaN where one side is constant."""
    ranks = [_ranks(np.asarray(x, dtype=np.float64)) for x in (a, b)]
    if len(ranks[0]) < 2 or any(r.std() == 0 for r in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    below = (values[:, None] > values[None, :]).sum(axis=1)
    equal = (values[:, None] == values[None, :]).sum(axis=1)
    return np.asarray(below + (equal - 1) / 2, dtype=np.float64)
