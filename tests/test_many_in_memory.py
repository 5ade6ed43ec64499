"""A batch that memory answers: what one key after the other would give, and nothing else is asked."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, TierChain
from tiercache.entry import Entry
from tiercache.errors import CacheClosed


@pytest.fixture
def remote(clock) -> RemoteBackend:
    return RemoteBackend(clock)


@pytest.fixture
def cache(clock, remote):
    with Cache(TierChain(MemoryBackend(clock=clock), remote, clock=clock), ttl=60, clock=clock) as cache:
        cache.set_many({"a": 1, "b": [2]}, attributes={"model": "m"})
        cache.set("c", b"3", ttl=None, tags=["t"])
        remote.trace.clear()
        yield cache


def test_the_results_are_those_of_single_lookups(cache, clock):
    clock.advance(7)
    results = cache.lookup_many(["c", "a", "b", "a"])
    assert list(results) == ["c", "a", "b"]
    assert results == {key: cache.lookup(key) for key in results}
    assert (results["a"].age, results["a"].ttl, results["c"].ttl) == (7, 53, None)


def test_nothing_below_memory_is_asked(cache, remote):
    cache.get_many(["a", "b", "c"])
    assert remote.trace == []


def test_only_what_memory_has_not_is_asked_for(cache, remote):
    cache.chain.memory.delete("default:b")
    assert cache.get_many(["a", "b", "c", "d"]) == {"a": 1, "b": [2], "c": b"3"}
    assert remote.trace == ["remote.get_many"]
    stats = cache.stats()
    assert (stats.hits, stats.misses) == (3, 1)
    assert (stats.tiers["memory"].hits, stats.tiers["memory"].misses) == (2, 2)
    assert (stats.tiers["remote"].hits, stats.tiers["remote"].misses) == (1, 1)


async def test_awaited_it_is_the_same(cache, remote):
    assert await cache.aget_many(["b", "a"]) == {"b": [2], "a": 1}
    assert list(await cache.alookup_many(["b", "a"])) == ["b", "a"]
    assert remote.trace == []


@pytest.mark.parametrize("change", [lambda c: c.delete("c"), lambda c: c.invalidate_tags(["t"]), lambda c: c.clear()])
def test_what_was_removed_is_a_miss(cache, change: Callable[[Cache], object]):
    change(cache)
    assert "c" not in cache.get_many(["a", "c"])


def test_what_has_expired_is_a_miss(cache, clock):
    clock.advance(60)
    assert cache.get_many(["a", "b", "c"]) == {"c": b"3"}


def test_a_broken_payload_in_memory_is_a_miss_and_counted_once(cache):
    memory = cache.chain.memory
    entry = memory.get("default:a")
    memory.put("default:a", Entry(b"\xc1", msgspec.structs.replace(entry.metadata, codec="msgpack")))
    assert cache.get_many(["a", "b"]) == {"b": [2]}
    assert cache.stats().tiers["memory"].errors == {"CorruptEntry": 1}
    assert (cache.stats().hits, cache.stats().misses) == (1, 1)


def test_a_closed_cache_refuses(clock):
    cache = Cache(MemoryBackend(clock=clock), clock=clock)
    cache.set("a", 1)
    cache.close()
    with pytest.raises(CacheClosed):
        cache.get_many(["a"])
