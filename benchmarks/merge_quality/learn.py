"""What predicts a good merge? Rank correlations of what is known beforehand with what came out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from orthomerge_core.optimize.geometry import Geometry

from .merging import gram
from .scores import mean_sd, spearman
from .skills import SKILLS, SUBSETS
from .summary import METRICS, Judged, Metric

__all__ = [
    "KAPPAS",
    "PREDICTORS",
    "held_out",
    "nearness_to_all",
    "objective_predicts",
    "predict",
    "retention_predicts",
]

KAPPAS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Weights of what a merge moves beside a model's own change; 1 treats all directions alike."""

Predictor = Callable[[Sequence[float], Sequence[float], float], float]


def nearness_to_all(
    kept: Sequence[float], norms2: Sequence[float], merged2: float, kappa: float
) -> float:
    """Mean over models of 1 − (1 − k_i)² − κ (‖Δ‖² − k_i² ‖D_i‖²) / ‖D_i‖².

    k_i = ⟨Δ, D_i⟩/‖D_i‖². With κ = 1 it is 1 − ‖Δ − D_i‖²/‖D_i‖², the recovered share of a loss
    that is the same parabola in every direction; a small κ says that what the other rows change
    hardly disturbs. Best at k_i = 1: it punishes too little and too much alike.
    """
    parts = [
        1 - (1 - k) ** 2 - kappa * max(merged2 - k * k * n, 0.0) / n
        for k, n in zip(kept, norms2, strict=True)
    ]
    return sum(parts) / len(parts)


PREDICTORS: dict[str, Predictor] = {
    "least retention": lambda k, n, m: min(k),
    "mean retention": lambda k, n, m: sum(k) / len(k),
    "retention nearest to 1": lambda k, n, m: -max(abs(1 - x) for x in k),
    **{f"nearness, κ = {x:g}": (lambda k, n, m, x=x: nearness_to_all(k, n, m, x)) for x in KAPPAS},
}


def predict(found: Sequence[Judged], target: Metric) -> dict[str, dict[str, float]]:
    """Predictor → family → rank correlation with `target` over methods and strengths.

    One correlation per family and subset, over all its merges; their mean counts.
    """
    out: dict[str, dict[str, list[float]]] = {name: {} for name in PREDICTORS}
    for family, group in _groups(found):
        truth = [target(j.score) for j in group]
        for name, predictor in PREDICTORS.items():
            rho = spearman([predictor(*_figures(j)) for j in group], truth)
            if not math.isnan(rho):
                out[name].setdefault(family, []).append(rho)
    return {n: {f: float(np.mean(v)) for f, v in families.items()} for n, families in out.items()}


def held_out(per_family: Mapping[str, Mapping[str, float]]) -> dict[str, tuple[str, float]]:
    """Family → the predictor that is best on all the others, and its correlation on this one.

    per_family: what `predict` gives. Empty for fewer than two families.
    """
    families = sorted({f for values in per_family.values() for f in values})
    chosen = {}
    for left_out in families if len(families) > 1 else ():
        others = [f for f in families if f != left_out]
        means = {n: float(np.mean([v[f] for f in others])) for n, v in per_family.items()}
        best = max(means, key=lambda name: means[name])
        chosen[left_out] = (best, per_family[best][left_out])
    return chosen


def retention_predicts(found: Sequence[Judged]) -> dict[str, tuple[float, float]]:
    """Forecast retention of a row against what became of its skill: mean ± sd over families.

    One correlation per family, subset and skill, over all merges that have a forecast.
    """
    rhos: dict[str, dict[str, list[float]]] = {"recovered share": {}, "pictures that show it": {}}
    for family, group in _groups(found):
        for model in group[0].subset.models:
            pairs = [(j.score.kept.get(model), j.score) for j in group]
            known = [(k, s) for k, s in pairs if k is not None]
            for name in rhos:
                truth = [s.recovered[model] if name[0] == "r" else s.shown[model] for _, s in known]
                rho = spearman([k for k, _ in known], truth)
                if not math.isnan(rho):
                    rhos[name].setdefault(family, []).append(rho)
    return {n: mean_sd([float(np.mean(v)) for v in f.values()]) for n, f in rhos.items()}


def objective_predicts(found: Sequence[Judged], contender: str) -> dict[str, tuple[float, float]]:
    """Total orthogonality of a subset against its quality under one contender, over subsets."""
    out: dict[str, list[float]] = {}
    for family in sorted({j.family for j in found}):
        mine = [j for j in found if j.family == family and j.contender.key == contender]
        objective = [orthogonality(j) for j in mine]
        for name in ("composed", "together", "shown, mean", "right"):
            rho = spearman(objective, [METRICS[name](j.score) for j in mine])
            if not math.isnan(rho):
                out.setdefault(name, []).append(rho)
    return {name: mean_sd(values) for name, values in out.items()}


def orthogonality(j: Judged) -> float:
    """The optimizer's objective, mean of 1 − cos², for the subset's own parents."""
    whole = np.asarray(gram(j.folder))
    nodes = [0, *(1 + SKILLS.index(m) for m in j.subset.models)]
    geometry = Geometry.of(whole[np.ix_(nodes, nodes)])
    places = {"base": 0} | {m: i for i, m in enumerate(j.subset.models, start=1)}
    parents = [0, *(places[p] for p in j.subset.parents.values())]
    return geometry.objective(np.asarray(parents, dtype=np.intp))


def _groups(found: Sequence[Judged]) -> Iterator[tuple[str, list[Judged]]]:
    for family in sorted({j.family for j in found}):
        for subset in SUBSETS:
            group = [j for j in found if j.family == family and j.subset.name == subset.name]
            if len(group) >= 8:
                yield family, group


def _figures(j: Judged) -> tuple[list[float], list[float], float]:
    near: dict[str, Any] = j.found["nearness"]
    norms2 = [gram(j.folder)[1 + SKILLS.index(m)][1 + SKILLS.index(m)] for m in j.subset.models]
    kept = [near["dots"][m] / n for m, n in zip(j.subset.models, norms2, strict=True)]
    return kept, norms2, near["norm2"]
