"""A progress bar on stderr: amount, rate, time left. Silent unless stderr is a terminal."""

from __future__ import annotations

import shutil
import sys
import time

from ..io.closing import Closing
from ..progress import Progress

__all__ = ["Bar"]

_WIDTH = 28
_EVERY_S = 0.1


class Bar(Closing, Progress):
    """A context manager that draws at most ten times a second and wipes its line at the end.

    It draws on a terminal only, unless `always`; `quiet` wins over both.
    """

    def __init__(self, *, quiet: bool = False, always: bool = False) -> None:
        self._out = sys.stderr
        self._shown = not quiet and (always or self._out.isatty())
        self._total, self._done, self._label = 0.0, 0.0, ""
        self._begun = self._drawn = 0.0
        self._dirty = False

    def start(self, total: float, label: str) -> None:
        """See `Progress`."""
        self._total, self._done, self._label = total, 0.0, label
        self._begun, self._drawn = time.monotonic(), 0.0
        self._draw()

    def advance(self, amount: float) -> None:
        """See `Progress`."""
        self._done += amount
        self._draw()

    def note(self, text: str) -> None:
        """See `Progress`."""
        if self._shown:
            self._wipe()
            self._out.write(text + "\n")

    def close(self) -> None:
        """Wipe the line."""
        self._wipe()

    def _draw(self) -> None:
        now = time.monotonic()
        if not self._shown or now - self._drawn < _EVERY_S:
            return
        self._drawn = now
        share = min(self._done / self._total, 1.0) if self._total > 0 else 0.0
        filled = round(share * _WIDTH)
        bar = "#" * filled + "." * (_WIDTH - filled)
        left = _time_left(now - self._begun, share)
        tail = f" [{bar}] {100 * share:3.0f} %{left}"
        columns = shutil.get_terminal_size().columns - 1  # a longer line could not be wiped
        room = max(columns - len(tail), 1)
        label = self._label if len(self._label) <= room else self._label[: room - 1] + "…"
        self._out.write("\r\x1b[K" + (label + tail)[:columns])
        self._out.flush()
        self._dirty = True

    def _wipe(self) -> None:
        if self._dirty:
            self._out.write("\r\x1b[K")
            self._out.flush()
            self._dirty = False


def _time_left(spent_s: float, share: float) -> str:
    if share <= 0.01 or spent_s < 1.0:
        return ""
    seconds = round(spent_s * (1.0 - share) / share)
    return f"  {seconds // 60}:{seconds % 60:02d} left"
