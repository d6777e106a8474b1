"""Accumulates chunk sums: each tensor has one slice, written by one thread at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import AnalysisError
from ..keys.aligned import AlignedSet
from .cross import CrossSums
from .kernel import ChunkSums
from .result import Analysis, Spectrum

__all__ = ["Accumulator"]


class Accumulator:
    """The arrays of an `Analysis` while they grow. A key the model lacks keeps its zeros."""

    def __init__(self, aligned: AlignedSet) -> None:
        keys, count = len(aligned.keys), len(aligned.models)
        self._aligned = aligned
        self._gram = np.zeros((keys, count + 1, count + 1), dtype=np.float64)
        self._active = np.zeros((keys, count, count), dtype=np.int64)
        self._conflict = np.zeros((keys, count, count), dtype=np.int64)
        self._max_abs = np.zeros((keys, count), dtype=np.float64)
        self._nonfinite = np.zeros((keys, count + 1), dtype=np.int64)

    def add(self, key: int, rows: Sequence[int], sums: ChunkSums) -> None:
        """Add one chunk of key number `key`; `rows`: whose sums they are, 0 for the base."""
        where = np.asarray(rows)
        deltas = where[1:] - 1
        self._gram[key][np.ix_(where, where)] += sums.gram
        self._active[key][np.ix_(deltas, deltas)] += sums.active
        self._conflict[key][np.ix_(deltas, deltas)] += sums.conflict
        self._max_abs[key, deltas] = np.maximum(self._max_abs[key, deltas], sums.max_abs)
        self._nonfinite[key, where] += sums.nonfinite

    def take(self, known: Analysis, rows: Sequence[int], places: Sequence[int]) -> None:
        """Start from the sums of an earlier analysis over the same base and keys.

        `rows`: models of `known`, `places`: where they stand here; both count models from 0 and 1.
        """
        if known.keys != self._aligned.keys:
            raise AnalysisError(
                "the known analysis is of other tensors", fix="Analyze the whole set again."
            )
        pick, here = np.asarray(rows, dtype=np.int64), np.asarray(places, dtype=np.int64)
        old, new = np.concatenate([[0], pick + 1]), np.concatenate([[0], here])
        self._gram[:, new[:, None], new] = known.gram[:, old[:, None], old]
        self._nonfinite[:, new] = known.nonfinite[:, old]
        self._active[:, here[:, None] - 1, here - 1] = known.active[:, pick[:, None], pick]
        self._conflict[:, here[:, None] - 1, here - 1] = known.conflict[:, pick[:, None], pick]
        self._max_abs[:, here - 1] = known.max_abs[:, pick]

    def copy_nonfinite(self, place: int, keys: Sequence[int]) -> None:
        """The base's non-finite counts for a model that equals it on these keys."""
        self._nonfinite[keys, place] = self._nonfinite[keys, 0]

    def add_cross(
        self, key: int, new: Sequence[int], known: Sequence[int], sums: CrossSums
    ) -> None:
        """Add products and counts of new models with known ones; places as in `add`, never 0."""
        rows, columns = (np.asarray(places, dtype=np.intp) for places in (new, known))
        there, deltas = np.ix_(rows, columns), np.ix_(rows - 1, columns - 1)
        for total, where, found in (
            (self._gram, there, sums.gram),
            (self._active, deltas, sums.active),
            (self._conflict, deltas, sums.conflict),
        ):
            total[key][where] += found
            total[key].T[where] = total[key][where]

    def result(self, spectra: tuple[Spectrum, ...], content_hashes: Mapping[str, str]) -> Analysis:
        """The finished analysis."""
        aligned = self._aligned
        kinds = aligned.architecture
        return Analysis(
            base=aligned.base.report.file,
            names=tuple(m.name for m in aligned.models),
            files=tuple(m.report.file for m in aligned.models),
            architecture=kinds.name,
            keys=aligned.keys,
            shapes=tuple(aligned.shapes[k] for k in aligned.keys),
            blocks=tuple(kinds.block(k) for k in aligned.keys),
            layer_types=tuple(kinds.layer_type(k) for k in aligned.keys),
            gram=_mirrored(self._gram),
            active=self._active,
            conflict=self._conflict,
            max_abs=_rounded(self._max_abs, 9),
            nonfinite=self._nonfinite,
            present=np.array(
                [[m.has(k) for m in aligned.models] for k in aligned.keys], dtype=np.bool_
            ).reshape(len(aligned.keys), len(aligned.models)),
            spectra=spectra,
            content_hashes=dict(content_hashes),
            reports=tuple(
                r.to_json() for r in (*(m.report for m in aligned.models), *aligned.skipped)
            ),
        )


def _mirrored(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """The upper triangles, rounded, on both sides: BLAS may round ⟨a, b⟩ and ⟨b, a⟩ differently."""
    rows, columns = np.triu_indices(gram.shape[1])
    found = np.empty_like(gram)
    values = _rounded(gram[:, rows, columns], 13)
    found[:, rows, columns] = found[:, columns, rows] = values
    return found


def _rounded(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """To significant digits: the sums of float32 products hold no more, and JSON becomes shorter.

    Six digits beyond the stated accuracy, since differences of sums keep what they have in common.
    """
    flat = [float(f"{value:.{digits}g}") for value in values.ravel().tolist()]
    return np.array(flat, dtype=np.float64).reshape(values.shape) + 0.0  # no −0
