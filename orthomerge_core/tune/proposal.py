"""The best trial as rows for the mixer, whose reasons are figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..recipe.model import Recipe, Row
from .parameters import Parameter
from .results import Finished
from .study import Plan

__all__ = ["best_recipe", "reasons"]


def best_recipe(
    plan: Plan, best: Finished, recipe: Recipe, trials: int, kept: Mapping[str, float]
) -> Recipe:
    """The recipe of a trial, each row with its reason as `info`."""
    words = reasons(plan, best, trials, kept)
    return replace(recipe, rows=tuple(_said(row, words) for row in recipe.rows))


def reasons(plan: Plan, best: Finished, trials: int, kept: Mapping[str, float]) -> dict[str, str]:
    """Per model of a row: what was searched and found, the scores, and what is kept of it.

    `kept`: model → forecast retention, where there is one.
    """
    scores = ", ".join(
        f"{name} {value:.4g}" for (name, _), value in zip(plan.scores, best.scores, strict=True)
    )
    ending = f"{scores} at trial {best.number} of {trials}"
    found = {}
    for row in plan.recipe.rows:
        parts = [_change(p, row, best.values) for p in plan.parameters if _concerns(p, row)]
        if row.model in kept:
            parts.append(f"keeps {kept[row.model] * 100:.0f} %")
        found[row.model] = "; ".join([*parts, ending])
    return found


def _concerns(parameter: Parameter, row: Row) -> bool:
    """Whether a parameter sets a field of this row: `ink alpha`, or `alpha` of all rows."""
    return parameter.name in ("alpha", "text") or parameter.name.startswith(f"{row.model} ")


def _change(parameter: Parameter, row: Row, values: Mapping[str, Any]) -> str:
    value = values[parameter.name]
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    field = parameter.name.removeprefix(f"{row.model} ")
    if parameter.labels:
        return f"{field} {shown} of {', '.join(parameter.labels)}"
    was = f", was {row.alpha:.4g}" if field == "alpha" else ""
    return f"{field} {shown} in {parameter.low:g}..{parameter.high:g}{was}"


def _said(row: Row, words: Mapping[str, str]) -> Row:
    return replace(row, info=words.get(row.model, row.info))
