"""The text encoders and the VAE of an analysis in words, each by itself."""

from __future__ import annotations

import math

import numpy as np

from ..analysis.derive import Derived, derive
from ..analysis.profile import profile
from ..analysis.result import Analysis
from ..keys.components import DIFFUSION, component_label

__all__ = ["parts_report"]

_RELATED = 0.05
_MOST_PAIRS = 10


def parts_report(analysis: Analysis) -> list[str]:
    """Markdown lines for every component except the diffusion model."""
    lines: list[str] = []
    for component in analysis.components:
        if component == DIFFUSION:
            continue
        found = derive(analysis, analysis.keys_in(component))
        label = component_label(component)
        lines += [f"## {label[0].upper()}{label[1:]}", ""]
        if not found.delta_norm.any():
            lines += ["No model changes it.", ""]
            continue
        lines += [*_models(analysis, found, component), ""]
        pairs = _pairs(found)
        lines += [*pairs, ""] if pairs else []
    return lines


def _models(analysis: Analysis, found: Derived, component: str) -> list[str]:
    blocks = profile(analysis, analysis.blocks, component)
    lines = ["| model | change | quality | survival | coverage | changed most |"]
    lines.append("|---|---:|---:|---:|---:|---|")
    for i, name in enumerate(found.names):
        if found.coverage_frac[i] == 0.0:
            lines.append(f"| {_cell(name)} | not in the file | n/a | n/a | 0 % | n/a |")
            continue
        place = int(np.argmax(blocks.relative[:, i]))
        most = f"{blocks.parts[place]} ({_percent(blocks.relative[place, i])})"
        quality = float(found.quality[i])
        cells = [
            _cell(name),
            _percent(found.relative_norm[i]),
            "n/a" if math.isnan(quality) else f"{quality:.2f}",
            f"{found.survival[i]:.0f}",
            _percent(found.coverage_frac[i]),
            most if found.delta_norm[i] > 0 else "nothing",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _pairs(found: Derived) -> list[str]:
    first, second = np.triu_indices(len(found.names), 1)
    cosines = found.cosine[first, second]
    order = np.argsort(-np.abs(cosines), kind="stable")[:_MOST_PAIRS]
    shown = [k for k in order if abs(cosines[k]) > _RELATED]
    if not shown:
        return []
    lines = ["| pair | cosine | new information | conflict |", "|---|---:|---:|---:|"]
    for k in shown:
        i, j = first[k], second[k]
        figures = (found.cosine[i, j], found.new_information[i, j], found.conflict_ratio[i, j])
        cells = " | ".join(f"{value:.3f}" for value in figures)
        lines.append(f"| {_cell(found.names[i])} and {_cell(found.names[j])} | {cells} |")
    return lines


def _percent(share: float) -> str:
    """Three significant digits: 0.997 %, 44.3 %, 100 %."""
    if 0 < share < 0.9995:
        return f"{100 * share:#.3g}".rstrip(".") + " %"
    return f"{100 * share:.0f} %"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
