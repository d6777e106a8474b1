"""The reasons of a proposal in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..recipe.model import BASE
from .findings import Findings
from .geometry import Geometry, Parents
from .proposal import Notice

__all__ = ["notices", "reasons"]


def _percent(share: float) -> str:
    value = 100.0 * share
    if 0.0 < value < 1.0:
        return "under 1 %"
    return f"{value:.0f} %"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


class _Speaker:
    """Knows the names; says one thing at a time."""

    def __init__(
        self,
        names: Sequence[str],
        geometry: Geometry,
        parents: Parents,
        findings: Findings,
        partly: Collection[str],
    ) -> None:
        self.partly = partly
        self.names, self.geometry, self.parents, self.found = names, geometry, parents, findings

    def parent(self, i: int) -> str:
        """Name of the parent of model i, "base" for the base."""
        node = int(self.parents[i + 1])
        return BASE if node == 0 else self.names[node - 1]

    def origin(self, i: int) -> str:
        """What the row is measured against, and what that wins."""
        if self.parent(i) == BASE:
            return "from the base"
        near, far = self.geometry.distance2[i + 1, [int(self.parents[i + 1]), 0]] ** 0.5
        return f"via {self.parent(i)}: {_percent(1.0 - near / far)} more focused"

    def off(self, i: int) -> str:
        """Why a row is off; "" for one that is on."""
        if i in self.found.damaged:
            what = "without a usable change, " if i in self.found.null else "damaged: "
            return f"{what}{self.broken_values(i)} not finite"
        if i in self.found.null:
            where = self.parent(i)
            if self.names[i] in self.partly:
                return "its diffusion model is the base's"
            return f"identical to {'the base' if where == BASE else where}"
        if i in self.found.rounded:
            original = "the base" if self.parent(i) == BASE else self.parent(i)
            return f"copy of {original}: the two differ only by the rounding of their formats"
        if i in self.found.duplicate:
            share = _percent(self.found.duplicate[i])
            return f"near-duplicate of {self.parent(i)}: differs by {share} of its change"
        if i in self.found.redundant:
            other, cosine = self.found.redundant[i]
            return f"redundant to {self.names[other]}, cos {cosine:.2f}"
        if i in self.found.grouped:
            return f"one of its group is enough: {self.names[self.found.grouped[i]]} stays"
        return ""

    def broken_values(self, i: int) -> str:
        """How many values of a damaged model are not finite, up to the verb."""
        count = self.found.damaged[i]
        return "1 value is" if count == 1 else f"{count:,} values are"

    def on(self, i: int) -> list[str]:
        """What else is to be said of a row that is on."""
        parts = []
        if i in self.found.repeated:
            parts.append(
                f"{_percent(self.found.information[i])} new information, so it counts twice"
            )
        for a, b, cosine in self.found.opposed:
            if i in (a, b):
                other = self.names[b if i == a else a]
                parts.append(f"works against {other}, cos {cosine:.2f}")
        if i in self.found.missing:
            lost = [self.names[a] for a in self.found.missing[i]]
            verb = "is" if len(lost) == 1 else "are"
            parts.append(f"builds on {_listed(lost)}, which {verb} off")
        return parts


def reasons(
    names: Sequence[str],
    geometry: Geometry,
    parents: Parents,
    findings: Findings,
    partly: Collection[str] = (),
) -> tuple[str, ...]:
    """Why each row is as it is, one line.

    partly: models that change another component than the diffusion model.
    """
    speaker = _Speaker(names, geometry, parents, findings, partly)
    return tuple(
        speaker.off(i) or "; ".join([speaker.origin(i), *speaker.on(i)]) for i in range(len(names))
    )


def notices(
    names: Sequence[str],
    geometry: Geometry,
    parents: Parents,
    findings: Findings,
    partly: Collection[str] = (),
) -> tuple[Notice, ...]:
    """Everything to warn about, full sentences, worst first within each kind.

    partly: models that change another component than the diffusion model.
    """
    speaker = _Speaker(names, geometry, parents, findings, partly)
    said = [*_damaged(speaker), *_left_out(speaker), *_conflicts(speaker), *_incomplete(speaker)]
    if not any(findings.enabled(i) for i in range(len(names))):
        text = "No model differs from the base or from another model: there is nothing to merge."
        if findings.damaged:
            text = "No sound model differs from the base: there is nothing to merge."
        said.insert(0, Notice("empty", tuple(names), text))
    return tuple(said)


def _damaged(speaker: _Speaker) -> list[Notice]:
    said = []
    for i in speaker.found.damaged:
        text = (
            f"{speaker.names[i]} is off: {speaker.broken_values(i)} not finite. With it, tensors "
            "that hold one would come from the base. Get a sound copy."
        )
        said.append(Notice("nonfinite", (speaker.names[i],), text))
    return said


def _left_out(speaker: _Speaker) -> list[Notice]:
    names, found = speaker.names, speaker.found
    said = []
    for i in range(len(names)):
        text = speaker.off(i)
        if not text or i in found.damaged or names[i] in speaker.partly:
            continue
        equal = i in found.null or i in found.rounded
        kind = "null" if equal else "duplicate" if i in found.duplicate else "redundant"
        other = names[found.redundant[i][0]] if i in found.redundant else speaker.parent(i)
        if i in found.grouped:
            kind, other = "group", names[found.grouped[i]]
        said.append(Notice(kind, (names[i], other), f"{names[i]} is off: {text}."))
    return said


def _conflicts(speaker: _Speaker) -> list[Notice]:
    said = []
    for i, j, cosine in sorted(speaker.found.opposed, key=lambda pair: pair[2]):
        a, b = speaker.names[i], speaker.names[j]
        text = f"{a} and {b} work against each other (cos {cosine:.2f}): merged, they cancel."
        said.append(Notice("opposed", (a, b), text))
    return said


def _incomplete(speaker: _Speaker) -> list[Notice]:
    said = []
    for i, lost in speaker.found.missing.items():
        words = [speaker.names[a] for a in lost]
        text = (
            f"{speaker.names[i]} builds on {_listed(words)}, switched off, so the merge lacks "
            f"{'its' if len(words) == 1 else 'their'} own change. Enable {_listed(words)}, "
            f"or measure {speaker.names[i]} from the base."
        )
        said.append(Notice("reconstruction", (speaker.names[i],), text, tuple(words)))
    return said
