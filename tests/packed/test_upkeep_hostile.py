"""Compaction, sweeps, erasures and moves where others are in their way: nothing comes back, nothing alive goes."""

from __future__ import annotations

import random
import threading

import pytest

from tests.packed import histories
from tests.packed.histories import contents, live
from tests.packed.objects import entry, packed
from tiercache.errors import BackendUnavailable, ConfigurationError, CorruptEntry
from tiercache.packed import erasing, lease, naming, rewriting, round, segment, sending
from tiercache.testing import FakeClock

DAY = 86_400


@pytest.fixture
def clock():
    return FakeClock()


def store(backend, clock, *keys, value=b"payload", **fields):
    """Put these, in a segment of their own, and return its name."""
    before = set(backend.inner.objects.segments())
    for key in keys:
        backend.put(key, entry(key, value, now=clock(), **fields))
    backend.flush()
    clock.advance(1)
    [name] = set(backend.inner.objects.segments()) - before
    return name


def bury(backend, clock, key):
    """Delete a key, and return the name of the segment with its tombstone."""
    before = set(backend.inner.objects.segments())
    backend.delete(key)
    backend.flush()
    clock.advance(1)
    [name] = set(backend.inner.objects.segments()) - before
    return name


def test_a_value_does_not_come_back_when_a_sweep_takes_its_tombstone_while_it_is_read(objects, clock):
    """The older value was read already when the tombstone went: it is no more needed for that."""
    one, other = packed(objects, clock=clock), packed(objects, clock=clock)
    old = store(one, clock, "n:1", "n:2", ttl=6 * DAY)
    store(one, clock, "n:3", ttl=6 * DAY)
    store(one, clock, "n:1")
    buried = bury(one, clock, "n:1")
    one.sweep()
    clock.advance(2 * DAY)
    compactor = packed(objects, clock=clock)
    read_range = objects.read_range

    def late(name, start, length, *, deadline):
        if name != old or start:
            return read_range(name, start, length, deadline=deadline)
        data = read_range(name, start, length, deadline=deadline)
        store(other, clock, "n:2", value=b"again")
        assert other.sweep().deleted == 2
        for known in compactor.discovery.known():
            if known.name == buried:  # as a reader of this process finds
                compactor.discovery.forget(known)
        return data

    compactor.refresh()
    objects.read_range = late
    compactor.compact()
    objects.read_range = read_range
    assert contents(objects, clock) == {"n:2": b"again", "n:3": b"payload"}


@pytest.fixture
def ulids(monkeypatch):
    """ULIDs ascend in a process: those of other tests are in this clock's future."""
    for module in (sending, rewriting):
        monkeypatch.setattr(module, "new_ulid", naming.Ulids().new)


@pytest.mark.usefixtures("ulids")
def test_a_tombstone_with_an_old_stamp_stays_while_a_compaction_may_not_know_it(objects, clock):
    """Who moves entries away deletes them with stamps just above their own, however old these are."""
    one, other = packed(objects, clock=clock), packed(objects, clock=clock)
    old = store(one, clock, "n:1")
    store(one, clock, "n:2")
    clock.advance(2 * DAY)
    compactor = packed(objects, clock=clock)
    compactor.refresh()
    other.refresh()

    def meanwhile(call, name):
        if call == "write" and "_segments/" in name:  # the compactor has read what it copies
            live(objects)
            found = other.newest.of(segment.digest_of("n:1"))
            batch = other.changes.bury(segment.digest_of("n:1"), None, expected=found.stamp)
            other.changes.stored([batch], None)
            other.sweep()
            assert old not in objects.segments()

    objects.before = meanwhile
    compactor.compact()
    assert contents(objects, clock) == {"n:2": b"payload"}
    for _ in range(3):
        clock.advance(DAY)
        packed(objects, clock=clock).compact()
    assert contents(objects, clock) == {"n:2": b"payload"}
    assert [key for key, at, _ in histories.records(objects) if at.length] == ["n:2"]


