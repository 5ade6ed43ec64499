"""What `sweep` promises of packed segments: those in which nothing is alive go, unread."""

from __future__ import annotations

import pytest

from tests.packed.histories import contents
from tests.packed.objects import entry, packed
from tiercache.testing import FakeClock

DAY = 86_400


@pytest.fixture
def clock():
    return FakeClock()


def put(backend, clock, key, ttl=None):
    backend.put(key, entry(key, ttl=ttl, now=clock()))
    backend.flush()
    clock.advance(1)


def test_segments_with_nothing_alive_are_deleted_and_no_record_is_read(objects, clock):
    backend = packed(objects, clock=clock)
    for number in range(3):
        put(backend, clock, f"n:{number}", ttl=600)
    put(backend, clock, "n:3")
    clock.advance(2 * DAY)
    with objects.counted() as calls:
        report = backend.sweep()
    assert (report.examined, report.deleted, report.complete) == (4, 3, True)
    assert report.freed > 0
    assert calls["read_range"] == calls["read"] == 0
    assert set(contents(objects, clock)) == {"n:3"}


async def test_overwritten_segments_go_at_once(objects, clock):
    backend = packed(objects, clock=clock)
    put(backend, clock, "n:0")
    put(backend, clock, "n:0")
    report = await backend.asweep()
    assert report.deleted == 1
    assert set(contents(objects, clock)) == {"n:0"}


def test_an_expired_value_stays_where_it_hides_an_older_one(objects, clock):
    backend = packed(objects, clock=clock)
    backend.put("n:1", entry("n:1", now=clock()))
    put(backend, clock, "n:0")
    put(backend, clock, "n:0", ttl=600)
    clock.advance(2 * DAY)
    assert backend.sweep().deleted == 0
    assert set(contents(objects, clock)) == {"n:1"}


def test_young_tombstones_stay(objects, clock):
    backend = packed(objects, clock=clock)
    put(backend, clock, "n:0")
    backend.delete("n:0")
    assert backend.sweep().deleted == 1
    assert len(objects.segments()) == 1
    clock.advance(DAY + 10)
    assert backend.sweep().deleted == 1
    assert objects.segments() == []


def test_a_full_catalogue_deletes_nothing(objects, clock):
    backend = packed(objects, clock=clock)
    for number in range(3):
        put(backend, clock, f"n:{number}", ttl=600)
    clock.advance(2 * DAY)
    report = packed(objects, clock=clock, max_entries=1).sweep()
    assert (report.deleted, report.unknown) == (0, 3)


def test_progress_is_told(objects, clock):
    backend = packed(objects, clock=clock)
    put(backend, clock, "n:0")
    told = []
    backend.sweep(progress=told.append)
    assert [report.examined for report in told] == [1]
