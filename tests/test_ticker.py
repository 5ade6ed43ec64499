"""The thread that calls what is due from time to time."""

from __future__ import annotations

import gc
import logging
import threading

import pytest

from tiercache.ticker import Ticker


class Counting:
    def __init__(self, wanted: int = 3, error: Exception | None = None) -> None:
        self.calls = 0
        self.wanted = wanted
        self.error = error
        self.reached = threading.Event()

    def tick(self) -> None:
        self.calls += 1
        if self.calls >= self.wanted:
            self.reached.set()
        if self.error is not None:
            raise self.error


def thread_of(ticker: Ticker) -> threading.Thread:
    assert ticker._thread is not None
    return ticker._thread


def test_a_method_is_called_again_and_again() -> None:
    ticker, counting = Ticker(), Counting()
    ticker.every(0.01, counting.tick)
    assert counting.reached.wait(10)
    ticker.stop(counting.tick)
    thread_of(ticker).join(10)


def test_its_thread_keeps_no_interpreter_alive_and_ends_with_its_last_task() -> None:
    ticker, counting = Ticker(), Counting(1)
    ticker.every(0.01, counting.tick)
    thread = thread_of(ticker)
    assert thread.daemon
    assert counting.reached.wait(10)
    del counting
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_one_that_fails_is_logged_and_keeps_no_other_from_being_called(caplog: pytest.LogCaptureFixture) -> None:
    ticker, failing, counting = Ticker(), Counting(2, ValueError("secret")), Counting()
    with caplog.at_level(logging.ERROR, "tiercache"):
        ticker.every(0.01, failing.tick)
        ticker.every(0.01, counting.tick)
        assert failing.reached.wait(10)
        assert counting.reached.wait(10)
    ticker.stop(failing.tick)
    ticker.stop(counting.tick)
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_after_a_fork_the_next_registration_starts_another_thread() -> None:
    ticker, counting = Ticker(), Counting(1)
    ticker.every(0.01, counting.tick)
    before = thread_of(ticker)
    ticker.after_fork()
    again = Counting()
    ticker.every(0.01, again.tick)
    assert thread_of(ticker) is not before
    assert again.reached.wait(10)
    ticker.stop(counting.tick)
    ticker.stop(again.tick)
    thread_of(ticker).join(10)
