"""Missed changes: a tier that did not take one answers no reads for its key until it was mended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend, after_first_use
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.entry import Entry, Metadata
from tiercache.errors import AccessDenied, BackendTimeout, BackendUnavailable, PartialFailure
from tiercache.journal.journal import Journal


class Setting:
    """memory -> upper -> lower, all of them holding the old value of `k`."""

    def __init__(self, clock: FakeClock, *, strict: bool = False) -> None:
        self.clock = clock
        self.memory = MemoryBackend(clock=clock)
        self.upper = RemoteBackend(clock, name="upper")
        self.lower = RemoteBackend(clock, name="lower")
        # No breakers: what a tier is asked after a failure is what these tests are about.
        self.tiers = [
            Tier(self.upper, name="upper", breaker=False),
            Tier(self.lower, name="lower", breaker=False),
        ]
        chain = TierChain(self.memory, *self.tiers, clock=clock, strict=strict)
        after_first_use(chain)
        self.cache = Cache(chain, namespace="n")
        self.cache.set("k", "old")
        clock.advance(1)

    def forget(self, *stores: RemoteBackend) -> None:
        """Have L1, and these stores, lose what they hold."""
        self.memory.clear()
        for store in stores:
            store.entries.clear()

    def back(self, store: RemoteBackend) -> None:
        """Let the store work again; nothing has mended it yet."""
        store.faults.clear()


@pytest.fixture
def setting(clock: FakeClock) -> Setting:
    return Setting(clock)


CHANGES: list[tuple[str, Callable[[Cache], Any], Any]] = [
    ("set", lambda cache: cache.set("k", "new"), "new"),
    ("delete", lambda cache: cache.delete("k"), None),
    ("set_many", lambda cache: cache.set_many({"k": "new"}), "new"),
    ("delete_many", lambda cache: cache.delete_many(["k"]), None),
    ("touch", lambda cache: cache.touch("k", ttl=60), "old"),
]
each_change = pytest.mark.parametrize(("change", "after"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
each_store = pytest.mark.parametrize("missing", ["upper", "lower"])


@each_store
@each_change
def test_a_store_that_missed_a_change_never_serves_the_old_value(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, missing: str, change: Callable[[Cache], Any], after: Any
) -> None:
    monkeypatch.setattr("tiercache.journal.drainer.FIRST_PAUSE", 3600.0)  # nothing mends it on its own
    monkeypatch.setattr("tiercache.journal.drainer.LONGEST_PAUSE", 3600.0)
    store = getattr(setting, missing)
    store.break_down()
    change(setting.cache)
    setting.cache.drain()
    setting.back(store)
    setting.forget()
    expected = after if missing == "lower" or after is None else "new" if after == "new" else "old"
    assert setting.cache.get("k") == expected
    setting.forget(*([] if missing == "upper" else [setting.upper]))  # only the one that missed it has anything
    if missing == "lower":
        assert setting.cache.get("k") is None
        assert setting.cache.get_many(["k"]) == {}
        assert not setting.cache.contains("k")
        assert setting.cache.lookup("k").hit is False


@each_store
@each_change
def test_when_it_is_back_the_key_is_deleted_there_and_then_it_serves_again(
    setting: Setting, missing: str, change: Callable[[Cache], Any], after: Any
) -> None:
    store = getattr(setting, missing)
    store.break_down()
    change(setting.cache)
    assert setting.cache.stats().tiers[missing].missed == 1
    setting.back(store)
    assert setting.cache.chain.drain(10)
    assert setting.cache.stats().tiers[missing].missed == 0
    assert "n:k" not in store.entries
    setting.cache.set("k", "newest")
    assert store.entries["n:k"].payload == b"newest"
    setting.forget()
    assert setting.cache.get("k") == "newest"


def test_a_later_write_that_arrives_mends_the_store(setting: Setting) -> None:
    setting.lower.break_down()
    setting.cache.set("k", "missed")
    setting.back(setting.lower)
    setting.cache.set("k", "taken")
    setting.forget(setting.upper)
    assert setting.cache.get("k") == "taken"


def test_no_copy_is_promoted_into_a_store_before_it_is_mended(setting: Setting) -> None:
    setting.upper.break_down()
    setting.cache.set("k", "new")
    setting.back(setting.upper)
    setting.upper.faults["delete_many"] = AccessDenied("no")
    setting.forget()
    setting.upper.trace.clear()
    assert setting.cache.get("k") == "new"
    setting.cache.chain.background.drain(10)
    assert "upper.put" not in setting.upper.trace
    assert "upper.get" not in setting.upper.trace


def test_of_a_batch_only_the_keys_that_failed_are_distrusted(setting: Setting) -> None:
    setting.lower.faults["put_many"] = PartialFailure({"n:b": BackendUnavailable("busy")}, None)
    setting.lower.faults["delete_many"] = AccessDenied("no")  # so that it is not mended
    setting.cache.set_many({"a": "1", "b": "2"})
    assert setting.cache.stats().tiers["lower"].missed == 1
    assert list(setting.tiers[1].journal.pending) == ["n:b"]


def test_a_strict_chain_raises_and_remembers_as_well(clock: FakeClock) -> None:
    setting = Setting(clock, strict=True)
    setting.lower.break_down()
    with pytest.raises(BackendUnavailable):
        setting.cache.set("k", "new")
    setting.back(setting.lower)
    setting.forget(setting.upper)
    assert setting.cache.get("k") is None


async def test_awaited_the_same_holds(setting: Setting) -> None:
    setting.lower.break_down()
    await setting.cache.aset("k", "new")
    assert await setting.cache.adelete("k")
    setting.back(setting.lower)
    setting.lower.faults["delete_many"] = AccessDenied("no")
    setting.forget(setting.upper)
    assert await setting.cache.aget("k") is None
    assert await setting.cache.aget_many(["k"]) == {}
    del setting.lower.faults["delete_many"]
    assert await setting.cache.adrain(10)
    assert setting.lower.entries == {}


def test_a_write_given_up_that_lands_after_a_delete_is_refused(setting: Setting) -> None:
    landed: dict[str, Entry] = {}
    put = setting.lower.put

    def late(key: str, entry: Entry, **options: Any) -> bool:
        landed[key] = entry
        raise BackendTimeout("the deadline passed")

    setting.lower.put = late  # type: ignore[method-assign]
    setting.cache.set("k", "given up")
    setting.lower.put = put  # type: ignore[method-assign]
    setting.clock.advance(1)
    setting.cache.delete("k")
    setting.lower.entries |= landed  # now it lands
    setting.forget(setting.upper)
    assert setting.cache.get("k") is None
    assert setting.cache.get_many(["k"]) == {}
    assert not setting.cache.contains("k")


def test_a_write_given_up_that_lands_over_a_newer_one_is_refused(setting: Setting) -> None:
    landed: dict[str, Entry] = {}
    put = setting.lower.put

    def late(key: str, entry: Entry, **options: Any) -> bool:
        landed[key] = entry
        raise BackendTimeout("the deadline passed")

    setting.lower.put = late  # type: ignore[method-assign]
    setting.cache.set("k", "given up")
    setting.lower.put = put  # type: ignore[method-assign]
    setting.clock.advance(1)
    setting.cache.set("k", "newer")
    setting.forget(setting.upper)
    assert setting.cache.get("k") == "newer"
    setting.lower.entries |= landed
    setting.forget(setting.upper)
    assert setting.cache.get("k") is None


def test_a_promotion_given_up_and_made_again_is_believed(setting: Setting) -> None:
    setting.forget(setting.upper)
    setting.upper.faults["put"] = BackendTimeout("the deadline passed")
    assert setting.cache.get("k") == "old"
    setting.cache.drain()
    del setting.upper.faults["put"]
    setting.forget()
    assert setting.cache.get("k") == "old"
    setting.cache.drain()
    setting.forget(setting.lower)
    assert setting.cache.lookup("k").tier == "upper"


def test_what_more_keys_missed_than_are_remembered_is_told_for_their_namespace() -> None:
    journal = Journal(limit=3)
    told: list[str] = []
    journal.on_overflow.append(told.append)
    journal.missed_change(["a:1", "a:2", "b:1"])
    assert told == []
    journal.missed_change(["b:2"])
    assert told == ["a"]
    assert list(journal.pending) == ["b:1", "b:2"]
    assert journal.missed == 2


def test_late_writes_whose_keys_were_forgotten_are_refused_by_their_age() -> None:
    journal = Journal(limit=2)
    for number in range(4):
        journal.given_up({f"a:{number}": _entry(f"a:{number}", 100.0 + number)})
    assert journal.refuses("a:0", _entry("a:0", 100.0).metadata)
    assert journal.refuses("a:9", _entry("a:9", 101.0).metadata)
    assert not journal.refuses("a:9", _entry("a:9", 101.5).metadata)
    assert journal.refuses("a:3", _entry("a:3", 103.0).metadata)
    assert not journal.refuses("a:3", _entry("a:3", 103.1).metadata)


def test_giving_up_more_writes_than_are_remembered_takes_no_long_time() -> None:
    journal = Journal()
    entries = {f"a:{number}": _entry(f"a:{number}", float(number)) for number in range(3 * journal.limit)}
    began = time.monotonic()
    journal.given_up(entries)
    assert time.monotonic() - began < 5
    assert journal.refuses("a:new", _entry("a:new", 2.0 * journal.limit - 1).metadata)
    assert not journal.refuses("a:new", _entry("a:new", 2.0 * journal.limit).metadata)


def _entry(key: str, created_at: float) -> Entry:
    return Entry(b"x", Metadata(key=key, created_at=created_at))
