"""`get_or_set_many`: the factory is asked once, and only for what is missing and nobody else computes."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.flows.test_compute_waits import WAIT, start, waiters_of
from tests.support import RemoteBackend
from tiercache import Cache, Computed, MemoryBackend, Tier, TierChain
from tiercache.errors import BackendUnavailable, ConfigurationError, ReentrantComputation


@pytest.fixture
def remote(clock: FakeClock) -> RemoteBackend:
    return RemoteBackend(clock)


@pytest.fixture
def cache(clock: FakeClock, remote: RemoteBackend) -> Cache:
    return Cache(TierChain(MemoryBackend(clock=clock), Tier(remote), clock=clock), namespace="n")


class Asked:
    """A factory that remembers what it was asked for, and may be held up."""

    def __init__(self, *, held: bool = False) -> None:
        self.calls: list[list[str]] = []
        self.started, self.go_on = threading.Event(), threading.Event()
        if not held:
            self.go_on.set()

    def __call__(self, missing: list[str]) -> Mapping[str, str]:
        self.calls.append(missing)
        self.started.set()
        assert self.go_on.wait(WAIT)
        return {key: key.upper() for key in missing}

    async def awaited(self, missing: list[str]) -> Mapping[str, str]:
        self.calls.append(missing)
        self.started.set()
        while not self.go_on.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.001)
        return {key: key.upper() for key in missing}


Run = Callable[..., Any]


@pytest.fixture(params=["blocking", "awaited"])
def run(request: pytest.FixtureRequest, cache: Cache) -> Run:
    """Call `get_or_set_many`, or await its twin."""
    if request.param == "blocking":
        return cache.get_or_set_many
    return lambda *args, **kwargs: asyncio.run(cache.aget_or_set_many(*args, **kwargs))


def test_the_factory_receives_the_missing_keys_in_order_each_once(cache: Cache, run: Run) -> None:
    cache.set("b", "known")
    factory = Asked()
    values = run(["c", "b", "a", "c"], factory)
    assert factory.calls == [["c", "a"]]
    assert list(values.items()) == [("c", "C"), ("b", "known"), ("a", "A")]


def test_what_all_is_known_asks_nobody(cache: Cache, run: Run) -> None:
    cache.set_many({"a": 1, "b": 2})
    assert run(["b", "a"], lambda missing: 1 / 0) == {"b": 2, "a": 1}


def test_no_keys_are_no_call(run: Run) -> None:
    assert run([], lambda missing: 1 / 0) == {}


def test_what_was_computed_is_stored_in_all_tiers_as_one_batch(cache: Cache, run: Run, remote: RemoteBackend) -> None:
    run(["a", "b", "c"], Asked(), ttl=60, tags=["t"], attributes={"model": "m"})
    assert (remote.trace.count("remote.get_many"), remote.trace.count("remote.put_many")) == (1, 1)
    assert "remote.put" not in remote.trace
    assert cache.get_many(["a", "b", "c"]) == {"a": "A", "b": "B", "c": "C"}
    metadata = remote.entries["n:b"].metadata
    assert (metadata.tags, metadata.attributes) == (("t",), {"model": "m"})
    assert metadata.expires_at == metadata.created_at + 60


def test_what_a_slower_tier_holds_is_not_asked_for(cache: Cache, run: Run) -> None:
    cache.set("a", "below")
    assert cache.chain.memory is not None
    cache.chain.memory.clear()
    factory = Asked()
    assert run(["a", "b"], factory) == {"a": "below", "b": "B"}
    assert factory.calls == [["b"]]


def test_values_may_come_as_a_list_in_the_order_of_the_keys(run: Run) -> None:
    assert run(["b", "a"], lambda missing: [key * 2 for key in missing]) == {"b": "bb", "a": "aa"}


def test_a_list_of_another_length_is_refused(run: Run, cache: Cache) -> None:
    with pytest.raises(ValueError, match="1 values for 2 keys"):
        run(["a", "b"], lambda missing: ["only one"])
    assert cache.get_many(["a", "b"]) == {}


@pytest.mark.parametrize("answer", [None, 7, "ab", b"ab"])
def test_what_is_neither_a_mapping_nor_a_list_is_refused(run: Run, answer: object) -> None:
    with pytest.raises(TypeError, match="mapping"):
        run(["a", "b"], lambda missing: answer)


def test_an_async_factory_is_awaited_and_refused_by_the_blocking_call(cache: Cache) -> None:
    factory = Asked()
    assert asyncio.run(cache.aget_or_set_many(["a"], factory.awaited)) == {"a": "A"}
    with pytest.raises(TypeError, match="aget_or_set_many"):
        cache.get_or_set_many(["b"], factory.awaited)


def test_none_is_a_value_and_a_key_that_is_left_out_is_missing_and_not_stored(cache: Cache, run: Run) -> None:
    assert run(["a", "b", "c"], lambda missing: {"a": None, "c": 3}) == {"a": None, "c": 3}
    factory = Asked()
    assert run(["a", "b"], factory) == {"a": None, "b": "B"}
    assert factory.calls == [["b"]]


def test_keys_that_were_not_asked_for_are_ignored(cache: Cache, run: Run) -> None:
    assert run(["a"], lambda missing: {"a": 1, "secret": 2}) == {"a": 1}
    assert cache.get("secret") is None


def test_an_exception_as_a_value_is_the_error_of_its_key_alone(cache: Cache, run: Run) -> None:
    refused = ValueError("content filter")

    def factory(missing: list[str]) -> dict[str, Any]:
        return {key: refused if key == "b" else key.upper() for key in missing}

    with pytest.raises(ValueError, match="content filter"):
        run(["a", "b", "c"], factory)
    assert cache.get_many(["a", "b", "c"]) == {"a": "A", "c": "C"}, "the others are stored"
    assert run(["a", "b", "c"], factory, errors="return") == {"a": "A", "b": refused, "c": "C"}


def test_what_the_factory_raises_is_the_error_of_all_it_was_given(cache: Cache, run: Run) -> None:
    cache.set("b", "known")

    def factory(missing: list[str]) -> dict[str, Any]:
        raise ConnectionError("the provider is down")

    with pytest.raises(ConnectionError):
        run(["a", "b", "c"], factory)
    found = run(["a", "b", "c"], factory, errors="return")
    assert found["b"] == "known"
    assert found["a"] is found["c"]
    assert isinstance(found["a"], ConnectionError)


def test_an_unknown_policy_is_refused_before_anybody_is_asked(run: Run) -> None:
    with pytest.raises(ConfigurationError, match="'raise' or 'return'"):
        run(["a"], Asked(), errors="ignore")


def test_an_unknown_option_is_refused_before_anybody_is_asked(run: Run) -> None:
    factory = Asked()
    with pytest.raises(TypeError, match="tll"):
        run(["a"], factory, tll=60)
    assert factory.calls == []


def test_a_value_that_cannot_be_cached_is_handed_through(cache: Cache, run: Run) -> None:
    marker = object()
    assert run(["a", "b"], lambda missing: {"a": marker, "b": 1}) == {"a": marker, "b": 1}
    assert cache.get_many(["a", "b"]) == {"b": 1}
    assert cache.stats().uncacheable == 1


def test_a_computed_says_what_only_the_value_tells(cache: Cache, run: Run, remote: RemoteBackend) -> None:
    values = {"a": Computed(1, ttl=5, tags=["x"]), "b": Computed(2, store=False)}
    assert run(["a", "b"], lambda missing: values) == {"a": 1, "b": 2}
    assert list(remote.entries) == ["n:a"]
    assert remote.entries["n:a"].metadata.tags == ("x",)


def test_overlapping_batches_share_what_is_in_flight(cache: Cache) -> None:
    first, second = Asked(held=True), Asked()
    one = start(cache.get_or_set_many, ["a", "b", "c"], first)
    assert first.started.wait(WAIT)
    two = start(cache.get_or_set_many, ["b", "c", "d"], second)
    assert second.started.wait(WAIT)
    first.go_on.set()
    assert one.result(WAIT) == {"a": "A", "b": "B", "c": "C"}
    assert two.result(WAIT) == {"b": "B", "c": "C", "d": "D"}
    assert (first.calls, second.calls) == ([["a", "b", "c"]], [["d"]])


def test_a_batch_and_single_calls_share_what_is_in_flight(cache: Cache) -> None:
    batch, alone = Asked(held=True), Asked(held=True)
    single = start(cache.get_or_set, "a", lambda: alone(["a"])["a"] + " alone")
    assert alone.started.wait(WAIT)
    many = start(lambda: asyncio.run(cache.aget_or_set_many(["a", "b"], batch.awaited)))
    assert batch.started.wait(WAIT)
    follower = start(cache.get_or_set, "b", lambda: 1 / 0)
    batch.go_on.set()
    alone.go_on.set()
    assert many.result(WAIT) == {"a": "A alone", "b": "B"}
    assert (single.result(WAIT), follower.result(WAIT)) == ("A alone", "B")
    assert batch.calls == [["b"]]


def test_batches_that_each_lead_a_part_of_the_others_keys_do_not_wait_for_each_other(cache: Cache) -> None:
    first, second = Asked(held=True), Asked(held=True)
    one = start(cache.get_or_set_many, ["a"], first)  # leads a
    assert first.started.wait(WAIT)
    two = start(cache.get_or_set_many, ["b", "a"], second)  # leads b, waits for a
    assert second.started.wait(WAIT)
    three = start(cache.get_or_set_many, ["a", "b", "c"], Asked())  # leads c, waits for both
    second.go_on.set()
    first.go_on.set()
    assert [len(call.result(WAIT)) for call in (one, two, three)] == [1, 2, 3]


def test_two_hundred_batches_in_threads_and_tasks_compute_each_key_once(cache: Cache) -> None:
    calls: list[str] = []

    def factory(missing: list[str]) -> list[str]:
        calls.extend(missing)
        time.sleep(0.002)
        return missing

    async def afactory(missing: list[str]) -> list[str]:
        calls.extend(missing)
        await asyncio.sleep(0.002)
        return missing

    def keys(number: int) -> list[str]:
        return [f"k{(number * 7 + step) % 40}" for step in range(12)][:: 1 if number % 2 else -1]

    async def main() -> list[dict[str, str]]:
        return await asyncio.gather(*(cache.aget_or_set_many(keys(n), afactory) for n in range(100)))

    loop = start(lambda: asyncio.run(main()))
    threads = [start(cache.get_or_set_many, keys(n), factory) for n in range(100)]
    found = [thread.result(WAIT) for thread in threads] + loop.result(WAIT)
    assert all(list(values) == list(values.values()) for values in found)
    assert sorted(calls) == sorted({f"k{n}" for n in range(40)})


def test_a_key_that_another_batchs_factory_leaves_out_is_asked_of_ones_own(cache: Cache) -> None:
    first = Asked(held=True)

    def nothing(missing: list[str]) -> dict[str, str]:
        first(missing)
        return {}

    one = start(cache.get_or_set_many, ["a"], nothing)
    assert first.started.wait(WAIT)
    own = Asked()
    two = start(cache.get_or_set_many, ["a", "b"], own)
    while not own.calls:
        time.sleep(0.001)
    first.go_on.set()
    assert one.result(WAIT) == {}
    assert two.result(WAIT) == {"a": "A", "b": "B"}
    assert own.calls == [["b"], ["a"]]


def test_a_failure_of_a_batch_reaches_those_who_wait_for_its_keys(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Asked(held=True)
    error = ConnectionError("down")
    waiters = waiters_of(monkeypatch, "find")

    def factory(missing: list[str]) -> dict[str, str]:
        held(missing)
        raise error

    one = start(cache.get_or_set_many, ["a", "b"], factory)
    assert held.started.wait(WAIT)
    two = start(cache.get_or_set, "a", lambda: "own")
    while not waiters:
        time.sleep(0.001)
    held.go_on.set()
    assert one.exception(WAIT) is error
    assert two.exception(WAIT) is error


def test_a_cancelled_batch_harms_no_follower(cache: Cache) -> None:
    held = Asked(held=True)

    async def main() -> Any:
        leader = asyncio.create_task(cache.aget_or_set_many(["a", "b"], held.awaited))
        await asyncio.to_thread(held.started.wait, WAIT)
        follower = asyncio.create_task(cache.aget_or_set_many(["b", "c"], Asked().awaited))
        await asyncio.sleep(0.01)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        held.go_on.set()
        return await follower

    assert asyncio.run(main()) == {"b": "B", "c": "C"}
    assert held.calls == [["a", "b"]]
    assert cache.get("a") == "A"


def test_a_batch_that_asks_for_its_own_key_is_told_so(cache: Cache, run: Run) -> None:
    with pytest.raises(ReentrantComputation):
        run(["a", "b"], lambda missing: {key: cache.get_or_set("b", lambda: 1) for key in missing})


def test_batches_whose_factories_ask_for_each_others_keys_do_not_hang(cache: Cache) -> None:
    together = threading.Barrier(2)

    def factory(other: str) -> Callable[[list[str]], dict[str, Any]]:
        def ask(missing: list[str]) -> dict[str, Any]:
            together.wait(WAIT)
            inner = cache.get_or_set_many([other], lambda keys: {other: "inner"})
            return dict.fromkeys(missing, inner[other])

        return ask

    one = start(cache.get_or_set_many, ["a"], factory("b"))
    two = start(cache.get_or_set_many, ["b"], factory("a"))
    assert one.result(WAIT) == {"a": "inner"}
    assert two.result(WAIT) == {"b": "inner"}


def test_a_key_that_was_changed_meanwhile_is_returned_and_not_stored(cache: Cache) -> None:
    held = Asked(held=True)
    many = start(cache.get_or_set_many, ["a", "b"], held)
    assert held.started.wait(WAIT)
    cache.set("a", "newer")
    held.go_on.set()
    assert many.result(WAIT) == {"a": "A", "b": "B"}
    assert cache.get_many(["a", "b"]) == {"a": "newer", "b": "B"}


def test_a_store_that_is_down_does_not_stop_a_batch(cache: Cache, remote: RemoteBackend, run: Run) -> None:
    remote.break_down()
    assert run(["a", "b"], Asked()) == {"a": "A", "b": "B"}
    assert cache.get("a") == "A"


def test_in_a_strict_chain_a_store_that_fails_is_an_error_of_the_batch(clock: FakeClock) -> None:
    remote = RemoteBackend(clock)
    cache = Cache(TierChain(MemoryBackend(clock=clock), Tier(remote), clock=clock, strict=True))
    remote.faults["put_many"] = BackendUnavailable("the store is down")
    with pytest.raises(BackendUnavailable):
        cache.get_or_set_many(["a"], Asked())


def test_stale_values_are_served_and_refreshed_in_one_call(
    cache: Cache, clock: FakeClock, run: Run, request: pytest.FixtureRequest
) -> None:
    cache.set_many({"a": 1, "b": 2}, ttl=10, stale_for=100)
    clock.advance(11)
    if "awaited" in request.node.name:
        factory = Asked()

        async def main() -> Any:
            found = await cache.aget_or_set_many(["a", "b"], factory.awaited, stale_for=100)
            while cache.chain.flights._flights:  # noqa: ASYNC110 - the refresh is a task of this loop
                await asyncio.sleep(0.001)
            return found

        assert asyncio.run(main()) == {"a": 1, "b": 2}
    else:
        factory = Asked()
        assert run(["a", "b"], factory, stale_for=100) == {"a": 1, "b": 2}
        assert cache.drain(WAIT)
    assert factory.calls == [["a", "b"]]
    assert cache.get_many(["a", "b"]) == {"a": "A", "b": "B"}
    stats = cache.stats()
    assert (stats.served_stale, stats.refreshes) == (2, 2)


def test_stale_values_stand_in_when_the_factory_fails(cache: Cache, clock: FakeClock, run: Run) -> None:
    cache.set("a", 1, ttl=10, stale_for=100)
    clock.advance(11)
    found = run(["a", "b"], lambda missing: 1 / 0, stale_if_error=100, errors="return")
    assert found["a"] == 1
    assert isinstance(found["b"], ZeroDivisionError)


def test_a_batch_that_takes_too_long_returns_what_there_is(cache: Cache, run: Run) -> None:
    cache.set("known", 1)
    held = Asked(held=True)
    found = run(["known", "slow"], held, timeout=0.05, errors="return")
    assert found["known"] == 1
    assert isinstance(found["slow"], TimeoutError)
    held.go_on.set()


def test_both_twins_have_the_same_parameters() -> None:
    blocking, awaited = inspect.signature(Cache.get_or_set_many), inspect.signature(Cache.aget_or_set_many)
    assert blocking.parameters == awaited.parameters
