"""Progress of a long step, and how it is told to stop."""

from __future__ import annotations

__all__ = ["OnlyChecks", "Progress"]


class Progress:
    """Counts work in bytes or FLOPs; hosts subclass it. The base class is silent and never cancels.

    A long step calls `start` once, then `advance` at least every 0.2 s of work with the amount done
    since the last call, or `check` where no amount is known. Both may raise `errors.Cancelled` (or
    the host's own interrupt); the step must let it pass and clean up in `finally`.
    """

    def start(self, total: float, label: str) -> None:
        """A step of `total` units begins; `label` is a few words for people."""

    def advance(self, amount: float) -> None:
        """`amount` more units are done."""
        self.check()

    def check(self) -> None:
        """Raise if the person asked to stop."""

    def note(self, text: str) -> None:
        """One line of status for people, e.g. what is being read."""


class OnlyChecks(Progress):
    """Passes on the wish to stop, but no amounts: for work that an announced total leaves out."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner

    def check(self) -> None:
        """See `Progress`."""
        self._inner.check()