def test_a_compactor_that_slept_before_its_write_gives_up(objects, clock):
    """Whatever it has read may be deleted for good by now."""
    one = packed(objects, clock=clock)
    for number in range(3):
        store(one, clock, f"n:{number}")
    before = objects.segments()

    def sleep(call, name):
        if call == "write" and "_segments/" in name:
            live(objects)
            clock.advance(2 * DAY)
            raise BackendUnavailable("the connection broke")

    objects.before = sleep
    report = one.compact()
    assert (report.written, report.deleted, report.complete) == (0, 0, False)
    assert objects.segments() == before


def test_a_compactor_that_lost_its_lease_while_it_read_writes_nothing(objects, clock):
    """Who took it may be erasing what was read."""
    one, other = packed(objects, clock=clock), packed(objects, clock=clock)
    store(one, clock, "n:1")
    store(one, clock, "n:2")
    before = objects.segments()
    one.refresh()

    def slow(call, name):
        if call == "read_range" and name in before:
            live(objects)
            clock.advance(lease.SECONDS + 1)
            assert other.erase("n:1") == 1

    objects.before = slow
    report = one.compact()
    assert report.busy
    assert report.written == 0
    assert not any(b"n:1" in body for body in objects.bodies.values())


def test_entries_of_a_segment_that_is_forgotten_while_it_is_copied_stay(objects, clock):
    """A listing that does not show it for once, or a reader that got a 404 for once, is no reason to lose them."""
    one = packed(objects, clock=clock)
    for number in range(3):
        store(one, clock, f"n:{number}")
    one.refresh()
    read_range = objects.read_range

    def late(name, start, length, *, deadline):
        data = read_range(name, start, length, deadline=deadline)
        for known in one.discovery.known():
            if known.name == name:
                one.discovery.forget(known)
        return data

    objects.read_range = late
    report = one.compact()
    objects.read_range = read_range
    assert not report.complete
    assert len(contents(objects, clock)) == 3
    assert one.compact().complete
    assert len(contents(objects, clock)) == 3


def test_a_large_foreign_segment_does_not_use_up_the_budget_of_bytes_for_ever(objects, clock):
    """It takes more than any run may read: the others are merged all the same."""
    large = packed(objects, clock=clock, segment_bytes="1MiB")
    keys = [f"n:{number}" for number in range(40)]
    large.put_many({key: entry(key, bytes(range(256)) * 8, now=clock()) for key in keys})
    large.put("n:l", entry("n:l", random.Random(1).randbytes(100_000), now=clock()))
    large.flush()
    clock.advance(1)
    small = packed(objects, clock=clock, segment_bytes=2000)
    small.put("n:l", entry("n:l", b"again", now=clock()))
    for number in range(8):
        store(small, clock, f"n:{number}")
    before = len(objects.segments())
    report = packed(objects, clock=clock, segment_bytes=2000).compact(max_bytes=32_000)
    assert report.written
    assert len(objects.segments()) < before


def test_reading_indices_leaves_enough_of_the_budget_to_merge(objects, clock):
    """Else each call would spend it on them, and none would come further."""
    one = packed(objects, clock=clock)
    for number in range(30):
        for item in range(2):
            one.put(f"n:{number}.{item}", entry(f"n:{number}.{item}", now=clock()))
        one.flush()
        clock.advance(1)
    one.delete_many([f"n:{number}.0" for number in range(30)])
    clock.advance(2 * DAY)
    for _ in range(100):
        report = packed(objects, clock=clock).compact(max_requests=44)
        assert report.merged or report.complete
        if report.complete:
            break
    assert report.complete
    assert len(packed(objects, clock=clock).get_many([f"n:{number}.1" for number in range(30)])) == 30


@pytest.mark.parametrize("operation", ["compact", "sweep"])
def test_a_budget_that_the_listing_uses_up_is_refused_with_what_it_takes(objects, clock, monkeypatch, operation):
    """Each call would end where the last one did."""
    monkeypatch.setattr(round, "PAGE", 2)
    one = packed(objects, clock=clock)
    for number in range(9):
        store(one, clock, f"n:{number}")
    with pytest.raises(ConfigurationError, match="at least here"):
        getattr(one, operation)(max_requests={"compact": 22, "sweep": 4}[operation])
    assert not any("_meta" in name for name in objects.bodies)
    assert getattr(one, operation)(max_requests=60).complete


