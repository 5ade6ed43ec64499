"""Reading: who is asked, what is copied up, and for how long it lives there."""

from __future__ import annotations

import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend, after_first_use
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import BackendUnavailable, CorruptEntry, UnknownFormat


class Three:
    """A cache on memory -> middle -> last."""

    def __init__(self, clock: FakeClock, **middle: object) -> None:
        self.trace: list[str] = []
        self.memory = MemoryBackend(clock=clock)
        self.middle = RemoteBackend(clock, self.trace, "middle")
        self.last = RemoteBackend(clock, self.trace, "last")
        self.chain = TierChain(
            self.memory,
            Tier(self.middle, name="middle", **middle),  # type: ignore[arg-type]
            Tier(self.last, name="last"),
            clock=clock,
        )
        after_first_use(self.chain)
        self.cache = Cache(self.chain, namespace="n")

    def only_in_last(self, key: str, value: object, **options: object) -> None:
        self.cache.set(key, value, **options)  # type: ignore[arg-type]
        self.memory.clear()
        self.middle.entries.clear()
        self.trace.clear()


@pytest.fixture
def three(clock: FakeClock) -> Three:
    return Three(clock)


def test_a_hit_in_memory_asks_nobody_else(three: Three) -> None:
    three.cache.set("k", 1)
    three.trace.clear()
    assert three.cache.get("k") == 1
    assert three.trace == []


def test_a_hit_below_is_copied_into_every_tier_above(three: Three) -> None:
    three.only_in_last("k", 1)
    assert three.cache.lookup("k").tier == "last"
    three.cache.drain()
    assert "n:k" in three.middle.entries
    assert three.cache.lookup("k").tier == "memory"


def test_the_tiers_below_a_hit_are_not_asked(three: Three) -> None:
    three.cache.set("k", 1)
    three.memory.clear()
    three.trace.clear()
    three.cache.get("k")
    assert three.trace == ["middle.get"]


def test_a_copy_keeps_the_remaining_life(three: Three, clock: FakeClock) -> None:
    three.only_in_last("k", 1, ttl=100)
    clock.advance(60)
    assert three.cache.get("k") == 1
    assert three.cache.lookup("k").ttl == pytest.approx(40)
    clock.advance(40)
    assert three.cache.get("k") is None


def test_max_ttl_caps_the_copy_and_never_lengthens_it(clock: FakeClock) -> None:
    three = Three(clock, max_ttl=10)
    three.only_in_last("long", 1, ttl=100)
    three.only_in_last("short", 1, ttl=5)
    three.only_in_last("for ever", 1)
    three.cache.set("long", 1, ttl=100)
    three.memory.clear()
    three.middle.entries.clear()
    for key in ("long", "short", "for ever"):
        three.cache.get(key)
    three.cache.drain()
    ends = {key: entry.metadata.expires_at for key, entry in three.middle.entries.items()}
    assert ends == {"n:long": clock() + 10, "n:for ever": clock() + 10} | (
        {"n:short": clock() + 5} if "n:short" in ends else {}
    )


def test_promotion_writes_the_bytes_that_were_read(clock: FakeClock) -> None:
    from tiercache import envelope

    three = Three(clock)
    three.only_in_last("k", "text " * 1000)
    stored = three.last.entries["n:k"]
    three.last.entries["n:k"] = envelope.decode(envelope.encode(stored))
    three.cache.get("k")
    three.cache.drain()
    assert three.middle.entries["n:k"].wire == envelope.encode(stored)


def test_promote_never_leaves_a_tier_alone(clock: FakeClock) -> None:
    three = Three(clock, promote="never")
    three.only_in_last("k", 1)
    three.cache.get("k")
    three.cache.drain()
    assert three.middle.entries == {}


def test_promote_on_the_second_hit(clock: FakeClock) -> None:
    three = Three(clock, promote="second_hit")
    three.only_in_last("k", 1)
    three.cache.get("k")
    three.cache.drain()
    assert three.middle.entries == {}
    three.memory.clear()
    three.cache.get("k")
    three.cache.drain()
    assert list(three.middle.entries) == ["n:k"]


def test_an_entry_too_large_for_a_tier_is_not_copied_there_and_counted(clock: FakeClock) -> None:
    three = Three(clock, max_entry_bytes=100)
    three.cache.set("k", b"x" * 101)
    three.memory.clear()
    assert three.cache.get("k") == b"x" * 101
    three.cache.drain()
    assert three.middle.entries == {}
    assert three.cache.stats().tiers["middle"].skipped == 2


