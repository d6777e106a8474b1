"""An analysis as one picture: similarity, location of the change, and quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.derive import derive
from ..analysis.profile import Profile, profile
from ..analysis.result import Analysis
from ..keys.components import component_label
from .part_axis import label_parts
from .plot_look import DARK, LIGHT, Look, finished, new_figure, shortened
from .quality_card import draw_card

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["heatmaps"]

WIDTH = 1024
_EDGE = 14
_NAMES = 172  # pixels for the models' names
_HEAD, _TITLE, _GAP = 62, 40, 26  # a heading with numbers below it, one without, space below
_TICKS, _LINE = 96, 26  # slanted labels, a line of the card
_NUMBERS = 26  # pixels for their numbers alone
_LEAST_CELL, _MOST_CELL, _ROOM_FOR_FIGURES = 11, 64, 17
_FIGURES_UP_TO = 16
_HEADINGS = {
    False: (
        "Cosine of the changes",
        "New information, 1 − cos²",
        "Conflict: opposite signs, 0.5 is chance",
    ),
    True: (
        "Cosine: blue 1, pale 0, orange −1",
        "New information, 1 − cos²: blue 0, pale 1",
        "Conflict: blue 0, pale 0.5 (chance), orange 1",
    ),
}
_MOST_SHARE = 34  # pixels for the largest share at the right of a profile
_INK = {True: "#000000", False: "#ffffff"}


def heatmaps(analysis: Analysis, dark: bool = False) -> NDArray[np.uint8]:
    """Cosine, new information, conflict, block profile and quality card: [height, 1024, 3].

    All of the diffusion model; of a checkpoint also how much each component changes.
    One color language: pale is nothing or chance, blue is alike or much, orange is opposed; it
    keeps apart for every kind of color vision. Figures are written into the cells of up to 16
    models; above that the headings say what colors mean. Needs matplotlib. Cost: about a second.
    """
    look, found = DARK if dark else LIGHT, derive(analysis)
    count = len(found.names)
    many = count > _FIGURES_UP_TO
    cell = (WIDTH - _NAMES - _NUMBERS - 3 * _EDGE) // (2 * count)
    cell = max(_LEAST_CELL, cell) if many else min(_MOST_CELL, (WIDTH // 2 - _NAMES - 30) // count)
    right = _NAMES + cell * count + _EDGE if many else WIDTH // 2
    strip = max(_LEAST_CELL, min(cell, 28))
    tops = [0, _HEAD + cell * count + _GAP]
    tops += [tops[1] + max(_HEAD + cell * count + _GAP, _TITLE + strip * count + _TICKS)]
    tops += [tops[2] + _TITLE + strip * count + _TICKS]
    parts = analysis.components if len(analysis.components) > 1 else ()
    beside = tops[3]
    tops[3] += (_HEAD + strip * count + _GAP) if parts else 0
    height = tops[3] + _TITLE + _LINE * (count + 1) + _GAP
    sheet = _Sheet(new_figure(WIDTH, height, look), look, found.names, height)
    two_sided, rising = look.diverging(), look.rising()
    cosine, new, conflict = _HEADINGS[many]
    sheet.square(found.cosine, cosine, two_sided, (-1, 1), (0, 0), cell)
    sheet.square(found.new_information, new, rising.reversed(), (0, 1), (right, 0), cell)
    sheet.square(found.conflict_ratio, conflict, two_sided.reversed(), (0, 1), (0, tops[1]), cell)
    kinds, blocks = (profile(analysis, x) for x in (analysis.layer_types, analysis.blocks))
    sheet.profile(kinds, "Where the change is, % by kind of layer", (right, tops[1]), strip)
    sheet.profile(blocks, "Where the change is, % by block", (0, tops[2]), strip)
    if parts:
        sheet.components(analysis, parts, beside, strip)
    sheet.title("Quality card", (0, tops[3]))
    card = sheet.axes(_EDGE, tops[3] + _TITLE, WIDTH - 2 * _EDGE, _LINE * (count + 1))
    draw_card(card, look, found)
    return finished(sheet.figure)


class _Sheet:
    """Panels placed by pixels from the top left corner."""

    def __init__(self, figure: Figure, look: Look, names: Sequence[str], height: int) -> None:
        self.figure, self._look, self._height = figure, look, height
        self._names = [f"{shortened(name, 20)}  {i}" for i, name in enumerate(names, start=1)]
        self._brief = len(names) > _FIGURES_UP_TO

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
        left = corner[0] + self._names_width(corner)
        axes = self.axes(left, corner[1] + _HEAD, cell * count, cell * count)
        image = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
        self._label(axes, corner)
        shown = range(0, count, 1 if cell >= _ROOM_FOR_FIGURES else 2)
        axes.set_xticks(shown, [str(i + 1) for i in shown], fontsize=8.5)
        axes.xaxis.tick_top()
        if cell >= _ROOM_FOR_FIGURES:
            for (i, j), value in np.ndenumerate(values):
                self._write(axes, image, (j, i), value, _decimals(value, cell), cell)

    def profile(self, found: Profile, title: str, corner: tuple[int, int], strip: int) -> None:
        """Models against parts of the model; strongest is each model's largest share."""
        count, parts = found.share.shape[1], len(found.parts)
        left = corner[0] + self._names_width(corner)
        wide = min(WIDTH - left - 2 * _EDGE - _MOST_SHARE, 64 * parts)
        figures = wide / parts >= 22 and strip >= _ROOM_FOR_FIGURES
        note = "" if figures or corner[0] else "; strongest: its largest share (right)"
        self.title(title + note, corner)
        axes = self.axes(left, corner[1] + _TITLE, wide, strip * count)
        shares = found.share.T
        most = np.maximum(shares.max(axis=1, keepdims=True), 1e-12)
        colours = self._look.rising()
        image = axes.imshow(shares / most, cmap=colours, vmin=0, vmax=1, aspect="auto")
        self._label(axes, corner)
        label_parts(axes, self._look, found.parts, wide / parts)
        if figures:
            for (i, j), share in np.ndenumerate(shares):
                text = f"{100 * share:.0f}"
                self._write(axes, image, (j, i), share / most[i, 0], text, strip)
            return
        for i, share in enumerate(most[:, 0]):
            text = f" {100 * share:.0f} %"
            x = parts - 0.5
            axes.text(x, i, text, fontsize=7.5, color=self._look.ink, va="center", ha="left")

    def components(self, analysis: Analysis, parts: Sequence[str], top: int, strip: int) -> None:
        """Models against components: ‖D‖/‖B‖ within each, pale to blue within each column."""
        self.title("How much each component changes, %", (0, top))
        found = [derive(analysis, analysis.keys_in(part)).relative_norm for part in parts]
        values = np.stack(found, axis=1)
        width = min(WIDTH - _NAMES - 2 * _EDGE, 150 * len(parts))
        axes = self.axes(_NAMES, top + _HEAD, width, strip * len(values))
        shades = values / np.maximum(values.max(axis=0, keepdims=True), 1e-12)
        image = axes.imshow(shades, cmap=self._look.rising(), vmin=0, vmax=1, aspect="auto")
        self._label(axes, (0, top))
        names = [component_label(part).split(" (")[0] for part in parts]
        axes.set_xticks(range(len(parts)), names, fontsize=8.5)
        axes.xaxis.tick_top()
        if strip >= _ROOM_FOR_FIGURES:
            for (i, j), value in np.ndenumerate(values):
                self._write(axes, image, (j, i), shades[i, j], f"{100 * value:.2f}", 34)

    def _names_width(self, corner: tuple[int, int]) -> int:
        """Panels at the right of many models have room for their numbers only."""
        return _NUMBERS + _EDGE if self._brief and corner[0] else _NAMES

    def _label(self, axes: Axes, corner: tuple[int, int]) -> None:
        names = self._names
        if self._names_width(corner) != _NAMES:
            names = [name.rsplit("  ", 1)[1] for name in names]
        axes.set_yticks(range(len(names)), names, fontsize=7.5 if self._brief else 8.5)
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
        size = min(10.0, 0.27 * cell)
        x, y = where
        axes.text(x, y, text, ha="center", va="center", fontsize=size, color=_INK[bright])


def _decimals(value: float, cell: int) -> str:
    """0.84 as ".84" and 1.00 as "1" in narrow cells; no minus sign for what rounds to zero."""
    text = f"{value:.2f}".replace("-0.00", "0.00")
    if cell >= 36:
        return text
    return "1" if text == "1.00" else "0" if text == "0.00" else text.replace("0.", ".", 1)
