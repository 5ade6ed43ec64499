"""Computations of two chains on one Redis and a slower store, as two processes have them.

Neither stores over what the other changed meanwhile, and what one has refreshed the other takes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.flows.test_compute_waits import WAIT
from tests.flows.test_stale import Factory
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache_redis import RedisBackend


@pytest.fixture
def caches(redis_url: str, s3_prefix: str) -> Iterator[tuple[Cache, Cache]]:
    slow = RemoteBackend(time.time)
    # Without notices, so that memory still holds what another process has replaced.
    chains = [
        TierChain(MemoryBackend(), RedisBackend(redis_url, prefix=s3_prefix, timeout=5), Tier(slow), coherent=False)
        for _ in range(2)
    ]
    one, two = (Cache(chain, namespace="n") for chain in chains)
    yield one, two
    one.close()
    two.close()


def in_redis(cache: Cache, key: str) -> object:
    assert cache.chain.memory is not None
    cache.chain.memory.clear()
    return cache.get(key)


def test_a_batch_is_not_stored_over_what_another_process_changed_meanwhile(caches: tuple[Cache, Cache]) -> None:
    one, two = caches

    def factory(missing: list[str]) -> dict[str, str]:
        two.set("a", "newer")
        two.delete("b")
        return {key: key.upper() for key in missing}

    assert one.get_or_set_many(["a", "b", "c"], factory) == {"a": "A", "b": "B", "c": "C"}
    assert [in_redis(one, key) for key in "abc"] == ["newer", None, "C"]


def test_a_batch_that_nobody_disturbs_is_stored(caches: tuple[Cache, Cache]) -> None:
    one, two = caches
    one.get_or_set_many(["a", "b"], lambda missing: [key.upper() for key in missing])
    assert two.get_many(["a", "b"]) == {"a": "A", "b": "B"}


def test_a_refresh_is_not_stored_over_what_another_process_changed_meanwhile(caches: tuple[Cache, Cache]) -> None:
    one, two = caches
    one.set("k", "old", ttl=0.001, stale_for=100)
    while one.contains("k"):
        pass
    factory = Factory("refreshed", held=True)
    assert one.get_or_set("k", factory, stale_for=100) == "old"
    assert factory.started.wait(WAIT)
    two.set("k", "newer")
    factory.go_on.set()
    assert one.drain(WAIT)
    assert in_redis(one, "k") == "newer"


def test_a_value_that_another_process_refreshed_is_taken_from_redis(caches: tuple[Cache, Cache]) -> None:
    one, two = caches
    one.set("k", "old", ttl=0.001, stale_for=100)
    while one.contains("k"):
        pass
    two.set("k", "refreshed elsewhere", ttl=100)
    factory = Factory()
    assert one.get_or_set("k", factory, stale_for=100) == "old"
    assert one.drain(WAIT)
    assert one.get("k") == "refreshed elsewhere"
    assert factory.calls == 0