def test_a_tier_that_fails_is_skipped_and_counted(three: Three) -> None:
    three.only_in_last("k", 1)
    three.middle.break_down()
    assert three.cache.get("k") == 1
    three.cache.drain()
    assert three.cache.stats().tiers["middle"].errors == {"BackendUnavailable": 1}


def test_a_tier_that_failed_is_not_asked_again_in_the_same_call(three: Three) -> None:
    three.only_in_last("k", 1)
    three.middle.break_down()
    three.cache.get("k")
    three.cache.drain()
    assert three.trace == ["middle.get", "last.get"]


def test_a_corrupt_entry_is_a_miss_that_a_good_copy_heals(three: Three) -> None:
    three.only_in_last("k", 1)
    three.middle.faults["get"] = CorruptEntry("broken")
    assert three.cache.get("k") == 1
    three.cache.drain()
    assert "n:k" in three.middle.entries


def test_an_entry_of_a_later_release_is_a_miss_that_stays(three: Three) -> None:
    three.only_in_last("k", 1)
    three.middle.faults["get"] = UnknownFormat("from the future")
    assert three.cache.get("k") == 1
    three.cache.drain()
    assert three.middle.entries == {}


def test_a_strict_chain_raises_the_failure(clock: FakeClock) -> None:
    broken = RemoteBackend(clock)
    broken.break_down()
    with pytest.raises(BackendUnavailable):
        Cache(TierChain(broken, strict=True)).get("k")


def test_a_strict_chain_takes_a_corrupt_entry_as_a_miss(clock: FakeClock) -> None:
    broken = RemoteBackend(clock)
    broken.faults["get"] = CorruptEntry("broken")
    assert Cache(TierChain(broken, strict=True)).get("k") is None


def test_an_expired_entry_is_a_miss(three: Three, clock: FakeClock) -> None:
    three.cache.set("k", 1, ttl=10)
    clock.advance(10)
    assert three.cache.get("k") is None
    assert not three.cache.contains("k")
    assert not three.cache.lookup("k").hit


def test_a_stale_entry_is_a_miss_that_lookup_shows(three: Three, clock: FakeClock) -> None:
    three.cache.set("k", 1, ttl=10, stale_for=20)
    clock.advance(15)
    assert three.cache.get("k") is None
    result = three.cache.lookup("k")
    assert (result.value, result.hit, result.is_stale, result.ttl, result.age) == (1, True, True, 0, 15)
    clock.advance(15)
    assert not three.cache.lookup("k").hit


def test_a_fresh_entry_below_wins_over_a_stale_one_above(three: Three, clock: FakeClock) -> None:
    three.cache.set("k", "old", ttl=10, stale_for=100)
    clock.advance(20)
    newer = Three(clock)
    newer.cache.set("k", "new", ttl=10)
    three.last.entries.update(newer.last.entries)
    assert three.cache.get("k") == "new"


def test_metadata_needs_no_value(three: Three) -> None:
    three.cache.set("k", {"a": 1}, ttl=60, tags=["doc:7"], attributes={"model": "m", "usd": 0.5})
    metadata = three.cache.metadata("k")
    assert metadata is not None
    assert (metadata.codec, metadata.tags, metadata.attributes) == ("msgpack", ("doc:7",), {"model": "m", "usd": 0.5})
    assert three.cache.metadata("other") is None


def test_a_chain_without_tiers_misses_everything(clock: FakeClock) -> None:
    cache = Cache(TierChain(clock=clock))
    cache.set("k", 1)
    assert cache.get("k") is None
    assert cache.get_or_set("k", lambda: 2) == 2
    assert cache.get_many(["k"]) == {}
    assert not cache.delete("k")


def test_a_stale_copy_above_is_replaced_by_the_fresh_entry_below(three: Three, clock: FakeClock) -> None:
    three.cache.set("k", "old", ttl=10, stale_for=1000)
    clock.advance(20)
    newer = Three(clock)
    newer.cache.set("k", "new", ttl=500)
    three.last.entries.update(newer.last.entries)
    three.cache.get("k")
    three.cache.drain()
    three.trace.clear()
    assert three.cache.get("k") == "new"
    assert three.trace == [], "from memory"
    assert three.middle.entries["n:k"].payload == three.last.entries["n:k"].payload
