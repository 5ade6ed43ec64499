"""Computations that wait for one another: none waits for ever, and each leader that is gone is replaced."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain, codec, pool
from tiercache.computing import operations as computing
from tiercache.computing.operations import Follow
from tiercache.computing.singleflight import Flight, Outcome
from tiercache.errors import ReentrantComputation, UnknownFormat

WAIT = 30


@pytest.fixture
def cache(clock: FakeClock) -> Cache:
    return Cache(TierChain(MemoryBackend(clock=clock), clock=clock), namespace="n")


def start(call: Callable[..., Any], *args: Any) -> Future[Any]:
    """Run a call in a daemon thread of its own: one that hangs fails its test, and not all that follow."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call(*args))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def ring(cache: Cache, keys: str, inner: Callable[[str], Any]) -> list[Future[Any]]:
    """Let each key's factory, in a thread of its own, ask for the next key when all of them compute."""
    together = threading.Barrier(len(keys))

    def factory(position: int) -> Any:
        together.wait(WAIT)
        following = keys[(position + 1) % len(keys)]
        return cache.get_or_set(following, lambda: inner(following))

    return [start(cache.get_or_set, key, lambda n=n: factory(n)) for n, key in enumerate(keys)]


def aring(cache: Cache, keys: str, inner: Callable[[str], Any]) -> list[Any]:
    """As `ring`, with a task of one loop for each key."""

    async def main() -> list[Any]:
        together = asyncio.Barrier(len(keys))

        async def factory(position: int) -> Any:
            await together.wait()
            following = keys[(position + 1) % len(keys)]
            return await cache.aget_or_set(following, lambda: inner(following))

        calls = [cache.aget_or_set(key, lambda n=n: factory(n)) for n, key in enumerate(keys)]  # type: ignore[misc]
        return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), WAIT)

    return asyncio.run(main())


@pytest.mark.parametrize("keys", ["ab", "abc"])
def test_factories_that_ask_for_each_others_keys_in_threads_do_not_hang(cache: Cache, keys: str) -> None:
    values = [call.result(WAIT) for call in ring(cache, keys, str.upper)]
    assert set(values) <= set(keys.upper())


@pytest.mark.parametrize("keys", ["ab", "abc"])
def test_factories_that_ask_for_each_others_keys_in_tasks_do_not_hang(cache: Cache, keys: str) -> None:
    assert set(aring(cache, keys, str.upper)) <= set(keys.upper())


def test_a_thread_and_a_task_that_wait_for_each_other_do_not_hang(cache: Cache) -> None:
    together = threading.Barrier(2)

    def in_thread() -> Any:
        together.wait(WAIT)
        return cache.get_or_set("b", lambda: "B")

    async def in_loop() -> Any:
        async def factory() -> Any:
            await asyncio.to_thread(together.wait, WAIT)
            return await cache.aget_or_set("a", lambda: "A")

        return await cache.aget_or_set("b", factory)

    thread = start(cache.get_or_set, "a", in_thread)
    loop = start(lambda: asyncio.run(in_loop()))
    assert {thread.result(WAIT), loop.result(WAIT)} <= {"A", "B"}


def test_two_caches_on_one_chain_that_wait_for_each_other_do_not_hang(clock: FakeClock) -> None:
    chain = TierChain(MemoryBackend(clock=clock), clock=clock)
    one, two = Cache(chain, namespace="one"), Cache(chain, namespace="two")
    other = Cache(TierChain(MemoryBackend(clock=clock), clock=clock), namespace="another-chain")
    caches = [one, two, other]
    together = threading.Barrier(3)

    def factory(position: int) -> Any:
        together.wait(WAIT)
        return caches[(position + 1) % 3].get_or_set("k", lambda: "inner")

    calls = [start(cache.get_or_set, "k", lambda n=n: factory(n)) for n, cache in enumerate(caches)]
    assert [call.result(WAIT) for call in calls] == ["inner"] * 3


