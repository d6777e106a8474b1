"""Groups of models that change the base alike, from the Gram alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..keys.components import DIFFUSION
from .profile import Profile, profile
from .result import Analysis

__all__ = ["LEAST_SILHOUETTE", "Clusters", "Join", "clusters"]

Floats = NDArray[np.float64]

LEAST_SILHOUETTE = 0.1
"""Below this mean silhouette no division is better than none: all models are one group."""

_APART = 0.05
"""Shares of change that differ by less are not said to set a group apart."""


@dataclass(frozen=True)
class Join:
    """A step of the tree: two groups (model names, in the tree's order) that meet at `distance`."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    distance: float


@dataclass(frozen=True)
class Clusters:
    """Groups of models, from `clusters`.

    names: the models that change the base, in the analysis's order. similarity [n, n]: mean cosine
    over the parts. joins: the tree, nearest first, n − 1 of them. groups: in the order of their
    first model. silhouette: mean over models of this division, −1..1, 0 where there is one group.
    apart: one sentence per group on where it changes the base, "" where that is where others do.
    """

    names: tuple[str, ...]
    similarity: Floats
    joins: tuple[Join, ...]
    groups: tuple[tuple[str, ...], ...]
    silhouette: float
    apart: tuple[str, ...]

    def group_of(self, name: str) -> int | None:
        """Number of a model's group; None for a model that does not change the base."""
        return next((i for i, group in enumerate(self.groups) if name in group), None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "names": list(self.names),
            "similarity": [[round(float(v), 6) for v in row] for row in self.similarity],
            "joins": [
                {"left": list(j.left), "right": list(j.right), "distance": round(j.distance, 6)}
                for j in self.joins
            ],
            "groups": [list(group) for group in self.groups],
            "silhouette": round(self.silhouette, 6),
            "apart": list(self.apart),
        }


def clusters(analysis: Analysis, component: str = DIFFUSION) -> Clusters:
    """Group the models of an analysis by their base-relative deltas.

    Similarity: the cosine of two deltas within each part (a block's layers of one type), averaged
    over the parts that either of them changes; so a small block says as much as a large one, and
    two models are alike where they change the same places in the same direction.
    Tree: average linkage on 1 − similarity (Sokal, Michener 1958).
    Number of groups: that of the tree's cuts into 2 … n − 1 groups whose mean silhouette
    (Rousseeuw 1987) is largest, the smaller number of two; one group where none reaches 0.1.
    Two models are one group where their similarity is above 1/2.
    Models that do not change the base are left out. Cost: O(parts · n² + n³).
    """
    grams = _part_grams(analysis, component)
    energies = np.einsum("pii->pi", grams)
    there = [i for i in range(len(analysis.names)) if energies[:, i].sum() > 0]
    names = tuple(analysis.names[i] for i in there)
    similarity = _similarity(grams[:, there][:, :, there])
    joins = _tree(1.0 - similarity)
    divided, silhouette = _divide(joins, 1.0 - similarity)
    groups = tuple(tuple(names[i] for i in group) for group in divided)
    parts = [profile(analysis, x, component) for x in (analysis.blocks, analysis.layer_types)]
    return Clusters(
        names=names,
        similarity=similarity,
        joins=tuple(
            Join(tuple(names[i] for i in a), tuple(names[i] for i in b), d) for a, b, d in joins
        ),
        groups=groups,
        silhouette=silhouette,
        apart=tuple(_apart(parts, analysis.names, group, groups) for group in groups),
    )


def _part_grams(analysis: Analysis, component: str) -> Floats:
    """Gram of the D_i within each block's layers of one type [parts, N, N]."""
    kept = np.flatnonzero(analysis.keys_in(component))
    labels = [(analysis.blocks[k], analysis.layer_types[k]) for k in kept]
    place = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    count = len(analysis.names)
    total = np.zeros((len(place), count, count))
    np.add.at(total, [place[label] for label in labels], analysis.gram[kept, 1:, 1:])
    return total


def _similarity(grams: Floats) -> Floats:
    """Mean cosine [n, n] over the parts where at least one of the two has a change."""
    norms = np.sqrt(np.clip(np.einsum("pii->pi", grams), 0.0, None))
    lengths = norms[:, :, None] * norms[:, None, :]
    cosines = np.divide(grams, lengths, out=np.zeros_like(grams), where=lengths > 0)
    either = (norms[:, :, None] > 0) | (norms[:, None, :] > 0)
    mean = cosines.sum(axis=0) / np.maximum(either.sum(axis=0), 1)
    np.fill_diagonal(mean, 1.0)
    clipped: Floats = np.clip(mean, -1.0, 1.0)
    return clipped


Step = tuple[tuple[int, ...], tuple[int, ...], float]


def _tree(distance: Floats) -> list[Step]:
    """Average linkage: the two nearest groups meet, n − 1 times; the earlier pair of equals."""
    groups: list[tuple[int, ...]] = [(i,) for i in range(len(distance))]
    found: list[Step] = []
    while len(groups) > 1:
        pairs = [(i, j) for i in range(len(groups)) for j in range(i + 1, len(groups))]
        means = [float(distance[np.ix_(groups[i], groups[j])].mean()) for i, j in pairs]
        at = int(np.argmin(means))
        i, j = pairs[at]
        found.append((groups[i], groups[j], means[at]))
        groups[i] = groups[i] + groups[j]
        del groups[j]
    return found


def _divide(joins: Sequence[Step], distance: Floats) -> tuple[list[tuple[int, ...]], float]:
    """The cut of the tree with the largest mean silhouette, and that; see `clusters`."""
    count = len(distance)
    whole = [tuple(range(count))] if count else []
    if count == 2:
        return (whole if distance[0, 1] < 0.5 else [(0,), (1,)]), 0.0
    best, chosen = LEAST_SILHOUETTE, whole
    for wanted in range(2, count):
        groups = _cut(joins, count, wanted)
        score = _silhouette(groups, distance)
        if score > best + 1e-12:
            best, chosen = score, groups
    return chosen, best if len(chosen) > 1 else 0.0


def _cut(joins: Sequence[Step], count: int, wanted: int) -> list[tuple[int, ...]]:
    """The groups that are left when all but the last `wanted` − 1 joins are made."""
    groups: set[tuple[int, ...]] = {(i,) for i in range(count)}
    for left, right, _ in joins[: count - wanted]:
        groups = (groups - {left, right}) | {left + right}
    return sorted(tuple(sorted(group)) for group in groups)


def _silhouette(groups: Sequence[tuple[int, ...]], distance: Floats) -> float:
    """Mean of (b − a) / max(a, b): a to one's own group, b to the nearest other; alone it is 0."""
    values = []
    for group in groups:
        for i in group:
            own = [j for j in group if j != i]
            a = float(distance[i, own].mean()) if own else 0.0
            b = min(float(distance[i, list(g)].mean()) for g in groups if g is not group)
            values.append((b - a) / max(a, b) if own and max(a, b) > 0 else 0.0)
    return float(np.mean(values))


def _apart(
    parts: Sequence[Profile],
    names: Sequence[str],
    group: Sequence[str],
    groups: Sequence[Sequence[str]],
) -> str:
    """Where a group changes the base more than the models of the other groups do."""
    inside = [names.index(name) for name in group]
    outside = [names.index(name) for other in groups if other is not group for name in other]
    if not outside:
        return ""
    said = []
    for found in parts:
        own, others = found.share[:, inside].mean(axis=1), found.share[:, outside].mean(axis=1)
        top = int(np.argmax(own - others))
        if own[top] - others[top] >= _APART:
            said.append(
                f"{100 * own[top]:.0f} % of the change in {found.parts[top]} "
                f"(the others {100 * others[top]:.0f} %)"
            )
    return ", ".join(said)
