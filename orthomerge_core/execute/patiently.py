"""Run something long and uninterruptible while still listening for a stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import torch

from ..progress import Progress

__all__ = ["patiently"]

T = TypeVar("T")


def patiently(work: Callable[[], T], progress: Progress, poll_s: float = 0.1) -> T:
    """`work()`, done in another thread, while this one calls `progress.check` every `poll_s`.

    When `check` raises, the thread is left to finish what it computes by itself, a decomposition at
    most; its result is dropped.
    """
    task = _Task(work)
    thread = threading.Thread(target=task.run, name="orthomerge-compute", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(poll_s)
        progress.check()
    if task.error is not None:
        raise task.error
    return task.result[0]


class _Task(Generic[T]):
    """A call and what came of it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self.work = work
        self.result: list[T] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            # inference mode is a property of the thread, not of the process
            with torch.inference_mode():
                self.result.append(self.work())
        except BaseException as error:  # raised again by the thread that waits
            self.error = error
