"""Several callers of one missing key: cancellation, the number of computations, failures."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import inspect
import threading
import time

from bench import Bench, Outcome, judged, row
from library import Cache, NotOfferedError, Work

CALLERS = 50
WAITERS = 20
TRIALS = 10
TOGETHER = 0.2  # seconds for all callers to arrive while one computes


@row(
    "cancelled-caller",
    "The first of two callers of a key is cancelled",
    topic="compute",
    done=f"Two tasks ask for one missing key; while it is computed the first task is cancelled. {TRIALS} trials.",
    right="The second caller gets the value: it cancelled nothing.",
)
def cancelled_caller(bench: Bench) -> Outcome:
    cache = bench.open(bench.library.tasks)
    if not inspect.iscoroutinefunction(cache.compute):
        raise NotOfferedError("a call that blocks cannot be cancelled")
    ends: collections.Counter[str] = collections.Counter()
    for trial in range(TRIALS):
        work = Work(lambda: "a value", held=True)
        first = bench.start(cache.compute, f"cancelled {trial}", work)
        work.begun.wait(10)
        second = bench.start(cache.compute, f"cancelled {trial}", work)
        time.sleep(0.02)  # the second is waiting, or computing by itself
        first.cancel()
        time.sleep(0.02)
        work.gate.set()
        ends[_end_of(second)] += 1
    return judged(set(ends) == {"the value"}, f"the second caller got {_list(ends)}")


def _end_of(future: concurrent.futures.Future[object]) -> str:
    try:
        return "the value" if future.result(10) == "a value" else "something else"
    except (concurrent.futures.CancelledError, asyncio.CancelledError):
        return "a CancelledError"
    except Exception as error:
        return type(error).__name__


def _list(ends: collections.Counter[str]) -> str:
    return ", ".join(f"{what} in {count} of {sum(ends.values())}" for what, count in ends.items())


def _computations(bench: Bench, caches: list[Cache]) -> Outcome:
    work = Work(lambda: "a value", held=True)
    callers = [bench.start(caches[number % len(caches)].compute, "key", work) for number in range(CALLERS)]
    work.begun.wait(10)
    time.sleep(TOGETHER)
    work.gate.set()
    answers = {future.result(20) for future in callers}
    right = work.calls == 1 and answers == {"a value"}
    return judged(right, f"{CALLERS} callers, {work.calls} computation{'s' * (work.calls > 1)}")


@row(
    "computations-tasks",
    f"{CALLERS} tasks ask for one missing key",
    topic="callers",
    done=f"{CALLERS} tasks of one event loop ask for one missing key while it is computed.",
    right="One computation; all get its value.",
)
def computations_tasks(bench: Bench) -> Outcome:
    return _computations(bench, [bench.open(bench.library.tasks)])


@row(
    "computations-threads",
    f"{CALLERS} threads ask for one missing key",
    topic="callers",
    done=f"{CALLERS} threads ask for one missing key while it is computed.",
    right="One computation; all get its value.",
)
def computations_threads(bench: Bench) -> Outcome:
    return _computations(bench, [bench.open(bench.library.threads)])


@row(
    "computations-both",
    f"{CALLERS // 2} tasks and {CALLERS // 2} threads ask for one missing key",
    topic="callers",
    done=f"{CALLERS // 2} tasks and {CALLERS // 2} threads of one process ask for one missing key at once.",
    right="One computation; all get its value.",
)
def computations_both(bench: Bench) -> Outcome:
    return _computations(bench, [bench.opened(cache) for cache in bench.library.mixed()])


@row(
    "failing-leader",
    f"A computation fails that {WAITERS} callers wait for",
    topic="leader compute",
    done=f"{WAITERS} callers ask for one missing key; the computation takes a moment, and fails.",
    right="One computation; every caller gets its error. (A failed call was paid for, and is not paid for again.)",
)
def failing_leader(bench: Bench) -> Outcome:
    cache = computing(bench)

    def fail() -> str:
        raise ConnectionError("the model is down")

    work = Work(fail, held=True)
    callers = [bench.start(cache.compute, "key", work) for _ in range(WAITERS)]
    work.begun.wait(10)
    time.sleep(TOGETHER)
    threading.Timer(0.05, work.gate.set).start()
    failures = sum(future.exception(30) is not None for future in callers)
    happened = f"{WAITERS} callers, {work.calls} computation{'s' * (work.calls > 1)}, {failures} errors"
    return judged(work.calls == 1 and failures == WAITERS, happened)


def computing(bench: Bench) -> Cache:
    """Open a memory cache that computes, for tasks or else for threads."""
    if "face" in bench.options:
        return bench.open(bench.library.memory)
    try:
        return bench.open(bench.library.tasks)
    except NotOfferedError:
        return bench.open(bench.library.threads)
