"""Turns an analysis into a proposal: the best parent of every model, and the state of its row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..analysis.clusters import clusters
from ..analysis.derive import derive
from ..analysis.metrics.improvement import improvement
from ..analysis.result import Analysis
from ..errors import AnalysisError
from ..progress import Progress
from ..recipe.model import BASE, Row
from .copies import find_originals, rounded_originals
from .findings import Findings, judge
from .geometry import Geometry, Parents
from .lineage import lineage_notices
from .proposal import Figures, Proposal
from .search import Found, exhaustive_search, local_search
from .settings import OptimizeSettings
from .tree import nearest_tree
from .words import notices, reasons

__all__ = ["optimize_parents"]


def optimize_parents(
    analysis: Analysis,
    settings: OptimizeSettings | None = None,
    progress: Progress | None = None,
    *,
    quality: Sequence[float] | None = None,
) -> Proposal:
    """Parents of maximal total orthogonality, and rows with their reasons.

    They are chosen on the diffusion model; `lineage_notices` says where another component tells of
    another parent.

    Copies are set aside first (`copies.rounded_originals`, `copies.find_originals`). Start:
    `tree.nearest_tree`. Objective: mean over pairs of 1 − cos²(δ_i, δ_j) with δ_i = M_i − P_i, over
    admissible acyclic parents.
    Search: `settings.search`. Then rows are left out, repeated and warned about
    (`findings.judge`).
    quality [N], 0..1: which of two redundant models stays; by default that of `analysis.derive`.
    Where it is unknown (NaN), the earlier model stays.
    Touches no tensor. Cost: O(N³) a sweep, or N^N table look-ups for N ≤ 7.
    Raises `AnalysisError` for an analysis without models, `RecipeError` for a search too large.
    """
    settings, progress = settings or OptimizeSettings(), progress or Progress()
    if not analysis.names:
        raise AnalysisError(
            "analysis without models", expected="at least one model", received=0,
            fix="Add a fine-tune of the base to the set.",
        )  # fmt: skip
    kind = settings.search_for(len(analysis.names))
    known = [float(q) for q in (derive(analysis).quality if quality is None else quality)]
    scores = [0.0 if np.isnan(q) else q for q in known]
    geometry = Geometry.of_analysis(analysis)
    damaged = _damaged(analysis)
    grouped = _grouped(analysis, scores, damaged) if settings.one_per_group else {}
    geometry = geometry.set_aside((*damaged, *grouped))
    original = rounded_originals(geometry, analysis.rounding)
    rounded = tuple(int(n) - 1 for n in np.flatnonzero(original != geometry.original))
    geometry = geometry.fold(original)
    tree = nearest_tree(geometry)
    geometry = geometry.fold(find_originals(geometry, tree, scores, settings.duplicate))
    start = nearest_tree(geometry)
    local = local_search(geometry, start, settings, progress)
    found = exhaustive_search(geometry, settings, progress) if kind == "exhaustive" else local
    findings = judge(geometry, found.parents, scores, settings, damaged, rounded, grouped)
    return _proposal(analysis, settings, geometry, start, local, found, findings, known)


def _proposal(
    analysis: Analysis,
    settings: OptimizeSettings,
    geometry: Geometry,
    start: Parents,
    local: Found,
    found: Found,
    findings: Findings,
    quality: Sequence[float],
) -> Proposal:
    names, parents = analysis.names, found.parents
    enabled = [findings.enabled(i) for i in range(len(names))]
    beside = lineage_notices(analysis, _named(names, parents), enabled)
    partly = {notice.models[0] for notice in beside if notice.kind == "component"}
    exact = found is not local
    return Proposal(
        names=names,
        rows=_rows(
            _named(names, parents),
            findings,
            reasons(names, geometry, parents, findings, partly),
        ),
        parents=_named(names, parents),
        start_parents=_named(names, start),
        search="exhaustive" if exact else "local",
        exact=exact,
        objective=found.objective,
        best_objective=found.best if exact else found.objective,
        start_objective=geometry.objective(start),
        local_objective=local.objective,
        second_best=found.second_best,
        looked_at=found.looked_at,
        figures=_figures(names, geometry, parents, findings, quality),
        cosines=tuple(tuple(row) for row in geometry.cosines(parents).tolist()),
        warnings=(*notices(names, geometry, parents, findings, partly), *beside),
        settings=settings.to_json(),
    )


def _grouped(
    analysis: Analysis, quality: Sequence[float], damaged: Mapping[int, int]
) -> dict[int, int]:
    """Number → that of the model which stays for its group: the best one, the earlier of equals."""
    found: dict[int, int] = {}
    for group in clusters(analysis).groups:
        sound = [i for i in map(analysis.index, group) if i not in damaged]
        if sound:
            best = max(sound, key=lambda i: quality[i])
            found |= {i: best for i in sound if i != best}
    return found


def _damaged(analysis: Analysis) -> dict[int, int]:
    """Model number → values that are not finite, in tensors where the base's are."""
    sound = analysis.nonfinite[:, 0] == 0
    counts = analysis.nonfinite[sound, 1:].sum(axis=0)
    return {i: int(count) for i, count in enumerate(counts) if count}


def _named(names: Sequence[str], parents: Parents) -> dict[str, str]:
    every = (BASE, *names)
    return {name: every[int(p)] for name, p in zip(names, parents[1:], strict=True)}


def _rows(origin: Mapping[str, str], findings: Findings, why: Sequence[str]) -> tuple[Row, ...]:
    return tuple(
        Row(
            model=name,
            delta_from=parent,
            enabled=findings.enabled(i),
            repeat=2 if i in findings.repeated else 1,
            info=why[i],
        )
        for i, (name, parent) in enumerate(origin.items())
    )


def _figures(
    names: Sequence[str],
    geometry: Geometry,
    parents: Parents,
    findings: Findings,
    quality: Sequence[float],
) -> tuple[Figures, ...]:
    origin, norms = _named(names, parents), geometry.norms(parents)
    far = np.sqrt(geometry.distance2[1:, 0])
    return tuple(
        Figures(
            model=name,
            parent=origin[name],
            norm=float(norms[i]),
            base_norm=float(far[i]),
            improvement=improvement(float(norms[i]), float(far[i])),
            new_information=None
            if np.isnan(findings.information[i])
            else float(findings.information[i]),
            quality=None if np.isnan(quality[i]) else quality[i],
        )
        for i, name in enumerate(names)
    )
