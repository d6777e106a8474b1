"""An analysis in words: what to merge, what to leave out, what is suspicious, then the figures."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..analysis.clusters import clusters
from ..analysis.codec import dumps
from ..analysis.derive import Derived, derive
from ..analysis.metrics.effective_rank import spread_word
from ..analysis.profile import home_labels, profile
from ..analysis.result import Analysis
from ..errors import WriteError
from ..io.rawfile import explain_os_error
from ..optimize.delta_base import optimize_parents
from ..optimize.proposal import Proposal
from .advice import advice
from .analysis_parts import parts_report
from .findings import suspicions

__all__ = ["analysis_report", "write_report"]

_FEWEST_PAIRS, _MOST_PAIRS = 15, 30
_RELATED = 0.05
"""Cosines below it say "unrelated"; a table of them says no more."""

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
    proposal = proposal or optimize_parents(analysis)
    found = derive(analysis)
    doubts = suspicions(analysis, found, proposal)
    lines = [f"# {_plural(len(analysis.names), 'model')} against {_cell(analysis.base)}", ""]
    unused = {str(r["name"]): str(r["verdict"]) for r in analysis.reports if not r["ok"]}
    for sentence in advice(proposal, doubts, unused):
        lines += [sentence, ""]
    if len(doubts) > 1:
        lines += ["## To look at", "", *(f"- {doubt.text}" for doubt in doubts), ""]
    lines += ["## Models", "", *_models(found), "", "## Where each one lives", ""]
    lines += [*_places(analysis), ""]
    if len(found.names) > 1:
        lines += ["## Pairs", "", *_pairs(found), ""]
    if len(found.names) > 1:
        lines += ["## Groups", "", *_groups(analysis), ""]
    lines += [*parts_report(analysis), "## How to read this", "", _LEGEND]
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
    sizes = np.abs(found.cosine[first, second])
    order = np.argsort(-sizes, kind="stable")
    shown = min(_MOST_PAIRS, max(_FEWEST_PAIRS, int((sizes > _RELATED).sum())))
    lines = ["| pair | cosine | new information | conflict |", "|---|---:|---:|---:|"]
    for k in order[:shown]:
        i, j = first[k], second[k]
        pair = f"{_cell(found.names[i])} and {_cell(found.names[j])}"
        figures = (found.cosine[i, j], found.new_information[i, j], found.conflict_ratio[i, j])
        lines.append(
            _row([pair, *(f"{value:.3f}".replace("-0.000", "0.000") for value in figures)])
        )
    left = len(order) - shown
    return lines + ([f"\n{left} pairs with smaller cosines are not shown."] if left > 0 else [])


def _groups(analysis: Analysis) -> list[str]:
    """Models that change the base alike, and where each group differs from the others."""
    found = clusters(analysis)
    if len(found.groups) < 2:
        return ["The models are one group: no division is better than none."]
    lines = []
    for group, apart in zip(found.groups, found.apart, strict=True):
        who = ", ".join(group[:-1]) + " and " + group[-1] if len(group) > 1 else group[0]
        lines.append(f"- {who}: {apart or 'no place of its own'}.")
    return [*lines, "", f"Silhouette of this division: {found.silhouette:.2f} (1 = clear)."]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _figure(value: float, form: str) -> str:
    return "n/a" if math.isnan(value) else form.format(value)


def _percent(share: float) -> str:
    """Three significant digits: 0.997 %, 44.3 %, 100 %."""
    return (
        f"{100 * share:#.3g}".rstrip(".") + " %" if 0 < share < 0.9995 else f"{100 * share:.0f} %"
    )


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" + ("" if count == 1 else "s")
