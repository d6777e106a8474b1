"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .scores import gap_closed, mean_sd
from .skills import ASIDE, SUBSETS
from .summary import METRICS, Judged, cell, complete, over_families

__all__ = ["BY_COUNT", "by_count_table", "four_table", "reference_rows", "short_table"]

BY_COUNT: Mapping[int, Sequence[str]] = {
    count: [s.name for s in SUBSETS if len(s.models) == count and s.name not in ASIDE]
    for count in (2, 3, 4, 5)
}
"""Number of models → subsets whose mean counts."""

_FOUR = BY_COUNT[4]
_SHOWN = (
    "composed", "together", "shown, mean", "shown, worst", "right", "forgetting",
)  # fmt: skip


_ALSO_WEAK = ("task_arithmetic", "orthogonal_projection", "dare")
"""Shown in the short table below alpha 1, too."""

_SIDES = ("mean", "worst")
_APART = ("ink+star", "ink+paint", "ink+paint+star")
"""Subsets whose skills leave each other's pictures as they are: without the grey background."""


def by_count_table(found: Sequence[Judged]) -> str:
    """`composed` and `shown, mean` by number of models, and `recovered` where that can be fair."""
    counts = [n for n, names in BY_COUNT.items() if complete(found, names)]
    heads = [f"{title}, {n}" for title in ("composed", "shown") for n in counts]
    lines = _head(["method", "alpha", *heads, "recovered, mean", "worst"])
    for one in complete(found, BY_COUNT[counts[0]]):
        cells = [
            cell(over_families(found, METRICS[metric], one, BY_COUNT[n]))
            for metric in ("composed", "shown, mean")
            for n in counts
        ]
        cells += [
            cell(over_families(found, METRICS[f"recovered, {m}"], one, _APART)) for m in _SIDES
        ]
        lines.append(_line([f"`{one.name}`", f"{one.alpha:g}", *cells]))
    return "\n".join(lines)


def short_table(found: Sequence[Judged]) -> str:
    """What the README shows: skills by number of models, and the merge of four more closely."""
    counts = [n for n, names in BY_COUNT.items() if complete(found, names)]
    metrics = ("right", "together", "composed")
    heads = [*(f"shown, {n}" for n in counts), *(f"{m}, 4" for m in metrics), "recovered"]
    lines = _head(["method", "alpha", *heads])
    for one in complete(found, BY_COUNT[counts[0]]):
        if one.alpha < 1.0 and one.name not in _ALSO_WEAK:
            continue
        cells = [
            cell(over_families(found, METRICS["shown, mean"], one, BY_COUNT[n])) for n in counts
        ]
        cells += [cell(over_families(found, METRICS[m], one, _FOUR)) for m in metrics]
        cells.append(cell(over_families(found, METRICS["recovered, mean"], one, _APART)))
        lines.append(_line([f"`{one.name}`", f"{one.alpha:g}", *cells]))
    return "\n".join(lines)


def four_table(found: Sequence[Judged], references: Sequence[Sequence[str]]) -> str:
    """Every metric of the merge of four, with the models alone in front."""
    lines = _head(["ink + paint + photo + star", "alpha", *_SHOWN])
    lines += [_line(row) for row in references]
    for one in complete(found, _FOUR):
        cells = [cell(over_families(found, METRICS[m], one, _FOUR)) for m in _SHOWN]
        lines.append(_line([f"`{one.name}`", f"{one.alpha:g}", *cells]))
    return "\n".join(lines)


def reference_rows(alone: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The base, every fine-tune and the jointly trained model on the exam of the merge of four.

    alone: per family, model → measurement.
    """
    four = next(s for s in SUBSETS if s.name == _FOUR[0])
    target = "+".join(four.models)
    rows = []
    for model in ("base", *four.models, "joint"):
        if not all(model in family for family in alone):
            continue
        scores = [_reference(family, model, four.models, target) for family in alone]
        cells = [cell(mean_sd([s[m] for s in scores])) if m in scores[0] else "" for m in _SHOWN]
        rows.append([f"*{model} alone*" if model != "joint" else "*trained jointly*", "", *cells])
    return rows


def _reference(
    family: Mapping[str, Any], model: str, models: Sequence[str], target: str
) -> dict[str, float]:
    from .skills import ATTRIBUTES

    found, base = family[model], family["base"]
    shown = [found["marks"][ATTRIBUTES[m]] for m in models]
    composed = f"composed:{target}"
    return {
        "composed": gap_closed(base["losses"][composed], found["losses"][composed]),
        "together": found["together"][target],
        "shown, mean": sum(shown) / len(shown),
        "shown, worst": min(shown),
        "right": found["marks"]["right"],
        "forgetting": found["losses"]["base"] / base["losses"]["base"],
    }


def _head(cells: Sequence[str]) -> list[str]:
    return [_line(cells), "|---|" + "---:|" * (len(cells) - 1)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
