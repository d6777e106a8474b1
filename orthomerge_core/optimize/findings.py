"""Which rows of a solved assignment to leave out, to repeat, or to warn about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .geometry import Floats, Geometry, Parents
from .settings import OptimizeSettings

__all__ = ["Findings", "judge", "missing_ancestors"]


@dataclass(frozen=True)
class Findings:
    """Verdicts by model number 0..N−1 (node − 1).

    damaged: number → how many values are not finite. null: δ ≈ 0, equal to its parent. rounded:
    differs from its parent by no more than the stored formats round. duplicate: number → δ's
    share of the parent's change.
    redundant: number → (number of the row that says the same, cos). grouped: number → number of the
    row that stands for its group. opposed: pairs with their cos.
    repeated: numbers whose row counts twice. information [N]: mean of 1 − cos² against all other
    enabled rows, NaN where there is none. missing: number → ancestors (numbers) whose own change
    the merge lacks although this row builds on them.
    """

    damaged: Mapping[int, int]
    null: tuple[int, ...]
    rounded: tuple[int, ...]
    duplicate: Mapping[int, float]
    redundant: Mapping[int, tuple[int, float]]
    opposed: tuple[tuple[int, int, float], ...]
    repeated: tuple[int, ...]
    information: Floats
    missing: Mapping[int, tuple[int, ...]]
    grouped: Mapping[int, int] = field(default_factory=dict)

    def enabled(self, number: int) -> bool:
        """Whether the proposal switches the row on."""
        off = (self.damaged, self.null, self.rounded, self.duplicate, self.redundant, self.grouped)
        return not any(number in group for group in off)


def judge(
    geometry: Geometry,
    parents: Parents,
    quality: Sequence[float],
    settings: OptimizeSettings,
    damaged: Mapping[int, int],
    rounded: Sequence[int] = (),
    grouped: Mapping[int, int] | None = None,
) -> Findings:
    """Rows to leave out, to repeat and to warn about, in the order of the fields of `Findings`.

    Each step looks only at rows that the earlier ones left on. A damaged row is off: where it has a
    value that is not finite, a merge takes the base's tensor for all rows. Cost: O(N² log N).
    """
    norms, cosines = geometry.norms(parents), geometry.cosines(parents)
    null = tuple(int(i) for i in np.flatnonzero(norms == 0.0))
    rounded = tuple(i for i in rounded if i not in {*null, *damaged})
    grouped = {i: j for i, j in (grouped or {}).items() if i not in {*null, *damaged, *rounded}}
    known = {*null, *damaged, *rounded, *grouped}
    copies = [int(i) for i in np.flatnonzero(~geometry.counted) if i not in known]
    duplicate = {i: float(norms[i] / norms[parents[i + 1] - 1]) for i in copies}
    off = {*known, *duplicate}
    redundant = _redundant(cosines, quality, off, settings.redundancy)
    on = [i for i in range(geometry.models) if i not in off and i not in redundant]
    information = _information(cosines, on)
    candidates = [i for i in on if information[i] > settings.repeat_threshold]
    opposed = [(i, j, float(cosines[i, j])) for i, j in _pairs(on)]
    return Findings(
        damaged=damaged,
        null=null,
        rounded=rounded,
        duplicate=duplicate,
        redundant=redundant,
        opposed=tuple(p for p in opposed if p[2] < settings.opposition),
        # In high dimension unrelated deltas are nearly always new: then repeating all says nothing.
        repeated=tuple(candidates) if len(candidates) < len(on) else (),
        information=information,
        missing=missing_ancestors(parents, on, (*null, *rounded)),
        grouped=grouped,
    )


def _redundant(
    cosines: Floats, quality: Sequence[float], off: set[int], threshold: float
) -> dict[int, tuple[int, float]]:
    """The weaker of each pair above the threshold, closest first; ties keep the earlier model."""
    on = [i for i in range(len(cosines)) if i not in off]
    found: dict[int, tuple[int, float]] = {}
    for i, j in sorted(_pairs(on), key=lambda pair: -cosines[pair]):
        if cosines[i, j] <= threshold:
            break
        if i in found or j in found:
            continue
        weaker, stronger = (i, j) if quality[i] < quality[j] else (j, i)
        found[weaker] = (stronger, float(cosines[i, j]))
    return found


def _information(cosines: Floats, on: Sequence[int]) -> Floats:
    """Mean of 1 − cos² of every model against the rows that are on, itself left out [N]."""
    count = len(cosines)
    information = np.full(count, np.nan)
    for i in range(count):
        others = [j for j in on if j != i]
        if others:
            information[i] = float(np.mean(1.0 - cosines[i, others] ** 2))
    return information


def missing_ancestors(
    parents: Parents, on: Sequence[int], null: Sequence[int] = ()
) -> dict[int, tuple[int, ...]]:
    """Ancestors that are off though a row that is on builds on them.

    Σ (M_i − P_i) holds an ancestor's own change only through that ancestor's row. An ancestor equal
    to its own parent (`null`) has no change to lose.
    """
    found: dict[int, tuple[int, ...]] = {}
    for i in on:
        chain, node = [], int(parents[i + 1])
        while node != 0:
            chain.append(node - 1)
            node = int(parents[node])
        lost = tuple(a for a in chain if a not in on and a not in null)
        if lost:
            found[i] = lost
    return found


def _pairs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    return ((i, j) for k, i in enumerate(numbers) for j in numbers[k + 1 :])
