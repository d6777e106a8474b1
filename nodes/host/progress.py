"""A node's progress bar and its interruption."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from ...orthomerge_core import errors
from ...orthomerge_core.progress import Progress

__all__ = ["HostProgress"]


_LONGEST_NOTE = 500


class HostProgress(Progress):
    """Progress of one node: the bar, one line with the time left, and the stop button.

    Interrupts are looked at on every call; messages go out at most every 0.1 s (bar) and 0.5 s
    (text), from the thread that made this object.
    """

    BAR_S, TEXT_S = 0.1, 0.5

    def __init__(self, node_id: str | None) -> None:
        self._node, self._thread = node_id, threading.get_ident()
        self._made = time.monotonic()
        self._total, self._done, self._label = 1.0, 0.0, ""
        self._started = self._bar_at = self._text_at = time.monotonic()
        self._bar: Any = None

    def start(self, total: float, label: str) -> None:
        """A step of `total` bytes or FLOPs begins."""
        from comfy.utils import ProgressBar

        self._total, self._done, self._label = max(float(total), 1.0), 0.0, label
        self._started = time.monotonic()
        self._bar_at = self._text_at = 0.0
        self._bar = ProgressBar(1000, node_id=self._node)
        self.advance(0.0)

    def advance(self, amount: float) -> None:
        """`amount` more is done."""
        self.check()
        self._done += amount
        if threading.get_ident() != self._thread:
            return
        now = time.monotonic()
        share = min(self._done / self._total, 1.0)
        if self._bar is not None and (now - self._bar_at >= self.BAR_S or share >= 1.0):
            self._bar_at = now
            self._bar.update_absolute(round(1000 * share), 1000)
        if now - self._text_at >= self.TEXT_S:
            self._text_at = now
            self.note(f"{self._label}: {share:.0%}{self._time_left(share, now)}")

    def check(self) -> None:
        """Raise the host's interrupt, or `Cancelled` on another thread than the node's own.

        The host forgets the interrupt once it is raised, so only the node's thread may raise it.
        """
        from comfy import model_management

        if threading.get_ident() == self._thread:
            model_management.throw_exception_if_processing_interrupted()
        elif model_management.processing_interrupted():
            raise errors.Cancelled

    def note(self, text: str) -> None:
        """One line under the node. A character that cannot be encoded would stop the host."""
        module = sys.modules.get("server")  # absent where something else embeds ComfyUI
        server = getattr(getattr(module, "PromptServer", None), "instance", None)
        if server is not None and self._node is not None:
            server.send_progress_text(errors.quoted(text, _LONGEST_NOTE), self._node)

    def finish(self) -> None:
        """The work is done: a full bar, and how long it took in place of the last share."""
        if self._bar is not None:
            self._bar.update_absolute(1000, 1000)
            self.note(f"Done in {time.monotonic() - self._made:.1f} s")

    def _time_left(self, share: float, now: float) -> str:
        spent = now - self._started
        if share <= 0.01 or spent < 1.0:
            return ""
        left = spent * (1.0 - share) / share
        return f", {left:.0f} s left" if left < 90 else f", {left / 60:.0f} min left"
