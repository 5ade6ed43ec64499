"""`Cache.begin`: what is made in one's own way is stored later, unless its key was changed meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import RemoteBackend
from tiercache import Cache, DiskBackend, MemoryBackend, TierChain
from tiercache.errors import UncacheableValue
from tiercache.testing.clock import FakeClock

Change = Callable[[Cache], object]
CHANGES: dict[str, Change] = {
    "set": lambda cache: cache.set("k", "newer"),
    "touch": lambda cache: cache.touch("k"),
    "delete": lambda cache: cache.delete("k"),
    "clear": lambda cache: cache.clear(),
    "purge": lambda cache: cache.clear(purge=True),
    "tag": lambda cache: cache.invalidate_tags(["t"]),
}


@pytest.fixture
def cache() -> Cache:
    return Cache(MemoryBackend())


def test_what_is_stored_is_read_with_its_options(cache: Cache) -> None:
    with cache.begin("k") as pending:
        assert pending.store("value", ttl=60, tags=["t"], attributes={"model": "m"})
    result = cache.lookup("k")
    assert result.value == "value"
    assert result.metadata is not None
    assert (result.metadata.tags, result.metadata.attributes) == (("t",), {"model": "m"})
    assert result.ttl == pytest.approx(60, abs=30)


async def test_what_is_stored_is_read_by_those_who_await(cache: Cache) -> None:
    with cache.begin("k") as pending:
        assert await pending.astore("value")
    assert await cache.aget("k") == "value"


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_served_that_began_before_a_change(cache: Cache, change: str) -> None:
    cache.set("k", "older")
    with cache.begin("k") as pending:
        CHANGES[change](cache)
        pending.store("value", tags=["t"])
    assert cache.get("k") != "value"


@pytest.mark.parametrize("change", CHANGES)
async def test_nor_for_those_who_await(cache: Cache, change: str) -> None:
    cache.set("k", "older")
    with cache.begin("k") as pending:
        CHANGES[change](cache)
        await pending.astore("value", tags=["t"])
    assert await cache.aget("k") != "value"


@pytest.mark.parametrize("change", CHANGES)
def test_it_tells_whether_something_changed(cache: Cache, change: str) -> None:
    cache.set("k", "older")
    with cache.begin("k") as pending:
        assert pending.holds(["t"])
        CHANGES[change](cache)
        assert not pending.holds(["t"])


def test_changes_of_others_do_not_matter(cache: Cache) -> None:
    with cache.begin("k") as pending:
        cache.set("other", 1)
        cache.delete("other")
        cache.invalidate_tags(["other"])
        assert pending.holds(["t"])
        assert pending.store("value", tags=["t"])
    assert cache.get("k") == "value"


def test_what_begins_after_a_change_is_stored(cache: Cache) -> None:
    cache.invalidate_tags(["t"])
    cache.clear()
    cache.delete("k")
    with cache.begin("k") as pending:
        assert pending.holds(["t"])
        assert pending.store("value", tags=["t"])
    assert cache.get("k") == "value"


def test_it_is_stored_in_all_tiers(tmp_path: Path) -> None:
    disk = DiskBackend(tmp_path / "cache.db")
    cache = Cache(TierChain(MemoryBackend(), disk))
    with cache.begin("k") as pending:
        assert pending.store([1, 2])
    cache.close()
    again = Cache(DiskBackend(tmp_path / "cache.db"))
    assert again.get("k") == [1, 2]
    again.close()


def test_a_change_by_another_cache_on_the_same_tier_is_seen_at_read() -> None:
    clock = FakeClock()
    shared = RemoteBackend(clock)
    here = Cache(TierChain(MemoryBackend(clock=clock), shared, clock=clock), clock=clock)
    with here.begin("k") as pending:
        clock.advance(1)
        there = Cache(TierChain(shared, clock=clock), clock=clock)
        there.invalidate_tags(["t"])
        clock.advance(1)
        pending.store("value", tags=["t"])
        assert there.get("k") is None


def test_of_two_that_began_the_one_that_is_stored_first_stays(cache: Cache) -> None:
    with cache.begin("k") as first, cache.begin("k") as second:
        assert second.store("second")
        assert not first.store("first")
    assert cache.get("k") == "second"


def test_what_no_codec_takes_is_refused(cache: Cache) -> None:
    with cache.begin("k") as pending, pytest.raises(UncacheableValue):
        pending.store(object())


def test_nothing_is_left_in_the_fence(cache: Cache) -> None:
    pending = cache.begin("k")
    pending.release()
    pending.release()
    with cache.begin("k") as stored:
        stored.store("value")
    assert not cache.chain.fence._states
