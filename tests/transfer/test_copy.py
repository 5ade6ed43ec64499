"""`copy`: every kind of store into every other, byte for byte; the newer one wins, and what is dead stays dead."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Any

import pytest

from tests.packed.objects import MemoryObjects, entry
from tests.transfer.conftest import KINDS, LASTING, Make, fill, put, wires_of
from tiercache import Cache, DiskBackend, MemoryBackend, Tier, TierChain
from tiercache.backend import Backend
from tiercache.entry import Entry
from tiercache.errors import BackendUnavailable, ConfigurationError, PartialFailure
from tiercache.objectstore import ObjectStoreBackend
from tiercache.packed import PackedBackend
from tiercache.transfer import CopyReport, acopy, copy


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are tried again at once."""
    monkeypatch.setattr("tiercache.transfer.patience.PAUSES", pauses := [0.0, 0.0, 0.0])
    monkeypatch.setattr("tiercache.transfer.origins.PAUSES", pauses)
    monkeypatch.setattr("tiercache.transfer.copying.PAUSES", pauses)


@pytest.mark.parametrize("there", KINDS)
@pytest.mark.parametrize("here", KINDS)
def test_entries_come_over_as_they_are(make: Make, here: str, there: str) -> None:
    source = make(here, "a")
    wires = fill(source)
    report = copy(source, make(there, "b"))
    fresh = make(there, "b")
    found = fresh.get("n:0001").metadata
    assert (report.examined, report.copied, report.left, report.complete) == (30, 30, 0, True)
    assert wires_of(fresh) == wires
    assert found.loaded_at == found.created_at - 1
    assert found.stale_until == found.expires_at + 50
    assert (found.tags, found.attributes) == (("t1",), {"model": "m", "tokens": 1})


@pytest.mark.parametrize("there", KINDS)
def test_what_is_there_is_not_copied_again(make: Make, there: str) -> None:
    source = make("disk", "a")
    fill(source)
    copy(source, make(there, "b"))
    report = copy(source, make(there, "b"))
    assert (report.copied, report.skipped_present) == (0, 30)


async def test_it_can_be_awaited(make: Make) -> None:
    source, there = make("disk", "a"), make("disk", "b")
    wires = fill(source)
    seen: list[CopyReport] = []
    report = await acopy(source, there, progress=seen.append, namespace="n")
    assert (report.copied, seen[-1].copied) == (30, 30)
    assert wires_of(there) == wires


# Which entries


def test_only_a_namespace_a_prefix_or_tags(make: Make) -> None:
    source = make("disk", "a")
    fill(source)
    fill(source, 5, namespace="other")
    assert copy(source, make("memory", "b"), namespace="other").copied == 5
    assert copy(source, make("memory", "c"), namespace="n", prefix="001").copied == 10
    assert copy(source, make("memory", "d"), prefix="other:0001").copied == 1
    report = copy(source, make("memory", "e"), namespace="n", tags=["t1", "t9"])
    assert (report.copied, report.skipped_other) == (10, 20)


def test_only_what_was_made_lately(make: Make) -> None:
    source, there = make("disk", "a"), make("memory", "b")
    put(source, "n:old", b"old", age=7200)
    put(source, "n:new", b"new", age=60)
    report = copy(source, there, newer_than="1h")
    assert (report.copied, report.skipped_other) == (1, 1)
    assert set(wires_of(there)) == {"n:new"}


# Which one wins


@pytest.mark.parametrize("there", KINDS)
def test_what_the_destination_has_newer_stays_and_what_is_older_is_replaced(make: Make, there: str) -> None:
    source, destination = make("disk", "a"), make(there, "b")
    for number, (mine, theirs) in enumerate([(100, 50), (50, 100), (50, 50)]):
        now = time.time()
        source.put(f"n:{number}", entry(f"n:{number}", b"mine", now=now - mine))
        destination.put(f"n:{number}", entry(f"n:{number}", b"theirs", now=now - theirs))
    report = copy(source, destination)
    assert [destination.get(f"n:{number}").payload for number in range(3)] == [b"theirs", b"mine", b"theirs"]
    assert (report.copied, report.replaced, report.skipped_newer, report.skipped_present) == (1, 1, 1, 1)


@pytest.mark.parametrize("there", KINDS)
def test_older_means_the_moment_of_the_load_not_of_the_entry(make: Make, there: str) -> None:
    source, destination, now = make("disk", "a"), make(there, "b"), time.time()
    source.put("n:1", entry("n:1", b"mine", now=now - 10, as_of=now - 100))
    destination.put("n:1", entry("n:1", b"theirs", now=now - 50))
    assert copy(source, destination).skipped_newer == 1
    assert destination.get("n:1").payload == b"theirs"


