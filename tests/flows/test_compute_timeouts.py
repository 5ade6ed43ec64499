"""Callers that wait only so long: they leave, the computation goes on and is stored."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.flows.test_compute_waits import WAIT, start
from tests.flows.test_stale import Factory, grow_stale
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TiercacheError, TierChain
from tiercache.errors import ComputeTimeout

SHORT = 0.05


@pytest.fixture
def cache(clock: FakeClock) -> Cache:
    return Cache(TierChain(MemoryBackend(clock=clock), Tier(RemoteBackend(clock)), clock=clock), namespace="n")


def until_stored(cache: Cache, value: object) -> None:
    end = time.monotonic() + WAIT
    while cache.get("k") != value:
        assert time.monotonic() < end, "the computation was to go on and be stored"
        time.sleep(0.002)


async def auntil_stored(cache: Cache, value: object) -> None:
    while await cache.aget("k") != value:  # noqa: ASYNC110
        await asyncio.sleep(0.002)


def test_a_caller_who_waits_only_so_long_leaves_and_the_value_is_stored(cache: Cache) -> None:
    factory = Factory("late", held=True)
    with pytest.raises(ComputeTimeout, match="ask again later"):
        cache.get_or_set("k", factory, timeout=SHORT)
    assert cache.stats().timeouts == 1
    factory.go_on.set()
    until_stored(cache, "late")
    assert factory.calls == 1


async def test_a_caller_who_awaits_only_so_long_leaves_and_the_value_is_stored(cache: Cache) -> None:
    factory = Factory("late", held=True)
    with pytest.raises(ComputeTimeout):
        await cache.aget_or_set("k", factory.awaited, timeout=SHORT)
    factory.go_on.set()
    await asyncio.wait_for(auntil_stored(cache, "late"), WAIT)
    assert factory.calls == 1


async def test_a_plain_factory_that_is_awaited_goes_on_as_well(cache: Cache) -> None:
    factory = Factory("late", held=True)
    with pytest.raises(ComputeTimeout):
        await cache.aget_or_set("k", factory, timeout=SHORT)
    factory.go_on.set()
    await asyncio.wait_for(auntil_stored(cache, "late"), WAIT)


def test_it_is_a_timeout_error_and_one_of_ours() -> None:
    assert issubclass(ComputeTimeout, TimeoutError)
    assert issubclass(ComputeTimeout, TiercacheError)


def test_a_factory_that_is_quick_enough_is_not_disturbed(cache: Cache) -> None:
    assert cache.get_or_set("k", Factory("quick"), timeout=WAIT, soft_timeout=WAIT) == "quick"
    assert cache.get("k") == "quick"
    assert cache.stats().timeouts == 0


def test_with_a_timeout_a_plain_factory_runs_in_a_worker_with_the_callers_context(cache: Cache) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    seen: list[tuple[str, bool]] = []
    here = threading.get_ident()
    cache.get_or_set("k", lambda: seen.append((variable.get(), threading.get_ident() == here)), timeout=WAIT)
    assert seen == [("set", False)]


def test_a_leader_who_leaves_harms_no_follower(cache: Cache) -> None:
    factory = Factory("value", held=True)
    leader = start(lambda: cache.get_or_set("k", factory, timeout=SHORT))
    assert factory.started.wait(WAIT)
    follower = start(cache.get_or_set, "k", lambda: 1 / 0)
    assert isinstance(leader.exception(WAIT), ComputeTimeout)
    factory.go_on.set()
    assert follower.result(WAIT) == "value"
    assert factory.calls == 1


def test_those_who_come_later_join_the_running_computation_each_with_a_bound_of_their_own(cache: Cache) -> None:
    factory = Factory("value", held=True)
    for _ in range(3):
        with pytest.raises(ComputeTimeout):
            cache.get_or_set("k", factory, timeout=SHORT)

    async def main() -> None:
        with pytest.raises(ComputeTimeout):
            await cache.aget_or_set("k", factory.awaited, timeout=SHORT)

    asyncio.run(main())
    assert factory.calls == 1
    patient = start(lambda: cache.get_or_set("k", factory, timeout=WAIT))
    factory.go_on.set()
    assert patient.result(WAIT) == "value"
    assert factory.calls == 1


def test_a_follower_may_leave_a_leader_who_waits_for_ever(cache: Cache) -> None:
    factory = Factory("value", held=True)
    leader = start(cache.get_or_set, "k", factory)
    assert factory.started.wait(WAIT)
    with pytest.raises(ComputeTimeout):
        cache.get_or_set("k", factory, timeout=SHORT)
    factory.go_on.set()
    assert leader.result(WAIT) == "value"


def test_a_failure_after_the_caller_has_left_is_nobodys(cache: Cache) -> None:
    factory = Factory(ConnectionError("down"), held=True)
    with pytest.raises(ComputeTimeout):
        cache.get_or_set("k", factory, timeout=SHORT)
    factory.go_on.set()
    while cache.chain.flights._flights:
        time.sleep(0.002)
    assert cache.get_or_set("k", lambda: "anew") == "anew"


@pytest.mark.parametrize("option", [{"timeout": SHORT, "stale_if_error": 50}, {"soft_timeout": SHORT, "stale_for": 50}])
def test_in_place_of_a_timeout_a_stale_value_is_served(cache: Cache, clock: FakeClock, option: dict[str, Any]) -> None:
    grow_stale(cache, clock)
    factory = Factory("late", held=True)
    assert cache.get_or_set("k", factory, **option) == "old"
    stats = cache.stats()
    assert (stats.timeouts, stats.served_stale) == (1, 1)
    factory.go_on.set()
    until_stored(cache, "late")
    assert factory.calls == 1


@pytest.mark.parametrize("option", [{"timeout": SHORT, "stale_if_error": 50}, {"soft_timeout": SHORT, "stale_for": 50}])
async def test_in_place_of_a_timeout_a_stale_value_is_served_when_awaited(
    cache: Cache, clock: FakeClock, option: dict[str, Any]
) -> None:
    grow_stale(cache, clock, only_below=True)
    factory = Factory("late", held=True)
    assert await cache.aget_or_set("k", factory.awaited, **option) == "old"
    factory.go_on.set()
    await asyncio.wait_for(auntil_stored(cache, "late"), WAIT)
    assert factory.calls == 1


def test_a_factory_within_the_soft_timeout_gives_the_new_value(cache: Cache, clock: FakeClock) -> None:
    grow_stale(cache, clock)
    assert cache.get_or_set("k", Factory(), stale_for=50, soft_timeout=WAIT) == "new"
    assert cache.stats().served_stale == 0


def test_a_factory_that_fails_within_the_soft_timeout_gives_the_stale_value(cache: Cache, clock: FakeClock) -> None:
    grow_stale(cache, clock)
    factory = Factory(ConnectionError("down"))
    assert cache.get_or_set("k", factory, stale_for=50, soft_timeout=WAIT) == "old"


def test_without_a_stale_value_the_soft_timeout_has_no_effect(cache: Cache) -> None:
    factory = Factory(held=True)
    caller = start(lambda: cache.get_or_set("k", factory, stale_for=50, soft_timeout=SHORT))
    assert factory.started.wait(WAIT)
    time.sleep(2 * SHORT)
    assert not caller.done()
    factory.go_on.set()
    assert caller.result(WAIT) == "new"


def test_a_blocking_call_in_a_loop_keeps_to_its_timeout(cache: Cache) -> None:
    factory = Factory("late", held=True)

    async def main() -> None:
        with pytest.raises(ComputeTimeout):
            cache.get_or_set("k", factory, timeout=SHORT)

    asyncio.run(main())
    factory.go_on.set()
    until_stored(cache, "late")


def test_a_timeout_also_bounds_a_store_that_hangs(clock: FakeClock) -> None:
    remote = RemoteBackend(clock)
    cache = Cache(TierChain(MemoryBackend(clock=clock), Tier(remote), clock=clock), namespace="n")
    _, go_on = remote.hold("get")
    with pytest.raises(ComputeTimeout):
        cache.get_or_set("k", lambda: "late", timeout=SHORT)
    go_on.set()
    until_stored(cache, "late")


def test_a_factory_that_exits_the_program_does_so_from_its_worker(cache: Cache) -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        cache.get_or_set("k", leave, timeout=WAIT)
    assert cache.get_or_set("k", lambda: 1) == 1
