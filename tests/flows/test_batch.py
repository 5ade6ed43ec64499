"""Batches and writes: one batch a tier, partial results, what stays out of a tier."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import FakeClock
from tests.flows.test_read import Three
from tiercache.errors import BackendTimeout, BackendUnavailable, CorruptEntry, EntryTooLarge, PartialFailure


@pytest.fixture
def three(clock: FakeClock) -> Three:
    return Three(clock)


def test_a_batch_asks_each_tier_once_for_what_is_missing_above(three: Three) -> None:
    three.cache.set_many({"a": 1, "b": 2, "c": 3})
    three.memory.delete("n:b")
    three.memory.delete("n:c")
    del three.middle.entries["n:c"]
    three.trace.clear()
    assert three.cache.get_many(["c", "a", "b", "none", "a"]) == {"c": 3, "a": 1, "b": 2}
    three.cache.drain()
    assert three.trace[:2] == ["middle.get_many", "last.get_many"]
    assert three.trace[2:] == ["middle.put_many"]


def test_the_order_is_that_of_the_keys(three: Three) -> None:
    three.cache.set_many({"a": 1, "b": 2, "c": 3})
    three.memory.delete("n:c")
    assert list(three.cache.get_many(["c", "b", "a"])) == ["c", "b", "a"]


def test_a_batch_is_copied_into_every_tier_above(three: Three) -> None:
    three.cache.set_many({"a": 1, "b": 2})
    three.memory.clear()
    three.middle.entries.clear()
    three.cache.get_many(["a", "b"])
    three.cache.drain()
    assert set(three.middle.entries) == {"n:a", "n:b"}
    assert {three.cache.lookup(key).tier for key in "ab"} == {"memory"}
    assert three.cache.stats().tiers["middle"].promotions == 2


def test_what_arrived_before_the_deadline_is_kept(three: Three) -> None:
    three.cache.set_many({"a": 1, "b": 2})
    three.memory.clear()
    arrived = {"n:a": three.middle.entries["n:a"]}
    three.middle.faults["get_many"] = PartialFailure({"n:b": BackendTimeout("too slow")}, arrived)
    three.last.entries.clear()
    assert three.cache.get_many(["a", "b"]) == {"a": 1}
    assert three.cache.stats().tiers["middle"].errors == {"BackendTimeout": 1}


def test_the_next_tier_is_asked_for_what_one_failed_to_give(three: Three) -> None:
    three.cache.set_many({"a": 1, "b": 2})
    three.memory.clear()
    three.middle.faults["get_many"] = BackendUnavailable("down")
    assert three.cache.get_many(["a", "b"]) == {"a": 1, "b": 2}


def test_corrupt_entries_of_a_batch_are_healed(three: Three) -> None:
    three.cache.set_many({"a": 1, "b": 2})
    three.memory.clear()
    good = {"n:a": three.middle.entries["n:a"]}
    three.middle.faults["get_many"] = PartialFailure({"n:b": CorruptEntry("broken")}, good)
    del three.middle.entries["n:b"]
    assert three.cache.get_many(["a", "b"]) == {"a": 1, "b": 2}
    three.cache.drain()
    assert "n:b" in three.middle.entries


def test_a_failing_tier_does_not_stop_a_write(three: Three) -> None:
    three.middle.break_down()
    three.cache.set("a", 1)
    three.cache.set_many({"b": 2})
    assert {"n:a", "n:b"} <= set(three.last.entries)
    assert three.cache.stats().tiers["middle"].errors["BackendUnavailable"] >= 2  # and what mends it fails as well


def test_an_entry_that_a_store_refuses_as_too_large_leaves_no_older_one_there(three: Three) -> None:
    three.cache.set("a", "old")
    three.middle.faults["put"] = EntryTooLarge("too large")
    three.cache.set("a", "new, and large")
    three.memory.clear()
    assert three.cache.get("a") == "new, and large"
    assert three.cache.stats().tiers["middle"].skipped == 1


def test_in_a_batch_too(three: Three) -> None:
    three.cache.set_many({"a": "old", "b": "old"})
    three.middle.faults["put_many"] = PartialFailure({"n:a": EntryTooLarge("too large")}, None)
    three.cache.set_many({"a": "new", "b": "new"})
    assert "n:a" not in three.middle.entries


def test_a_batch_with_a_value_that_cannot_be_stored_stores_nothing(three: Three) -> None:
    with pytest.raises(TypeError):
        three.cache.set_many({"a": 1, "b": object()})
    assert three.cache.get("a") is None


def test_delete_many_counts_the_keys_that_are_now_absent(three: Three) -> None:
    three.cache.set_many({"a": 1, "b": 2})
    assert three.cache.delete_many(["a", "b", "never there"]) == 3
    assert three.cache.get_many(["a", "b"]) == {}


def test_warm_copies_into_all_faster_tiers_whatever_their_rule(clock: FakeClock) -> None:
    three = Three(clock, promote="never")
    three.only_in_last("a", 1)
    assert three.cache.warm(["a", "absent"]) == 1
    assert "n:a" in three.middle.entries
    assert three.cache.lookup("a").tier == "memory"


def test_warm_with_leaves_the_last_tier_alone(three: Three) -> None:
    three.cache.warm_with({"a": 1})
    assert three.cache.lookup("a").tier == "memory"
    assert "n:a" in three.middle.entries
    assert three.last.entries == {}


def test_keys_of_all_tiers_once_each_and_only_of_this_namespace(three: Three) -> None:
    three.cache.set_many({"doc/1": 1, "doc/2": 2, "other": 3})
    del three.middle.entries["n:doc/1"]
    three.memory.clear()
    three.memory.put("m:doc/9", three.last.entries["n:other"])
    assert sorted(three.cache.keys("doc/")) == ["doc/1", "doc/2"]

    async def main() -> list[str]:
        return [key async for key in three.cache.akeys()]

    assert sorted(asyncio.run(main())) == ["doc/1", "doc/2", "other"]


def test_clear_leaves_other_namespaces(three: Three) -> None:
    from tiercache import Cache

    other = Cache(three.chain, namespace="n2")
    other.set("k", 1)
    three.cache.set("k", 2)
    three.cache.clear()
    assert three.cache.get("k") is None
    assert other.get("k") == 1


def test_touch_lengthens_and_shortens_in_all_tiers(three: Three, clock: FakeClock) -> None:
    three.cache.set("k", 1, ttl=10)
    assert three.cache.touch("k", ttl=100)
    clock.advance(50)
    three.memory.clear()
    assert three.cache.lookup("k").ttl == pytest.approx(50)
    assert three.cache.touch("k", ttl=1)
    clock.advance(1)
    assert not three.cache.touch("k", ttl=100)
    assert three.cache.get("k") is None


def test_touch_to_for_ever(three: Three, clock: FakeClock) -> None:
    three.cache.set("k", 1, ttl=10)
    assert three.cache.touch("k", ttl=None)
    clock.advance(1e9)
    assert three.cache.get("k") == 1
