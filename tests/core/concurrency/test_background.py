"""Calls beside the thread that listens."""

import threading
import time

import pytest
import torch

from orthomerge_core.concurrency.background import BackgroundCalls
from orthomerge_core.errors import Cancelled
from orthomerge_core.progress import Progress


class Impatient(Progress):
    def check(self):
        raise Cancelled


def test_results_come_with_their_tags_and_threads():
    before = torch.get_num_threads()
    with BackgroundCalls(2) as calls:
        assert torch.get_num_threads() == 1
        assert calls.threads == before
        for tag, threads in ((4, 1), (5, 2), (6, 3)):
            calls.start(tag, torch.get_num_threads, threads)
        assert calls.open == 3
        found = dict(calls.next(Progress()) for _ in range(3))
        assert found == {4: 1, 5: 2, 6: 3}
        assert calls.open == 0
    assert torch.get_num_threads() == before


def test_no_more_run_than_there_are_turns():
    running, most, lock = [], [], threading.Lock()

    def work():
        with lock:
            running.append(1)
            most.append(len(running))
        time.sleep(0.05)
        with lock:
            running.pop()

    with BackgroundCalls(2) as calls:
        for tag in range(6):
            calls.start(tag, work, 1)
        while calls.open:
            calls.next(Progress())
    assert max(most) == 2


def test_an_error_is_raised_where_it_is_collected():
    def fail():
        raise ValueError("odd")

    with BackgroundCalls(1) as calls, pytest.raises(ValueError, match="odd"):
        calls.start(0, fail, 1)
        calls.next(Progress())


def test_a_stop_waits_for_nothing_and_what_waits_never_begins():
    release, begun, ended = threading.Event(), [], []

    def long():
        begun.append(1)
        release.wait(60)
        ended.append(1)

    before = threading.active_count()
    with pytest.raises(Cancelled), BackgroundCalls(1) as calls:
        calls.start(0, long, 1)
        while not begun:
            time.sleep(0.001)
        calls.start(1, long, 1)
        calls.next(Impatient())
    assert not ended  # the stop did not wait for it
    release.set()
    while threading.active_count() > before:
        time.sleep(0.01)
    assert begun == [1]
