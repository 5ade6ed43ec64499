"""The pool of daemon threads: bounded, refusing when full, and never in the way of an exit or a fork."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

from tiercache import pool as pool_module
from tiercache.errors import BackendUnavailable
from tiercache.pool import DaemonPool

SOON = 30
"""Seconds after which something hangs."""


@pytest.fixture
def pool():
    pool = DaemonPool(3, f"pool-under-test-{time.monotonic_ns()}", max_queue=5)
    yield pool
    pool.close()


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def occupy(pool, gate, jobs):
    """Submit jobs that wait at the gate; return their futures once as many as can are running."""
    running = threading.Semaphore(0)

    def job():
        running.release()
        assert gate.wait(SOON)
        return threading.get_ident()

    futures = [pool.submit(job) for _ in range(jobs)]
    for _ in range(min(jobs, pool.size)):
        assert running.acquire(timeout=SOON)
    return futures


def threads_of(pool):
    return [thread for thread in threading.enumerate() if thread.name == pool._name]


def wait_until(condition):
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


# Work


def test_a_function_runs_with_its_arguments_and_its_result_comes_back(pool):
    assert pool.submit(lambda a, *, b: (a, b), 1, b=2).result(SOON) == (1, 2)


@pytest.mark.parametrize(
    "error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)], ids=lambda e: type(e).__name__
)
def test_whatever_a_function_raises_travels_to_whoever_waits(pool, error):
    def fail():
        raise error

    assert pool.submit(fail).exception(SOON) is error
    assert pool.submit(int, "7").result(SOON) == 7


def test_there_are_as_many_threads_as_jobs_until_the_bound(pool, gate):
    assert threads_of(pool) == []
    occupy(pool, gate, 2)
    assert len(threads_of(pool)) == 2


def test_there_are_never_more_threads_than_allowed(pool, gate):
    futures = occupy(pool, gate, 8)
    assert len(threads_of(pool)) == 3
    gate.set()
    assert len({future.result(SOON) for future in futures}) <= 3


def test_an_idle_thread_takes_the_next_job(pool):
    first = pool.submit(threading.get_ident).result(SOON)
    assert pool.submit(threading.get_ident).result(SOON) == first
    assert len(threads_of(pool)) == 1


def test_jobs_start_in_the_order_in_which_they_came(gate):
    pool, order = DaemonPool(1), []
    occupy(pool, gate, 1)
    futures = [pool.submit(order.append, number) for number in range(20)]
    gate.set()
    for future in futures:
        future.result(SOON)
    pool.close()
    assert order == list(range(20))


def test_a_job_that_was_cancelled_while_it_waited_does_not_run(pool, gate):
    occupy(pool, gate, 3)
    ran = []
    waiting = pool.submit(ran.append, 1)
    assert waiting.cancel()
    last = pool.submit(ran.append, 2)
    gate.set()
    last.result(SOON)
    assert ran == [2]


# Awaited


async def test_an_awaited_call_runs_in_a_thread_with_its_arguments_and_its_result_comes_back(pool):
    assert await pool.run(lambda a, *, b: (a, b), 1, b=2) == (1, 2)
    assert await pool.run(threading.get_ident) != threading.get_ident()


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError()], ids=lambda e: type(e).__name__)
async def test_whatever_an_awaited_call_raises_reaches_whoever_awaits(pool, error):
    def fail():
        raise error

    with pytest.raises(type(error)) as raised:
        await pool.run(fail)
    assert raised.value is error
    assert await pool.run(int, "7") == 7


async def test_an_awaited_call_that_raises_stop_iteration_does_not_wait_for_ever(pool):
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(pool.run(next, iter(())), SOON)


async def test_an_awaited_call_that_is_cancelled_while_it_waits_does_not_run(pool, gate):
    occupy(pool, gate, 3)
    ran = []
    waiting = asyncio.ensure_future(pool.run(ran.append, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()
    await pool.run(ran.append, 2)
    assert ran == [2]


async def test_an_awaited_call_that_is_cancelled_while_it_runs_lets_its_caller_go(pool, gate):
    running = threading.Event()

    def job():
        running.set()
        assert gate.wait(SOON)

    call = asyncio.ensure_future(pool.run(job))
    assert await asyncio.to_thread(running.wait, SOON)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    gate.set()
    assert await pool.run(int, "7") == 7


def test_a_call_whose_loop_was_closed_meanwhile_ends_and_its_thread_goes_on(pool, gate):
    running = threading.Event()

    def job():
        running.set()
        assert gate.wait(SOON)

    loop = asyncio.new_event_loop()
    call = loop.create_task(pool.run(job))
    loop.run_until_complete(asyncio.sleep(0))
    assert running.wait(SOON)
    call.cancel()
    loop.run_until_complete(asyncio.wait([call]))
    loop.close()
    gate.set()
    assert pool.submit(int, "7").result(SOON) == 7


async def test_awaited_calls_count_among_those_that_a_full_queue_refuses(pool, gate):
    occupy(pool, gate, 3)
    waiting = [asyncio.ensure_future(pool.run(int)) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(BackendUnavailable, match="full"):
        await pool.run(int)
    gate.set()
    assert await asyncio.gather(*waiting) == [0] * 5


# Bounds


def test_a_full_queue_refuses_and_takes_work_again_when_there_is_room(pool, gate):
    occupy(pool, gate, 3)
    waiting = [pool.submit(int) for _ in range(5)]
    with pytest.raises(BackendUnavailable, match="full"):
        pool.submit(int)
    gate.set()
    for future in waiting:
        future.result(SOON)
    assert pool.submit(int).result(SOON) == 0


def test_a_pool_without_a_queue_refuses_when_all_threads_are_busy(gate):
    pool = DaemonPool(2, max_queue=0)
    for _ in range(20):
        jobs = [pool.submit(int) for _ in range(2)]
        assert [job.result(SOON) for job in jobs] == [0, 0]
    occupy(pool, gate, 2)
    with pytest.raises(BackendUnavailable, match="full"):
        pool.submit(int)
    pool.close()


def test_threads_leave_when_they_were_idle_for_long_and_come_back_for_work(pool, gate, monkeypatch):
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.01)
    occupy(pool, gate, 3)
    gate.set()
    wait_until(lambda: not threads_of(pool))
    assert pool.submit(int).result(SOON) == 0


def test_no_job_is_lost_while_threads_come_and_go(monkeypatch):
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.0005)
    pool, dones = DaemonPool(4, "coming-and-going"), []
    for number in range(300):
        dones.append(pool.submit(int, number))
        time.sleep(0.0005 if number % 3 else 0.001)  # about as long as a thread stays idle
    assert [done.result(SOON) for done in dones] == list(range(300))
    pool.close()
    wait_until(lambda: not threads_of(pool))


@pytest.mark.parametrize("closed", [False, True])
def test_a_job_that_comes_when_a_threads_patience_ends_is_done(closed):
    class Impatient(queue.SimpleQueue):
        def get(self, timeout=None):
            if self.calls:  # the second wait of the one thread ends just after a job has come
                self.calls -= 1
                return super().get()
            self.calls = 1
            assert job_has_come.wait(SOON)
            raise queue.Empty

    pool, job_has_come = DaemonPool(1), threading.Event()
    pool._queue = Impatient()
    pool._queue.calls = 1
    pool.submit(int).result(SOON)
    job = pool.submit(int)
    if closed:
        pool.close()
    job_has_come.set()
    assert job.result(SOON) == 0
    pool.close()


def test_a_finished_job_keeps_neither_its_arguments_nor_its_result_alive(pool):
    class Value:
        pass

    value = Value()
    alive = weakref.ref(value)
    future = pool.submit(lambda argument: argument, value)
    assert future.result(SOON) is value
    del future, value
    wait_until(lambda: gc.collect() >= 0 and alive() is None)
    assert len(threads_of(pool)) == 1


def test_without_threads_from_the_system_the_pool_refuses(pool, monkeypatch):
    def no_more(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more)
        with pytest.raises(BackendUnavailable, match="thread"):
            pool.submit(int)
    assert pool.drain(0)
    assert pool.submit(int).result(SOON) == 0


def test_without_more_threads_those_that_there_are_do_the_work(pool, gate, monkeypatch):
    def no_more(self):
        raise RuntimeError("can't start new thread")

    occupy(pool, gate, 1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more)
        waiting = [pool.submit(int) for _ in range(3)]
    gate.set()
    assert [future.result(SOON) for future in waiting] == [0, 0, 0]


# The end


def test_drain_waits_for_what_is_queued_and_running(pool, gate):
    futures = occupy(pool, gate, 5)
    assert pool.drain(0.01) is False
    gate.set()
    assert pool.drain(SOON) is True
    assert all(future.done() for future in futures)


def test_drain_of_an_idle_pool_returns_at_once(pool):
    assert pool.drain(0) is True


def test_a_closed_pool_finishes_what_it_has_and_refuses_more(pool, gate):
    futures = occupy(pool, gate, 6)
    pool.close()
    with pytest.raises(BackendUnavailable, match="closed"):
        pool.submit(int)
    gate.set()
    for future in futures:
        future.result(SOON)
    wait_until(lambda: not threads_of(pool))


def test_a_pool_may_be_closed_again(pool):
    pool.submit(int).result(SOON)
    pool.close()
    pool.close()
    wait_until(lambda: not threads_of(pool))


# Processes


def run(script):
    """Run a script in a process of its own, which must end by itself."""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=SOON)


def test_the_interpreter_exits_while_a_job_is_stuck():
    done = run(
        """
