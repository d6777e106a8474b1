"""The worker pool: every task once, errors and cancellation on the calling thread."""

import threading

import pytest
import torch

from orthomerge_core.concurrency import pool
from orthomerge_core.concurrency.pool import WORKERS, default_workers, run_pool
from orthomerge_core.errors import Cancelled
from orthomerge_core.progress import Progress


class Counting(Progress):
    def __init__(self):
        super().__init__()
        self.total = 0.0
        self.threads = set()

    def advance(self, amount):
        self.total += amount
        self.threads.add(threading.get_ident())


class Stopping(Progress):
    def advance(self, amount):
        raise Cancelled


def test_every_task_runs_once_and_progress_stays_on_the_calling_thread():
    done, lock, progress = [], threading.Lock(), Counting()

    def worker():
        def work(task, tick):
            with lock:
                done.append(task)
            tick(2.0)

        return work

    run_pool(list(range(50)), worker, 4, progress)
    assert sorted(done) == list(range(50))
    assert progress.total == 100.0
    assert progress.threads == {threading.get_ident()}


def test_torch_runs_on_one_thread_inside_and_on_as_many_as_before_afterwards():
    before, inside = torch.get_num_threads(), []
    run_pool([1], lambda: lambda task, tick: inside.append(torch.get_num_threads()), 1, Progress())
    assert inside == [1]
    assert torch.get_num_threads() == before


def test_the_first_error_of_a_worker_is_raised():
    def work(task, tick):
        raise ValueError(f"task {task}")

    with pytest.raises(ValueError, match="task 3"):
        run_pool([3], lambda: work, 2, Progress())


def test_a_cancel_unwinds_workers_at_their_next_tick():
    started = threading.Event()

    def work(task, tick):
        started.set()
        while True:
            tick(1.0)

    with pytest.raises(Cancelled):
        run_pool([1], lambda: work, 1, Stopping())
    assert started.is_set()


def test_no_worker_is_made_without_a_task_for_it():
    made = []

    def worker():
        made.append(1)
        return lambda task, tick: None

    run_pool([1, 2], worker, 16, Progress())
    assert len(made) == 2


@pytest.mark.parametrize(("cores", "expected"), [(1, 1), (3, 3), (8, 8), (64, WORKERS)])
def test_the_default_is_the_usable_cores_up_to_the_limit(monkeypatch, cores, expected):
    monkeypatch.setattr(pool, "usable_cores", lambda: cores)
    assert default_workers() == expected
