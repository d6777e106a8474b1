"""Finds models that copy another one, before the search, so that they cannot mislead it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..analysis.rounding import Rounding
from .geometry import Geometry, Parents

__all__ = ["find_originals", "rounded_originals"]

QUALITY_STEP = 0.02
"""Copies differ in quality by noise; only a larger difference decides which one is kept."""


def find_originals(
    geometry: Geometry, tree: Parents, quality: Sequence[float], share: float
) -> Parents:
    """The node that each node copies, or itself if it is not a copy [N+1].

    An edge of the tree joins copies where ‖δ‖ is 0, or less than `share` of both the parent's own
    ‖δ‖ and the median ‖δ‖ of the other models (so that a family of equally small changes around
    one far parent is not taken for copies of it). Of models joined so, the one to keep is the one
    of higher quality; where that is the same, the one with more children, then the nearer to the
    base, then the earlier. Without this step a near-duplicate would always choose its twin as
    parent, look orthogonal to everything and pass for new information. Cost: O(N²).
    """
    group = np.arange(geometry.models + 1)
    for node in range(1, geometry.models + 1):
        parent = int(tree[node])
        if parent and geometry.original[node] == node and _copies(geometry, tree, node, share):
            group[group == group[node]] = group[parent]
    original = geometry.original.copy()
    for label in np.unique(group[1:]):
        members = np.flatnonzero(group == label)
        members = members[(members > 0) & (geometry.original[members] == members)]
        if len(members) > 1:
            original[members] = _keeper(geometry, tree, members, quality)
    return np.asarray(original[original], dtype=np.intp)  # a copy of what is now a copy


def rounded_originals(geometry: Geometry, rounding: Rounding | None) -> Parents:
    """The node that each node is a rounded copy of, itself if it is none [N+1].

    A model that differs from the base by rounding only is the base's copy. Of models that differ
    from each other by rounding only, the most exact is kept (the one with the smallest step; then
    the earlier). What is a copy already stays one.
    """
    original = geometry.original.copy()
    if rounding is None:
        return original
    near: dict[int, set[int]] = {}
    for a, b in rounding.copies:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    exact_first = sorted(range(1, len(original)), key=lambda n: (rounding.step[n], n))
    kept = [0]
    for node in exact_first:
        if original[node] != node:
            continue
        others = [k for k in kept if k in near.get(node, ())]
        if others:
            original[node] = others[0]
        else:
            kept.append(node)
    return np.asarray(original[original], dtype=np.intp)


def _copies(geometry: Geometry, tree: Parents, node: int, share: float) -> bool:
    norms = geometry.norms(tree)
    own, parents_own = norms[node - 1], norms[int(tree[node]) - 1]
    if own == 0.0:
        return True
    others = np.delete(norms, node - 1)
    return bool(own < share * min(parents_own, float(np.median(others[others > 0.0]))))


def _keeper(geometry: Geometry, tree: Parents, members: Parents, quality: Sequence[float]) -> int:
    scores = [quality[int(m) - 1] for m in members]
    good = [int(m) for m, s in zip(members, scores, strict=True) if s >= max(scores) - QUALITY_STEP]

    def rank(node: int) -> tuple[int, float, int]:
        children = int(np.isin(np.flatnonzero(tree == node), members, invert=True).sum())
        far = float(f"{geometry.distance2[node, 0]:.5g}")  # equal models differ by rounding
        return -children, far, node

    return min(good, key=rank)