import threading
from tiercache.pool import DaemonPool

pool, stuck = DaemonPool(2), threading.Event()
for _ in range(5):
    pool.submit(lambda: stuck.set() or threading.Event().wait())
assert stuck.wait(20)
print("at the end")
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "at the end\n", "")


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def in_a_child(work):
    """Fork, run the function in the child and return whether it returned True; a child that hangs is killed."""
    with warnings_about_threads_ignored():
        child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            signal.alarm(SOON)
            status = 0 if work() is True else 1
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@contextlib.contextmanager
def warnings_about_threads_ignored():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on: forking with threads
        yield


@needs_fork
def test_after_a_fork_the_child_has_a_pool_that_works(pool, gate):
    occupy(pool, gate, 8)  # full: every thread of the parent is busy, and so is the queue
    assert in_a_child(lambda: pool.submit(int).result(SOON) == 0 and pool.drain(SOON))


@needs_fork
def test_after_a_fork_the_lock_that_another_thread_held_is_free(pool):
    with pool._lock:
        assert in_a_child(lambda: pool.submit(int).result(SOON) == 0)


@needs_fork
def test_the_child_does_not_run_the_jobs_of_its_parent(pool, gate):
    occupy(pool, gate, 3)
    ran = []
    waiting = pool.submit(ran.append, 1)
    assert in_a_child(lambda: pool.submit(int).result(SOON) == 0 and pool.drain(SOON) and ran == [])
    gate.set()
    waiting.result(SOON)
    assert ran == [1]


@needs_fork
def test_a_pool_that_was_closed_stays_closed_in_the_child(pool):
    pool.close()

    def refuses():
        try:
            pool.submit(int)
        except BackendUnavailable:
            return True
        return False

    assert in_a_child(refuses)
