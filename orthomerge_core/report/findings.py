"""What in an analysis a person should look at before merging, in full sentences, worst first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..analysis.derive import Derived
from ..analysis.result import Analysis
from ..optimize.proposal import Proposal

__all__ = ["Concern", "suspicions"]

_LOW_COVERAGE_FRAC = 0.98
_FAR_FRAC = 0.5
_LONE_OUTLIER = 300.0
"""max |D| / rms of D; a normal distribution reaches 6, an ordinary fine-tune about 100."""

_LONE_ENERGY_FRAC = 0.05
"""Share of a model's whole change that no single weight holds; matters in small models only."""

_OPPOSED = -0.5
_WORTH_A_LOOK = ("opposed", "reconstruction", "lineage", "component")

_ROUNDED_FRAC = 0.1
"""Share of a change's energy above which rounding is worth a word."""


@dataclass(frozen=True)
class Concern:
    """One sentence about some models.

    `grave`: they should not be merged before a look at it. `opposed`: two that undo each other.
    """

    models: tuple[str, ...]
    text: str
    grave: bool = False
    opposed: bool = False


def suspicions(analysis: Analysis, found: Derived, proposal: Proposal) -> list[Concern]:
    """Broken weights, foreign models, outliers, opposition, and what a merge would lack."""
    said = _broken(analysis, found)
    for i, name in enumerate(found.names):
        if found.relative_norm[i] > _FAR_FRAC:
            share = f"{100 * found.relative_norm[i]:.0f} %"
            text = f"{name} lies {share} of the base's norm away from it, which is more like "
            said.append(Concern((name,), text + "another model than a fine-tune.", grave=True))
        if _has_lone_outlier(analysis, found, i):
            largest = np.where(analysis.keys_in(), analysis.max_abs[:, i], -1.0)
            key = analysis.keys[int(largest.argmax())]
            text = (
                f"{name} changes one weight of {key} by {found.outlier[i]:.3g}, "
                f"{found.outlier_ratio[i]:.0f} times its usual change."
            )
            said.append(Concern((name,), text, grave=True))
    said += _coarse(analysis) + _opposed(found)
    pairs = {frozenset(doubt.models) for doubt in said if len(doubt.models) == 2}
    for notice in proposal.warnings:
        repeated = notice.kind == "opposed" and frozenset(notice.models) in pairs
        if notice.kind in _WORTH_A_LOOK and not repeated:
            said.append(
                Concern(tuple(notice.models), notice.text, opposed=notice.kind == "opposed")
            )
    return said


def _has_lone_outlier(analysis: Analysis, found: Derived, i: int) -> bool:
    if found.outlier_ratio[i] > _LONE_OUTLIER:
        return True
    changed = int(analysis.active[analysis.keys_in(), i, i].sum())
    energy = float(found.delta_norm[i]) ** 2
    return changed > 1000 and found.outlier[i] ** 2 > _LONE_ENERGY_FRAC * energy


def _broken(analysis: Analysis, found: Derived) -> list[Concern]:
    said = []
    counts = analysis.nonfinite.sum(axis=0)
    if counts[0]:
        text = f"The base holds {int(counts[0]):,} values that are not finite."
        said.append(Concern((), text))
    for i, name in enumerate(found.names):
        if counts[i + 1]:
            held = int((analysis.nonfinite[:, i + 1] > 0).sum())
            tensors = f"{held} tensor" + ("" if held == 1 else "s")
            text = (
                f"{name} holds {int(counts[i + 1]):,} values that are not finite, in "
                f"{tensors}: where it is merged, those come out as the base's; get a sound copy."
            )
            said.append(Concern((name,), text, grave=True))
        if found.coverage_frac[i] < _LOW_COVERAGE_FRAC:
            share = f"{100 * found.coverage_frac[i]:.1f} %"
            said.append(Concern((name,), f"{name} holds only {share} of the base's weights."))
    return said


def _coarse(analysis: Analysis) -> list[Concern]:
    """Models of which much of the change is what their format rounds, copies left out."""
    rounding, said = analysis.rounding, []
    copies = {node for pair in rounding.copies for node in pair[1:]} if rounding else set()
    for i, frac in enumerate(rounding.frac.tolist() if rounding else []):
        if frac >= _ROUNDED_FRAC and i + 1 not in copies:
            name = analysis.names[i]
            text = (
                f"{name}: about {100 * frac:.0f} % of its change is rounding of its stored format."
            )
            said.append(Concern((name,), f"{text} A more exact copy of it merges better."))
    return said


def _opposed(found: Derived) -> list[Concern]:
    said = []
    for i, a in enumerate(found.names):
        for j in range(i):
            if found.cosine[i, j] < _OPPOSED:
                text = (
                    f"{found.names[j]} and {a} pull against each other (cosine "
                    f"{found.cosine[i, j]:.2f}), so that a merge of both undoes much of either."
                )
                said.append(Concern((found.names[j], a), text, opposed=True))
    return said
