"""Search for the parents that make the deltas most orthogonal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..progress import Progress
from .geometry import Bools, Floats, Geometry, Parents, is_acyclic
from .settings import OptimizeSettings

__all__ = ["Found", "exhaustive_search", "local_search"]

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Found:
    """Outcome of a search.

    objective: total orthogonality of `parents`. best: the highest of all that were looked at.
    second_best: the highest of all others looked at (exhaustive: of every assignment; local: of
    those one step away), None if there is no other. looked_at: number of assignments compared.
    """

    parents: Parents
    objective: float
    best: float
    second_best: float | None
    looked_at: int


def local_search(
    geometry: Geometry, start: Parents, settings: OptimizeSettings, progress: Progress
) -> Found:
    """Change parents while total orthogonality grows by more than `min_gain` each time.

    A sweep visits the models in order and gives each its best admissible parent that closes no
    cycle; where that changes nothing, the best exchange of a model with its parent (which no
    sequence of single changes may reach uphill) is taken. At most `max_sweeps` sweeps. Cost: O(N³)
    a sweep, O(N⁴) for the exchanges.
    """
    parents, looked_at = start.copy(), 0
    pairs = geometry.pairs
    for _ in range(settings.max_sweeps):
        changed = False
        for node in range(1, geometry.models + 1):
            progress.check()
            gains = _gains(geometry, parents, node) / pairs
            looked_at += int(np.isfinite(gains).sum())
            best = int(np.argmax(gains))
            if gains[best] > settings.min_gain:
                parents[node] = best
                changed = True
        if not changed and not _exchange(geometry, parents, settings.min_gain):
            break
    objective = geometry.objective(parents)
    steps = [_gains(geometry, parents, n).tolist() for n in range(1, geometry.models + 1)]
    best_step = max((g for gains in steps for g in gains), default=-np.inf)
    second = objective + best_step / pairs if np.isfinite(best_step) else None
    return Found(parents, objective, max(objective, second or 0.0), second, looked_at)


def _gains(geometry: Geometry, parents: Parents, node: int) -> Floats:
    """Decrease of Σ cos² for every other parent of `node` [N+1]; −inf where it may not be one."""
    overlaps = geometry.overlaps(parents, node)
    allowed = geometry.admissible[node] & ~_below(parents, node)
    allowed[parents[node]] = False
    gains: Floats = np.where(allowed, overlaps[parents[node]] - overlaps, -np.inf)
    return gains


def _exchange(geometry: Geometry, parents: Parents, min_gain: float) -> bool:
    """Let the one model and its parent trade places that gains most, in place; whether any did."""
    current, best, chosen = geometry.objective(parents), min_gain, None
    for node in np.flatnonzero(parents[1:]) + 1:
        parent = parents[node]
        above = parents[parent]
        if not (geometry.admissible[node, above] and geometry.admissible[parent, node]):
            continue
        trial = parents.copy()
        trial[node], trial[parent] = above, node
        gain = geometry.objective(trial) - current
        if gain > best:
            best, chosen = gain, trial
    if chosen is not None:
        parents[:] = chosen
    return chosen is not None


def _below(parents: Parents, node: int) -> Bools:
    """Which nodes hang under `node`, itself included [N+1]."""
    inside = np.zeros(len(parents), dtype=np.bool_)
    inside[node] = True
    for _ in parents:
        wider = inside | inside[parents]
        wider[0] = False
        if (wider == inside).all():
            break
        inside = wider
    return inside


def exhaustive_search(geometry: Geometry, settings: OptimizeSettings, progress: Progress) -> Found:
    """The best of all admissible acyclic assignments, and the second best.

    Among those within `min_gain` of the highest objective it takes the one of least Σ‖δ‖²: a gain
    that small is noise, and the nearest relatives are the likelier history. Ties go to the base,
    then to the earlier model.
    Cost: at most N^N assignments (823,543 at N = 7) times N²/2 table look-ups, in chunks.
    """
    options = [np.flatnonzero(row) for row in geometry.admissible[1:]]
    total = int(np.prod([len(o) for o in options]))
    table = _pair_table(geometry)
    progress.start(float(total), "Comparing delta bases")
    found = [
        _evaluate(geometry, table, options, low, min(low + _CHUNK, total), progress)
        for low in range(0, total, _CHUNK)
    ]
    parents = np.concatenate([f[0] for f in found])
    scores = np.concatenate([f[1] for f in found])
    sizes = np.concatenate([f[2] for f in found])
    tied = np.flatnonzero(scores >= scores.max() - settings.min_gain)
    least = sizes[tied].min()
    chosen = int(tied[np.flatnonzero(sizes[tied] <= least * (1 + 1e-12))[0]])
    others = np.delete(scores, chosen)
    second = float(others.max()) if len(others) else None
    objective = float(scores[chosen])
    return Found(parents[chosen], objective, float(scores.max()), second, len(scores))


def _pair_table(geometry: Geometry) -> Floats:
    """cos²(M_a − M_p, M_b − M_q) as [a, p, b, q], 0 with a null delta."""
    h = geometry.gram
    dots = h[:, None, :, None] - h[:, None, None, :]
    dots = dots - h[None, :, :, None] + h[None, :, None, :]
    scale = geometry.distance2[:, :, None, None] * geometry.distance2[None, None, :, :]
    table = np.divide(dots**2, scale, out=np.zeros_like(dots), where=scale > 0)
    return np.asarray(np.minimum(table, 1.0))


def _evaluate(
    geometry: Geometry,
    table: Floats,
    options: Sequence[Parents],
    low: int,
    high: int,
    progress: Progress,
) -> tuple[Parents, Floats, Floats]:
    """Acyclic assignments among numbers [low, high): parents [n, N+1], objectives, Σ‖δ‖²."""
    count = len(options)
    counted = np.flatnonzero(geometry.counted) + 1
    digits = np.unravel_index(np.arange(low, high), [len(o) for o in options])
    parents = np.zeros((high - low, count + 1), dtype=np.intp)
    for node, (choices, digit) in enumerate(zip(options, digits, strict=True), start=1):
        parents[:, node] = choices[digit]
    parents = parents[is_acyclic(parents)]
    overlap = np.zeros(len(parents))
    for a, b in combinations(counted.tolist(), 2):
        overlap += table[a, parents[:, a], b, parents[:, b]]
    sizes = sum(geometry.distance2[a, parents[:, a]] for a in range(1, count + 1))
    progress.advance(high - low)
    return parents, 1.0 - overlap / geometry.pairs, np.asarray(sizes, dtype=np.float64)
