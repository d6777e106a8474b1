"""A merge as one picture: what is left of each row, overall and block by block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..execute.output.report import MergeReport
from .plot_look import DARK, LIGHT, Look, finished, new_figure, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["retention_picture"]

WIDTH = 1024
_HEAD, _BAR, _STRIP, _TICKS, _NAMES, _EDGE = 44, 34, 26, 110, 190, 24
_SCALE_WIDTH, _SCALE_HEIGHT = 180, 10


def retention_picture(report: MergeReport, dark: bool = False) -> NDArray[np.uint8]:
    """Bars of retention per row above a strip of row × block, [height, 1024, 3].

    1 is the whole difference of a row; gray marks a row without a difference there. A merge without
    rows gives one line of text. Needs matplotlib.
    """
    look = DARK if dark else LIGHT
    names = list(report.retention)
    if not names:
        figure = new_figure(WIDTH, 2 * _HEAD, look)
        figure.text(0.5, 0.5, "No row is active.", color=look.ink, ha="center", va="center")
        return finished(figure)
    count = len(names)
    bars, strips = _HEAD + _BAR * count, _HEAD + _STRIP * count
    height = bars + strips + _TICKS
    figure = new_figure(WIDTH, height, look)
    inner = 1 - (_NAMES + _EDGE) / WIDTH

    def box(top: int, pixels: int) -> tuple[float, float, float, float]:
        return (_NAMES / WIDTH, 1 - (top + pixels) / height, inner, pixels / height)

    shares = [report.retention[name] for name in names]
    _draw_bars(figure.add_axes(box(_HEAD, _BAR * count)), look, names, shares)
    blocks = list(report.retention_by_block[names[0]])
    values = [[report.retention_by_block[n][b] for b in blocks] for n in names]
    _draw_strip(figure.add_axes(box(bars + _HEAD, _STRIP * count)), look, names, blocks, values)
    for top, title in ((0, "What is left of each row"), (bars, "Block by block")):
        y = 1 - (top + 0.55 * _HEAD) / height
        figure.text(_NAMES / WIDTH, y, title, color=look.ink, fontsize=12, va="center")
    _draw_scale(figure, look, bars, height)
    return finished(figure)


def _draw_scale(figure: Figure, look: Look, top: int, height: int) -> None:
    """What the strip's colors mean, at the right end of its heading."""
    left, y = WIDTH - _EDGE - _SCALE_WIDTH, 1 - (top + 0.45 * _HEAD) / height
    place = (left / WIDTH, y, _SCALE_WIDTH / WIDTH, _SCALE_HEIGHT / height)
    axes = figure.add_axes(place)
    _bare(axes, look)
    shades = np.linspace(-1, 1, _SCALE_WIDTH)[None]
    axes.imshow(shades, aspect="auto", cmap=look.diverging(), vmin=-1, vmax=1)
    axes.set_yticks([])
    ends = [0, (_SCALE_WIDTH - 1) / 2, _SCALE_WIDTH - 1]
    axes.set_xticks(ends, ["−100 %", "0", "100 %"], fontsize=8, color=look.faint)
    axes.tick_params(pad=2)
    words = "gray: no change there"
    right = (left - 36) / WIDTH
    figure.text(right, y, words, color=look.faint, fontsize=8, va="center", ha="right")


def _draw_bars(
    axes: Axes, look: Look, names: Sequence[str], shares: Sequence[float | None]
) -> None:
    values = [0.0 if s is None else s for s in shares]
    _bare(axes, look)
    axes.barh(range(len(names)), values, color=look.good, height=0.6)
    low, high = min(0.0, *values), max(1.0, *values)
    axes.set_xlim(low * 1.1, high * 1.15)
    axes.axvline(1.0, color=look.faint, linewidth=1, linestyle=":")
    for i, share in enumerate(shares):
        words = "no change" if share is None else f"{100 * share:.1f} %"
        x = max(values[i], 0.0) + 0.01 * high
        axes.text(x, i, words, color=look.ink, va="center", fontsize=9)
    _name_rows(axes, look, names)
    axes.set_xticks([])


def _draw_strip(
    axes: Axes,
    look: Look,
    names: Sequence[str],
    blocks: Sequence[str],
    values: Sequence[Sequence[float | None]],
) -> None:
    _bare(axes, look)
    table = np.array([[math.nan if v is None else v for v in row] for row in values])
    colours = look.diverging().with_extremes(bad=look.line)
    axes.imshow(table, aspect="auto", cmap=colours, vmin=-1, vmax=1, interpolation="none")
    _name_rows(axes, look, names)
    step = max(1, math.ceil(len(blocks) / 40))
    places = range(0, len(blocks), step)
    labels = [shortened(blocks[i], 18) for i in places]
    axes.set_xticks(list(places), labels, rotation=60, ha="right", fontsize=8, color=look.faint)


def _name_rows(axes: Axes, look: Look, names: Sequence[str]) -> None:
    labels = [shortened(name, 24) for name in names]
    axes.set_yticks(range(len(names)), labels, fontsize=9, color=look.ink)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _bare(axes: Axes, look: Look) -> None:
    axes.set_facecolor(look.paper)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
