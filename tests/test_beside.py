"""Work beside the requests: done once, waited for as long as each may wait, and told how it ended."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import warnings

import pytest

from tiercache.objectstore import beside as module
from tiercache.objectstore.beside import Beside
from tiercache.objectstore.sockets import left, until

LONG = 30.0


class Work:
    """Work that waits until it may end, and fails with the next of its errors."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.may_end, self.began = threading.Event(), threading.Event()
        self.runs = 0
        self.seconds = 0.0

    def __call__(self):
        self.runs += 1
        self.seconds = left()
        self.began.set()
        assert self.may_end.wait(LONG)
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def work():
    return Work()


def wait(beside, seconds=LONG):
    with until(time.monotonic() + seconds):
        beside.wait()


def test_it_is_done_once_for_all_who_wait(work):
    beside, threads = Beside(work), []
    for _ in range(8):
        threads.append(threading.Thread(target=wait, args=(beside,)))
        threads[-1].start()
    assert work.began.wait(LONG)
    work.may_end.set()
    for thread in threads:
        thread.join(LONG)
    assert work.runs == 1


def test_it_is_done_again_when_it_is_needed_again(work):
    beside = Beside(work)
    work.may_end.set()
    wait(beside)
    wait(beside)
    assert work.runs == 2


def test_who_has_no_time_left_waits_no_longer_and_the_work_goes_on(work):
    beside = Beside(work)
    with pytest.raises(TimeoutError):
        wait(beside, 0.05)
    work.may_end.set()
    wait(beside)
    assert work.runs == 1


def test_it_is_not_bound_by_the_time_of_who_asked_for_it(work):
    beside = Beside(work)
    with pytest.raises(TimeoutError):
        wait(beside, 0.05)
    work.may_end.set()
    wait(beside)
    assert work.seconds > 1


def test_a_failure_is_told_to_all_who_wait_and_then_forgotten():
    work = Work(ValueError("once"))
    beside = Beside(work)
    work.may_end.set()
    with pytest.raises(ValueError, match="once"):
        wait(beside)
    wait(beside)
    assert work.runs == 2


def test_a_failure_of_dear_work_is_told_to_who_asks_soon_after(monkeypatch):
    work = Work(ValueError("dear"))
    beside = Beside(work, told_for=LONG)
    work.may_end.set()
    for _ in range(3):
        with pytest.raises(ValueError, match="dear"):
            wait(beside)
    assert work.runs == 1
    monkeypatch.setattr(beside, "_told_for", 1e-9)
    wait(beside)
    assert work.runs == 2


def ended_without_a_listener(work):
    """Work that failed when nobody waited for it any more."""
    beside = Beside(work)
    with pytest.raises(TimeoutError):
        wait(beside, 0.05)
    run = beside._run
    work.may_end.set()
    assert isinstance(run.exception(LONG), ValueError)
    return beside


def test_a_failure_that_nobody_waited_for_is_told_to_who_asks_next():
    work = Work(ValueError("late"))
    beside = ended_without_a_listener(work)
    with pytest.raises(ValueError, match="late"):
        wait(beside)
    assert work.runs == 1


def test_a_failure_of_long_ago_is_not_told(monkeypatch):
    work = Work(ValueError("long ago"))
    beside = ended_without_a_listener(work)
    monkeypatch.setattr(module, "_TOLD_WITHIN", 0.0)
    wait(beside)
    assert work.runs == 2


def test_it_can_be_started_without_waiting(work):
    beside = Beside(work)
    beside.start()
    beside.start()
    assert work.began.wait(LONG)
    work.may_end.set()
    wait(beside)
    assert work.runs == 1


def test_started_a_while_after_a_failure_it_is_done_again(monkeypatch):
    work = Work(ValueError("first"))
    beside = ended_without_a_listener(work)
    work.began.clear()
    beside.start()  # at once, it would fail again
    assert work.runs == 1
    monkeypatch.setattr(module, "_TOLD_WITHIN", 0.0)
    beside.start()
    assert work.began.wait(LONG)
    assert work.runs == 2


def test_a_forked_child_does_its_own(work):
    beside = Beside(work)
    beside.start()
    assert work.began.wait(LONG)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # later Pythons warn of forking beside threads
        child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            work.may_end.set()
            wait(beside)
            code = 0 if work.runs == 2 else 2
        os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    work.may_end.set()
