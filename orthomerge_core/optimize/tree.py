"""The initial assignment: every model is measured against its nearest relative."""

from __future__ import annotations

import numpy as np

from .geometry import Geometry, Parents

__all__ = ["nearest_tree"]


def nearest_tree(geometry: Geometry) -> Parents:
    """The exact minimum of Σ_i ‖M_i − P_i‖ over all acyclic, admissible parents [N+1].

    It is the minimum spanning tree over base and models, directed away from the base (Prim). Why
    that is exact, although arborescences in general need Chu-Liu/Edmonds and admissibility is one
    more constraint:

    - Distances are symmetric, so every spanning tree can be directed away from the base at no
      change of its sum, and every acyclic assignment is such a tree. The two minima are the same.
    - Admissibility never binds. Take the edge (M, P) above M in that tree. Without it M's side is
      cut off from the base, and the pair (M, B) crosses the same cut. A minimum tree holds a
      shortest edge of that cut, so ‖M − P‖ ≤ ‖M − B‖ already.
    - Copies hang on their original as leaves, whatever the rest does.
    - A minimum spanning tree depends on the order of the distances only, so it minimizes the sum of
      squares, and the longest edge, as well.

    What it is not: the maximum of total orthogonality; that is what the search after it is for.
    Ties go to the base, then to the earlier model. Cost: O(N²). Source: Prim 1957.
    """
    copies = geometry.original != np.arange(geometry.models + 1)
    parents: Parents = np.where(copies, geometry.original, 0)
    nearest = geometry.distance2[:, 0].copy()
    outside = ~copies
    outside[0] = False
    while outside.any():
        node = int(np.argmin(np.where(outside, nearest, np.inf)))
        outside[node] = False
        closer = outside & (geometry.distance2[:, node] < nearest)
        parents[closer] = node
        nearest[closer] = geometry.distance2[closer, node]
    return parents