def test_a_segment_that_comes_between_the_look_and_the_count_is_not_deleted(objects, clock, monkeypatch):
    """In a full catalogue none of its records is the newest of its key, as far as that tells."""
    one = packed(objects, clock=clock, max_entries=3)
    store(one, clock, "n:0", "n:1", "n:2")
    other = packed(objects, clock=clock)
    one.refresh()
    known, come = one.discovery.known, []

    def known_now():
        if threading.current_thread() is threading.main_thread() and not come:
            come.append(store(other, clock, "n:3"))
            one.refresh()
        return known()

    monkeypatch.setattr(one.discovery, "known", known_now)
    with pytest.raises(ConfigurationError, match="max_entries"):
        one.compact()
    assert len(contents(objects, clock)) == 4


def test_an_erase_with_a_full_catalogue_is_refused_and_changes_nothing(objects, clock):
    """Which of the records beside the key's are needed, nobody knows."""
    store(packed(objects, clock=clock), clock, "n:1", "n:2", "n:3")
    before = dict(objects.bodies)
    with pytest.raises(ConfigurationError, match="max_entries"):
        packed(objects, clock=clock, max_entries=1).erase("n:1")
    assert objects.bodies == before


def test_an_erase_where_another_process_compacted_a_moment_ago_succeeds_at_once(objects, clock):
    """What it knew is gone, and nobody told."""
    one, other = packed(objects, clock=clock), packed(objects, clock=clock)
    for number in range(3):
        store(one, clock, f"n:{number}", "n:secret")
    other.refresh()
    one.compact()
    assert other.erase("n:secret") == 1
    assert not any(b"n:secret" in body for body in objects.bodies.values())
    assert len(contents(objects, clock)) == 3


def test_an_erase_that_cannot_store_its_tombstone_fails_in_time(objects, clock, monkeypatch):
    """`flush` without a deadline waits as long as it takes; whoever erases wants to know."""
    monkeypatch.setattr(erasing, "STORE_SECONDS", 0.2)
    one = packed(objects, clock=clock)
    store(one, clock, "n:1")

    def fail(call, name):
        if call == "write" and "_segments/" in name:
            raise BackendUnavailable("read-only for the moment")

    objects.before = fail
    with pytest.raises(BackendUnavailable, match="read-only"):
        one.erase("n:1")
    live(objects)
    assert one.erase("n:1") == 1


def test_what_replaces_an_entry_of_a_merged_segment_waits_where_that_lives(objects, clock):
    """Also while the segment in its place is not found yet: else the older value would outlive the newer one."""
    one, other = packed(objects, clock=clock), packed(objects, clock=clock)
    store(one, clock, "n:1", value=b"old")
    store(one, clock, "n:2", value=b"old")
    other.refresh()
    one.compact()

    def fail(call, name):
        if call == "list_page":
            raise BackendUnavailable("down")

    objects.before = fail
    with pytest.raises(BackendUnavailable):
        other.get("n:1")
    other.put("n:1", entry("n:1", b"new", ttl=600, now=clock()))
    live(objects)
    other.flush()
    assert {naming.parse("p/", name).bucket for name in objects.segments()} == {"keep"}


def test_an_erase_names_segments_that_are_archived(objects, clock):
    """Their bytes cannot be reached."""
    one = packed(objects, clock=clock)
    objects.archived.add(store(one, clock, "n:1"))
    store(one, clock, "n:1")
    with pytest.raises(CorruptEntry, match="1 segments"):
        packed(objects, clock=clock).erase("n:1")


def test_a_tombstone_stays_as_long_as_an_archived_segment_may_come_back(objects, clock):
    """Some stores make one readable again."""
    one = packed(objects, clock=clock)
    archived = store(one, clock, "n:1")
    bury(one, clock, "n:1")
    objects.archived.add(archived)
    clock.advance(3 * DAY)
    packed(objects, clock=clock).sweep()
    packed(objects, clock=clock).compact()
    objects.archived.clear()
    assert contents(objects, clock) == {}
