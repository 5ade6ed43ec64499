"""A store of somebody else that hangs and knows no deadlines: each caller gets away, and a few threads stay."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import BackendTimeout, BackendUnavailable
from tiercache.health.bounded import THREADS, Bound


class SomebodyElses(RemoteBackend):
    keeps_deadlines = False


class Native(SomebodyElses):
    """It has an asynchronous face of its own, which hangs as well."""

    def __init__(self, clock) -> None:
        super().__init__(clock)
        self.cancelled = 0

    async def aget(self, key, *, deadline=None):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@pytest.fixture
def hanging(clock):
    """A store whose reads hang until the test is over."""
    store = SomebodyElses(clock)
    _, gate = store.hold("get")
    yield store
    gate.set()


def cache_on(store, *, timeout=0.1, breaker=False) -> Cache:
    return Cache(
        TierChain(MemoryBackend(clock=store._clock), Tier(store, name="theirs", timeout=timeout, breaker=breaker))
    )


def threads_of(name: str) -> int:
    return sum(thread.name == f"tiercache-{name}-bounded" for thread in threading.enumerate())


def test_a_blocking_call_goes_on_at_its_deadline(hanging):
    cache = cache_on(hanging)
    assert cache.get_or_set("k", lambda: 42) == 42
    assert cache.stats().tiers["theirs"].errors == {"BackendTimeout": 1}


async def test_an_awaited_call_goes_on_at_its_deadline(hanging):
    cache = cache_on(hanging)
    assert await cache.aget_or_set("k", lambda: 42) == 42
    assert cache.stats().tiers["theirs"].errors == {"BackendTimeout": 1}


async def test_a_store_with_an_asynchronous_face_of_its_own_is_cancelled_at_the_deadline(clock):
    store = Native(clock)
    cache = cache_on(store)
    assert await cache.aget("k") is None
    assert cache.stats().tiers["theirs"].errors == {"BackendTimeout": 1}
    assert store.cancelled == 1


@pytest.mark.parametrize("breaker", [False, True])
def test_however_many_call_eight_threads_at_most_are_left_behind(hanging, breaker):
    hanging.scheme = f"hanging-{breaker}"
    cache = cache_on(hanging, breaker=breaker)

    async def awaited() -> list[object]:
        return await asyncio.gather(*(cache.aget(f"a{number}") for number in range(50)))

    with ThreadPoolExecutor(51) as threads:
        found = list(threads.map(lambda number: cache.get(f"{number}"), range(50)))
        found += threads.submit(asyncio.run, awaited()).result(60)
    assert found == [None] * 100
    assert threads_of(hanging.scheme) <= THREADS
    assert hanging.trace.count("remote.get") <= THREADS


def test_when_all_threads_hang_calls_are_refused_at_once_until_one_returns(clock):
    store = SomebodyElses(clock)
    _, gate = store.hold("get")
    tier = Tier(store, name="theirs", timeout=0.05, breaker=False)
    with ThreadPoolExecutor(THREADS) as threads:
        calls = [threads.submit(tier.get("k").perform) for _ in range(THREADS)]
    assert [type(call.exception()) for call in calls] == [BackendTimeout] * THREADS
    tier.timeout = 3600.0
    with pytest.raises(BackendUnavailable, match="have not returned"):
        tier.get("k").perform()
    gate.set()
    end = time.monotonic() + 30
    while tier.bound is not None and tier.bound._hanging:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert tier.get("k").perform() is None


def test_what_waited_for_a_thread_and_was_not_sent_is_no_failure_of_the_store(hanging):
    bound = Bound("crowd")
    with ThreadPoolExecutor(THREADS + 1) as threads:
        far = time.monotonic() + 3600
        for _ in range(THREADS):
            threads.submit(bound.run, hanging.get, far, "k")
        while hanging.trace.count("remote.get") < THREADS:
            time.sleep(0.01)
        with pytest.raises(BackendTimeout) as caught:
            bound.run(hanging.get, time.monotonic() + 0.05, "k")
        hanging.gates["get"].set()
    assert not caught.value.tier_wide
    assert hanging.trace.count("remote.get") == THREADS


def test_the_stores_own_errors_come_through(clock):
    store = SomebodyElses(clock)
    store.break_down(BackendUnavailable("theirs"))
    with pytest.raises(BackendUnavailable, match="theirs"):
        Tier(store).get("k").perform()
    store.break_down(TimeoutError("their own"))  # type: ignore[arg-type]
    with pytest.raises(BackendUnavailable, match="unexpected TimeoutError"):
        Tier(store).get("k").perform()


async def test_the_stores_own_timeout_is_not_taken_for_the_deadline(clock):
    store = SomebodyElses(clock)
    store.break_down(TimeoutError("their own"))  # type: ignore[arg-type]
    with pytest.raises(BackendUnavailable, match="unexpected TimeoutError"):
        await Tier(store).get("k").aperform()


def test_the_caller_context_reaches_the_store(clock):
    tenant = contextvars.ContextVar("tenant", default="nobody")
    seen: list[str] = []
    store = SomebodyElses(clock)
    store.get = lambda key, *, deadline=None: seen.append(tenant.get())
    tenant.set("alice")
    Tier(store).get("k").perform()
    assert seen == ["alice"]


def test_a_store_that_keeps_deadlines_runs_in_the_callers_thread(clock):
    store = RemoteBackend(clock)
    seen: list[threading.Thread] = []
    store.get = lambda key, *, deadline=None: seen.append(threading.current_thread())
    Tier(store).get("k").perform()
    assert seen == [threading.current_thread()]


def test_without_a_timeout_nothing_is_bounded_and_nothing_hops(clock):
    store = SomebodyElses(clock)
    seen: list[threading.Thread] = []
    store.get = lambda key, *, deadline=None: seen.append(threading.current_thread())
    Tier(store, timeout=None).get("k").perform()
    assert seen == [threading.current_thread()]
