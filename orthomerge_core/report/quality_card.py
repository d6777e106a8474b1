"""The quality card: one line of figures per model, with a bar for its quality."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..analysis.derive import Derived
from ..analysis.metrics.effective_rank import spread_word
from .plot_look import Look, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_card"]

# Right edge of each column, 0..1; the bar of the quality lies between the first two.
_COLUMNS = {
    "grade": 0.27,
    "quality": 0.34,
    "change": 0.55,
    "spread": 0.70,
    "SNR": 0.78,
    "survival": 0.87,
    "coverage": 0.97,
}
_BAR = (0.355, 0.115)  # left edge and length at quality 1


def draw_card(axes: Axes, look: Look, found: Derived) -> None:
    """Fill `axes` with a heading and one line per model."""
    count = len(found.names)
    axes.set(xlim=(0, 1), ylim=(count + 0.5, -0.5))
    axes.axis("off")
    axes.text(0.0, 0, "model", color=look.faint, fontsize=9, va="center")
    for word, right in _COLUMNS.items():
        axes.text(right, 0, word, color=look.faint, fontsize=9, va="center", ha="right")
    for i in range(count):
        y = i + 1
        axes.axhline(y - 0.5, color=look.line, linewidth=0.6)
        name = f"{i + 1}  {shortened(found.names[i], 26)}"
        axes.text(0.0, y, name, color=look.ink, fontsize=9, va="center")
        for (_, right), text in zip(_COLUMNS.items(), _texts(found, i), strict=True):
            axes.text(right, y, text, color=look.ink, fontsize=9, va="center", ha="right")
        if not math.isnan(found.quality[i]):
            left, length = _BAR
            axes.barh(y, length, left=left, height=0.42, color=look.line)
            axes.barh(y, length * found.quality[i], left=left, height=0.42, color=look.good)


def _texts(found: Derived, i: int) -> list[str]:
    """The figures of one model, in the order of `_COLUMNS`."""
    rank, ratio, value = found.effective_rank[i], found.snr[i], found.quality[i]
    known = not math.isnan(rank)
    return [
        found.grade[i],
        f"{value:.2f}" if not math.isnan(value) else "n/a",
        f"{100 * found.relative_norm[i]:.3g} %",
        f"{rank:.2f} {spread_word(float(rank))}" if known else "n/a",
        f"{ratio:.3g}" if known else "n/a",
        f"{found.survival[i]:.0f} %",
        f"{100 * found.coverage_frac[i]:.4g} %",
    ]
