"""The results as one picture: what a merge shows against what it still gets right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .contenders import Contender
from .summary import METRICS, Judged, complete, over_families
from .table import BY_COUNT

__all__ = ["draw_plot"]

_LOOKS: Mapping[str, tuple[str, str, str]] = {
    "task_arithmetic": ("#0072b2", "o", "task_arithmetic"),
    "average": ("#56b4e9", "v", "average"),
    "orthogonal_projection": ("#009e73", "s", "projection, sequential"),
    "orthogonal_projection variant=symmetric": ("#009e73", "D", "projection, symmetric"),
    "orthogonal_projection variant=dual": ("#004d38", "P", "projection, dual"),
    "orthomerge": ("#e69f00", "^", "orthomerge, means"),
    "orthomerge residual_agg=sum theta_agg=sum": ("#d55e00", "^", "orthomerge, sums"),
    "published": ("#8c5a00", "x", "orthomerge as published"),
    "ties": ("#cc79a7", "<", "ties"),
    "dare": ("#7f7f7f", ">", "dare"),
    "model_stock": ("#999999", "*", "model_stock"),
    "geometric_median": ("#bbbbbb", "h", "geometric_median"),
}
"""Contender's name → colour (Okabe and Ito), marker, words."""


def draw_plot(found: Sequence[Judged], path: Path) -> None:
    """Write the PNG: a panel per number of models, methods joined over their alphas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = [n for n, names in BY_COUNT.items() if complete(found, names)]
    figure = Figure(figsize=(4.1 * len(counts), 5.6), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    for place, count in enumerate(counts, start=1):
        axes = figure.add_subplot(1, len(counts), place)
        axes.set_title(f"{count} models", fontsize=12)
        axes.set_xlim(-0.04, 1.04)
        axes.set_ylim(-0.04, 1.04)
        axes.set_xlabel("shape and colour as prompted (share of pictures)")
        if place == 1:
            axes.set_ylabel("skills shown (mean share of pictures)")
        axes.grid(color="#dddddd", linewidth=0.6)
        _panel(axes, found, BY_COUNT[count])
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=4, frameon=False, fontsize=10)
    figure.tight_layout(rect=(0, 0.16, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _panel(axes: object, found: Sequence[Judged], names: Sequence[str]) -> None:
    there = complete(found, names)
    for name, (colour, marker, words) in _LOOKS.items():
        mine = sorted((c for c in there if c.name == name), key=lambda c: c.alpha)
        points = [_point(found, one, names) for one in mine]
        if not points:
            continue
        (x, dx), (y, dy) = (([p[i][0] for p in points], [p[i][1] for p in points]) for i in (0, 1))
        axes.errorbar(  # type: ignore[attr-defined]
            x, y, xerr=dx, yerr=dy, color=colour, marker=marker, markersize=7, linewidth=1.2,
            elinewidth=0.7, alpha=0.9, label=words,
        )  # fmt: skip
        for one, px, py in zip(mine, x, y, strict=True):
            axes.annotate(  # type: ignore[attr-defined]
                f"{one.alpha:g}", (px, py), xytext=(5, 4), textcoords="offset points",
                fontsize=7, color=colour,
            )  # fmt: skip


def _point(
    found: Sequence[Judged], one: Contender, names: Sequence[str]
) -> tuple[tuple[float, float], tuple[float, float]]:
    right = over_families(found, METRICS["right"], one, names)
    shown = over_families(found, METRICS["shown, mean"], one, names)
    if right is None or shown is None:
        raise ValueError(f"{one.name} was not measured on all of {', '.join(names)}")
    return right, shown
