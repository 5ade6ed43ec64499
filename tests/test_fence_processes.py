"""The fence between processes: Redis tells each what another changed while it was loading.

Two caches that share a real Redis and a slower store stand for two processes; orders are forced with gates.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support import RemoteBackend
from tiercache import Cache, Tier, TierChain
from tiercache.entry import Entry, Metadata
from tiercache_redis import RedisBackend

WAIT = 10


class Shared:
    """Redis -> a slower store, seen from two processes."""

    def __init__(self, url: str) -> None:
        self.store = RemoteBackend(time.time, name="store")
        self.prefix = f"{uuid.uuid4().hex}:"
        self.threads = ThreadPoolExecutor(4)
        self.redis = [RedisBackend(url, prefix=self.prefix, timeout=5) for _ in range(2)]
        self.here, self.there = (
            Cache(TierChain(redis, Tier(self.store, name="store")), namespace="n") for redis in self.redis
        )

    def flush_redis(self) -> None:
        self.redis[0].clear()

    def close(self) -> None:
        for event in self.store.gates.values():
            event.set()
        self.threads.shutdown()
        self.here.close()
        self.there.close()


@pytest.fixture
def shared(redis_url: str) -> Iterator[Shared]:
    setting = Shared(redis_url)
    yield setting
    setting.close()


CHANGES: list[tuple[str, Callable[[Cache], Any], Any]] = [
    ("delete", lambda cache: cache.delete("k"), None),
    ("set", lambda cache: cache.set("k", "new"), "new"),
    ("delete_many", lambda cache: cache.delete_many(["k", "other"]), None),
    ("set_many", lambda cache: cache.set_many({"k": "new"}), "new"),
    ("touch", lambda cache: cache.touch("k", ttl=60), "old"),
]
each_change = pytest.mark.parametrize(("change", "after"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
LOADS: list[tuple[str, Callable[[Cache], Any], str]] = [
    ("get", lambda cache: cache.get("k"), "get"),
    ("get_many", lambda cache: cache.get_many(["k"]).get("k"), "get_many"),
    ("warm", lambda cache: cache.warm(["k"]), "get_many"),
]
each_load = pytest.mark.parametrize(("load", "operation"), [c[1:] for c in LOADS], ids=[c[0] for c in LOADS])


@each_load
@each_change
def test_what_was_loaded_before_a_change_elsewhere_is_not_copied_up(
    shared: Shared, change: Callable[[Cache], Any], after: Any, load: Callable[[Cache], Any], operation: str
) -> None:
    shared.here.set("k", "old")
    shared.flush_redis()
    reached, go_on = shared.store.hold(operation)
    reader = shared.threads.submit(load, shared.here)
    assert reached.wait(WAIT)  # it has the old entry in its hands
    del shared.store.gates[operation]
    change(shared.there)
    go_on.set()
    reader.result(WAIT)
    assert shared.here.drain(WAIT)
    assert shared.there.get("k") == after
    assert shared.here.get("k") == after


def test_a_load_that_begins_during_a_delete_elsewhere_finds_nothing_and_leaves_nothing(shared: Shared) -> None:
    shared.here.set("k", "old")
    reached, go_on = shared.store.hold("delete")
    deleting = shared.threads.submit(shared.there.delete, "k")
    assert reached.wait(WAIT)
    assert shared.here.get("k") is None  # though the store still has it
    assert shared.here.get_many(["k"]) == {}
    assert not shared.here.contains("k")
    assert shared.here.drain(WAIT)
    go_on.set()
    assert deleting.result(WAIT) is True
    assert shared.here.get("k") is None


@each_change
def test_a_computation_overtaken_elsewhere_is_handed_out_and_not_stored(
    shared: Shared, change: Callable[[Cache], Any], after: Any
) -> None:
    if after == "old":
        pytest.skip("there is nothing to touch while it is computed")

    def compute() -> str:
        change(shared.there)
        return "computed before"

    assert shared.here.get_or_set("k", compute) == "computed before"
    assert shared.there.get("k") == after
    shared.flush_redis()
    assert shared.there.get("k") == after


async def test_awaited_too(shared: Shared) -> None:
    async def compute() -> str:
        await shared.there.adelete("k")
        return "computed before"

    assert await shared.here.aget_or_set("k", compute) == "computed before"
    assert await shared.there.aget("k") is None
    assert await shared.there.aget_many(["k"]) == {}
    await shared.here.aset("k", "1")
    assert await shared.there.adelete_many(["k"]) == 1
    assert await shared.here.aget("k") is None
    assert shared.store.entries == {}


def test_a_computation_that_nobody_overtook_is_stored_everywhere(shared: Shared) -> None:
    shared.here.set("k", "old")
    shared.there.delete("k")
    assert shared.here.get_or_set("k", lambda: "new") == "new"
    assert shared.there.lookup("k").tier == "redis"
    shared.flush_redis()
    assert shared.there.get("k") == "new"


def test_of_two_writes_that_cross_the_slower_store_does_not_keep_the_loser(shared: Shared) -> None:
    put = shared.store.put
    first = True

    def slow(key: str, entry: Entry, **options: Any) -> bool:
        nonlocal first
        if first:
            first = False
            shared.there.set("k", "later")  # Redis has the first one by now, or gets it before this returns
        return put(key, entry, **options)

    shared.store.put = slow  # type: ignore[method-assign]
    shared.here.set("k", "earlier")
    in_redis = shared.there.get("k")
    shared.flush_redis()
    assert shared.there.get("k") in (in_redis, None)


def test_a_write_that_lands_in_the_slower_store_after_a_delete_is_refused(shared: Shared) -> None:
    shared.here.set("k", "old")
    late = dict(shared.store.entries)
    shared.there.delete("k")
    shared.store.entries |= late
    assert shared.here.get("k") is None
    assert shared.here.get_many(["k"]) == {}
    assert shared.here.metadata("k") is None


def test_what_was_set_after_a_delete_is_believed(shared: Shared) -> None:
    shared.here.set("k", "old")
    shared.there.delete("k")
    shared.here.set("k", "new")
    assert shared.there.get("k") == "new"
    shared.flush_redis()
    assert shared.there.get("k") == "new"


def test_a_delete_says_whether_there_was_something(shared: Shared) -> None:
    assert shared.here.delete("k") is False
    shared.here.set("k", "v")
    assert shared.there.delete("k") is True
    assert shared.here.delete("k") is False
    assert list(shared.here.keys()) == []
    assert shared.redis[0].delete("n:k") is False  # a tombstone is no entry


def test_without_redis_deletes_and_writes_go_on(shared: Shared) -> None:
    shared.here.set("k", "old")
    shared.redis[0].close()  # it answers nothing any more
    shared.redis[0] = RedisBackend("redis://127.0.0.1:9", prefix=shared.prefix, timeout=0.2)
    cut_off = Cache(TierChain(shared.redis[0], Tier(shared.store, name="store")), namespace="n")
    assert cut_off.delete("k")
    assert "n:k" not in shared.store.entries
    assert cut_off.get_or_set("k", lambda: "v") == "v"
    assert shared.store.entries["n:k"].payload == b"v"
    assert cut_off.stats().tiers["redis"].missed == 1
    cut_off.close()
    shared.redis[0] = shared.redis[1]


def test_a_write_behind_that_was_overtaken_leaves_nothing_older(redis_url: str) -> None:
    store = RemoteBackend(time.time, name="store")
    prefix = f"{uuid.uuid4().hex}:"

    def process(write: Any) -> Cache:
        redis = RedisBackend(redis_url, prefix=prefix, timeout=5)
        return Cache(TierChain(redis, Tier(store, name="store", write=write)), namespace="n")

    with process("behind") as here, process("through") as there:
        reached, go_on = store.hold("put_many")
        here.set("k", "queued")
        assert reached.wait(WAIT)
        there.set("k", "newer")
        go_on.set()
        assert here.drain(WAIT)
        there.chain.tiers[0].backend.clear()
        assert there.get("k") in ("newer", None)
        assert store.entries.get("n:k", _entry("newer")).payload != b"queued"


def _entry(value: str) -> Entry:
    return Entry(value.encode(), Metadata(key="n:k", created_at=0.0))
