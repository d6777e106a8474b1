"""The caches that merges keep between runs, below one folder."""

from __future__ import annotations

from pathlib import Path

from ..io.hash_memo import HashMemo
from .decomposition_cache import DecompositionCache
from .linear.gram_cache import GramCache
from .plan.pace import Pace

__all__ = ["Caches"]


class Caches:
    """The caches of a merge; `Caches()` keeps nothing.

    `memo` remembers the content hashes of files. `decompositions` holds the costly half of methods
    such as orthomerge. `grams` holds the rows' Grams for methods whose coefficients need them.
    `pace` knows how fast merges were. All of it may be deleted at any time.

    Args:
        folder: made when first written to; None for no caches.
        memo, decompositions, grams: in place of those below `folder`.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        memo: HashMemo | None = None,
        decompositions: DecompositionCache | None = None,
        grams: GramCache | None = None,
    ) -> None:
        self.pace = Pace(folder / "pace" if folder else None)
        self.memo = memo or HashMemo(folder / "hashes" if folder else None)
        self.decompositions, self.grams = decompositions, grams
        if folder is not None:
            self.decompositions = decompositions or DecompositionCache(folder / "decompositions")
            self.grams = grams or GramCache(folder / "grams")