def endless(cache: Cache, keys: str) -> Callable[[str], Any]:
    """A factory of each key that asks for the next one, and so on: no value could ever be made."""

    def factory(key: str) -> Any:
        following = keys[(keys.index(key) + 1) % len(keys)]
        return cache.get_or_set(following, lambda: factory(following))

    return factory


@pytest.mark.parametrize("keys", ["ab", "abc"])
def test_a_true_ring_raises_in_every_thread_and_says_what_to_do(cache: Cache, keys: str) -> None:
    for call in ring(cache, keys, endless(cache, keys)):
        with pytest.raises(ReentrantComputation, match="not the cache"):
            call.result(WAIT)


def test_a_true_ring_raises_in_every_task(cache: Cache) -> None:
    async def factory(key: str) -> Any:
        following = {"a": "b", "b": "a"}[key]
        return await cache.aget_or_set(following, lambda: factory(following))

    assert {type(error) for error in aring(cache, "ab", factory)} == {ReentrantComputation}


def test_after_a_ring_the_keys_are_free(cache: Cache) -> None:
    for call in ring(cache, "ab", endless(cache, "ab")):
        call.exception(WAIT)
    assert cache.get_or_set("a", lambda: 1) == 1
    assert cache.get_or_set("b", lambda: 2) == 2


def test_a_blocking_call_in_a_loop_does_not_wait_for_a_thread_that_waits_for_that_loop(cache: Cache) -> None:
    started, waits = threading.Event(), threading.Event()

    async def slow() -> str:
        started.set()
        await asyncio.sleep(0.3)
        return "of the loop"

    def through_the_loop() -> Any:
        waits.set()
        return cache.get_or_set("in the loop", lambda: "alone")

    async def main() -> Any:
        task = asyncio.create_task(cache.aget_or_set("in the loop", slow))
        while not started.is_set():  # noqa: ASYNC110 - a factory sets it
            await asyncio.sleep(0)
        thread = start(cache.get_or_set, "in the thread", through_the_loop)
        await asyncio.to_thread(waits.wait, WAIT)
        blocking = cache.get_or_set("in the thread", lambda: "not waited for")
        return blocking, await task, await asyncio.to_thread(thread.result, WAIT)

    blocking, awaited, _ = start(lambda: asyncio.run(main())).result(WAIT)
    assert awaited == "of the loop"
    assert blocking in ("not waited for", "of the loop", "alone")


def test_a_thread_does_not_wait_for_a_loop_that_is_blocked_by_a_wait_for_that_thread(cache: Cache) -> None:
    started, blocked = threading.Event(), threading.Event()

    async def slow() -> str:
        started.set()
        await asyncio.sleep(0.1)
        return "of the loop"

    def through_the_loop() -> Any:
        assert blocked.wait(WAIT)
        time.sleep(0.05)  # the loop is, or is about to be, blocked; either order must end
        return cache.get_or_set("in the loop", lambda: "alone")

    async def main() -> Any:
        task = asyncio.create_task(cache.aget_or_set("in the loop", slow))
        while not started.is_set():  # noqa: ASYNC110 - a factory sets it
            await asyncio.sleep(0)
        thread = start(cache.get_or_set, "in the thread", through_the_loop)
        while not cache.chain.flights._flights.get(("n:in the thread", "find")):  # noqa: ASYNC110
            await asyncio.sleep(0)
        blocked.set()
        return cache.get_or_set("in the thread", lambda: "not waited for"), await task, thread.result(WAIT)

    assert start(lambda: asyncio.run(main())).result(WAIT) == ("alone", "of the loop", "alone")


