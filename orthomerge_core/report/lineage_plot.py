"""The optimizer's tree as a picture: who descends from whom, and how far away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..analysis.clusters import clusters
from ..analysis.result import Analysis
from ..optimize.proposal import Proposal
from ..recipe.model import BASE
from .cluster_plot import dendrogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["lineage"]

WIDTH, DPI = 1024, 100
_ROW, _HEAD, _FOOT = 46, 74, 66  # pixels
_LONGEST_NAME, _LONGEST_REASON = 44, 86
_CJK = ("Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "Hiragino Sans GB", "SimHei")


@dataclass(frozen=True)
class _Look:
    """Colors; blue and orange of Okabe and Ito 2008 keep apart for every kind of color vision."""

    paper: str
    ink: str
    faint: str
    line: str
    on: str
    warn: str


_LIGHT = _Look("#ffffff", "#1a1a1a", "#595959", "#9a9a9a", "#0072b2", "#b84a00")
_DARK = _Look("#1e1e1e", "#f0f0f0", "#b4b4b4", "#7a7a7a", "#56b4e9", "#e69f00")


@dataclass(frozen=True)
class _Leaf:
    """One line of the picture. start, end: where its edge begins and ends, in percent of ‖B‖."""

    name: str
    parent: str
    start: float
    end: float
    depth: int


def lineage(analysis: Analysis, proposal: Proposal, dark: bool = False) -> NDArray[np.uint8]:
    """The tree of delta bases as a picture [height, 1024, 3].

    One line per model under its parent; how far right a model stands is the sum of the changes that
    lead to it, each as a share of the base's norm. Full dots are merged, rings are off, a doubled
    dot counts twice. Below it stands the tree of groups (`cluster_plot`), where two models or more
    change the base. Needs matplotlib. Cost: a fraction of a second.
    """
    tree = _tree(analysis, proposal, dark)
    found = clusters(analysis)
    return np.concatenate([tree, dendrogram(found, dark)]) if found.joins else tree


def _tree(analysis: Analysis, proposal: Proposal, dark: bool) -> NDArray[np.uint8]:
    """The tree of delta bases alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    look = _DARK if dark else _LIGHT
    leaves = _ordered(analysis, proposal)
    height = _HEAD + _FOOT + _ROW * len(leaves)
    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor=look.paper)
    canvas = FigureCanvasAgg(figure)
    _write_head(figure, look, height, proposal)
    bottom, top = _FOOT / height, 1.0 - _HEAD / height
    axes = figure.add_axes((0.03, bottom, 0.94, top - bottom), facecolor=look.paper)
    _draw(axes, look, leaves, proposal)
    fonts, drawable = _fonts()
    for text in figure.findobj(Text):
        text.set_fontfamily(fonts)
        text.set_parse_math(False)  # a $ in a file name is a $
        text.set_text("".join(c if ord(c) in drawable else "□" for c in text.get_text()))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _fonts() -> tuple[list[str], set[int]]:
    """DejaVu Sans and what this machine has for names in Chinese, and the characters they draw."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

    installed = set(fontManager.get_font_names())
    names = ["DejaVu Sans", *(name for name in _CJK if name in installed)]
    fonts = [get_font(findfont(FontProperties(family=[name]))) for name in names]
    return names, {code for font in fonts for code in font.get_charmap()}


def _ordered(analysis: Analysis, proposal: Proposal) -> list[_Leaf]:
    """The base, then every model below its parent, siblings by distance."""
    base = float(np.sqrt(analysis.gram[analysis.keys_in(), 0, 0].sum()))
    norms = {f.model: 100.0 * f.norm / base if base > 0 else f.norm for f in proposal.figures}
    leaves: list[_Leaf] = []

    def add(name: str, parent: str, start: float, depth: int) -> None:
        end = start + norms.get(name, 0.0)
        leaves.append(_Leaf(name, parent, start, end, depth))
        children = [m for m in proposal.names if proposal.parents[m] == name]
        for child in sorted(children, key=lambda m: norms[m]):
            add(child, name, end, depth + 1)

    add(BASE, "", 0.0, 0)
    return leaves


def _write_head(figure: Figure, look: _Look, height: int, proposal: Proposal) -> None:
    on = sum(row.enabled for row in proposal.rows)
    said = f"{on} of {len(proposal.rows)} models on · orthogonality {proposal.objective:.3f}"
    if proposal.regret_start > 5e-4:
        said += f" (nearest relatives alone: {proposal.start_objective:.3f})"
    at = 1.0 - 26 / height
    figure.text(0.03, at, "Lineage", color=look.ink, fontsize=15, weight="bold", va="center")
    figure.text(0.03, 1.0 - 52 / height, said, color=look.faint, fontsize=10.5, va="center")
    x = 0.97
    for word, style in (("off", "ring"), ("counts twice", "double"), ("merged", "dot")):
        text = figure.text(x, at, word, color=look.faint, fontsize=10.5, va="center", ha="right")
        box = text.get_window_extent()
        x -= (box.width + 14) / WIDTH
        mark = figure.add_axes((x - 0.008, at - 9 / height, 0.016, 18 / height))
        mark.set_axis_off()
        mark.set_xlim(-1, 1)
        mark.set_ylim(-1, 1)
        _dot(mark, look, 0.0, 0.0, style)
        x -= 0.03


def _draw(axes: Axes, look: _Look, leaves: Sequence[_Leaf], proposal: Proposal) -> None:
    far = max(leaf.end for leaf in leaves) or 1.0
    axes.set_xlim(-0.02 * far, far * 2.35)  # the right side is for the words
    axes.set_ylim(len(leaves) - 0.4, -0.6)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(look.line)
    axes.spines["bottom"].set_bounds(0.0, far)
    axes.set_yticks([])
    axes.set_xticks([t for t in axes.get_xticks() if 0 <= t <= far * 1.001])
    axes.tick_params(colors=look.faint, labelsize=10)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    label = "distance from the base, step by step (‖δ‖ as a share of the base's norm)"
    axes.set_xlabel(label, color=look.faint, fontsize=10, loc="left")
    line = {leaf.name: y for y, leaf in enumerate(leaves)}
    for y, leaf in enumerate(leaves):
        _draw_leaf(axes, look, leaf, y, line.get(leaf.parent, y), proposal, far)


def _draw_leaf(
    axes: Axes, look: _Look, leaf: _Leaf, y: int, parent_y: int, proposal: Proposal, far: float
) -> None:
    rows = {row.model: row for row in proposal.rows}
    row, pad = rows.get(leaf.name), 0.032 * far
    off = row is not None and not row.enabled
    color = look.line if off else look.on
    axes.plot([leaf.start, leaf.start], [parent_y, y], color=look.line, lw=1.2, zorder=1)
    dashes = (0, (4, 3)) if off else "solid"
    axes.plot([leaf.start, leaf.end], [y, y], color=color, lw=2.4, zorder=2, linestyle=dashes)
    if row is None:
        _dot(axes, look, leaf.end, y, "base")
        axes.text(pad, y, "base", color=look.ink, fontsize=12, weight="bold", va="center")
        return
    _dot(axes, look, leaf.end, y, "ring" if off else "double" if row.repeat > 1 else "dot")
    size, name = _percent(leaf.end - leaf.start), _shorten(leaf.name, _LONGEST_NAME)
    axes.text(
        leaf.end + pad, y - 0.17, f"{name}   {size}", fontsize=12, weight="bold",
        color=look.faint if off else look.ink, va="center",
    )  # fmt: skip
    warned = off or leaf.name in _warned(proposal)
    reason = ("off: " if off else "") + row.info
    if len(reason) > _LONGEST_REASON:
        reason = reason[: _LONGEST_REASON - 1] + "…"
    axes.text(
        leaf.end + pad, y + 0.2, reason, fontsize=10,
        color=look.warn if warned else look.faint, va="center",
    )  # fmt: skip


def _warned(proposal: Proposal) -> set[str]:
    """Models that are on and that a warning is about."""
    serious = [w for w in proposal.warnings if w.kind in ("opposed", "reconstruction")]
    return {name for warning in serious for name in warning.models}


def _dot(axes: Axes, look: _Look, x: float, y: float, style: str) -> None:
    if style == "ring":
        axes.plot(
            [x], [y], "o", ms=9, mfc=look.paper, mec=look.line, mew=2, zorder=3, clip_on=False
        )
        return
    color = look.ink if style == "base" else look.on
    if style == "double":
        axes.plot([x], [y], "o", ms=14, mfc=look.paper, mec=color, mew=2, zorder=3, clip_on=False)
    axes.plot([x], [y], "s" if style == "base" else "o", ms=8, color=color, zorder=4, clip_on=False)


def _percent(value: float) -> str:
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"


def _shorten(text: str, longest: int) -> str:
    """The text, its middle left out where it is too long: both ends of a file name tell."""
    if len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return text[:half] + "…" + text[-half:]
