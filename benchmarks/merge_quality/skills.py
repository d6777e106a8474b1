"""What is tested: skills, the attribute that shows each, and the mixtures that are merged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .pictures import BASE_SHAPES, STYLES, Style

__all__ = [
    "ASIDE",
    "ATTRIBUTES",
    "MEASURED",
    "SKILLS",
    "SUBSETS",
    "TELLING",
    "Subset",
    "composed_style",
    "exam_shapes",
]

ATTRIBUTES: Mapping[str, str] = {
    "ink": "outline",
    "ink-fine": "tilt",
    "paint": "stripes",
    "photo": "grey",
    "star": "star",
}
"""Skill → what a picture must show. ink-fine's outline is ink's; only the tilt is its own."""

SKILLS = tuple(ATTRIBUTES)
MEASURED = ("base", *SKILLS)
"""Models that are measured by themselves, for comparison."""


@dataclass(frozen=True)
class Subset:
    """Models that are merged, each with its delta base."""

    name: str
    parents: Mapping[str, str]

    @property
    def models(self) -> tuple[str, ...]:
        """In order."""
        return tuple(self.parents)


def _flat(*models: str) -> Subset:
    return Subset("+".join(models), dict.fromkeys(models, "base"))


SUBSETS: Sequence[Subset] = (
    _flat("ink", "paint", "photo", "star"),
    _flat("ink", "star"),
    _flat("ink", "photo", "star"),
    _flat("paint", "photo"),
    Subset(
        "ink+ink-fine/ink+paint+photo+star",
        {"ink": "base", "ink-fine": "ink", "paint": "base", "photo": "base", "star": "base"},
    ),
    _flat("ink", "paint"),
    _flat("ink", "paint", "star"),
    _flat("ink", "ink-fine", "paint", "photo", "star"),
    Subset("ink+ink-fine/ink", {"ink": "base", "ink-fine": "ink"}),
    _flat("ink", "ink-fine"),
)
"""The most telling first; `a/b` is a measured against b."""

TELLING = tuple(s.name for s in SUBSETS[:2])
"""Where variants of a method are compared, too."""

ASIDE = tuple(s.name for s in SUBSETS[-3:])
"""Only there to compare delta bases; they do not count as merges of that many models."""


def exam_shapes(skill: str) -> Sequence[str]:
    """Shapes of a skill's held-out pictures: the star alone where the star is the skill."""
    return ("star",) if skill == "star" else BASE_SHAPES


def composed_style(models: Sequence[str]) -> Style:
    """Everything that these models add, in one picture."""
    styles = [STYLES[m] for m in models]
    return Style(
        outline=max(s.outline for s in styles),
        tilt_rad=max(s.tilt_rad for s in styles),
        ground=max(s.ground for s in styles),
        stripes=any(s.stripes for s in styles),
        shapes=("star",) if "star" in models else BASE_SHAPES,
    )


TILT_RAD = math.pi / 7
