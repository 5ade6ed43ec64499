"""`lookup_or_set_many`: a `Result` for each key; what is too old for a caller is made anew, in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.options import Computed

Ask = Callable[..., Any]


class Factory:
    """Makes `{key}{number of the call}`."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, keys: list[str]) -> dict[str, Any]:
        self.asked.append(keys)
        return {key: Computed(f"{key}{len(self.asked)}", attributes={"key": key}) for key in keys}


@pytest.fixture
def cache(clock: FakeClock) -> Cache:
    return Cache(TierChain(MemoryBackend(clock=clock), Tier(RemoteBackend(clock)), clock=clock), namespace="n")


@pytest.fixture(params=["blocking", "awaited"])
def ask(request: pytest.FixtureRequest, cache: Cache) -> Ask:
    if request.param == "blocking":
        return cache.lookup_or_set_many
    return lambda *args, **kwargs: asyncio.run(cache.alookup_or_set_many(*args, **kwargs))


def test_hits_name_their_tier_and_computed_values_their_attributes(ask: Ask) -> None:
    ask(["a"], Factory())
    results = ask(["b", "a"], Factory())
    assert list(results) == ["b", "a"]
    assert [(one.value, one.hit, one.tier) for one in results.values()] == [("b1", False, None), ("a1", True, "memory")]
    assert [one.metadata.attributes for one in results.values()] == [{"key": "b"}, {"key": "a"}]


def test_what_is_too_old_is_made_anew_in_one_call(ask: Ask, clock: FakeClock) -> None:
    factory = Factory()
    ask(["a", "b"], factory)
    clock.advance(50)
    ask(["c"], factory)
    results = ask(["a", "b", "c"], factory, max_age=20)
    assert [one.value for one in results.values()] == ["a3", "b3", "c2"]
    assert factory.asked == [["a", "b"], ["c"], ["a", "b"]]


def test_a_max_age_of_0_asks_for_all(ask: Ask) -> None:
    factory = Factory()
    ask(["a", "b"], factory)
    assert [one.value for one in ask(["b", "a"], factory, max_age=0).values()] == ["b2", "a2"]
    assert [one.hit for one in ask(["b", "a"], factory).values()] == [True, True]


def test_errors_stand_in_place_of_results(ask: Ask) -> None:
    error = RuntimeError("no b")
    results = ask(["a", "b"], lambda keys: {"a": 1, "b": error}, errors="return")
    assert results["a"].value == 1
    assert results["b"] is error
    with pytest.raises(RuntimeError, match="no b"):
        ask(["b"], lambda keys: {"b": error})


def test_a_value_that_is_not_stored_is_handed_out(ask: Ask) -> None:
    results = ask(["a"], lambda keys: {"a": Computed(1, store=False)})
    assert (results["a"].value, results["a"].hit) == (1, False)
    assert not ask(["a"], lambda keys: {"a": 2})["a"].hit
