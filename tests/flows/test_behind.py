"""Tiers that are written behind: queued, coalesced, bounded, read from the queue until they are written."""

from __future__ import annotations

import threading

import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.coherence.guard import STANDS, Seen
from tiercache.entry import Entry, Metadata
from tiercache.errors import BackendUnavailable, ConfigurationError, EntryTooLarge, PartialFailure
from tiercache.flow import drive
from tiercache.journal.drainer import take_pending

WAIT = 10


class Setting:
    """memory -> a store that is written behind."""

    def __init__(self, clock: FakeClock, **options: object) -> None:
        self.memory = MemoryBackend(clock=clock)
        self.store = RemoteBackend(clock, name="store")
        self.tier = Tier(self.store, name="store", write="behind", **options)  # type: ignore[arg-type]
        self.cache = Cache(TierChain(self.memory, self.tier, clock=clock), namespace="n")

    def hold_writes(self) -> threading.Event:
        """Have the store stop at its next batch; returns what lets it go on."""
        reached, go_on = self.store.hold("put_many")
        self.cache.set("first", "1")
        assert reached.wait(WAIT)
        return go_on


@pytest.fixture
def setting(clock: FakeClock) -> Setting:
    return Setting(clock)


def test_a_write_does_not_wait_for_the_store(setting: Setting) -> None:
    go_on = setting.hold_writes()
    setting.cache.set("k", "v")  # returns while the store hangs
    assert "n:k" not in setting.store.entries
    go_on.set()
    assert setting.cache.drain(WAIT)
    assert setting.store.entries["n:k"].payload == b"v"
    assert setting.cache.stats().tiers["store"].queued == 0


def test_what_waits_is_read_from_the_queue(setting: Setting) -> None:
    go_on = setting.hold_writes()
    setting.cache.set("k", "v", tags=["t"])
    setting.memory.clear()
    assert setting.cache.get_many(["k"]) == {"k": "v"}
    setting.memory.clear()
    assert setting.cache.contains("k")
    assert setting.cache.lookup("k").tier == "store"
    assert setting.cache.stats().tiers["store"].queued == 2
    go_on.set()
    assert setting.cache.drain(WAIT)


def test_of_several_writes_to_a_key_the_last_is_made(setting: Setting) -> None:
    go_on = setting.hold_writes()
    for number in range(100):
        setting.cache.set("k", str(number))
    assert setting.cache.stats().tiers["store"].queued == 2
    setting.store.trace.clear()
    go_on.set()
    assert setting.cache.drain(WAIT)
    assert setting.store.entries["n:k"].payload == b"99"
    assert setting.store.trace == ["store.put_many"]


def test_a_write_during_the_write_of_the_same_key_comes_after_it(setting: Setting) -> None:
    go_on = setting.hold_writes()
    setting.cache.set("first", "2")
    go_on.set()
    assert setting.cache.drain(WAIT)
    assert setting.store.entries["n:first"].payload == b"2"


def test_a_delete_takes_a_write_out_of_the_queue_and_reaches_the_store_after_it(setting: Setting) -> None:
    go_on = setting.hold_writes()
    setting.cache.set("k", "v")
    assert setting.cache.delete("k")
    assert setting.cache.delete("first")  # it is being written at this moment
    setting.memory.clear()
    assert setting.cache.get("k") is None
    assert setting.cache.get("first") is None
    go_on.set()
    assert setting.cache.drain(WAIT)
    assert setting.store.entries == {}


def test_a_full_queue_drops_counts_and_leaves_no_older_value(clock: FakeClock) -> None:
    setting = Setting(clock, queue_entries=2)
    setting.cache.set("k", "old")
    assert setting.cache.drain(WAIT)
    go_on = setting.hold_writes()
    setting.cache.set("other", "v")
    setting.cache.set("k", "new")
    setting.memory.clear()
    assert setting.cache.get("k") is None
    assert setting.cache.stats().tiers["store"].dropped == 1
    go_on.set()
    assert setting.cache.drain(WAIT)
    assert "n:k" not in setting.store.entries


def test_bytes_bound_it_too(clock: FakeClock) -> None:
    setting = Setting(clock, queue_bytes="1KiB")
    go_on = setting.hold_writes()
    setting.cache.set("large", "x" * 2000)
    assert setting.cache.stats().tiers["store"].dropped == 1
    go_on.set()
    assert setting.cache.drain(WAIT)


def test_a_full_queue_makes_writers_wait_where_that_is_asked_for(clock: FakeClock) -> None:
    setting = Setting(clock, queue_entries=1, when_full="wait", timeout=30)
    go_on = setting.hold_writes()
    writer = threading.Thread(target=setting.cache.set, args=("k", "v"))
    writer.start()
    writer.join(0.1)
    assert writer.is_alive()
    go_on.set()
    writer.join(WAIT)
    assert not writer.is_alive()
    assert setting.cache.drain(WAIT)
    assert setting.store.entries["n:k"].payload == b"v"
    assert setting.cache.stats().tiers["store"].dropped == 0


