"""A search in words and figures."""

from __future__ import annotations

from collections.abc import Mapping

from ..tune.results import importances
from ..tune.study import Study, values_text

__all__ = ["tune_report"]

_MOST = 12


def tune_report(study: Study, start: tuple[float, ...] | None = None) -> str:
    """Markdown: how many trials, the best or the Pareto front, and which parameter mattered.

    start: the scores of the recipe as it was, where they are known without a trial.
    """
    plan, trials, counts = study.plan, study.finished(), study.counts()
    names = [name for name, _ in plan.scores]
    wishes = ", ".join(f"{name} ({direction})" for name, direction in plan.scores)
    lines = [f"# Search {study.name}", ""]
    lines.append(
        f"{counts['complete']} trials complete, {counts['fail']} failed, {counts['running']} "
        f"running. Score: {wishes}. Sampler: {plan.sampler}, seed {plan.seed}."
    )
    if study.rating is not None:
        pairs = study.rating.pairs()
        judged = sum(pair.choice is not None for pair in pairs)
        lines.append(f"{judged} of {len(pairs)} shown pairs were judged; the score is the ")
        lines[-1] += "Bradley–Terry strength of a trial."
    if start is not None:
        shown = ", ".join(f"{n} {v:.4g}" for n, v in zip(names, start, strict=True))
        lines.append(f"The recipe as it was: {shown}.")
    if not trials:
        return "\n".join([*lines, "", "No trial has a score yet."]) + "\n"
    best = study.best()
    one = len(names) == 1
    lines += ["", "## Best" if one else f"## Pareto front: {len(best)} trials", ""]
    for found in best[:_MOST]:
        shown = ", ".join(f"{n} {v:.4g}" for n, v in zip(names, found.scores, strict=True))
        lines.append(f"- trial {found.number}: {shown}; {values_text(found.values)}")
    if len(best) > _MOST:
        lines.append(f"- and {len(best) - _MOST} more")
    for number, name in enumerate(names):
        lines += ["", f"## What mattered for {name}", ""]
        lines += _importance_lines(importances(trials, plan.parameters, number), len(trials))
    return "\n".join(lines) + "\n"


def _importance_lines(found: Mapping[str, float | None], trials: int) -> list[str]:
    known = {name: share for name, share in found.items() if share is not None}
    if not known:
        return [f"Not stated from {trials} trials."]
    ranked = sorted(known.items(), key=lambda item: -item[1])
    return [f"- {name}: {share:.0%} of the variance, alone" for name, share in ranked]
