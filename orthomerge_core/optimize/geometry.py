"""Distances and angles between models, all from one (N+1)×(N+1) Gram.

Node 0 is the base, node i ≥ 1 is model i − 1. `parents` is an int array [N+1]: parents[i] is the
node that model i is measured against, parents[0] = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..analysis.result import Analysis
from ..keys.components import DIFFUSION

__all__ = ["Bools", "Floats", "Geometry", "Parents", "is_acyclic"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Parents = NDArray[np.intp]

NULL_FRAC = 1e-3
"""Two models closer than this share of their own deltas count as equal: below it the difference of
Gram entries (float32 products) is rounding."""

BASE_NULL_FRAC = 1e-7
"""A delta below this share of the base's norm is rounding of float32 weights."""


@dataclass(frozen=True)
class Geometry:
    """A set of models seen from its base.

    gram [N+1, N+1]: h(a,b) = ⟨M_a − B, M_b − B⟩, the base's row and column 0.
    distance2 [N+1, N+1]: ‖M_a − M_b‖², exactly 0 where the two count as equal.
    admissible [N+1, N+1]: whether b may be a's parent: ‖M_a − M_b‖ ≤ ‖M_a − B‖ and b ≠ a. A copy
    has its original as only parent and is nobody's parent itself.
    original [N+1]: the node that a node merely copies, itself if it is no copy.
    """

    gram: Floats
    distance2: Floats
    admissible: Bools
    original: Parents

    @classmethod
    def of(cls, gram: Floats, base_energy: float = 0.0) -> Geometry:
        """From h [N+1, N+1] and ‖B‖²; models equal to the base count as its copies. Cost: O(N²)."""
        norm2 = np.diagonal(gram)
        distance2 = np.maximum(norm2[:, None] + norm2[None, :] - 2.0 * gram, 0.0)
        largest = np.maximum(norm2[:, None], norm2[None, :])
        distance2[distance2 <= NULL_FRAC**2 * largest] = 0.0
        distance2[distance2 <= BASE_NULL_FRAC**2 * base_energy] = 0.0
        nodes = np.arange(len(gram))
        admissible = distance2 <= distance2[:, :1]
        original = np.where(distance2[0] == 0.0, 0, nodes)
        return cls(gram, distance2, admissible, nodes).fold(original)

    @classmethod
    def of_analysis(cls, analysis: Analysis, component: str = DIFFUSION) -> Geometry:
        """From the sums over a component's tensors."""
        kept = analysis.keys_in(component)
        return cls.of(analysis.delta_gram(kept), float(analysis.gram[kept, 0, 0].sum()))

    def fold(self, original: Parents) -> Geometry:
        """The same set with these nodes taken for copies; an original must not be a copy itself."""
        nodes = np.arange(len(original))
        copies = original != nodes
        admissible = self.admissible & ~copies[None, :]
        admissible[:, 0] = True
        admissible[copies] = False
        admissible[nodes[copies], original[copies]] = True
        np.fill_diagonal(admissible, False)
        return replace(self, admissible=admissible, original=original)

    def set_aside(self, models: Sequence[int]) -> Geometry:
        """The same set with these models (node − 1) on the base: no parents, not counted."""
        original = np.arange(len(self.gram))
        original[np.asarray(models, dtype=np.intp) + 1] = 0
        return self.fold(original)

    @property
    def models(self) -> int:
        """N, without the base."""
        return len(self.gram) - 1

    @property
    def counted(self) -> Bools:
        """Which models are not copies [N]: only their pairs enter the objective."""
        return np.asarray(self.original[1:] == np.arange(1, len(self.gram)))

    @property
    def pairs(self) -> int:
        """How many pairs make the objective, at least 1."""
        count = int(self.counted.sum())
        return max(1, count * (count - 1) // 2)

    def norms(self, parents: Parents) -> Floats:
        """‖M_i − P_i‖ [N], 0 where they count as equal."""
        return np.sqrt(self.distance2[np.arange(1, len(parents)), parents[1:]])

    def cosines(self, parents: Parents) -> Floats:
        """cos(δ_i, δ_j) [N, N] of δ_i = M_i − P_i; 0 with a null delta, 1 on the diagonal."""
        edges = np.eye(len(parents))[1:]
        edges[np.arange(self.models), parents[1:]] -= 1.0
        dots = edges @ self.gram @ edges.T
        norms = self.norms(parents)
        scale = norms[:, None] * norms[None, :]
        cosines = np.divide(dots, scale, out=np.zeros_like(dots), where=scale > 0)
        np.fill_diagonal(cosines, 1.0)
        return np.clip(cosines, -1.0, 1.0)

    def objective(self, parents: Parents) -> float:
        """Total orthogonality: mean over pairs of 1 − cos²(δ_i, δ_j), 0..1; 1 without a pair."""
        cosines = self.cosines(parents)[np.ix_(self.counted, self.counted)]
        upper = cosines[np.triu_indices(len(cosines), 1)]
        return float(1.0 - np.sum(upper**2) / self.pairs)

    def overlaps(self, parents: Parents, node: int) -> Floats:
        """Σ_j cos²(M_node − P, δ_j) for every P in 0..N [N+1], all other parents kept. O(N²)."""
        products = self.gram[:, 1:] - self.gram[:, parents[1:]]  # ⟨D_a, δ_j⟩
        dots = products[node] - products
        scale = self.distance2[node][:, None] * self.norms(parents)[None, :] ** 2
        cos2 = np.divide(dots**2, scale, out=np.zeros_like(dots), where=scale > 0)
        others = self.counted
        others[node - 1] = False
        return np.asarray(np.minimum(cos2, 1.0)[:, others].sum(axis=1))


def is_acyclic(parents: Parents) -> Bools:
    """Whether every model reaches the base, for assignments [..., N+1]. O(N log N) each."""
    reach = parents
    for _ in range(max(1, int(np.ceil(np.log2(parents.shape[-1]))))):
        reach = np.take_along_axis(reach, reach, axis=-1)
    return np.asarray((reach == 0).all(axis=-1))
