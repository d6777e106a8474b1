"""Worker threads over a list of tasks; progress and cancellation stay on the calling thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch

from ..progress import Progress

__all__ = ["WORKERS", "Tick", "Ticker", "default_workers", "run_pool", "usable_cores"]

Task = TypeVar("Task")

WORKERS = 8
"""Most worker threads of one pass: more readers gain nothing from one disk or one memory bus."""

Tick = Callable[[float], None]
"""Called by a piece of work with the amount it has done since the last call."""

_POLL_S = 0.05


class _Stopped(BaseException):
    """Unwinds a worker after a stop; never leaves this module."""


class Ticker:
    """What a worker calls after each piece of work, at least every 0.2 s."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = 0.0
        self._stop = False

    def __call__(self, amount: float) -> None:
        """`amount` more is done; unwinds the worker if the run is being stopped."""
        with self._lock:
            self._done += amount
            stop = self._stop
        if stop:
            raise _Stopped

    def take(self) -> float:
        """What was done since the last call."""
        with self._lock:
            done, self._done = self._done, 0.0
        return done

    def stop(self) -> None:
        """Unwind every worker at its next tick."""
        with self._lock:
            self._stop = True


class _Run(Generic[Task]):
    """One run of the pool: the shared queue, the first error, and who is still at work."""

    def __init__(
        self, tasks: Sequence[Task], make: Callable[[], Callable[[Task, Ticker], None]], count: int
    ) -> None:
        self.ticker = Ticker()
        self.errors: list[BaseException] = []
        self.finished = threading.Event()
        self._make = make
        self._tasks: Iterator[Task] = iter(tasks)
        self._lock = threading.Lock()
        self._alive = count

    def work(self) -> None:
        """Body of one thread."""
        torch.set_num_threads(1)
        try:
            worker = self._make()
            for task in iter(self._next, None):
                worker(task, self.ticker)
        except _Stopped:
            pass
        except BaseException as error:
            # Re-raised on the calling thread.
            self.errors.append(error)
            self.ticker.stop()
        finally:
            with self._lock:
                self._alive -= 1
                if not self._alive:
                    self.finished.set()

    def _next(self) -> Task | None:
        with self._lock:
            return next(self._tasks, None)


def usable_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers() -> int:
    """Default number of worker threads of a pass: the usable cores, at most `WORKERS`."""
    return min(usable_cores(), WORKERS)


def run_pool(
    tasks: Sequence[Task],
    make_worker: Callable[[], Callable[[Task, Ticker], None]],
    threads: int,
    progress: Progress,
) -> None:
    """Run every task once, in order of the list as workers become free.

    Args:
        tasks: what to do; none of them None.
        make_worker: called once in each thread, so that a worker can own its buffers.
        threads: number of worker threads, at least 1.
        progress: called on the calling thread only; what it raises stops the workers at their next
            tick and is raised again after they have ended.

    Raises the first error of any worker. Inside a worker torch runs on one thread.
    """
    count = max(1, min(threads, len(tasks)))
    with _restored_torch_threads():
        run = _Run(tasks, make_worker, count)
        workers = [threading.Thread(target=run.work, daemon=True) for _ in range(count)]
        for worker in workers:
            worker.start()
        try:
            while not run.finished.wait(_POLL_S):
                progress.advance(run.ticker.take())
        finally:
            run.ticker.stop()
            for worker in workers:
                worker.join()
    if run.errors:
        raise run.errors[0]
    progress.advance(run.ticker.take())


@contextmanager
def _restored_torch_threads() -> Iterator[None]:
    """Give threads that start later torch's former thread count back."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