def test_plain_factories_that_wait_for_one_another_do_not_exhaust_their_workers(cache: Cache) -> None:
    """Each of the 64 workers waits for a key whose plain factory is in the queue behind them."""
    size = cache.chain.factories.size
    taken, ask = [threading.Event() for _ in range(size)], threading.Event()

    def outer(number: int) -> Any:
        taken[number].set()
        assert ask.wait(WAIT)
        return cache.get_or_set("last", lambda: "not waited for")

    async def main() -> list[Any]:
        calls = [asyncio.create_task(cache.aget_or_set(str(n), lambda n=n: outer(n))) for n in range(size)]  # type: ignore[misc]
        while not all(event.is_set() for event in taken):  # noqa: ASYNC110 - workers set them
            await asyncio.sleep(0.001)
        calls.append(asyncio.create_task(cache.aget_or_set("last", lambda: "value")))
        while ("n:last", "find") not in cache.chain.flights._flights:  # noqa: ASYNC110
            await asyncio.sleep(0)
        ask.set()
        return await asyncio.wait_for(asyncio.gather(*calls), WAIT)

    assert asyncio.run(main()) == ["value"] * (size + 1)


def test_a_worker_that_waits_lends_its_place_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_LENT", 1)
    workers = pool.DaemonPool(1, "test")
    lent, over = threading.Event(), threading.Event()
    rooms: list[bool] = []

    def waits() -> None:
        with pool.give_way() as room:
            rooms.append(room)
            lent.set()
            assert over.wait(WAIT)

    def waits_too() -> None:
        with pool.give_way() as room:
            rooms.append(room)
        over.set()

    first, second = workers.submit(waits), workers.submit(waits_too)
    first.result(WAIT)
    second.result(WAIT)
    assert rooms == [True, False]


def test_a_thread_that_died_is_replaced_as_leader(cache: Cache) -> None:
    flight, leads = cache.chain.flights.join("n:k")
    assert leads
    dead = threading.Thread(target=lambda: None)
    dead.start()
    dead.join()
    flight.thread = dead
    assert start(cache.get_or_set, "k", lambda: "made anew").result(WAIT) == "made anew"


def test_those_who_wait_notice_that_their_leaders_thread_died(cache: Cache) -> None:
    flight, _ = cache.chain.flights.join("n:k")
    leave = threading.Event()
    leader = threading.Thread(target=leave.wait, args=(WAIT,), daemon=True)
    leader.start()
    flight.thread = leader
    blocked = start(cache.get_or_set, "k", lambda: "made anew")
    awaited = start(lambda: asyncio.run(cache.aget_or_set("k", lambda: "made anew")))
    leave.set()
    assert [blocked.result(WAIT), awaited.result(WAIT)] == ["made anew", "made anew"]


