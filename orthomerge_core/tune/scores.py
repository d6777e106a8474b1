"""Scores that need no merge, computed from the forecast of a recipe."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..analysis.result import Analysis
from ..errors import RecipeError, did_you_mean
from ..forecast.many import Figures, ManyForecasts
from ..forecast.reduction import Reduced, read_reduced, reduce_for_table
from ..grid.values import number_of
from ..recipe.model import Recipe

__all__ = [
    "SCORES",
    "Direction",
    "ForecastScores",
    "Score",
    "parse_score",
]

Direction = Literal["minimize", "maximize"]

_TARGETS = re.compile(r"retention\s*(?:\[(?P<rows>[^\]]*)\]|=\s*(?P<all>\S+))$")


@dataclass(frozen=True)
class Score:
    """A figure of a forecast, and which way is better.

    `targets`: row's model → wanted retention, of the score `retention`; "" stands for every row.
    """

    name: str
    direction: Direction
    targets: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Rule:
    direction: Direction
    help: str
    compute: Callable[[Sequence[float], Figures, Mapping[str, float], Sequence[str]], float]


def _distance(
    kept: Sequence[float], _: Figures, targets: Mapping[str, float], models: Sequence[str]
) -> float:
    gaps = [
        share - targets.get(model, targets.get("", math.nan))
        for share, model in zip(kept, models, strict=True)
    ]
    known = [gap for gap in gaps if not math.isnan(gap)]
    return math.sqrt(sum(gap * gap for gap in known) / len(known)) if known else math.nan


def _spread(kept: Sequence[float], *_: Any) -> float:
    mean = sum(kept) / len(kept)
    return math.sqrt(sum((share - mean) ** 2 for share in kept) / len(kept))


SCORES: dict[str, _Rule] = {
    "retention": _Rule(
        "minimize", "root mean square distance of the rows' retention from its target", _distance
    ),
    "equal": _Rule("minimize", "standard deviation of the rows' retention", _spread),
    "weakest": _Rule("maximize", "the smallest retention of a row", lambda kept, *_: min(kept)),
    "mean": _Rule("maximize", "mean retention of the rows", lambda kept, *_: sum(kept) / len(kept)),
    "drift": _Rule(
        "minimize",
        "‖W − B‖ / ‖B‖, how far the merge is from the base",
        lambda _, found, *__: math.nan if found.base_share is None else found.base_share,
    ),
    "cancellation": _Rule(
        "minimize",
        "1 − ‖W − B‖² / Σ (w ‖δ‖)², how much the rows cancel each other",
        lambda _, found, *__: math.nan if found.cancellation is None else found.cancellation,
    ),
}
"""Name → direction, what it is, and its formula over the active rows' retention."""


def parse_score(text: str) -> Score:
    """A score from its name, `retention=0.8` or `retention[ink=0.9, paint=0.5]`.

    `forecast` is short for `retention=1`: every row's change arrives whole, once.

    Raises:
        RecipeError: no such score, or a target that is no number.
    """
    text = "retention=1" if text.strip() == "forecast" else text.strip()
    found = _TARGETS.match(text)
    if found:
        return Score(text, "minimize", _targets(found))
    if text not in SCORES or text == "retention":
        known = ("forecast", "retention=1", *(n for n in SCORES if n != "retention"))
        raise RecipeError(f'score: nothing is called "{text}"', fix=did_you_mean(text, known))
    return Score(text, SCORES[text].direction)


def _targets(found: re.Match[str]) -> dict[str, float]:
    if found["all"]:
        return {"": number_of(found["all"], "retention")}
    targets = {}
    for piece in found["rows"].split(","):
        model, equals, text = piece.rpartition("=")
        if not equals or not model.strip():
            raise RecipeError(
                f'score: "{piece.strip()}" names no target',
                fix="Write retention[model=0.8, other=0.5].",
            )
        targets[model.strip()] = number_of(text, "retention")
    return targets


class ForecastScores:
    """Scores of recipes from one analysis; no file is read.

    Cost of a call: see `ManyForecasts`.
    """

    def __init__(self, analysis: Analysis | Reduced, scores: Sequence[Score]) -> None:
        if isinstance(analysis, Reduced):
            data = analysis
        else:
            data = read_reduced(reduce_for_table(analysis))
        self._forecasts = ManyForecasts(data)
        self.scores = tuple(scores)

    def __call__(self, recipe: Recipe) -> tuple[float, ...]:
        """One value per score; NaN where no row is on or there is no forecast.

        Raises: RecipeError for a target of a model that has no row.
        """
        for score in self.scores:
            _check_targets(score, recipe)
        found, kept = self.retention(recipe)
        if not kept:
            return tuple(math.nan for _ in self.scores)
        models, shares = zip(*kept, strict=True)
        return tuple(
            SCORES["retention" if score.targets else score.name].compute(
                shares, found, score.targets, models
            )
            for score in self.scores
        )

    def retention(self, recipe: Recipe) -> tuple[Figures, list[tuple[str, float]]]:
        """All figures, and (model, what is kept) of every enabled row, also at alpha 0."""
        found = self._forecasts.figures(recipe)
        shares = zip(recipe.rows, found.retention, strict=True)
        return found, [(r.model, s) for r, s in shares if r.enabled and s is not None]


def _check_targets(score: Score, recipe: Recipe) -> None:
    known = tuple(row.model for row in recipe.rows)
    for model in score.targets:
        if model and model not in known:
            raise RecipeError(f'score: no row of "{model}"', fix=did_you_mean(model, known))
