"""The tree of groups as a picture: which models change the base alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..analysis.clusters import Clusters
from .plot_look import DARK, LIGHT, Look, finished, new_figure, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["dendrogram"]

WIDTH = 1024
_ROW, _HEAD, _FOOT = 30, 66, 62  # pixels
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of Okabe and Ito 2008; groups beyond them start again, and each has its number beside it."""


def dendrogram(found: Clusters, dark: bool = False) -> NDArray[np.uint8]:
    """The tree of `analysis.clusters` as a picture [height, 1024, 3].

    One line per model, groups in colors and numbers; two branches meet at their mean distance
    1 − cosine, 0 for the same change, 1 for unrelated ones. Needs matplotlib and two models.
    """
    look = DARK if dark else LIGHT
    order = _order(found)
    height = _HEAD + _FOOT + _ROW * len(order)
    figure = new_figure(WIDTH, height, look)
    count = len(found.groups)
    said = f"{count} groups · silhouette {found.silhouette:.2f}" if count > 1 else "one group"
    figure.text(
        0.03, 1 - 24 / height, "Groups", color=look.ink, fontsize=15, weight="bold", va="center"
    )
    figure.text(0.03, 1 - 48 / height, said, color=look.faint, fontsize=10.5, va="center")
    bottom, top = _FOOT / height, 1 - _HEAD / height
    axes = figure.add_axes((0.03, bottom, 0.55, top - bottom), facecolor=look.paper)
    _draw(axes, look, found, {name: y for y, name in enumerate(order)})
    return finished(figure)


def _order(found: Clusters) -> tuple[str, ...]:
    """The models from top to bottom, so that no branches cross."""
    last = found.joins[-1]
    return last.left + last.right


def _draw(axes: Axes, look: Look, found: Clusters, line: Mapping[str, int]) -> None:
    far = max(1.0, *(join.distance for join in found.joins))
    axes.set_xlim(far * 1.02, -0.005)  # models on the right, as their names are
    axes.set_ylim(len(line) - 0.5, -0.5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(look.line)
    axes.set_yticks([])
    axes.tick_params(colors=look.faint, labelsize=10)
    axes.set_xlabel(
        "distance: 1 − mean cosine over the model's parts",
        color=look.faint,
        fontsize=10,
        loc="left",
    )
    colors = {
        name: _COLORS[i % len(_COLORS)] for i, group in enumerate(found.groups) for name in group
    }
    at: dict[tuple[str, ...], tuple[float, float]]
    at = {(name,): (0.0, float(y)) for name, y in line.items()}
    for join in found.joins:
        ends = [at[join.left], at[join.right]]
        members = {found.group_of(name) for name in join.left + join.right}
        color = colors[join.left[0]] if len(members) == 1 else look.line
        for x, y in ends:
            axes.plot([x, join.distance], [y, y], color=color, lw=2.0, solid_capstyle="round")
        axes.plot([join.distance] * 2, [y for _, y in ends], color=color, lw=2.0)
        middle = (ends[0][1] + ends[1][1]) / 2
        at[join.left + join.right] = (join.distance, middle)
    for name, y in line.items():
        number = "" if len(found.groups) < 2 else f"{1 + (found.group_of(name) or 0)}   "
        axes.annotate(
            number + shortened(name, 44),
            (0.0, y),
            xytext=(10, 0),
            textcoords="offset points",
            color=look.ink,
            fontsize=11,
            va="center",
            annotation_clip=False,
        )
        axes.plot([0.0], [y], "o", ms=7, color=colors[name], clip_on=False, zorder=3)
