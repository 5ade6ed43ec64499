"""Values past their ttl, served at once and refreshed, or when the factory fails; and those refreshed early."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.flows.test_compute_waits import WAIT, start
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import ConfigurationError


@pytest.fixture
def remote(clock: FakeClock) -> RemoteBackend:
    return RemoteBackend(clock)


@pytest.fixture
def cache(clock: FakeClock, remote: RemoteBackend) -> Cache:
    return Cache(TierChain(MemoryBackend(clock=clock), Tier(remote), clock=clock), namespace="n")


class Factory:
    """Counts its calls; answers what it is told, or fails, and may be held up."""

    def __init__(self, answer: object = "new", *, held: bool = False) -> None:
        self.answer = answer
        self.calls = 0
        self.started, self.go_on = threading.Event(), threading.Event()
        if not held:
            self.go_on.set()

    def __call__(self) -> object:
        self.calls += 1
        self.started.set()
        assert self.go_on.wait(WAIT)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def awaited(self) -> object:
        self.calls += 1
        self.started.set()
        while not self.go_on.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.001)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class World:
    """Calls of `get_or_set` in a thread, or of its twin in one loop; `settle` waits for what goes on behind them."""

    def __init__(self, cache: Cache, kind: str) -> None:
        self.cache = cache
        self.awaits = kind == "awaited"
        self.loop = asyncio.new_event_loop() if self.awaits else None

    def get_or_set(self, key: str, factory: Factory, **options: Any) -> Any:
        if self.loop is None:
            return self.cache.get_or_set(key, factory, **options)
        return self.loop.run_until_complete(self.cache.aget_or_set(key, factory.awaited, **options))

    def settle(self) -> None:
        assert self.cache.drain(WAIT)
        if self.loop is not None:

            async def rest() -> None:
                while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
                    done, _ = await asyncio.wait(tasks, timeout=WAIT)
                    assert done, "a task of the cache never ends"

            self.loop.run_until_complete(rest())


@pytest.fixture(params=["blocking", "awaited"])
def world(request: pytest.FixtureRequest, cache: Cache) -> Any:
    world = World(cache, request.param)
    yield world
    if world.loop is not None:
        world.settle()
        world.loop.close()


def grow_stale(cache: Cache, clock: FakeClock, *, only_below: bool = False, value: object = "old") -> None:
    """Leave a value that has been stale for a second, of its 100."""
    cache.set("k", value, ttl=10, stale_for=100)
    clock.advance(11)
    if only_below:
        assert cache.chain.memory is not None
        cache.chain.memory.clear()


@pytest.mark.parametrize("only_below", [False, True], ids=["in memory", "in the slower tier"])
def test_a_stale_value_is_served_at_once_and_refreshed_in_the_background(
    world: World, clock: FakeClock, only_below: bool
) -> None:
    grow_stale(world.cache, clock, only_below=only_below)
    factory = Factory(held=True)
    assert world.get_or_set("k", factory, ttl=10, stale_for=100) == "old"
    factory.go_on.set()
    world.settle()
    assert factory.calls == 1
    assert world.cache.get("k") == "new"
    stats = world.cache.stats()
    assert (stats.served_stale, stats.refreshes, stats.refresh_failures) == (1, 1, 0)
    assert (stats.hits, stats.misses) == (2, 0)


def test_many_callers_of_a_stale_value_start_one_refresh(cache: Cache, clock: FakeClock) -> None:
    grow_stale(cache, clock)
    factory = Factory(held=True)
    callers = [start(lambda: cache.get_or_set("k", factory, ttl=10, stale_for=100)) for _ in range(16)]

    async def main() -> list[Any]:
        return await asyncio.gather(*(cache.aget_or_set("k", factory, ttl=10, stale_for=100) for _ in range(200)))

    values = [caller.result(WAIT) for caller in callers] + start(lambda: asyncio.run(main())).result(WAIT)
    assert set(values) == {"old"}
    factory.go_on.set()
    assert cache.drain(WAIT)
    assert factory.calls == 1
    assert cache.get("k") == "new"


def test_ten_thousand_tasks_start_one_refresh(cache: Cache, clock: FakeClock) -> None:
    grow_stale(cache, clock, only_below=True)
    factory = Factory()

    async def main() -> set[Any]:
        calls = (cache.aget_or_set("k", factory.awaited, ttl=10, stale_for=100) for _ in range(10_000))
        return set(await asyncio.gather(*calls))

    assert asyncio.run(main()) <= {"old", "new"}
    assert factory.calls == 1


def test_without_stale_for_a_stale_value_is_computed_anew(world: World, clock: FakeClock) -> None:
    grow_stale(world.cache, clock)
    assert world.get_or_set("k", Factory()) == "new"


def test_a_value_that_is_stale_for_longer_than_the_caller_takes_is_computed_anew(
    world: World, clock: FakeClock
) -> None:
    grow_stale(world.cache, clock)
    clock.advance(30)
    assert world.get_or_set("k", Factory(), stale_for=30) == "new"


def test_a_value_past_its_stale_time_is_gone(world: World, clock: FakeClock) -> None:
    grow_stale(world.cache, clock)
    clock.advance(100)
    assert world.get_or_set("k", Factory(), stale_for=1000) == "new"


def test_a_caller_who_takes_nothing_stale_waits_for_the_refresh_of_another(cache: Cache, clock: FakeClock) -> None:
    grow_stale(cache, clock)
    factory = Factory(held=True)
    assert cache.get_or_set("k", factory, stale_for=100) == "old"
    assert factory.started.wait(WAIT)
    strict = start(cache.get_or_set, "k", lambda: 1 / 0)
    factory.go_on.set()
    assert strict.result(WAIT) == "new"


def test_those_who_take_a_stale_value_never_wait_for_a_computation(clock: FakeClock) -> None:
    """Not even where there is no memory tier, and the table of computations is where they meet."""
    cache = Cache(TierChain(Tier(RemoteBackend(clock)), clock=clock), namespace="n")
    grow_stale(cache, clock)
    factory = Factory(held=True)
    assert cache.get_or_set("k", factory, stale_for=100) == "old"
    assert factory.started.wait(WAIT)
    assert start(lambda: cache.get_or_set("k", factory, stale_for=100)).result(WAIT) == "old"
    factory.go_on.set()
    assert cache.drain(WAIT)
    assert factory.calls == 1


def test_a_refresh_takes_what_another_process_has_stored_below(
    world: World, clock: FakeClock, remote: RemoteBackend
) -> None:
    grow_stale(world.cache, clock)
    other = Cache(TierChain(Tier(remote), clock=clock), namespace="n")
    other.set("k", "of another process", ttl=10)
    factory = Factory()
    assert world.get_or_set("k", factory, stale_for=100) == "old"
    world.settle()
    assert world.cache.get("k") == "of another process"
    assert factory.calls == 0


def test_a_failed_refresh_is_counted_and_not_repeated_at_once(world: World, clock: FakeClock) -> None:
    grow_stale(world.cache, clock)
    factory = Factory(ConnectionError("the provider is down"))
    for _ in range(5):
        assert world.get_or_set("k", factory, stale_for=100) == "old"
        world.settle()
    assert factory.calls == 1
    assert world.cache.stats().refresh_failures == 1
    clock.advance(10)  # a tenth of stale_for
    assert world.get_or_set("k", factory, stale_for=100) == "old"
    world.settle()
    assert factory.calls == 2


def test_a_refresh_that_finds_no_thread_is_dropped_and_the_next_caller_starts_one(
    cache: Cache, clock: FakeClock
) -> None:
    grow_stale(cache, clock)
    held = Factory(held=True)
    busy = [cache.chain.refreshes.submit(held) for _ in range(cache.chain.refreshes.size)]
    factory = Factory()
    assert cache.get_or_set("k", factory, stale_for=100) == "old"
    assert (cache.stats().refreshes, cache.stats().refreshes_dropped) == (0, 1)
    held.go_on.set()
    for one in busy:
        one.result(WAIT)
    assert cache.get_or_set("k", factory, stale_for=100) == "old"
    assert cache.drain(WAIT)
    assert (factory.calls, cache.get("k")) == (1, "new")


def test_a_refresh_is_not_stored_over_a_change_of_its_key(cache: Cache, clock: FakeClock) -> None:
    grow_stale(cache, clock)
    factory = Factory(held=True)
    assert cache.get_or_set("k", factory, stale_for=100) == "old"
    assert factory.started.wait(WAIT)
    cache.set("k", "set meanwhile")
    factory.go_on.set()
    assert cache.drain(WAIT)
    assert cache.get("k") == "set meanwhile"


@pytest.mark.parametrize("change", ["delete", "clear"])
def test_what_was_deleted_is_not_served_stale(cache: Cache, clock: FakeClock, change: str) -> None:
    grow_stale(cache, clock)
    factory = Factory(held=True)
    assert cache.get_or_set("k", factory, stale_for=100) == "old"
    assert factory.started.wait(WAIT)
    cache.delete("k") if change == "delete" else cache.clear()
    assert cache.get_or_set("k", lambda: "after", stale_for=100) == "after"
    factory.go_on.set()
    assert cache.drain(WAIT)
    assert cache.get("k") == "after"


@pytest.mark.parametrize("has_memory", [True, False])
def test_what_was_deleted_just_before_its_refresh_began_is_not_served_again(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, has_memory: bool
) -> None:
    tiers = [MemoryBackend(clock=clock)] if has_memory else []
    cache = Cache(TierChain(*tiers, Tier(RemoteBackend(clock)), clock=clock), namespace="n")
    grow_stale(cache, clock)
    begin = cache.chain.flights.start

    def deleted_first(key: str) -> Any:
        cache.delete("k")
        return begin(key)

    monkeypatch.setattr(cache.chain.flights, "start", deleted_first)
    factory = Factory(held=True)
    assert cache.get_or_set("k", factory, stale_for=100) == "old"
    assert factory.started.wait(WAIT)
    monkeypatch.undo()
    after = start(lambda: cache.get_or_set("k", factory, stale_for=100))
    factory.go_on.set()
    assert after.result(WAIT) == "new"


def test_a_refresh_whose_loop_ends_is_abandoned_and_the_next_caller_starts_another(
    cache: Cache, clock: FakeClock
) -> None:
    grow_stale(cache, clock)
    lost = Factory(held=True)
    assert asyncio.run(cache.aget_or_set("k", lost.awaited, stale_for=100)) == "old"
    assert cache.get_or_set("k", Factory(), stale_for=100) == "old"
    assert cache.drain(WAIT)
    assert cache.get("k") == "new"


def test_a_refresh_whose_loop_was_closed_under_it_is_replaced(cache: Cache, clock: FakeClock) -> None:
    grow_stale(cache, clock)
    loop = asyncio.new_event_loop()
    lost = Factory(held=True)
    assert loop.run_until_complete(cache.aget_or_set("k", lost.awaited, stale_for=100)) == "old"
    loop.close()
    assert cache.get_or_set("k", Factory(), stale_for=100) == "old"
    assert cache.drain(WAIT)
    assert cache.get("k") == "new"
    for task in [task for task in asyncio.all_tasks(loop) if not task.done()]:
        task._log_destroy_pending = False  # type: ignore[attr-defined] # what this test is about


def test_a_refresh_is_no_part_of_the_computation_that_started_it(cache: Cache, clock: FakeClock) -> None:
    """The factory of `outer` gets a stale `k`; the factory of `k` may ask for `outer` then, and waits for it."""
    grow_stale(cache, clock)

    async def main() -> Any:
        async def of_k() -> Any:
            return await cache.aget_or_set("outer", lambda: 1 / 0)

        async def of_outer() -> Any:
            stale = await cache.aget_or_set("k", of_k, stale_for=100)
            await asyncio.sleep(0.01)
            return stale

        value = await cache.aget_or_set("outer", of_outer)
        while cache.chain.flights._flights:  # noqa: ASYNC110 - until the refresh is over
            await asyncio.sleep(0.001)
        return value, cache.get("k")

    assert asyncio.run(asyncio.wait_for(main(), WAIT)) == ("old", "old")


# When the factory fails


@pytest.mark.parametrize("only_below", [False, True], ids=["in memory", "in the slower tier"])
@pytest.mark.parametrize("option", [{"stale_if_error": 50}, {"stale_if_error": True, "stale_for": 0.5}])
def test_if_the_factory_fails_the_stale_value_is_served(
    world: World, clock: FakeClock, only_below: bool, option: dict[str, Any]
) -> None:
    grow_stale(world.cache, clock, only_below=only_below)
    factory = Factory(ConnectionError("the provider is down"))
    assert world.get_or_set("k", factory, **option) == "old"
    assert factory.calls == 1
    stats = world.cache.stats()
    assert (stats.served_stale, stats.refresh_failures, stats.refreshes) == (1, 1, 0)


def test_a_factory_that_works_is_preferred_to_the_stale_value(world: World, clock: FakeClock) -> None:
    grow_stale(world.cache, clock)
    assert world.get_or_set("k", Factory(), stale_if_error=50) == "new"
    assert world.cache.stats().served_stale == 0


def test_after_a_failure_the_stale_value_is_served_without_asking_for_a_while(world: World, clock: FakeClock) -> None:
    grow_stale(world.cache, clock)
    factory = Factory(ConnectionError("the provider is down"))
    for _ in range(5):
        assert world.get_or_set("k", factory, stale_if_error=50) == "old"
    assert factory.calls == 1
    clock.advance(5)  # a tenth of stale_if_error
    factory.answer = "new"
    assert world.get_or_set("k", factory, stale_if_error=50) == "new"


def test_a_value_that_is_too_stale_is_no_answer_to_an_error(world: World, clock: FakeClock) -> None:
    grow_stale(world.cache, clock)
    clock.advance(50)
    with pytest.raises(ConnectionError):
        world.get_or_set("k", Factory(ConnectionError("down")), stale_if_error=50)


def test_without_a_stale_value_the_error_is_raised_and_the_factory_asked_each_time(world: World) -> None:
    factory = Factory(ConnectionError("down"))
    for _ in range(2):
        with pytest.raises(ConnectionError):
            world.get_or_set("k", factory, stale_if_error=50)
    assert factory.calls == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_is_no_error_of_the_factory(
    cache: Cache, clock: FakeClock, error: type[BaseException]
) -> None:
    grow_stale(cache, clock)

    def interrupted() -> None:
        raise error

    with pytest.raises(error):
        cache.get_or_set("k", interrupted, stale_if_error=50)


def test_a_cancelled_caller_is_cancelled_and_not_answered_with_a_stale_value(cache: Cache, clock: FakeClock) -> None:
    grow_stale(cache, clock)
    factory = Factory(held=True)

    async def main() -> None:
        task = asyncio.create_task(cache.aget_or_set("k", factory.awaited, stale_if_error=50))
        await asyncio.to_thread(factory.started.wait, WAIT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        factory.go_on.set()
        while cache.chain.flights._flights:  # noqa: ASYNC110 - the computation goes on
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert cache.get("k") == "new"


def test_computed_values_are_kept_for_as_long_as_they_may_stand_in(world: World, clock: FakeClock) -> None:
    world.get_or_set("k", Factory("first"), ttl=10, stale_for=20, stale_if_error="1m")
    clock.advance(69)
    assert world.get_or_set("k", Factory(ConnectionError("down")), stale_for=20, stale_if_error="1m") == "first"
    clock.advance(2)
    with pytest.raises(ConnectionError):
        world.get_or_set("k", Factory(ConnectionError("down")), stale_for=20, stale_if_error="1m")


def test_true_needs_to_be_told_how_long_values_are_kept(cache: Cache) -> None:
    with pytest.raises(ConfigurationError, match="for how long"):
        cache.get_or_set("k", Factory(), stale_if_error=True)


# Early refresh


def test_a_value_near_its_end_is_served_at_once_and_refreshed(world: World, clock: FakeClock) -> None:
    world.cache.set("k", "old", ttl=100)
    clock.advance(79)
    factory = Factory()
    assert world.get_or_set("k", factory, ttl=100, refresh_ahead=0.2) == "old"
    world.settle()
    assert factory.calls == 0, "it is not yet in the last fifth of its life"
    clock.advance(1)
    assert world.get_or_set("k", factory, ttl=100, refresh_ahead=0.2) == "old"
    world.settle()
    assert world.cache.get("k") == "new"
    assert world.cache.stats().refreshes == 1
    assert world.cache.stats().served_stale == 0


@pytest.mark.parametrize("takes_stale", [{}, {"stale_for": 50}], ids=["alone", "with stale_for"])
def test_an_early_refresh_asks_the_slower_tiers_before_it_computes(
    world: World, clock: FakeClock, remote: RemoteBackend, takes_stale: dict[str, Any]
) -> None:
    world.cache.set("k", "old", ttl=100)
    clock.advance(90)
    Cache(TierChain(Tier(remote), clock=clock), namespace="n").set("k", "of another process", ttl=100)
    factory = Factory()
    assert world.get_or_set("k", factory, refresh_ahead=0.2, **takes_stale) == "old"
    world.settle()
    assert (world.cache.get("k"), factory.calls) == ("of another process", 0)


def test_an_early_refresh_computes_where_the_slower_tiers_have_the_same(
    world: World, clock: FakeClock, remote: RemoteBackend
) -> None:
    world.cache.set("k", "old", ttl=100)
    clock.advance(90)
    remote.trace.clear()
    factory = Factory()
    assert world.get_or_set("k", factory, ttl=100, refresh_ahead=0.2, stale_for=50) == "old"
    world.settle()
    assert remote.trace == ["remote.get", "remote.put"]
    assert world.cache.get("k") == "new"


def test_a_hit_in_a_slower_tier_is_refreshed_early_too(world: World, clock: FakeClock) -> None:
    world.cache.set("k", "old", ttl=100)
    clock.advance(90)
    assert world.cache.chain.memory is not None
    world.cache.chain.memory.clear()
    factory = Factory()
    assert world.get_or_set("k", factory, ttl=100, refresh_ahead=0.2) == "old"
    world.settle()
    assert world.cache.get("k") == "new"


def test_a_value_without_a_ttl_is_never_refreshed_early(world: World) -> None:
    world.cache.set("k", "old")
    factory = Factory()
    assert world.get_or_set("k", factory, refresh_ahead=0.99) == "old"
    world.settle()
    assert factory.calls == 0


def test_a_failed_early_refresh_is_counted_and_not_repeated_at_once(world: World, clock: FakeClock) -> None:
    world.cache.set("k", "old", ttl=100)
    clock.advance(80)
    factory = Factory(ConnectionError("down"))
    for _ in range(5):
        assert world.get_or_set("k", factory, refresh_ahead=0.2) == "old"
        world.settle()
    assert factory.calls == 1
    assert world.cache.stats().refresh_failures == 1


# Reading without computing


@pytest.mark.parametrize("only_below", [False, True], ids=["in memory", "in the slower tier"])
def test_stale_is_a_miss_unless_it_is_asked_for(cache: Cache, clock: FakeClock, only_below: bool) -> None:
    grow_stale(cache, clock, only_below=only_below)
    assert (cache.get("k"), cache.get_many(["k"]), cache.contains("k")) == (None, {}, False)
    assert cache.get("k", allow_stale=True) == "old"
    assert cache.get_many(["k"], allow_stale=True) == {"k": "old"}
    assert cache.contains("k", allow_stale=True)
    assert cache.lookup("k").is_stale
    assert cache.lookup_many(["k"], allow_stale=True)["k"].is_stale


async def test_stale_is_a_miss_unless_it_is_asked_for_when_awaited(cache: Cache, clock: FakeClock) -> None:
    grow_stale(cache, clock)
    assert (await cache.aget("k"), await cache.aget_many(["k"]), await cache.acontains("k")) == (None, {}, False)
    assert await cache.aget("k", allow_stale=True) == "old"
    assert await cache.aget_many(["k"], allow_stale=True) == {"k": "old"}
    assert await cache.acontains("k", allow_stale=True)
    assert (await cache.alookup_many(["k"], allow_stale=True))["k"].is_stale


def test_a_fresh_value_below_is_preferred_to_a_stale_one_above(
    cache: Cache, clock: FakeClock, remote: RemoteBackend
) -> None:
    grow_stale(cache, clock)
    Cache(TierChain(Tier(remote), clock=clock), namespace="n").set("k", "fresh", ttl=10)
    assert cache.get("k", allow_stale=True) == "fresh"


# What a cache is told holds for its calls


def test_a_cache_may_be_told_what_holds_for_all_its_calls(clock: FakeClock) -> None:
    cache = Cache(MemoryBackend(clock=clock), ttl=10, stale_for=100, clock=clock)
    cache.set("k", "old")
    clock.advance(11)
    assert cache.get_or_set("k", Factory()) == "old"
    assert cache.drain(WAIT)
    assert cache.get("k") == "new"
    clock.advance(11)
    assert cache.get_or_set("k", Factory("newest"), stale_for=None) == "newest", "None switches it off"


def test_a_decorated_function_takes_the_same_options(clock: FakeClock) -> None:
    cache = Cache(MemoryBackend(clock=clock), clock=clock)
    answers = iter(["old", "new"])

    @cache.cached(ttl=10, stale_for=100, key=lambda: "k")
    def answer() -> str:
        return next(answers)

    assert answer() == "old"
    clock.advance(11)
    assert answer() == "old"
    assert cache.drain(WAIT)
    assert answer() == "new"


@pytest.mark.parametrize(
    "make",
    [
        lambda cache: cache.get_or_set("k", Factory(), refresh_ahead=1.5),
        lambda cache: cache.get_or_set("k", Factory(), stale_if_error="soon"),
        lambda cache: cache.get_or_set("k", Factory(), timeout=0),
        lambda cache: cache.cached(refresh_ahead="0.2"),
        lambda cache: Cache(MemoryBackend(), jitter=2),
        lambda cache: Cache(MemoryBackend(), soft_timeout=-1),
    ],
)
def test_what_is_no_duration_or_fraction_is_refused(cache: Cache, make: Callable[[Cache], Any]) -> None:
    with pytest.raises(ConfigurationError):
        make(cache)


def test_the_table_of_computations_is_empty_when_all_is_over(world: World, clock: FakeClock) -> None:
    grow_stale(world.cache, clock)
    world.get_or_set("k", Factory(), stale_for=100)
    world.settle()
    deadline = time.monotonic() + WAIT
    while world.cache.chain.flights._flights and time.monotonic() < deadline:
        time.sleep(0.001)
    assert world.cache.chain.flights._flights == {}
    assert world.cache.chain.fence._states == {}
