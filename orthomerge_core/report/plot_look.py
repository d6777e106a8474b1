"""Colors, fonts and the canvas that the pictures of an analysis share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DARK", "DPI", "LIGHT", "Look", "finished", "new_figure", "shortened"]

DPI = 100
_CJK = ("Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "Hiragino Sans GB", "SimHei")


@dataclass(frozen=True)
class Look:
    """Colors; the blue and orange of Okabe and Ito 2008 keep apart for every color vision."""

    paper: str
    ink: str
    faint: str
    line: str
    good: str
    middle: str

    def diverging(self) -> Any:
        """Orange below, the paper's tone at the middle, blue above."""
        from matplotlib.colors import LinearSegmentedColormap

        ends = ("#8a3b00", "#e08214", self.middle, "#4393c3", "#08306b")
        if self is DARK:
            ends = ("#ffb866", "#c96a10", self.middle, "#3a86c0", "#a6d4ff")
        return LinearSegmentedColormap.from_list("orthomerge", ends)

    def rising(self) -> Any:
        """From the paper's tone at the bottom to full blue, with brightness falling all the way
        (rising on dark paper)."""
        from matplotlib.colors import LinearSegmentedColormap

        ends = (self.middle, "#9ecae1", "#4393c3", "#08306b")
        if self is DARK:
            ends = (self.middle, "#2f5f86", "#3a86c0", "#a6d4ff")
        return LinearSegmentedColormap.from_list("orthomerge-rising", ends)


LIGHT = Look("#ffffff", "#1a1a1a", "#595959", "#c4c4c4", "#0072b2", "#f4f4f4")
DARK = Look("#1e1e1e", "#f0f0f0", "#b4b4b4", "#4a4a4a", "#56b4e9", "#333333")


def new_figure(width: int, height: int, look: Look) -> Figure:
    """An empty canvas of that many pixels, apart from pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=look.paper)
    FigureCanvasAgg(figure)
    return figure


def finished(figure: Figure) -> NDArray[np.uint8]:
    """The pixels, [height, width, 3]."""
    from matplotlib.text import Text

    fonts, _ = _fonts()
    for text in figure.findobj(Text):
        text.set_fontfamily(fonts)
        text.set_parse_math(False)  # a $ in a file name is a $
    canvas: Any = figure.canvas
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def shortened(name: str, longest: int) -> str:
    """The name with its middle cut out where it is too long: both ends tell files apart.

    Characters that no installed font can draw become a box.
    """
    _, drawable = _fonts()
    name = "".join(c if ord(c) in drawable else "□" for c in name)
    if len(name) <= longest:
        return name
    head = (longest - 1) // 2
    return f"{name[:head]}…{name[len(name) - (longest - 1 - head) :]}"


@lru_cache(maxsize=1)
def _fonts() -> tuple[list[str], frozenset[int]]:
    """DejaVu Sans and what this machine has for Chinese, and the characters they draw."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

    installed = set(fontManager.get_font_names())
    names = ["DejaVu Sans", *(name for name in _CJK if name in installed)]
    fonts = [get_font(findfont(FontProperties(family=[name]))) for name in names]
    return names, frozenset(code for font in fonts for code in font.get_charmap())