async def test_and_tasks_too(clock: FakeClock) -> None:
    setting = Setting(clock, queue_entries=1, when_full="wait", timeout=0.05)
    go_on = setting.hold_writes()
    await setting.cache.aset("k", "v")  # waits for the tier's timeout, then gives up
    assert setting.cache.stats().tiers["store"].dropped == 1
    go_on.set()
    assert await setting.cache.adrain(WAIT)


def test_a_store_that_is_down_is_written_when_it_is_back(setting: Setting) -> None:
    setting.store.break_down(BackendUnavailable("down"))
    setting.cache.set("k", "v")
    assert not setting.cache.drain(0.5)
    setting.store.faults.clear()
    assert setting.cache.drain(WAIT)
    assert setting.store.entries["n:k"].payload == b"v"


def test_an_entry_that_the_store_refuses_as_too_large_replaces_nothing_and_stays_out(setting: Setting) -> None:
    setting.cache.set("k", "old")
    assert setting.cache.drain(WAIT)
    setting.store.faults["put_many"] = PartialFailure({"n:k": EntryTooLarge("too large")}, None)
    setting.cache.set("k", "new")
    assert setting.cache.drain(WAIT)
    assert setting.store.entries == {}
    assert setting.cache.stats().tiers["store"].skipped == 1


async def test_awaited_it_works_as_well(setting: Setting) -> None:
    await setting.cache.aset_many({"a": "1", "b": "2"})
    await setting.cache.aset("c", "3")
    await setting.cache.adelete_many(["a"])
    assert await setting.cache.adrain(WAIT)
    assert set(setting.store.entries) == {"n:b", "n:c"}


def test_a_computed_value_is_written_behind(setting: Setting) -> None:
    assert setting.cache.get_or_set("k", lambda: "v") == "v"
    assert setting.cache.drain(WAIT)
    assert setting.store.entries["n:k"].payload == b"v"


def test_close_writes_what_waits(setting: Setting) -> None:
    setting.cache.set("k", "v")
    setting.cache.close()
    assert "n:k" in setting.store.entries


def test_what_close_cannot_write_is_counted_and_said_once(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tiercache.chain.DRAIN_TIMEOUT", 0.3)
    setting.store.break_down(BackendUnavailable("down"))
    setting.cache.set("secret-key", "v")
    setting.cache.set("k", "v")
    setting.cache.close()
    assert setting.cache.stats().tiers["store"].dropped == 2
    assert "2 entries were not written before the end" in caplog.text
    assert "secret-key" not in caplog.text


def test_memory_is_not_written_behind() -> None:
    with pytest.raises(ConfigurationError, match="memory is written at once"):
        Tier(MemoryBackend(), write="behind")


def test_the_order_of_writes_is_that_of_the_calls(setting: Setting) -> None:
    seen: list[list[str]] = []
    put_many = setting.store.put_many

    def remember(entries: dict[str, Entry], **options: object) -> None:
        seen.append([entry.payload.decode() for entry in entries.values()])
        put_many(entries)

    setting.store.put_many = remember  # type: ignore[method-assign,assignment]
    for number in range(50):
        setting.cache.set(f"k{number}", str(number))
    assert setting.cache.drain(WAIT)
    assert [value for batch in seen for value in batch] == [str(number) for number in range(50)]


def test_what_waited_too_long_is_kept_only_if_the_guard_still_holds_it(clock: FakeClock) -> None:
    class Remembering(RemoteBackend):
        """A guard that says what it holds; a tombstone that it had is gone."""

        def overtaken(self, tokens: dict[str, str], *, deadline: float | None = None) -> set[str]:
            return set()

        def get_many_seen(self, keys: list[str], *, deadline: float | None = None) -> dict[str, Seen]:
            return {key: Seen() for key in keys}

    async def entry_of(value: bytes) -> None:
        tier.journal.queue("n:k", Entry(value, Metadata(key="n:k", created_at=clock())), "token")

    tier = Tier(RemoteBackend(clock), write="behind")
    guard = Tier(Remembering(clock), name="guard")
    drive(entry_of(b"fresh"))
    assert drive(take_pending(tier, guard))
    assert set(tier.backend.entries) == {"n:k"}  # type: ignore[attr-defined]
    drive(entry_of(b"late"))
    tier.journal.pending["n:k"].since -= STANDS
    assert drive(take_pending(tier, guard))
    assert tier.backend.entries == {}  # type: ignore[attr-defined]
