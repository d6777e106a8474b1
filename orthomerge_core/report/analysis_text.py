"""An analysis in words: what to merge, what to leave out, what is suspicious, then the figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..analysis.codec import dumps
from ..analysis.derive import Derived, derive
from ..analysis.metrics.effective_rank import spread_word
from ..analysis.profile import home_labels, profile
from ..analysis.result import Analysis
from ..errors import WriteError
from ..io.rawfile import explain_os_error
from ..optimize.delta_base import optimise
from ..optimize.proposal import Proposal
from ..recipe.model import BASE
from .findings import suspicions

__all__ = ["analysis_report", "write_report"]

_MOST_PAIRS = 30
_LEGEND = """\
- change: ‖M − B‖ / ‖B‖. Fine-tunes of one base usually lie between 0.1 % and 20 %.
- spread: share of directions that hold 90 % of the change; below 0.3 focused, above 0.6 diffuse.
- SNR: energy of the leading tenth of directions / energy of the rest. survival: how much of this
  model's direction is left in the sum of all, 100 = all. outlier: largest change of one weight.
- quality: 0.4 · (1 − spread) + 0.4 · log10(SNR)/2, up to 0.2 more for survival, up to 0.15 less
  for outliers.
- cosine: 1 same direction, 0 unrelated, −1 opposed. new information: 1 − cosine². conflict: of the
  weights that both change, the share changed in opposite directions; 0.5 is chance."""


def analysis_report(analysis: Analysis, proposal: Proposal | None = None) -> str:
    """Markdown: three plain sentences, then the figures of models, pairs and places.

    The advice is that of `proposal`, by default the optimizer's with its usual settings. Cost:
    under a second for 32 models.
    """
    proposal = proposal or optimise(analysis)
    found = derive(analysis)
    doubts = suspicions(analysis, found, proposal)
    lines = [f"# {_plural(len(analysis.names), 'model')} against {_cell(analysis.base)}", ""]
    lines += [_merge(proposal), "", _leave_out(proposal), "", _suspicious(doubts), ""]
    if len(doubts) > 1:
        lines += ["## To look at", "", *(f"- {doubt}" for doubt in doubts), ""]
    lines += ["## Models", "", *_models(found), "", "## Where each one lives", ""]
    lines += [*_places(analysis), ""]
    if len(found.names) > 1:
        lines += ["## Pairs", "", *_pairs(found), ""]
    lines += ["## How to read this", "", _LEGEND]
    return "\n".join(lines) + "\n"


def write_report(
    folder: Path, analysis: Analysis, proposal: Proposal | None = None, dark: bool = False
) -> list[str]:
    """Write `report.md`, `report.json` and, with matplotlib, `heatmaps.png`; the names written.

    The folder is made; files of these names are replaced. Raises `WriteError`.
    """
    texts = {
        "report.md": analysis_report(analysis, proposal),
        "report.json": dumps(analysis) + "\n",
    }
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
            written.append(name)
        try:
            from matplotlib.image import imsave
        except ImportError:
            return written
        from .analysis_plots import heatmaps

        imsave(folder / "heatmaps.png", heatmaps(analysis, dark=dark))
    except OSError as error:
        raise WriteError(
            f'the report cannot be written into "{folder.name}"',
            received=explain_os_error(error),
            fix="Choose a folder that can be written.",
        ) from error
    return [*written, "heatmaps.png"]


def _merge(proposal: Proposal) -> str:
    rows = [row for row in proposal.rows if row.enabled]
    if not rows:
        return "**Merge** nothing: no model of this set changes anything of its own."
    said = f"**Merge** {_listed(row.model for row in rows)}"
    moved = [f"{row.model} from {row.delta_from}" for row in rows if row.delta_from != BASE]
    if moved:
        said += f", measuring {_listed(moved)}, which is nearer than the base"
    values = [f.new_information for f in proposal.figures if f.new_information is not None]
    if len(rows) > 1 and values:
        least = math.floor(100 * min(values))
        said += f"; each brings at least {least} % new information beside the others"
    return said + "."


def _leave_out(proposal: Proposal) -> str:
    rows = [row for row in proposal.rows if not row.enabled]
    if not rows:
        return "**Leave out** nothing: no model repeats another."
    reasons = [f"{row.model} ({row.info.rstrip('.')})" for row in rows]
    return f"**Leave out** {_listed(reasons)}."


def _suspicious(doubts: Sequence[str]) -> str:
    if not doubts:
        return "**Suspicious**: nothing."
    more = f" (and {len(doubts) - 1} more, below)" if len(doubts) > 1 else ""
    return f"**Suspicious**: {doubts[0].rstrip('.')}{more}."


def _models(found: Derived) -> list[str]:
    lines = [
        "| model | grade | quality | change | spread | SNR | survival | outlier | coverage |",
        "|---|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    for i, name in enumerate(found.names):
        rank = float(found.effective_rank[i])
        spread = "n/a" if math.isnan(rank) else f"{rank:.2f} {spread_word(rank)}"
        cells = [_cell(name), found.grade[i], _figure(found.quality[i], "{:.2f}")]
        cells += [_percent(found.relative_norm[i]), spread, _figure(found.snr[i], "{:.3g}")]
        cells += [f"{found.survival[i]:.0f}", f"{found.outlier[i]:.3g}"]
        lines.append(_row([*cells, _percent(found.coverage_frac[i])]))
    return lines


def _places(analysis: Analysis) -> list[str]:
    homes, blocks = profile(analysis, home_labels(analysis)), profile(analysis, analysis.blocks)
    lines = []
    for i, name in enumerate(analysis.names):
        if not homes.share[:, i].any():
            lines.append(f"- {name}: no change anywhere.")
            continue
        top = np.argsort(-homes.share[:, i], kind="stable")[:2]
        said = [f"{_percent(homes.share[p, i])} of the change is in {homes.parts[p]}" for p in top]
        block = int(np.argmax(blocks.relative[:, i]))
        strongest = f"{blocks.parts[block]} ({_percent(blocks.relative[block, i])})"
        second = said[1].replace(" of the change is", "") if len(said) > 1 else ""
        rest = f", {second}" if second else ""
        lines.append(f"- {name}: {said[0]}{rest}; the block changed most is {strongest}.")
    return lines


def _pairs(found: Derived) -> list[str]:
    first, second = np.triu_indices(len(found.names), 1)
    order = np.argsort(-np.abs(found.cosine[first, second]), kind="stable")
    lines = ["| pair | cosine | new information | conflict |", "|---|---:|---:|---:|"]
    for k in order[:_MOST_PAIRS]:
        i, j = first[k], second[k]
        pair = f"{_cell(found.names[i])} and {_cell(found.names[j])}"
        figures = (found.cosine[i, j], found.new_information[i, j], found.conflict_ratio[i, j])
        lines.append(
            _row([pair, *(f"{value:.3f}".replace("-0.000", "0.000") for value in figures)])
        )
    left = len(order) - _MOST_PAIRS
    return lines + ([f"\n{left} pairs with smaller cosines are not shown."] if left > 0 else [])


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _figure(value: float, form: str) -> str:
    return "n/a" if math.isnan(value) else form.format(value)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share < 0.995 else f"{100 * share:.0f} %"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" + ("" if count == 1 else "s")


def _listed(words: Iterable[str]) -> str:
    known = list(words)
    return known[0] if len(known) == 1 else f"{', '.join(known[:-1])} and {known[-1]}"
