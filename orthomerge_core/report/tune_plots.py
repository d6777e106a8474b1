"""A search as pictures: history, importance of parameters, and Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..tune.results import Finished, best_so_far, front, importances
from ..tune.study import Plan
from .plot_look import DARK, LIGHT, Look, finished, new_figure, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["front_picture", "history_picture", "importance_picture"]

WIDTH, HEIGHT = 1024, 420
_ROW = 30


def history_picture(
    plan: Plan, trials: Sequence[Finished], dark: bool = False
) -> NDArray[np.uint8]:
    """The score of every trial, and the best so far; one panel per score. [H, 1024, 3]."""
    look = DARK if dark else LIGHT
    count = len(plan.scores)
    figure = new_figure(WIDTH, HEIGHT * count, look)
    for place, (name, direction) in enumerate(plan.scores):
        axes = figure.add_subplot(count, 1, place + 1)
        _plain(axes, look)
        axes.set_title(f"{name} ({direction})", color=look.ink, fontsize=12, loc="left")
        axes.set_xlabel("trial", color=look.faint, fontsize=9)
        if not trials:
            axes.text(0.5, 0.5, "No trial has a score yet.", color=look.ink, ha="center")
            continue
        numbers = [trial.number for trial in trials]
        values = [trial.scores[place] for trial in trials]
        best = best_so_far(trials, direction, place)
        axes.scatter(numbers, values, s=16, color=look.faint, label="trials")
        axes.step(numbers, best, where="post", color=look.good, linewidth=2, label="best so far")
        axes.legend(frameon=False, fontsize=9, labelcolor=look.ink)
    figure.tight_layout()
    return finished(figure)


def importance_picture(
    plan: Plan, trials: Sequence[Finished], dark: bool = False
) -> NDArray[np.uint8]:
    """Bars: how much of each score's variance each parameter explains alone. [H, 1024, 3]."""
    look = DARK if dark else LIGHT
    names = [parameter.name for parameter in plan.parameters]
    count = len(plan.scores)
    figure = new_figure(WIDTH, (90 + _ROW * len(names)) * count, look)
    for place, (score, _) in enumerate(plan.scores):
        axes = figure.add_subplot(count, 1, place + 1)
        _plain(axes, look)
        axes.set_title(f"What mattered for {score}", color=look.ink, fontsize=12, loc="left")
        found = importances(trials, plan.parameters, place)
        shares = [found[name] for name in names]
        axes.barh(range(len(names)), [s or 0.0 for s in shares], color=look.good, height=0.6)
        axes.set_yticks(range(len(names)), [shortened(n, 32) for n in names], color=look.ink)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(0.0, 1.0)
        for i, share in enumerate(shares):
            words = "not stated" if share is None else f"{share:.0%}"
            axes.text((share or 0.0) + 0.01, i, words, color=look.ink, va="center", fontsize=9)
    figure.tight_layout()
    return finished(figure)


def front_picture(plan: Plan, trials: Sequence[Finished], dark: bool = False) -> NDArray[np.uint8]:
    """Trials by two scores with the Pareto front; every further score against the first.

    [H, 1024, 3]; with one score, one line of text.
    """
    look = DARK if dark else LIGHT
    others = range(1, len(plan.scores))
    figure = new_figure(WIDTH, 620 * max(1, len(others)) if others else 120, look)
    if not others or not trials:
        words = "One score has no Pareto front." if trials else "No trial has a score yet."
        figure.text(0.5, 0.5, words, color=look.ink, ha="center", va="center")
        return finished(figure)
    best = sorted(front(trials, plan.directions), key=lambda trial: trial.scores[0])
    for place in others:
        axes = figure.add_subplot(len(others), 1, place)
        _plain(axes, look)
        for number, label in ((0, axes.set_xlabel), (place, axes.set_ylabel)):
            name, direction = plan.scores[number]
            label(f"{name} ({direction})", color=look.ink, fontsize=10)
        axes.scatter(
            [t.scores[0] for t in trials],
            [t.scores[place] for t in trials],
            s=16,
            color=look.faint,
            label="trials",
        )
        axes.plot(
            [t.scores[0] for t in best],
            [t.scores[place] for t in best],
            marker="o",
            linestyle="-" if len(plan.scores) == 2 else "",
            color=look.good,
            label="Pareto front",
        )
        for trial in best:
            spot = (trial.scores[0], trial.scores[place])
            axes.annotate(
                str(trial.number),
                spot,
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=8,
                color=look.ink,
            )
        axes.legend(frameon=False, fontsize=9, labelcolor=look.ink)
    figure.tight_layout()
    return finished(figure)


def _plain(axes: Axes, look: Look) -> None:
    axes.set_facecolor(look.paper)
    axes.tick_params(colors=look.faint, labelsize=9)
    axes.grid(color=look.line, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color(look.line)
