"""What an entry's life is made of: jitter, negative answers, what the factory says itself; and strict chains."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, Computed, MemoryBackend, Tier, TierChain
from tiercache.errors import BackendUnavailable, ConfigurationError
from tiercache.options import shortened

Run = Callable[..., Any]


@pytest.fixture
def remote(clock: FakeClock) -> RemoteBackend:
    return RemoteBackend(clock)


@pytest.fixture
def cache(clock: FakeClock, remote: RemoteBackend) -> Cache:
    return Cache(TierChain(MemoryBackend(clock=clock), Tier(remote), clock=clock), namespace="n")


@pytest.fixture(params=["blocking", "awaited"])
def run(request: pytest.FixtureRequest, cache: Cache) -> Run:
    """Call `get_or_set`, or await its twin."""
    if request.param == "blocking":
        return cache.get_or_set
    return lambda *args, **kwargs: asyncio.run(cache.aget_or_set(*args, **kwargs))


def ttls(cache: Cache, clock: FakeClock, count: int = 200) -> list[float]:
    entries = [cache.metadata(f"k{number}") for number in range(count)]
    return [entry.ttl(clock()) or 0.0 for entry in entries if entry is not None]


@pytest.mark.parametrize("how", ["set", "set_many", "get_or_set", "get_or_set_many"])
def test_jitter_only_ever_shortens_and_by_so_much_at_most(clock: FakeClock, how: str) -> None:
    cache = Cache(MemoryBackend(clock=clock), ttl=1000, jitter=0.1, clock=clock)
    keys = [f"k{number}" for number in range(200)]
    if how == "set":
        for key in keys:
            cache.set(key, 1)
    elif how == "set_many":
        cache.set_many(dict.fromkeys(keys, 1))
    elif how == "get_or_set":
        for key in keys:
            cache.get_or_set(key, lambda: 1)
    else:
        cache.get_or_set_many(keys, lambda missing: dict.fromkeys(missing, 1))
    found = ttls(cache, clock)
    assert all(900 <= ttl <= 1000 for ttl in found)
    assert len(set(found)) > 10, "they do not expire together"


def test_without_jitter_lives_are_exact(clock: FakeClock) -> None:
    cache = Cache(MemoryBackend(clock=clock), ttl=1000, clock=clock)
    for number in range(200):
        cache.set(f"k{number}", 1)
    assert set(ttls(cache, clock)) == {1000}


def test_full_jitter_leaves_every_entry_a_life(clock: FakeClock) -> None:
    assert all(0 < shortened(0.001, 1.0) <= 0.001 for _ in range(1000))
    assert all(0 < shortened(60, 1.0) <= 60 for _ in range(1000))


def test_entries_with_jitter_go_on_sharing_what_describes_them(clock: FakeClock) -> None:
    memory = MemoryBackend(clock=clock)
    cache = Cache(memory, ttl="30d", jitter=0.5, clock=clock)
    for number in range(2000):
        cache.set(str(number), 1)
    assert len(memory._make._traits) <= 64


def test_touch_is_exact(clock: FakeClock) -> None:
    cache = Cache(MemoryBackend(clock=clock), jitter=0.9, clock=clock)
    cache.set("k", 1, ttl=100)
    cache.touch("k", 500)
    metadata = cache.metadata("k")
    assert metadata is not None
    assert metadata.ttl(clock()) == 500


def test_a_negative_answer_has_a_ttl_of_its_own(cache: Cache, clock: FakeClock, run: Run) -> None:
    assert run("k", lambda: None, ttl=1000, negative_ttl=5) is None
    clock.advance(4)
    assert run("k", lambda: "found", ttl=1000, negative_ttl=5) is None
    clock.advance(1)
    assert run("k", lambda: "found", ttl=1000, negative_ttl=5) == "found"
    clock.advance(100)
    assert cache.get("k") == "found"


def test_a_negative_answer_is_never_served_stale(cache: Cache, clock: FakeClock, run: Run) -> None:
    run("k", lambda: None, negative_ttl=5, stale_for=100)
    clock.advance(6)
    assert run("k", lambda: "found", negative_ttl=5, stale_for=100) == "found"


def test_without_negative_ttl_none_is_a_value_like_any_other(cache: Cache, clock: FakeClock, run: Run) -> None:
    run("k", lambda: None, ttl=1000)
    clock.advance(999)
    assert cache.contains("k")


def test_negative_answers_of_a_batch_have_their_ttl_too(cache: Cache, clock: FakeClock) -> None:
    found = cache.get_or_set_many(["a", "b"], lambda missing: {"a": None, "b": 1}, ttl=1000, negative_ttl=5)
    assert found == {"a": None, "b": 1}
    clock.advance(6)
    assert cache.get_many(["a", "b"]) == {"b": 1}


def test_the_factory_may_set_ttl_tags_and_attributes_from_the_value(
    cache: Cache, clock: FakeClock, run: Run, remote: RemoteBackend
) -> None:
    def factory() -> Computed:
        return Computed({"text": "hi"}, ttl="5s", tags=["model:m"], attributes={"tokens": 7})

    assert run("k", factory, ttl=1000, tags=["doc:1"], attributes={"tenant": "t"}) == {"text": "hi"}
    metadata = remote.entries["n:k"].metadata
    assert metadata.expires_at == clock() + 5
    assert metadata.tags == ("doc:1", "model:m")
    assert metadata.attributes == {"tenant": "t", "tokens": 7}


def test_what_the_factory_does_not_say_is_as_the_call_says(remote: RemoteBackend, clock: FakeClock, run: Run) -> None:
    run("k", lambda: Computed(1), ttl=1000, stale_for=50)
    metadata = remote.entries["n:k"].metadata
    assert (metadata.expires_at, metadata.stale_until) == (clock() + 1000, clock() + 1050)


def test_the_factory_may_say_that_a_value_never_expires(remote: RemoteBackend, run: Run) -> None:
    run("k", lambda: Computed(1, ttl=None), ttl=1000)
    assert remote.entries["n:k"].metadata.expires_at is None


def test_the_factory_may_refuse_to_store(cache: Cache, run: Run, remote: RemoteBackend) -> None:
    assert run("k", lambda: Computed([1], store=False)) == [1]
    assert cache.get("k") is None
    assert remote.entries == {}
    stats = cache.stats()
    assert (stats.computed, stats.puts, stats.uncacheable) == (1, 0, 0)


def test_a_value_that_is_not_to_be_stored_need_not_be_storable(cache: Cache, run: Run) -> None:
    marker = object()
    assert run("k", lambda: Computed(marker, store=False)) is marker
    assert cache.stats().uncacheable == 0


def test_what_a_computed_says_wrongly_is_an_error_of_the_computation(cache: Cache, run: Run) -> None:
    with pytest.raises(ConfigurationError, match="ttl"):
        run("k", lambda: Computed(1, ttl="soon"))
    assert cache.get("k") is None


def test_a_computed_does_not_show_its_value() -> None:
    assert "secret" not in repr(Computed("secret"))


def test_an_async_factory_may_return_a_computed(cache: Cache) -> None:
    async def factory() -> Computed:
        return Computed(1, store=False)

    assert asyncio.run(cache.aget_or_set("k", factory)) == 1
    assert cache.get("k") is None


def test_an_entry_knows_when_the_load_that_made_it_began(
    cache: Cache, clock: FakeClock, run: Run, remote: RemoteBackend
) -> None:
    began = clock()

    def factory() -> int:
        clock.advance(30)
        return 1

    run("k", factory)
    metadata = remote.entries["n:k"].metadata
    assert (metadata.as_of, metadata.created_at) == (began, began + 30)


# Strict chains


@pytest.fixture
def strict(clock: FakeClock, remote: RemoteBackend) -> Cache:
    chain = TierChain(MemoryBackend(clock=clock), Tier(remote), clock=clock, strict=True)
    return Cache(chain, namespace="n")


@pytest.mark.parametrize("operation", ["get", "put"])
def test_in_a_strict_chain_a_store_that_fails_is_an_error_of_the_computation(
    strict: Cache, remote: RemoteBackend, operation: str
) -> None:
    remote.faults[operation] = BackendUnavailable("the store is down")
    with pytest.raises(BackendUnavailable):
        strict.get_or_set("k", lambda: 1)
    with pytest.raises(BackendUnavailable):
        asyncio.run(strict.aget_or_set("other", lambda: 1))


def test_in_a_strict_chain_those_who_wait_get_the_error_too(strict: Cache, remote: RemoteBackend) -> None:
    remote.faults["put"] = BackendUnavailable("the store is down")
    calls: list[int] = []

    async def factory() -> int:
        calls.append(1)
        await asyncio.sleep(0.02)
        return 1

    async def main() -> list[Any]:
        return await asyncio.gather(*(strict.aget_or_set("k", factory) for _ in range(5)), return_exceptions=True)

    assert {type(error) for error in asyncio.run(main())} == {BackendUnavailable}
    assert len(calls) == 1


def test_what_a_strict_chain_computed_is_kept_by_the_tiers_that_took_it(strict: Cache, remote: RemoteBackend) -> None:
    remote.faults["put"] = BackendUnavailable("the store is down")
    with pytest.raises(BackendUnavailable):
        strict.get_or_set("k", lambda: 1)
    assert strict.get("k") == 1
