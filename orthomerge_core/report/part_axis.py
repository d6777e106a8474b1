"""Labels under a row of model parts: runs of numbered blocks share one name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from .plot_look import Look, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Run", "label_parts", "runs_of"]

_LEAST_RUN = 4
_NUMBER_PX, _SLANTED_PX = 17, 11  # a number needs that much, a slanted name that much
_NUMBERED = re.compile(r"(.*)\.(\d+)$")


class Run(NamedTuple):
    """Neighboring parts `family.0`, `family.1`, …: places [start, stop) and their numbers."""

    family: str
    start: int
    stop: int
    numbers: tuple[str, ...]


def runs_of(parts: Sequence[str]) -> list[Run]:
    """Runs of at least four numbered parts of one family, in order."""
    found = []
    numbered = [(i, _NUMBERED.match(part)) for i, part in enumerate(parts)]
    for family, group in groupby(numbered, key=lambda item: item[1] and item[1].group(1)):
        run = list(group)
        if family and len(run) >= _LEAST_RUN:
            numbers = tuple(match.group(2) for _, match in run if match)
            found.append(Run(family, run[0][0], run[-1][0] + 1, numbers))
    return found


def label_parts(axes: Axes, look: Look, parts: Sequence[str], cell_px: float) -> None:
    """Name the columns of `axes`: numbers with their family's name below, other names slanted.

    `cell_px`: width of a column. Numbers too close to each other are thinned out evenly.
    """
    runs = runs_of(parts)
    inside = {place for run in runs for place in range(run.start, run.stop)}
    alone = [place for place in range(len(parts)) if place not in inside]
    step = max(1, -int(-_SLANTED_PX // cell_px))
    shown = alone[:: step if len(alone) > _LEAST_RUN else 1]
    labels = [shortened(parts[place], 18) for place in shown]
    axes.set_xticks(shown, labels, fontsize=7.5, rotation=65, ha="right", color=look.ink)
    for label in axes.get_xticklabels():
        label.set_rotation_mode("anchor")
    for run in runs:
        _label_run(axes, look, run, cell_px)


def _label_run(axes: Axes, look: Look, run: Run, cell_px: float) -> None:
    step = next((s for s in (1, 2, 5, 10, 20) if s * cell_px >= _NUMBER_PX), 50)
    under = axes.get_xaxis_transform()  # columns across, fractions of the axes' height down
    pixel = 1.0 / axes.bbox.height
    for place in range(run.start, max(run.start + 1, run.stop - step // 2), step):
        number = run.numbers[place - run.start]
        axes.text(place, -4 * pixel, number, transform=under, fontsize=8, color=look.ink,
                  ha="center", va="top")  # fmt: skip
    line = ([run.start - 0.4, run.stop - 0.6], [-20 * pixel] * 2)
    axes.plot(*line, transform=under, color=look.line, linewidth=1, clip_on=False)
    middle, room = (run.start + run.stop - 1) / 2, int((run.stop - run.start) * cell_px / 6)
    axes.text(middle, -24 * pixel, shortened(run.family, max(room, 6)), transform=under,
              fontsize=8.5, color=look.ink, ha="center", va="top")  # fmt: skip