def test_a_computation_that_never_ends_is_given_up_by_other_threads(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A factory that asks for its own key in a plain thread cannot be recognised; the wait is bounded instead."""
    monkeypatch.setattr(computing, "FOLLOW_LIMIT", 0.2)
    calls: list[str] = []

    def factory() -> str:
        calls.append("call")
        if len(calls) > 1:
            return "inner"
        return str(start(cache.get_or_set, "k", factory).result(WAIT))

    assert start(cache.get_or_set, "k", factory).result(WAIT) == "inner"
    assert len(calls) == 2


def test_a_task_that_was_cancelled_before_its_first_step_leaves_the_key_free(cache: Cache) -> None:
    async def main() -> Any:
        leader = asyncio.create_task(cache.aget_or_set("k", lambda: 1))
        await asyncio.sleep(0)  # it has made the task of the computation, which has not begun
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.gather(leader, return_exceptions=True)
        return await asyncio.wait_for(cache.aget_or_set("k", lambda: "made anew"), WAIT)

    assert asyncio.run(main()) == "made anew"


def test_waits_outside_of_computations_are_not_recorded(cache: Cache) -> None:
    started, go_on = threading.Event(), threading.Event()

    def factory() -> int:
        started.set()
        assert go_on.wait(WAIT)
        return 1

    leader = start(cache.get_or_set, "k", factory)
    assert started.wait(WAIT)
    follower = start(cache.get_or_set, "k", factory)
    flight = cache.chain.flights._flights["n:k", "find"]
    go_on.set()
    assert (leader.result(WAIT), follower.result(WAIT)) == (1, 1)
    assert isinstance(flight, Flight)
    assert flight.waits_for == []
    assert cache.chain.flights._flights == {}


def test_a_blocking_set_in_a_loop_does_not_wait_for_a_thread_that_waits_for_that_loop(clock: FakeClock) -> None:
    """The thread's `set` waits for the `aset` of the loop, and the loop's `set` would wait for the thread's."""
    lower = RemoteBackend(clock)
    cache = Cache(TierChain(MemoryBackend(clock=clock), Tier(lower), clock=clock), namespace="n")
    reached, go_on = lower.hold("put")

    async def main() -> float:
        awaited = asyncio.create_task(cache.aset("k", "first"))
        assert await asyncio.to_thread(reached.wait, WAIT)
        first = cache.chain.fence._states["n:k"].turn
        thread = start(cache.set, "k", "second")
        while cache.chain.fence._states["n:k"].turn is first:  # noqa: ASYNC110 - until the thread is in line
            await asyncio.sleep(0.001)
        lower.gates.clear()
        began = time.monotonic()
        cache.set("k", "third")
        took = time.monotonic() - began
        go_on.set()
        await awaited
        await asyncio.to_thread(thread.result, WAIT)
        return took

    assert start(lambda: asyncio.run(main())).result(WAIT) < WAIT / 2
    memory = cache.chain.memory
    assert memory is not None
    memory.clear()
    assert cache.get("k") in ("third", None)


@pytest.mark.parametrize("entering", ["threads", "tasks"])
def test_where_a_later_releases_entry_stands_the_factory_runs_once_for_all(
    cache: Cache, entering: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.set("k", {"of": "a later release"})
    real = codec.decode

    def decode(payload: bytes, name: str, type: Any = None) -> Any:
        if b"later release" in payload:
            raise UnknownFormat("the value holds a type that this release does not know")
        return real(payload, name, type)

    monkeypatch.setattr("tiercache.flows.values.codec.decode", decode)
    monkeypatch.setattr("tiercache.factories.decode", decode)
    callers, calls, go_on = 8, [], threading.Event()
    joined = waiters_of(monkeypatch, "aside")

    def factory() -> str:
        calls.append(1)
        assert go_on.wait(WAIT)
        return "made here"

    if entering == "threads":
        asked = [start(cache.get_or_set, "k", factory) for _ in range(callers)]
    else:

        async def main() -> list[Any]:
            return await asyncio.gather(*(cache.aget_or_set("k", factory) for _ in range(callers)))

        asked = [start(lambda: asyncio.run(main()))]
    leaders = 0 if entering == "tasks" else 1  # a leading thread waits when it has computed
    while len(joined) < callers - leaders:
        time.sleep(0.001)
    go_on.set()
    values = [value for one in asked for value in ([one.result(WAIT)] if leaders else one.result(WAIT))]
    assert values == ["made here"] * callers
    assert len(calls) == 1
    assert cache.chain.memory is not None
    entry = cache.chain.memory.get("n:k")
    assert entry is not None
    assert b"later release" in entry.payload, "it is left in place"


def waiters_of(monkeypatch: pytest.MonkeyPatch, kind: str) -> list[Flight]:
    """Return a list that grows with each caller that waits for a computation of this kind."""
    waiters: list[Flight] = []
    perform, aperform = Follow.perform, Follow.aperform

    def performing(self: Follow) -> Outcome:
        if self.flight.kind == kind:
            waiters.append(self.flight)
        return perform(self)

    async def aperforming(self: Follow) -> Outcome:
        if self.flight.kind == kind:
            waiters.append(self.flight)
        return await aperform(self)

    monkeypatch.setattr(Follow, "perform", performing)
    monkeypatch.setattr(Follow, "aperform", aperforming)
    return waiters
