"""All scores of a run, and their means over families."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .contenders import Contender
from .ledger import Ledger
from .scores import Score, mean_sd, score
from .skills import Subset
from .work import Task

__all__ = ["METRICS", "Judged", "Metric", "cell", "complete", "judged", "over_families"]

Metric = Callable[[Score], float]

METRICS: dict[str, Metric] = {
    "composed": lambda s: s.composed,
    "together": lambda s: s.together,
    "shown, mean": lambda s: sum(s.shown.values()) / len(s.shown),
    "shown, worst": lambda s: min(s.shown.values()),
    "right": lambda s: s.right,
    "recovered, mean": lambda s: sum(s.recovered.values()) / len(s.recovered),
    "recovered, worst": lambda s: min(s.recovered.values()),
    "forgetting": lambda s: s.forgetting,
}


@dataclass(frozen=True)
class Judged:
    """One merge of one family with its score and its raw measurement."""

    family: str
    folder: Path
    subset: Subset
    contender: Contender
    score: Score
    found: dict[str, Any]


def judged(tasks: Sequence[Task], ledger: Ledger) -> Iterator[Judged]:
    """Scores of all measured merges; what the ledger lacks is left out."""
    alone: dict[str, dict[str, Any]] = {}
    for task in tasks:
        if task.model and task.key in ledger:
            alone.setdefault(task.digest, {})[task.model] = ledger[task.key]
    for task in tasks:
        if task.subset is None or task.contender is None or task.key not in ledger:
            continue
        if {"base", *task.subset.models} <= set(alone.get(task.digest, {})):
            found = ledger[task.key]
            made = score(task.subset.models, found, alone[task.digest])
            yield Judged(task.digest, task.folder, task.subset, task.contender, made, found)


def over_families(
    found: Sequence[Judged], metric: Metric, contender: Contender, subsets: Sequence[str]
) -> tuple[float, float] | None:
    """Mean ± standard deviation over families of the mean over subsets; None unless complete."""
    families = sorted({j.family for j in found})
    values = []
    for one in families:
        hits = [
            metric(j.score)
            for j in found
            if j.family == one and j.contender.key == contender.key and j.subset.name in subsets
        ]
        if len(hits) != len(subsets):
            return None
        values.append(sum(hits) / len(hits))
    return mean_sd(values) if values else None


def complete(found: Sequence[Judged], subsets: Sequence[str]) -> list[Contender]:
    """Contenders measured on all these subsets in all families, in their first order."""
    seen: dict[str, Contender] = {j.contender.key: j.contender for j in found}
    first = METRICS["composed"]
    return [c for c in seen.values() if over_families(found, first, c, subsets) is not None]


def cell(value: tuple[float, float] | None) -> str:
    """0.62 ± 0.03, or a dash."""
    return "–" if value is None else f"{value[0]:.2f} ± {value[1]:.2f}"
