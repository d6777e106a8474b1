"""The three sentences on top of a report: what to merge, what to leave out, what is suspicious."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from ..optimize.proposal import Proposal
from ..recipe.model import BASE
from .findings import Concern

__all__ = ["advice"]

_MANY = 4


def advice(
    proposal: Proposal, doubts: Sequence[Concern], unused: Mapping[str, str] | None = None
) -> list[str]:
    """Three sentences in Markdown, one a paragraph; `unused`: name → why that file is not in it."""
    return [_merge(proposal, doubts), _leave_out(proposal, unused or {}), _suspicious(doubts)]


def _merge(proposal: Proposal, doubts: Sequence[Concern]) -> str:
    on = [row for row in proposal.rows if row.enabled]
    if not on:
        return "**Merge** nothing: no model of this set changes anything of its own."
    grave = {name for doubt in doubts if doubt.grave for name in doubt.models}
    held = [row.model for row in on if row.model in grave]
    sound = [row.model for row in on if row.model not in grave]
    every = len(sound) == len(proposal.rows) > _MANY
    names = f"all {len(sound)} models" if every else _listed(sound) if sound else "nothing yet"
    said = [f"**Merge** {names}" + _moved(proposal, sound)]
    values = [f.new_information for f in proposal.figures if f.new_information is not None]
    if len(on) > 1 and values:
        least = math.floor(100 * min(values))
        said.append(f"each brings at least {least} % new information beside the others")
    if held:
        them = "it" if len(held) == 1 else "them"
        said.append(f"{_listed(held)} only after a look at what is suspicious about {them}")
    pairs = [d.models for d in doubts if d.opposed and set(d.models) <= set(sound)]
    if pairs:
        which = "of them" if len(pairs) == 1 else "of each pair"
        both = ", ".join(f"{a} and {b}" for a, b in pairs)
        said.append(f"but {both} cancel: keep one {which}")
    return "; ".join(said) + "."


def _moved(proposal: Proposal, names: Sequence[str]) -> str:
    rows = [row for row in proposal.rows if row.model in names and row.delta_from != BASE]
    if not rows:
        return ""
    moved = _listed(f"{row.model} from {row.delta_from}" for row in rows)
    nearer = "which is nearer than the base" if len(rows) == 1 else "each nearer than the base"
    return f", measuring {moved}, {nearer}"


def _leave_out(proposal: Proposal, unused: Mapping[str, str]) -> str:
    rows = [row for row in proposal.rows if not row.enabled]
    if unused:
        files = _listed(f"{name} ({why.rstrip('.')})" for name, why in unused.items())
        left = _leave_out(proposal, {}) if rows else "**Leave out** nothing more."
        return f"**Not in this set**: {files}. {left}"
    if not rows:
        why = ": no model repeats another" if len(proposal.rows) > 1 else ""
        return f"**Leave out** nothing{why}."
    reasons = _listed(f"{row.model} ({row.info.rstrip('.')})" for row in rows)
    return f"**Leave out** {reasons}."


def _suspicious(doubts: Sequence[Concern]) -> str:
    if not doubts:
        return "**Suspicious**: nothing."
    more = f" (and {len(doubts) - 1} more, below)" if len(doubts) > 1 else ""
    return f"**Suspicious**: {doubts[0].text.rstrip('.')}{more}."


def _listed(words: Iterable[str]) -> str:
    known = list(words)
    return known[0] if len(known) == 1 else f"{', '.join(known[:-1])} and {known[-1]}"
