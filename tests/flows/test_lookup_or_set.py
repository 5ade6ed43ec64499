"""`lookup_or_set`: the value and where it came from; what is too old for a caller is made anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import ConfigurationError

Ask = Callable[..., Any]


class Factory:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        return f"value {self.calls}"


@pytest.fixture
def remote(clock: FakeClock) -> RemoteBackend:
    return RemoteBackend(clock)


@pytest.fixture
def cache(clock: FakeClock, remote: RemoteBackend) -> Cache:
    return Cache(TierChain(MemoryBackend(clock=clock), Tier(remote), clock=clock), namespace="n")


@pytest.fixture(params=["blocking", "awaited"])
def ask(request: pytest.FixtureRequest, cache: Cache) -> Ask:
    if request.param == "blocking":
        return cache.lookup_or_set
    return lambda *args, **kwargs: asyncio.run(cache.alookup_or_set(*args, **kwargs))


def test_a_computed_value_is_no_hit_and_tells_how_it_was_stored(ask: Ask) -> None:
    result = ask("k", Factory(), attributes={"model": "m"}, ttl=60)
    assert (result.value, result.hit, result.tier) == ("value 1", False, None)
    assert result.metadata.attributes == {"model": "m"}


def test_a_hit_names_its_tier_and_age(ask: Ask, cache: Cache, clock: FakeClock) -> None:
    ask("k", Factory(), ttl=60)
    clock.advance(10)
    result = ask("k", Factory())
    assert (result.value, result.hit, result.tier, result.age, result.ttl) == ("value 1", True, "memory", 10, 50)
    assert cache.stats().hits == 1


def test_a_hit_below_memory_names_that_tier(ask: Ask, cache: Cache) -> None:
    ask("k", Factory())
    assert cache.chain.memory is not None
    cache.chain.memory.clear()
    assert ask("k", Factory()).tier == "remote"


def test_what_is_older_than_max_age_is_made_anew_and_replaced(ask: Ask, cache: Cache, clock: FakeClock) -> None:
    factory = Factory()
    ask("k", factory)
    clock.advance(10)
    assert ask("k", factory, max_age=10).value == "value 1"
    assert ask("k", factory, max_age=9).value == "value 2"
    assert cache.get("k") == "value 2"


def test_max_age_of_nothing_computes_in_any_case(ask: Ask, cache: Cache, remote: RemoteBackend) -> None:
    factory = Factory()
    ask("k", factory)
    remote.trace.clear()
    result = ask("k", factory, max_age=0)
    assert (result.value, result.hit) == ("value 2", False)
    assert "remote.get" not in remote.trace
    assert cache.get("k") == "value 2"


def test_what_no_codec_stores_is_handed_through(ask: Ask) -> None:
    thing = object()
    result = ask("k", lambda: thing)
    assert (result.value, result.hit, result.metadata) == (thing, False, None)


@pytest.mark.parametrize("max_age", [-1, True, "soon", float("nan")])
def test_a_max_age_that_is_none_is_refused(ask: Ask, max_age: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_age"):
        ask("k", Factory(), max_age=max_age)


async def test_those_who_want_it_new_at_the_same_moment_share_one_computation(cache: Cache) -> None:
    cache.set("k", "old")
    calls = []

    async def factory() -> str:
        calls.append(1)
        for _ in range(20):  # until all have asked
            await asyncio.sleep(0)
        return "new"

    results = await asyncio.gather(*(cache.alookup_or_set("k", factory, max_age=0) for _ in range(5)))
    assert [result.value for result in results] == ["new"] * 5
    assert len(calls) == 1


def test_a_hit_tells_what_it_saved(ask: Ask, cache: Cache) -> None:
    attributes = {"model": "m", "input_tokens": 7, "output_tokens": 3, "usd": 0.5, "seconds": 1.5}
    assert ask("k", Factory(), attributes=attributes).saving.calls == 0
    saving = ask("k", Factory()).saving
    assert (saving.calls, saving.input_tokens, saving.output_tokens, saving.usd, saving.seconds) == (1, 7, 3, 0.5, 1.5)


def test_savings_stand_in_the_stats_by_model_and_tier(cache: Cache) -> None:
    cache.savings.record({"model": "a", "usd": 1.0}, "memory")
    cache.savings.record({"model": "a", "usd": 2.0}, "redis")
    cache.savings.record({"model": "b"}, None)
    savings = cache.stats().savings
    assert savings.namespace == "n"
    assert savings.by_model["a"].usd == 3.0
    assert savings.by_tier["shared"].unpriced == 1
    assert savings.total.calls == 3
    assert cache.stats().as_dict()["savings"]["total"]["usd"] == 3.0
    cache.reset_stats()
    assert cache.stats().savings.total.calls == 0
