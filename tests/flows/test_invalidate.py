"""Tags and namespaces: what was made before an invalidation is served by no tier, and cannot come back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend, etag_of
from tiercache import Cache, DiskBackend, MemoryBackend, Tier, TierChain
from tiercache.epochs.marks import Marks, Written, from_bytes, key_of, to_entry
from tiercache.errors import AccessDenied, BackendUnavailable, ConfigurationError, CorruptEntry, UnknownFormat

WAIT = 10


class Setting:
    """memory -> upper -> lower."""

    def __init__(self, clock: FakeClock, **options: Any) -> None:
        self.clock = clock
        self.upper = RemoteBackend(clock, name="upper")
        self.lower = RemoteBackend(clock, name="lower")
        self.threads = ThreadPoolExecutor(8)
        self.options = options
        self.start()

    def start(self) -> None:
        """Begin as a new process would: with an empty memory and nothing known."""
        self.memory = MemoryBackend(clock=self.clock)
        upper, lower = Tier(self.upper, name="upper"), Tier(self.lower, name="lower")
        self.cache = Cache(TierChain(self.memory, upper, lower, clock=self.clock, **self.options), namespace="n")

    def tier(self, name: str) -> Tier:
        return next(tier for tier in self.cache.chain.tiers if tier.label == name)

    def round(self) -> None:
        """What the ticker does, now."""
        self.cache.chain.refresher.round(every=True)


@pytest.fixture
def setting(clock: FakeClock) -> Iterator[Setting]:
    setting = Setting(clock)
    yield setting
    setting.cache.close()
    setting.threads.shutdown()


def told(backend: RemoteBackend) -> Marks:
    """The marks that a tier holds."""
    return from_bytes(backend.marks[key_of("n")].payload).marks


Invalidate = Callable[[Cache], Any]
INVALIDATIONS: dict[str, Invalidate] = {
    "tags": lambda cache: cache.invalidate_tags(["doc:7"]),
    "atags": lambda cache: asyncio.run(cache.ainvalidate_tags(["doc:7"])),
    "clear": lambda cache: cache.clear(),
    "aclear": lambda cache: asyncio.run(cache.aclear()),
}
each_invalidation = pytest.mark.parametrize("invalidate", INVALIDATIONS.values(), ids=INVALIDATIONS.keys())

READS: dict[str, Callable[[Cache], Any]] = {
    "get": lambda cache: cache.get("k"),
    "aget": lambda cache: asyncio.run(cache.aget("k")),
    "lookup": lambda cache: cache.lookup("k").value,
    "get_many": lambda cache: cache.get_many(["k"]).get("k"),
    "aget_many": lambda cache: asyncio.run(cache.aget_many(["k"])).get("k"),
    "contains": lambda cache: cache.contains("k") or None,
    "metadata": lambda cache: cache.metadata("k"),
    "touch": lambda cache: cache.touch("k", 60) or None,
    "warm": lambda cache: cache.warm(["k"]) or None,
    "keys": lambda cache: list(cache.keys()) or None,
}


@pytest.mark.parametrize("look", READS.values(), ids=READS.keys())
@each_invalidation
def test_no_operation_shows_what_was_invalidated(
    setting: Setting, invalidate: Invalidate, look: Callable[[Cache], Any]
) -> None:
    setting.cache.set("k", "old", tags=["doc:7", "doc:8"])
    assert look(setting.cache) is not None
    invalidate(setting.cache)
    assert look(setting.cache) is None
    setting.start()
    assert look(setting.cache) is None, "a new process must know it, too"


@each_invalidation
def test_what_is_stored_afterwards_is_served(setting: Setting, invalidate: Invalidate) -> None:
    setting.cache.set("k", "old", tags=["doc:7"])
    invalidate(setting.cache)
    setting.cache.set("k", "new", tags=["doc:7"])  # the clock shows the same moment
    setting.cache.get_or_set("made", lambda: "made", tags=["doc:7"])
    for _ in range(2):
        assert setting.cache.get("k") == "new"
        assert setting.cache.get("made") == "made"
        setting.start()


def test_other_tags_and_other_namespaces_are_left_alone(setting: Setting) -> None:
    other = Cache(setting.cache.chain, namespace="n2")
    for cache in (setting.cache, other):
        cache.set("tagged", 1, tags=["doc:7"])
        cache.set("other", 2, tags=["doc:8"])
        cache.set("bare", 3)
    setting.cache.invalidate_tags(["doc:7"])
    assert setting.cache.get_many(["tagged", "other", "bare"]) == {"other": 2, "bare": 3}
    setting.cache.clear()
    assert setting.cache.get_many(["tagged", "other", "bare"]) == {}
    assert other.get_many(["tagged", "other", "bare"]) == {"tagged": 1, "other": 2, "bare": 3}


def test_invalidating_no_tag_does_nothing(setting: Setting) -> None:
    setting.cache.invalidate_tags([])
    assert setting.upper.marks_trace == []
    with pytest.raises(ConfigurationError, match="a list of str"):
        setting.cache.invalidate_tags("doc:7")


@pytest.mark.parametrize("number", [1, 300])
@each_invalidation
def test_it_takes_two_requests_a_tier_however_many_entries_there_are(
    setting: Setting, number: int, invalidate: Invalidate
) -> None:
    setting.cache.set_many({f"k{n}": n for n in range(number)}, tags=["doc:7"])
    for tier in (setting.upper, setting.lower):
        tier.trace.clear()
    invalidate(setting.cache)
    for tier in (setting.upper, setting.lower):
        assert (tier.trace, tier.marks_trace) == ([], ["get", "put"])


def test_a_purge_also_deletes_the_bytes(setting: Setting) -> None:
    setting.cache.set("k", 1)
    setting.cache.clear()
    assert setting.lower.entries
    setting.cache.clear(purge=True)
    assert not setting.lower.entries
    assert setting.lower.marks, "the mark itself stays"


# The first use


def test_the_marks_are_read_once_a_namespace_and_not_for_hits_in_memory(setting: Setting) -> None:
    setting.cache.set("k", 1)
    for _ in range(3):
        assert setting.cache.get("k") == 1
    assert setting.lower.marks_trace == []
    for _ in range(3):
        setting.cache.get("absent")
        setting.cache.get_many(["absent", "k"])
        setting.cache.contains("absent")
    assert setting.lower.marks_trace == ["get"]
    Cache(setting.cache.chain, namespace="other").get("absent")
    assert setting.lower.marks_trace == ["get", "get"]


def test_a_chain_of_memory_alone_asks_nobody_and_starts_no_thread(clock: FakeClock) -> None:
    before = set(threading.enumerate())
    cache = Cache(TierChain(MemoryBackend(clock=clock), clock=clock))
    cache.set("k", 1, tags=["t"])
    cache.set("j", 2)
    cache.invalidate_tags(["t"])
    assert (cache.get("k"), cache.get("j")) == (None, 2)
    cache.clear()
    assert cache.get("j") is None
    assert set(threading.enumerate()) <= before


def test_a_tier_that_was_emptied_is_not_believed_alone(setting: Setting) -> None:
    setting.cache.set("k", "old")
    setting.cache.clear()
    setting.upper.marks.clear()  # Redis was flushed, and somebody copied an old entry into it
    setting.start()
    assert setting.cache.get("k") is None
    assert not setting.upper.marks
    setting.round()
    assert told(setting.upper) == told(setting.lower) != Marks()


def test_a_tier_that_does_not_tell_its_marks_is_not_believed_in_that_call(setting: Setting) -> None:
    setting.cache.set("k", 1)
    setting.start()
    setting.upper.marks_faults["get"] = setting.lower.marks_faults["get"] = BackendUnavailable("down")
    setting.upper.trace.clear()
    assert setting.cache.get("k") is None
    assert setting.cache.get_many(["k"]) == {}
    assert not setting.cache.contains("k")
    assert setting.upper.trace == []
    del setting.upper.marks_faults["get"]
    assert setting.cache.get("k") == 1, "it is asked again by the next call"


def test_in_a_strict_chain_a_tier_that_does_not_tell_its_marks_raises(clock: FakeClock) -> None:
    setting = Setting(clock, strict=True)
    setting.upper.marks_faults["get"] = BackendUnavailable("down")
    with pytest.raises(BackendUnavailable):
        setting.cache.get("k")
    with pytest.raises(BackendUnavailable):
        setting.cache.clear()


def test_a_store_that_denies_to_say_that_there_are_none_is_believed(setting: Setting) -> None:
    # S3 answers so to those who may read but not list.
    setting.cache.set("k", 1)
    setting.start()
    setting.upper.marks_faults["get"] = AccessDenied("403")
    assert setting.cache.get("k") == 1


def test_many_first_readers_ask_once(setting: Setting) -> None:
    setting.cache.set("k", 1)
    setting.start()
    start = threading.Barrier(8)

    def look() -> Any:
        start.wait(WAIT)
        return setting.cache.get("k")

    assert {one.result(WAIT) for one in [setting.threads.submit(look) for _ in range(8)]} == {1}
    assert setting.lower.marks_trace.count("get") == 1


# Races with loads, computations and promotions


@each_invalidation
def test_what_was_read_before_is_not_copied_up_after(setting: Setting, invalidate: Invalidate) -> None:
    setting.cache.set("k", "old", tags=["doc:7"])
    setting.start()
    setting.upper.entries.clear()
    reached, go_on = setting.lower.hold("get")
    reader = setting.threads.submit(setting.cache.get, "k")
    assert reached.wait(WAIT)
    invalidate(setting.cache)
    go_on.set()
    reader.result(WAIT)
    setting.cache.drain()
    assert setting.memory.get("n:k") is None
    assert setting.cache.get("k") is None


@each_invalidation
def test_a_promotion_on_its_way_does_not_bring_it_back(setting: Setting, invalidate: Invalidate) -> None:
    setting.cache.set("k", "old", tags=["doc:7"])
    setting.start()
    setting.upper.entries.clear()
    reached, go_on = setting.upper.hold("put")
    assert setting.cache.get("k") == "old"
    assert reached.wait(WAIT)
    invalidate(setting.cache)
    go_on.set()
    setting.cache.drain()
    assert setting.cache.get("k") is None
    setting.start()
    assert setting.cache.get("k") is None


@each_invalidation
@pytest.mark.parametrize("awaited", [False, True])
def test_what_was_being_computed_is_returned_to_its_caller_alone(
    setting: Setting, invalidate: Invalidate, awaited: bool
) -> None:
    started, go_on = threading.Event(), threading.Event()

    def factory() -> str:
        started.set()
        assert go_on.wait(WAIT)
        return "of before"

    async def compute() -> Any:
        return await setting.cache.aget_or_set("k", factory, tags=["doc:7"])

    def run() -> Any:
        if awaited:
            return asyncio.run(compute())
        return setting.cache.get_or_set("k", factory, tags=["doc:7"])

    early = setting.threads.submit(run)
    assert started.wait(WAIT)
    invalidate(setting.cache)
    assert setting.cache.get_or_set("k", lambda: "of after", tags=["doc:7"]) == "of after"
    go_on.set()
    assert early.result(WAIT) == "of before"
    assert setting.cache.get("k") == "of after"
    setting.start()
    assert setting.cache.get("k") == "of after"


def test_marks_of_long_ago_part_nobody_from_the_computation_that_reads_them_first(setting: Setting) -> None:
    setting.cache.clear()
    setting.clock.advance(60)
    setting.start()
    started, go_on = threading.Event(), threading.Event()

    def factory() -> str:
        started.set()
        assert go_on.wait(WAIT)
        return "once"

    first = setting.threads.submit(setting.cache.get_or_set, "k", factory)
    assert started.wait(WAIT)
    flights = setting.cache.chain.flights
    assert flights.join("n:k")[1] is False, "whoever comes now waits for it"
    go_on.set()
    assert first.result(WAIT) == "once"


def test_an_invalidated_tag_spoils_no_computation_without_it(setting: Setting) -> None:
    started, go_on = threading.Event(), threading.Event()

    def factory() -> str:
        started.set()
        assert go_on.wait(WAIT)
        return "dear"

    early = setting.threads.submit(setting.cache.get_or_set, "k", factory, tags=["doc:8"])
    assert started.wait(WAIT)
    setting.cache.invalidate_tags(["doc:7"])
    go_on.set()
    early.result(WAIT)
    assert setting.cache.get("k") == "dear"


@each_invalidation
def test_a_set_that_began_before_is_before_it_in_every_tier(setting: Setting, invalidate: Invalidate) -> None:
    reached, go_on = setting.lower.hold("put")
    writer = setting.threads.submit(setting.cache.set, "k", "old", tags=["doc:7"])
    assert reached.wait(WAIT)
    invalidate(setting.cache)
    go_on.set()
    writer.result(WAIT)
    assert setting.cache.get("k") is None
    setting.start()
    assert setting.cache.get("k") is None


def test_a_dead_copy_is_replaced_by_a_good_one_from_below(setting: Setting) -> None:
    setting.cache.set("k", "old")
    old = setting.upper.entries["n:k"]
    setting.cache.clear()
    setting.clock.advance(1)
    setting.cache.set("k", "new")
    setting.upper.entries["n:k"] = old
    setting.start()
    assert setting.cache.lookup("k").tier == "lower"
    setting.cache.drain()
    assert setting.upper.entries["n:k"].payload == setting.lower.entries["n:k"].payload


# Tiers that fail


@each_invalidation
def test_it_holds_here_when_no_tier_took_it_and_everywhere_when_they_are_back(
    setting: Setting, invalidate: Invalidate
) -> None:
    setting.cache.set("k", "old", tags=["doc:7"])
    for backend in (setting.upper, setting.lower):
        backend.marks_faults = dict.fromkeys(("get", "put"), BackendUnavailable("down"))
    invalidate(setting.cache)
    assert setting.cache.get("k") is None
    assert not setting.lower.marks
    for backend in (setting.upper, setting.lower):
        backend.marks_faults = {}
    assert setting.cache.get("k") is None
    setting.round()
    setting.start()
    assert setting.cache.get("k") is None


def test_what_one_tier_missed_the_other_tells(setting: Setting) -> None:
    setting.cache.set("k", "old")
    setting.lower.marks_faults["put"] = BackendUnavailable("down")
    setting.cache.clear()
    assert not setting.lower.marks
    setting.start()
    assert setting.cache.get("k") is None


def test_a_tier_that_is_back_gets_what_it_missed_without_being_asked(clock: FakeClock) -> None:
    setting = Setting(clock, epoch_refresh=0.02)
    setting.lower.marks_faults["put"] = BackendUnavailable("down")
    setting.cache.clear()
    setting.lower.marks_faults.clear()
    for _ in range(1000):
        if setting.lower.marks:
            break
        threading.Event().wait(0.01)
    assert told(setting.upper) == told(setting.lower) != Marks()
    setting.cache.close()


def test_a_tier_that_recovers_gets_what_it_missed_at_once(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiercache.epochs.refresher.RETRY_EVERY", 3600.0)
    setting.upper.marks_faults["put"] = BackendUnavailable("down")
    upper = Tier(setting.upper, name="upper")
    hooks: list[Callable[[], Any]] = []
    upper.on_recovery = hooks  # type: ignore[attr-defined,unused-ignore]
    chain = TierChain(upper, Tier(setting.lower, name="lower"), clock=setting.clock)
    Cache(chain, namespace="n").clear()
    setting.upper.marks_faults.clear()
    assert hooks
    for hook in hooks:
        hook()
    for _ in range(1000):
        if setting.upper.marks:
            break
        threading.Event().wait(0.01)
    assert told(setting.upper) == told(setting.lower) != Marks()
    chain.close()


def test_closing_brings_the_tiers_what_they_missed(setting: Setting) -> None:
    setting.lower.marks_faults["put"] = BackendUnavailable("down")
    setting.cache.clear()
    setting.lower.marks_faults.clear()
    setting.cache.close()
    assert told(setting.upper) == told(setting.lower) != Marks()
    setting.start()


def test_a_journal_that_forgets_keys_clears_the_namespace(setting: Setting) -> None:
    setting.cache.set("k", "old")
    setting.cache.set("other", 1)
    journal = setting.tier("lower").journal
    journal.limit = 1
    journal.missed_change(["n:a", "n:b"])
    assert setting.cache.get("k") is None
    setting.round()
    setting.start()
    assert setting.cache.get("k") is None


# Marks that cannot be read


def test_damaged_marks_are_read_twice_and_then_nothing_older_is_believed_of_that_tier(setting: Setting) -> None:
    setting.cache.set("k", "old")
    setting.cache.set("below", "good")
    del setting.upper.entries["n:below"]
    del setting.lower.entries["n:k"]
    setting.start()
    setting.upper.marks_faults["get"] = CorruptEntry("flipped")
    assert setting.cache.get("k") is None
    assert setting.upper.marks_trace == ["get", "get"]
    assert setting.cache.get("below") == "good", "the other tiers are believed as before"
    setting.upper.marks_faults.clear()
    setting.cache.set("k", "new")
    setting.round()
    for _ in range(2):
        assert setting.cache.get("k") == "new"
        setting.start()
    setting.lower.entries.clear()
    assert setting.cache.get("k") == "new"


def test_what_was_damaged_once_is_doubted_by_later_processes_too(setting: Setting) -> None:
    setting.cache.set("k", "old")
    setting.lower.entries.clear()
    setting.start()
    setting.upper.marks_faults["get"] = CorruptEntry("flipped")
    assert setting.cache.get("k") is None
    setting.upper.marks_faults.clear()
    setting.round()
    setting.start()
    assert setting.cache.get("k") is None


def test_a_payload_that_is_no_mark_is_damaged(setting: Setting) -> None:
    setting.cache.set("k", "old")
    setting.cache.clear()
    key = key_of("n")
    for backend in (setting.upper, setting.lower):
        entry = backend.marks[key]
        backend.marks[key] = type(entry)(b"\xc1 no msgpack", entry.metadata)
    setting.start()
    assert setting.cache.get("k") is None
    assert setting.cache.stats().tiers["upper"].errors["CorruptEntry"] > 0


def test_marks_of_a_later_release_are_kept_and_nothing_older_is_believed(setting: Setting) -> None:
    setting.cache.set("k", "old")
    setting.start()
    for backend in (setting.upper, setting.lower):
        backend.marks_faults["get"] = UnknownFormat("version 2")
    assert setting.cache.get("k") is None
    setting.cache.set("k", "new")
    setting.cache.clear()
    assert "put" not in setting.upper.marks_trace
    assert setting.cache.get("k") is None


# Stores without conditional puts, several processes


class Unconditional(RemoteBackend):
    """A store of somebody else, whose `put` takes no conditions."""

    def put(self, key: str, entry: Any, *, if_absent: bool = False, if_match: str | None = None, **rest: Any) -> bool:
        if if_absent or if_match is not None:
            raise NotImplementedError
        return super().put(key, entry)


def test_a_store_without_conditional_puts_is_written_all_the_same(clock: FakeClock) -> None:
    store = Unconditional(clock)
    cache = Cache(TierChain(Tier(store, name="store"), clock=clock), namespace="n")
    cache.set("k", 1, tags=["a"])
    cache.set("j", 1, tags=["b"])
    cache.invalidate_tags(["a"])
    cache.invalidate_tags(["b"])
    again = Cache(TierChain(Tier(store, name="store"), clock=clock), namespace="n")
    assert again.get_many(["k", "j"]) == {}


class Overtaken(RemoteBackend):
    """A store in which another process is faster, once."""

    faster: Marks | None = None

    def put(self, key: str, entry: Any, **conditions: Any) -> bool:
        if self.faster is not None:
            theirs = to_entry("n", Written(self.faster))
            self.marks[key] = theirs.with_metadata(etag=etag_of(theirs))
            self.faster = None
        return super().put(key, entry, **conditions)


@pytest.mark.parametrize("before", [False, True])
def test_marks_that_another_process_writes_meanwhile_are_merged(clock: FakeClock, before: bool) -> None:
    store = Overtaken(clock)
    cache = Cache(TierChain(Tier(store, name="store"), clock=clock), namespace="n")
    if before:
        cache.invalidate_tags(["before"])
    store.marks_trace.clear()
    store.faster = Marks(tags={"theirs": clock.now})
    cache.invalidate_tags(["ours"])
    assert store.marks_trace == ["get", "put", "get", "put"]
    assert told(store).tags.keys() == {"ours", "theirs"} | ({"before"} if before else set())


def test_two_processes_that_invalidate_at_once_lose_neither(setting: Setting) -> None:
    other = Setting(setting.clock)
    other.upper, other.lower = setting.upper, setting.lower
    other.start()
    work = [
        setting.threads.submit(cache.invalidate_tags, [f"{name}{n}"])
        for n in range(20)
        for name, cache in (("a", setting.cache), ("b", other.cache))
    ]
    for one in work:
        one.result(WAIT)
    setting.round()
    setting.start()
    setting.cache.get("absent")
    tags = setting.cache.chain.epochs.space("n").marks.tags
    assert tags.keys() == {f"{name}{n}" for n in range(20) for name in "ab"}


def test_another_process_sees_it_at_its_next_look(setting: Setting) -> None:
    setting.cache.set("k", "old", tags=["t"])
    other = Setting(setting.clock)
    other.upper, other.lower = setting.upper, setting.lower
    other.start()
    assert other.cache.get("k") == "old"  # in its memory from now on
    setting.cache.invalidate_tags(["t"])
    assert other.cache.get("k") == "old"
    other.round()
    assert other.cache.get("k") is None


def test_another_process_that_hears_of_it_sees_it_at_once(setting: Setting) -> None:
    setting.cache.set("k", "old", tags=["t"])
    other = Setting(setting.clock)
    other.upper, other.lower = setting.upper, setting.lower
    other.start()
    assert other.cache.get("k") == "old"
    setting.cache.chain.epochs.announce.append(other.cache.chain.epochs.heard)
    setting.cache.invalidate_tags(["t"])
    assert other.cache.get("k") is None


def test_a_tier_that_is_only_read_tells_its_marks_and_is_told_none(clock: FakeClock) -> None:
    store = RemoteBackend(clock, name="store")
    writer = Cache(TierChain(Tier(store, name="store"), clock=clock), namespace="n")
    writer.set("k", "old")
    writer.clear()
    reader = Cache(TierChain(Tier(store, name="store", write="never"), clock=clock), namespace="n")
    assert reader.get("k") is None
    clock.advance(1)
    writer.set("k", "new")
    assert reader.get("k") == "new"
    store.marks_trace.clear()
    reader.clear()
    assert reader.get("k") is None
    assert store.marks_trace == ["get"]


# Clocks


def test_a_clear_covers_what_this_process_saw_of_a_machine_whose_clock_is_ahead(setting: Setting) -> None:
    ahead = FakeClock()
    ahead.advance(120)
    other = Setting(ahead)
    other.upper, other.lower = setting.upper, setting.lower
    other.start()
    other.cache.set("k", "old")
    assert setting.cache.get("k") == "old"
    setting.cache.clear()
    assert setting.cache.get("k") is None
    setting.cache.set("k", "new")
    for one in (setting, other):
        one.round()
        assert one.cache.get("k") == "new"


def test_what_is_made_in_the_knowledge_of_a_clear_outlives_it_whatever_the_clocks_say(setting: Setting) -> None:
    behind = FakeClock()
    behind.now -= 3600
    other = Setting(behind)
    other.upper, other.lower = setting.upper, setting.lower
    other.start()
    setting.cache.clear()
    other.cache.get("absent")  # it has read the mark, which is an hour ahead of its clock
    other.cache.set("k", "new")
    assert other.cache.get_or_set("made", lambda: 1) == 1
    other.start()
    assert other.cache.get("k") == "new"
    assert other.cache.get("made") == 1
    other.cache.clear()
    assert other.cache.get("k") is None
    setting.round()
    assert setting.cache.get("k") is None


def test_a_clock_that_is_set_back_does_not_revive_what_was_cleared(setting: Setting) -> None:
    setting.cache.set("k", "old")
    setting.clock.now -= 600
    setting.cache.clear()
    assert setting.cache.get("k") is None
    setting.start()
    assert setting.cache.get("k") is None


def test_entries_that_claim_a_moment_far_ahead_are_not_believed(setting: Setting) -> None:
    setting.cache.set("k", "old")
    for backend in (setting.upper, setting.lower):
        backend.entries["n:k"] = backend.entries["n:k"].with_metadata(as_of=1e300)
    setting.start()
    assert setting.cache.get("k") is None
    setting.cache.clear()
    setting.cache.set("k", "new")
    assert setting.cache.get("k") == "new"


# Computed entries


def test_a_computed_entry_remembers_when_its_computation_began(setting: Setting) -> None:
    def factory() -> int:
        setting.clock.advance(10)
        return 1

    began = setting.clock.now
    setting.cache.get_or_set("k", factory)
    for backend in (setting.memory, setting.upper, setting.lower):
        entry = backend.get("n:k")
        assert entry is not None
        assert entry.metadata.created_at == began + 10
        assert began - 2 < (entry.metadata.as_of or 0.0) <= began


def test_a_set_needs_no_moment_beside_its_creation(setting: Setting) -> None:
    setting.cache.set("k", 1)
    entry = setting.lower.entries["n:k"]
    assert entry.metadata.as_of is None


def test_another_process_clears_while_this_one_computes(setting: Setting) -> None:
    other = Setting(setting.clock)
    other.upper, other.lower = setting.upper, setting.lower
    other.start()

    def factory() -> str:
        setting.clock.advance(5)
        other.cache.clear()
        setting.clock.advance(5)
        return "of before"

    assert setting.cache.get_or_set("k", factory) == "of before"
    assert other.cache.get("k") is None
    setting.round()
    assert setting.cache.get("k") is None


def test_disk_and_memory_hold_it_over_a_restart(clock: FakeClock, tmp_path: Any) -> None:
    def start() -> Cache:
        return Cache(TierChain(MemoryBackend(clock=clock), DiskBackend(tmp_path / "c", clock=clock), clock=clock))

    with start() as cache:
        cache.set("k", 1, tags=["t"])
        cache.set("j", 2)
        cache.invalidate_tags(["t"])
    with start() as cache:
        assert (cache.get("k"), cache.get("j")) == (None, 2)
        assert list(cache.keys()) == ["j"]
        cache.clear()
    with start() as cache:
        assert cache.get("j") is None
        assert list(cache.keys()) == []


def test_the_namespace_of_the_marks_is_no_caches(clock: FakeClock) -> None:
    with pytest.raises(ConfigurationError, match="the library's own"):
        Cache(TierChain(MemoryBackend(clock=clock)), namespace="_meta")


def test_marks_too_large_for_a_tier_are_shortened(clock: FakeClock) -> None:
    from tiercache.errors import EntryTooLarge

    class Small(RemoteBackend):
        def put(self, key: str, entry: Any, **conditions: Any) -> bool:
            if len(entry.payload) > 200:
                raise EntryTooLarge("200 bytes")
            return super().put(key, entry, **conditions)

    store = Small(clock)
    cache = Cache(TierChain(Tier(store, name="store"), clock=clock), namespace="n")
    cache.set("k", 1, tags=["tag-50"])
    for n in range(100):
        clock.advance(1)
        cache.invalidate_tags([f"tag-{n}"])
    clock.advance(1)
    cache.set("new", 1, tags=["tag-1"])
    again = Cache(TierChain(Tier(store, name="store"), clock=clock), namespace="n")
    assert (again.get("k"), again.get("new")) == (None, 1)
    assert isinstance(again.chain.epochs.space("n").marks, Marks)


@each_invalidation
def test_what_was_invalidated_is_not_served_stale_either(setting: Setting, invalidate: Invalidate) -> None:
    setting.cache.set("k", "old", ttl=10, stale_for=1000, tags=["doc:7"])
    setting.clock.advance(20)
    invalidate(setting.cache)
    for _ in range(2):
        assert not setting.cache.lookup("k").hit
        with pytest.raises(ZeroDivisionError):
            setting.cache.get_or_set("k", lambda: 1 / 0, stale_for=1000, stale_if_error=1000, tags=["doc:7"])
        setting.start()
