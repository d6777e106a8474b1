"""The optimizer's proposal in words."""

from __future__ import annotations

from ..optimize.proposal import Figures, Proposal
from ..recipe.model import BASE, Row

__all__ = ["optimizer_report"]


def optimizer_report(proposal: Proposal) -> str:
    """Markdown: what is proposed in plain sentences first, then the rows, then how sure it is."""
    lines = ["# Delta bases", "", *_summary(proposal), ""]
    lines += ["| model | measured from | change | quality | counts | why |"]
    lines += ["|---|---|---:|---:|---:|---|"]
    lines += [_row(r, f) for r, f in zip(proposal.rows, proposal.figures, strict=True)]
    if proposal.warnings:
        lines += ["", "## To look at", "", *(f"- {w.text}" for w in proposal.warnings)]
    lines += ["", "## How sure", "", *_certainty(proposal)]
    return "\n".join(lines) + "\n"


def _summary(proposal: Proposal) -> list[str]:
    on = [r.model for r in proposal.rows if r.enabled]
    off = [r.model for r in proposal.rows if not r.enabled]
    moved = [
        f"{r.model} via {r.delta_from}" for r in proposal.rows if r.enabled and r.delta_from != BASE
    ]
    said = [f"Merge {', '.join(on)}." if on else "There is nothing to merge."]
    if off:
        said.append(f"Leave out {', '.join(off)}.")
    if moved:
        said.append(f"Measured from a nearer relative than the base: {', '.join(moved)}.")
    return said


def _row(row: Row, figures: Figures) -> str:
    counts = f"{row.repeat}×" if row.enabled else "off"
    quality = "n/a" if figures.quality is None else f"{figures.quality:.2f}"
    cells = (row.model, row.delta_from, f"{figures.norm:.4g}", quality, counts)
    return "| " + " | ".join(c.replace("|", "\\|") for c in (*cells, row.info)) + " |"


def _certainty(proposal: Proposal) -> list[str]:
    how = "every admissible assignment was compared" if proposal.exact else "local search"
    counted = f"{how}, {proposal.looked_at:,} looked at"
    said = [f"Total orthogonality {proposal.objective:.4f} of 1 ({counted})."]
    said.append(f"The tree of nearest relatives alone has {proposal.start_objective:.4f}.")
    if proposal.regret_local is not None and proposal.regret_local > 1e-6:
        said.append(f"Local search would have missed {proposal.regret_local:.4f}.")
    if proposal.lead is None:
        said.append("There is no other assignment.")
    elif proposal.lead <= 0:
        said.append("Another assignment is as orthogonal, with larger changes.")
    else:
        scope = "second best" if proposal.exact else "best change of one parent"
        said.append(f"It leads the {scope} by {proposal.lead:.4f}.")
    return [f"- {s}" for s in said]