@pytest.mark.parametrize("there", KINDS)
def test_nothing_or_everything_is_overwritten_when_told(make: Make, there: str) -> None:
    source, destination = make("disk", "a"), make(there, "b")
    put(source, "n:1", b"mine", age=50)
    put(destination, "n:1", b"older", age=100)
    assert copy(source, destination, overwrite="never").copied == 0
    assert destination.get("n:1").payload == b"older"
    put(destination, "n:1", b"newer")
    assert copy(source, destination, overwrite="always").replaced == 1
    assert destination.get("n:1").payload == b"mine"


@pytest.mark.parametrize("there", LASTING)
def test_what_is_written_meanwhile_wins(make: Make, there: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source, destination, other = make("disk", "a"), make(there, "b"), make(there, "b")
    put(source, "n:1", b"mine", age=50)
    put(destination, "n:1", b"older", age=100)
    read = type(destination).get_many

    def and_then(self: Any, keys: Any, **options: Any) -> Any:
        found = read(self, keys, **options)
        if self is destination and "n:1" in found:
            put(other, "n:1", b"newer")
        return found

    monkeypatch.setattr(type(destination), "get_many", and_then)
    if there == "redis":
        seen = type(destination).get_many_seen
        monkeypatch.setattr(
            type(destination),
            "get_many_seen",
            lambda self, keys, **options: (seen(self, keys, **options), put(other, "n:1", b"newer"))[0],
        )
    report = copy(source, destination)
    assert make(there, "b").get("n:1").payload == b"newer"
    assert report.copied == (1 if there == "packed" else 0), "in segments both are kept, and the newer one is found"


def test_a_tombstone_in_redis_is_respected(make: Make) -> None:
    source, destination = make("disk", "a"), make("redis", "b")
    put(source, "n:1", b"mine", age=50)
    put(source, "n:2", b"mine", age=50)
    destination.displace({"n:1": time.time() - 10, "n:2": time.time() - 90}, bytes(range(16)))
    report = copy(source, destination)
    assert (report.copied, report.skipped_newer) == (1, 1)
    assert destination.get("n:1") is None
    assert destination.get("n:2").payload == b"mine"


def test_what_packed_segments_deleted_since_stays_deleted(make: Make) -> None:
    source, destination = make("disk", "a"), make("packed", "b")
    put(source, "n:1", b"mine", age=50)
    put(destination, "n:1", b"theirs", age=60)
    destination.delete("n:1")
    assert copy(source, destination).skipped_newer == 1
    assert make("packed", "b").get("n:1") is None


# Chains


def test_of_a_chain_the_slowest_tier_is_read_and_written(make: Make) -> None:
    with contextlib.closing(TierChain(MemoryBackend("1MiB"), make("disk", "a"))) as source:
        Cache(source, namespace="n").set("k", 1)
        fast, slow = make("redis", "b"), make("disk", "c")
        with contextlib.closing(TierChain(fast, slow)) as destination:
            assert copy(source, destination).copied == 1
            assert fast.get("n:k") is None
            assert slow.get("n:k") is not None
            assert Cache(destination, namespace="n").get("k") == 1
            assert copy(destination, make("disk", "d"), source_tier="redis").copied == 1


@pytest.mark.parametrize("upper", ["memory", "redis", "disk"])
def test_tiers_above_keep_what_is_newer_and_lose_what_is_older(make: Make, upper: str) -> None:
    source, fast, slow = make("disk", "a"), make(upper, "b"), make("objects", "c")
    for key, mine, theirs in (("n:older", 50, 100), ("n:newer", 50, 20), ("n:absent", 50, None)):
        put(source, key, b"mine", age=mine)
        if theirs is not None:
            put(fast, key, b"theirs", age=theirs)
    with contextlib.closing(TierChain(fast, slow)) as destination:
        report = copy(source, destination)
        assert (report.copied, report.skipped_newer) == (2, 1)
        assert fast.get("n:older") is None
        assert fast.get("n:newer").payload == b"theirs"
        assert slow.get("n:newer") is None
        assert slow.get("n:older").payload == b"mine"


def test_what_redis_above_knows_to_be_deleted_does_not_come_back_below_it(make: Make) -> None:
    source, fast, slow = make("disk", "a"), make("redis", "b"), make("objects", "c")
    put(source, "n:before", b"mine", age=50)
    put(source, "n:after", b"mine", age=50)
    with contextlib.closing(TierChain(fast, slow)) as destination:
        Cache(destination, namespace="n").delete("before")
        fast.displace({"n:after": time.time() - 90}, bytes(range(16)))
        report = copy(source, destination)
        assert (report.copied, report.skipped_newer) == (1, 1)
        assert slow.get("n:before") is None
        assert slow.get("n:after").payload == b"mine"


def test_other_processes_hear_of_what_was_replaced(make: Make) -> None:
    with (
        contextlib.closing(TierChain(MemoryBackend("1MiB"), make("redis", "b"), make("disk", "c"))) as live,
        contextlib.closing(TierChain(make("redis", "b"), make("disk", "c"))) as destination,
    ):
        cache = Cache(live, namespace="n")
        cache.set("k", "old")
        assert cache.get("k") == "old"
        source = make("disk", "a")
        Cache(TierChain(source), namespace="n").set("k", "new")
        assert copy(source, destination).replaced == 1
        ends = time.monotonic() + 30
        while cache.get("k") != "new" and time.monotonic() < ends:
            time.sleep(0.01)
        assert cache.get("k") == "new"


def test_the_rules_of_the_destinations_tier_hold(make: Make) -> None:
    source = make("disk", "a")
    put(source, "n:1", b"x" * 100)
    put(source, "n:2", b"x" * 5000)
    there = make("disk", "b")
    report = copy(source, Tier(there, max_ttl=60, max_entry_bytes=1000))
    assert (report.copied, report.refused, report.left) == (1, 1, 1)
    assert report.errors == {"EntryTooLarge": 1}
    assert there.get("n:1").metadata.expires_at <= time.time() + 60


def test_mistakes_are_told(make: Make) -> None:
    disk = make("disk", "a")
    with pytest.raises(ConfigurationError, match="same place"):
        copy(disk, disk)
    with pytest.raises(ConfigurationError, match="only read"):
        copy(disk, Tier(make("disk", "b"), write="never"))
    with pytest.raises(ConfigurationError, match="no such tier"):
        copy(TierChain(disk), make("disk", "b"), source_tier="s3")
    with pytest.raises(ConfigurationError, match="overwrite"):
        copy(disk, make("disk", "b"), overwrite="newer")  # type: ignore[arg-type]


# What is dead


@pytest.mark.parametrize("here", LASTING)
def test_what_was_invalidated_in_the_source_is_not_copied(make: Make, here: str) -> None:
    with contextlib.closing(TierChain(make(here, "a"))) as chain:
        cache = Cache(chain, namespace="n")
        cache.set("cleared", 1)
        cache.clear()
        cache.set("tagged", 1, tags=["t"])
        cache.invalidate_tags(["t"])
        cache.set("alive", 2)
    there = make("disk", "b")
    report = copy(make(here, "a"), there)
    assert (report.copied, report.skipped_dead) == (1, 2)
    assert set(wires_of(there)) == {"n:alive"}


def test_a_clear_on_the_way_holds_for_what_is_read_after_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiercache.transfer.judging.REREAD", 0.0)
    source, there = make("disk", "a"), make("disk", "b")
    fill(source, 1500)

    def progress(report: CopyReport) -> None:
        if report.examined == 1000:
            with contextlib.closing(TierChain(make("disk", "a"))) as chain:
                Cache(chain, namespace="n").clear()

    report = copy(source, there, progress=progress)
    assert (report.copied, report.skipped_dead) == (1000, 500)


def test_what_the_destination_invalidated_does_not_come_back(make: Make) -> None:
    source = make("disk", "a")
    fill(source)
    with contextlib.closing(TierChain(make("redis", "b"), make("disk", "c"))) as chain:
        Cache(chain, namespace="n").clear()
    with contextlib.closing(TierChain(make("redis", "b"), make("disk", "c"))) as chain:
        report = copy(source, chain, overwrite="always")
        assert (report.copied, report.skipped_dead) == (0, 30)


def test_marks_that_cannot_be_read_end_it(make: Make) -> None:
    source, there = make("disk", "a"), make("disk", "b")
    fill(source)
    there.put("_meta:epochs:n", entry("_meta:epochs:n", b"rubbish"))
    with pytest.raises(PartialFailure, match="CorruptEntry"):
        copy(source, there)
    assert wires_of(there) == {}


def test_expired_and_damaged_entries_are_counted_and_left(make: Make) -> None:
    now = [time.time()]
    source = make("objects", "a", clock=lambda: now[0])
    for number in range(4):
        source.put(f"n:{number}", entry(f"n:{number}", ttl=60 if number == 1 else None))
    source.objects.bodies["p/n:2"] = b"rubbish"
    now[0] += 100
    failed: dict[str, str] = {}
    report = copy(source, make("memory", "b"), on_failure=lambda key, error: failed.update({key: type(error).__name__}))
    assert (report.copied, report.skipped_expired, report.damaged, report.left) == (2, 1, 1, 1)
    assert (failed, report.errors) == ({"n:2": "CorruptEntry"}, {"CorruptEntry": 1})


# Failures


class Faulty:
    """Objects of which calls fail."""

    def __init__(self, objects: MemoryObjects) -> None:
        self.objects, self.calls, self.point = objects, 0, 0
        objects.before = self

    def __call__(self, call: str, name: str) -> None:
        self.calls += 1
        if self.point and self.calls >= self.point:
            raise BackendUnavailable("the store is away")


@pytest.mark.parametrize("failing", ["source", "destination"])
@pytest.mark.parametrize(("here", "there"), [("objects", "objects"), ("packed", "objects"), ("objects", "packed")])
def test_it_can_be_broken_off_at_any_request_and_gone_on_with(make: Make, here: str, there: str, failing: str) -> None:
    wires = fill(make(here, "a"), 12)
    for point in range(1, 100):
        source, destination = make(here, "a"), make(there, f"b{point}")
        broken = {"source": source, "destination": destination}[failing]
        faulty = Faulty((broken.inner if isinstance(broken, PackedBackend) else broken).objects)
        faulty.point = point
        try:
            report = copy(source, destination, max_entries=5)
        except PartialFailure as failure:
            report = failure.results
        ended = faulty.calls < point
        faulty.objects.before = lambda call, name: None
        while not report.complete:
            report = copy(make(here, "a"), make(there, f"b{point}"), resume=report.resume, max_entries=5)
            assert report.left == 0
        assert wires_of(make(there, f"b{point}")) == wires, point
        if ended:
            return
    pytest.fail("it never ended")


@pytest.mark.parametrize("here", ["disk", "objects", "packed"])
def test_a_budget_and_a_token_see_each_entry_once(make: Make, here: str) -> None:
    source = make(here, "a")
    wires = fill(source, 60)
    token, copied, runs = None, 0, 0
    while runs == 0 or token is not None:
        report = copy(make(here, "a"), make("disk", "b"), resume=token, max_entries=7)
        assert report.skipped_present == 0
        copied, runs, token = copied + report.copied, runs + 1, report.resume
        assert runs < 100
    assert (copied, wires_of(make("disk", "b"))) == (60, wires)


def test_redis_is_listed_anew_and_what_is_there_is_skipped(make: Make) -> None:
    source = make("redis", "a")
    wires = fill(source, 1500)
    stop = threading.Event()
    first = copy(source, make("disk", "b"), progress=lambda report: stop.set(), stop=stop)
    assert 0 < first.copied < 1500
    assert first.resume
    second = copy(source, make("disk", "b"), resume=first.resume)
    assert (second.copied, second.skipped_present) == (1500 - first.copied, first.copied)
    assert wires_of(make("disk", "b")) == wires


def test_a_token_of_another_source_is_a_mistake(make: Make) -> None:
    for kind, token in (("redis", "after:x"), ("disk", "again:"), ("objects", "block:1:aa"), ("packed", "after:x")):
        with pytest.raises(ConfigurationError, match="another source"):
            copy(make(kind, "a"), make("memory", "b"), resume=token)


def test_what_fails_now_and_then_is_tried_again(make: Make) -> None:
    source, destination = make("objects", "a"), make("objects", "b")
    wires = fill(source, 20)
    for backend in (source, destination):
        failed: set[str] = set()

        def once(call: str, name: str, failed: set[str] = failed) -> None:
            if call in ("read", "write") and name not in failed:
                failed.add(name)
                raise BackendUnavailable("throttled", retry_after=0.0)

        backend.objects.before = once
    report = copy(source, destination)
    assert (report.copied, report.failed) == (20, 0)
    destination.objects.before = lambda call, name: None
    assert wires_of(destination) == wires


def test_what_fails_again_and_again_is_counted_and_the_rest_is_copied(make: Make) -> None:
    source, destination = make("objects", "a"), make("objects", "b")
    fill(source, 20)

    def some(call: str, name: str) -> None:
        if name.endswith(("3", "7")) and call in ("read", "write"):
            raise BackendUnavailable("this one never works")

    for broken in (source, destination):
        broken.objects.before = some
        report = copy(make("objects", "a"), make("objects", f"b{id(broken)}") if broken is source else destination)
        assert (report.copied, report.failed, report.errors) == (16, 4, {"BackendUnavailable": 4})
        broken.objects.before = lambda call, name: None


def test_where_most_is_there_already_bodies_are_not_sent_again(make: Make) -> None:
    source, destination = make("disk", "a"), make("objects", "b")
    fill(source, 2100)
    copy(source, destination)
    with destination.objects.counted() as calls:
        assert copy(source, destination).skipped_present == 2100
    assert calls["write"] <= 1000, "of the first page only"


def test_memory_is_bounded(make: Make) -> None:
    source, there = make("disk", "a", max_bytes="1GiB"), make("disk", "b")
    for number in range(60):
        put(source, f"n:{number}", bytes(2**20))
        source.put(f"n:{number}", _noise(f"n:{number}", number))
    import tracemalloc

    tracemalloc.start()
    try:
        assert copy(source, there).copied == 60
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60 * 2**20, "of 60 MiB, a few chunks of 8 MiB at a time, with their envelopes"


def _noise(key: str, seed: int) -> Entry:
    import random

    return entry(key, random.Random(seed).randbytes(2**20))


async def test_cancelled_it_ends_after_the_page_under_way(make: Make) -> None:
    source, there = make("objects", "a"), make("disk", "b")
    fill(source, 1500)
    begun, go_on, reported = threading.Event(), threading.Event(), threading.Event()

    def hold(call: str, name: str) -> None:
        if call == "read":
            begun.set()
            go_on.wait(60)

    source.objects.before = hold
    moving = asyncio.create_task(acopy(source, there, progress=lambda report: reported.set()))
    assert await asyncio.to_thread(begun.wait, 60)
    moving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await moving
    go_on.set()
    assert await asyncio.to_thread(reported.wait, 60)
    assert len(wires_of(there)) == 1000


# Storage classes


@pytest.mark.parametrize("there", ["objects", "packed"])
def test_storage_classes_are_kept_or_given(make: Make, there: str) -> None:
    from tiercache_s3 import S3Backend

    def classed(kind: str, place: str) -> Any:
        backend = make(kind, place)
        (backend.inner if isinstance(backend, PackedBackend) else backend).rules = S3Backend.rules
        return backend

    source = classed("objects", "a")
    for number, name in enumerate([None, "STANDARD_IA", "GLACIER_IR"]):
        source.put(f"n:{number}", entry(f"n:{number}").in_class(name))
    kept, given = classed(there, "b"), classed(there, "c")
    assert copy(source, kept).copied == 3
    assert copy(source, given, storage_class="GLACIER_IR").copied == 3
    assert [kept.get(f"n:{number}").metadata.storage_class for number in range(3)] == [
        None,
        "STANDARD_IA",
        "GLACIER_IR",
    ]
    assert {given.get(f"n:{number}").metadata.storage_class for number in range(3)} == {"GLACIER_IR"}
    with pytest.raises(ConfigurationError, match="storage_class"):
        copy(source, make("disk", "d"), storage_class="GLACIER_IR")


def test_a_backend_of_five_operations_is_enough(make: Make) -> None:
    class Five(Backend):
        def __init__(self) -> None:
            self.inner = MemoryBackend("10MiB")

        def get(self, key: str, *, deadline: float | None = None) -> Entry | None:
            return self.inner.get(key)

        def put(self, key: str, entry: Entry, **options: Any) -> bool:
            options.pop("deadline", None)
            return self.inner.put(key, entry, **options)

        def delete(self, key: str, *, deadline: float | None = None) -> bool:
            return self.inner.delete(key)

        def scan(self, prefix: str = "", *, full: bool = False, deadline: float | None = None) -> Any:
            return self.inner.scan(prefix)

        def ping(self, *, deadline: float | None = None) -> None:
            return

    five = Five()
    wires = fill(make("disk", "a"))
    assert copy(make("disk", "a"), five).copied == 30
    assert copy(five, make("objects", "b")).copied == 30
    assert wires_of(make("objects", "b")) == wires


def test_the_report_says_it_in_words(make: Make) -> None:
    source = make("disk", "a")
    fill(source)
    report = copy(source, make("memory", "b"), tags=["t0"])
    assert (report.total, report.skipped) == (30, 20)
    assert "10 of 30 entries copied" in str(report)
    assert "20 not asked for" in str(report)
    assert isinstance(make("objects", "c"), ObjectStoreBackend)
    assert isinstance(make("disk", "d"), DiskBackend)


def test_what_the_source_has_yet_to_delete_is_not_copied(make: Make) -> None:
    source = make("disk", "a")
    fill(source, 3)
    tier = Tier(source)
    tier.missed(["n:0001"])  # it did not take a change of this key
    report = copy(tier, make("disk", "b"))
    assert (report.copied, report.skipped_dead) == (2, 1)
