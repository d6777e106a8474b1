"""Long library calls in the background, so that the calling thread can read, report and cancel."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

from ..progress import Progress

__all__ = ["BackgroundCalls", "run_abandonable"]

Result = TypeVar("Result")

_POLL_S = 0.05


def run_abandonable(work: Callable[[], Result], progress: Progress) -> Result:
    """Run one long library call in the background, so that canceling does not wait for it.

    After a cancel the call goes on in the background until it returns, and its result is dropped;
    only the end of the process waits for it.
    """
    box: list[Any] = []
    errors: list[BaseException] = []
    finished = threading.Event()

    def body() -> None:
        try:
            box.append(work())
        except BaseException as error:
            # Re-raised on the calling thread.
            errors.append(error)
        finally:
            finished.set()

    # Not a daemon: a process that ends while one is inside a BLAS call is aborted by C++.
    thread = threading.Thread(target=body)
    thread.start()
    while not finished.wait(_POLL_S):
        progress.check()
    thread.join()
    if errors:
        raise errors[0]
    result: Result = box[0]
    return result


class BackgroundCalls(Generic[Result]):
    """Up to `at_once` concurrent calls, whose results come in the order in which they finish.

    Inside the context torch runs on one thread of the calling thread, which shares the cores with
    the calls; `threads` is the count from before, and comes back after. Left by an exception,
    running calls go on until they return and their results are dropped, and those that wait for
    their turn never begin: a stop waits for nothing.
    """

    def __init__(self, at_once: int) -> None:
        self.open = 0
        self._turns = threading.Semaphore(at_once)
        self._ended: queue.SimpleQueue[tuple[int, list[Result], BaseException | None]]
        self._ended = queue.SimpleQueue()
        self._stopped = False
        self.threads = torch.get_num_threads()

    def __enter__(self) -> BackgroundCalls[Result]:
        """Nothing runs yet."""
        torch.set_num_threads(1)
        return self

    def __exit__(self, *_: object) -> None:
        """Abandon what is still open."""
        self._stopped = True
        torch.set_num_threads(self.threads)

    def start(self, tag: int, work: Callable[[], Result], threads: int) -> None:
        """Run `work` with that many torch threads as soon as a slot is free."""

        def body() -> None:
            found: list[Result] = []
            error: BaseException | None = None
            with self._turns:
                if self._stopped:
                    return
                torch.set_num_threads(threads)  # this thread's; it ends with it
                try:
                    found.append(work())
                except BaseException as raised:
                    # Re-raised on the calling thread.
                    error = raised
            self._ended.put((tag, found, error))

        self.open += 1
        # Not a daemon: a process that ends while one is inside a BLAS call is aborted by C++.
        threading.Thread(target=body).start()

    def next(self, progress: Progress) -> tuple[int, Result]:
        """The tag and result of the call that ends first, or its error."""
        while True:
            try:
                tag, found, error = self._ended.get(timeout=_POLL_S)
            except queue.Empty:
                progress.check()
                continue
            self.open -= 1
            if error is not None:
                raise error
            return tag, found[0]
