"""An analysis as one picture: how alike the models are, where they live, how good they look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.derive import derive
from ..analysis.profile import Profile, profile
from ..analysis.result import Analysis
from .plot_look import DARK, LIGHT, Look, finished, new_figure, shortened
from .quality_card import draw_card

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["heatmaps"]

WIDTH = 1024
_EDGE = 14
_NAMES = 172  # pixels for the models' names
_HEAD, _GAP, _TICKS, _LINE = 64, 24, 104, 26  # heading, below, slanted labels, line of the card
_LEAST_CELL, _MOST_CELL, _ROOM_FOR_FIGURES = 9, 44, 22
_INK = {True: "#000000", False: "#ffffff"}


def heatmaps(analysis: Analysis, dark: bool = False) -> NDArray[np.uint8]:
    """Cosine, new information, conflict, block profile and quality card: [height, 1024, 3].

    Colours keep apart for every kind of colour vision (blue–orange diverging, cividis); figures are
    written into the cells of up to 16 models. Needs matplotlib. Cost: about a second.
    """
    look, found = DARK if dark else LIGHT, derive(analysis)
    count, half = len(found.names), WIDTH // 2
    cell = min(_MOST_CELL, max(_LEAST_CELL, (half - _NAMES - 30) // count))
    strip = max(16, min(cell, 26))
    heights = [_HEAD + cell * count + _GAP, _HEAD + cell * count + _TICKS]
    heights += [_HEAD + strip * count + _TICKS, _HEAD + _LINE * (count + 1) + _GAP]
    tops = [0, *np.cumsum(heights)]
    sheet = _Sheet(new_figure(WIDTH, tops[-1], look), look, found.names, tops[-1])
    two_sided = look.diverging()
    sheet.square(found.cosine, "Cosine of the changes", two_sided, (-1, 1), (0, tops[0]), cell)
    sheet.square(
        found.new_information,
        "New information, 1 − cos²",
        "cividis",
        (0, 1),
        (half, tops[0]),
        cell,
    )
    sheet.square(
        found.conflict_ratio,
        "Conflict: opposite signs, 0.5 is chance",
        two_sided.reversed(),
        (0, 1),
        (0, tops[1]),
        cell,
    )
    kinds, blocks = (profile(analysis, x) for x in (analysis.layer_types, analysis.blocks))
    sheet.profile(kinds, "Where the change is, % per kind of layer", (half, tops[1]), half, cell)
    sheet.profile(blocks, "Where the change is, % per block", (0, tops[2]), WIDTH, strip)
    sheet.title("Quality card", (0, tops[3]))
    card = sheet.axes(_EDGE, tops[3] + _HEAD, WIDTH - 2 * _EDGE, _LINE * (count + 1))
    draw_card(card, look, found)
    return finished(sheet.figure)


class _Sheet:
    """Panels placed by pixels from the top left corner."""

    def __init__(self, figure: Figure, look: Look, names: Sequence[str], height: int) -> None:
        self.figure, self._look, self._height = figure, look, height
        self._names = [f"{shortened(name, 20)}  {i}" for i, name in enumerate(names, start=1)]

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes over that rectangle of pixels."""
        bottom = self._height - top - height
        return self.figure.add_axes(
            (left / WIDTH, bottom / self._height, width / WIDTH, height / self._height),
            facecolor=self._look.paper,
        )

    def title(self, text: str, corner: tuple[int, int]) -> None:
        """The heading of the panel at `corner` (left, top)."""
        x, y = (corner[0] + _EDGE) / WIDTH, 1 - (corner[1] + 22) / self._height
        self.figure.text(x, y, text, color=self._look.ink, fontsize=11, weight="bold", va="center")

    def square(
        self,
        values: NDArray[np.float64],
        title: str,
        colours: Any,
        limits: tuple[float, float],
        corner: tuple[int, int],
        cell: int,
    ) -> None:
        """Models against models: names at the left, their numbers on top."""
        count = len(values)
        self.title(title, corner)
        axes = self.axes(corner[0] + _NAMES, corner[1] + _HEAD, cell * count, cell * count)
        image = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
        self._label(axes, count)
        axes.set_xticks(range(count), [str(i + 1) for i in range(count)], fontsize=8)
        axes.xaxis.tick_top()
        if cell >= _ROOM_FOR_FIGURES:
            for (i, j), value in np.ndenumerate(values):
                self._write(axes, image, (j, i), value, _decimals(value, cell), cell)

    def profile(
        self, found: Profile, title: str, corner: tuple[int, int], width: int, cell: int
    ) -> None:
        """Models against parts of the model; darkest is each model's largest share."""
        count, parts = found.share.shape[1], len(found.parts)
        self.title(title, corner)
        space = width - _NAMES - _EDGE - 8
        wide = min(space, 64 * parts)
        axes = self.axes(corner[0] + _NAMES, corner[1] + _HEAD, wide, cell * count)
        shares = found.share.T
        most = np.maximum(shares.max(axis=1, keepdims=True), 1e-12)
        image = axes.imshow(shares / most, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        self._label(axes, count)
        step = -(-parts * 19 // space)  # a slanted label needs 19 pixels
        places = range(0, parts, step)
        labels = [shortened(found.parts[p], 18) for p in places]
        axes.set_xticks(list(places), labels, fontsize=7.5, rotation=45, ha="right")
        axes.xaxis.tick_bottom()
        axes.tick_params(axis="x", rotation=45)
        if wide / parts >= _ROOM_FOR_FIGURES:
            for (i, j), share in np.ndenumerate(shares):
                where = (j, i)
                self._write(axes, image, where, share / most[i, 0], f"{100 * share:.0f}", cell)

    def _label(self, axes: Axes, count: int) -> None:
        axes.set_yticks(range(count), self._names, fontsize=8)
        axes.tick_params(length=0, pad=4, colors=self._look.ink)
        for side in axes.spines.values():
            side.set_visible(False)

    def _write(
        self,
        axes: Axes,
        image: Any,
        where: tuple[int, int],
        value: float,
        text: str,
        cell: int,
    ) -> None:
        """A figure in a cell, black or white by the cell's brightness."""
        red, green, blue, _ = image.cmap(image.norm(value))
        bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
        size = min(9.0, 0.27 * cell)
        x, y = where
        axes.text(x, y, text, ha="center", va="center", fontsize=size, color=_INK[bright])


def _decimals(value: float, cell: int) -> str:
    """0.84 as ".84" in narrow cells; no minus sign for what rounds to zero."""
    text = f"{value:.2f}".replace("-0.00", "0.00")
    return text if cell >= 36 else text.replace("0.", ".", 1)
