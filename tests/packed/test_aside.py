"""Segments that cannot be read: what they may hide is not read, all else is; they are asked for again, now and then."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.packed.objects import MemoryObjects, entry, packed, payload
from tiercache.errors import AccessDenied, BackendUnavailable
from tiercache.packed import aside
from tiercache.testing import FakeClock

MemoryMaker = Callable[[MemoryObjects, str], None]


def deny(objects: MemoryObjects, name: str) -> None:
    """The credentials may not read this object."""

    before = objects.before

    def denied(call: str, of: str) -> None:
        before(call, of)
        if call == "read_range" and of == name:
            raise AccessDenied("S3 denies s3:GetObject")

    objects.before = denied


def archive(objects: MemoryObjects, name: str) -> None:
    """It must be restored, and the listing says so."""
    objects.archived.add(name)


def archive_unmarked(objects: MemoryObjects, name: str) -> None:
    """It must be restored, and no listing says so."""
    shown = MemoryObjects._info

    def info(of: str):
        return replace(shown(objects, of), archived=False)

    objects.archived.add(name)
    objects._info = info  # type: ignore[method-assign]


def make_later(objects: MemoryObjects, name: str) -> None:
    """A later release wrote it."""
    body = bytearray(objects.bodies[name])
    body[-12:-8] = (2).to_bytes(4, "big")
    objects.bodies[name] = bytes(body)


WAYS: dict[str, MemoryMaker] = {
    "denied": deny,
    "archived": archive,
    "archived and not marked": archive_unmarked,
    "of a later release": make_later,
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> MemoryMaker:
    return WAYS[request.param]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def store(backend, clock, **values: bytes | None) -> None:
    """Write one segment, a second later than what was before; None: a tombstone."""
    clock.advance(1)
    for key, value in values.items():
        if value is None:
            backend.delete(f"n:{key}")
        else:
            backend.put(f"n:{key}", entry(f"n:{key}", value, now=clock()))
    backend.flush()


@pytest.fixture
def spoiled(objects: MemoryObjects, clock: FakeClock, way: MemoryMaker) -> Callable[..., str]:
    """A function that writes a segment which others cannot read, and returns its name."""

    def spoil(**values: bytes | None) -> str:
        before = set(objects.segments())
        store(packed(objects, clock=clock), clock, **values)
        [name] = set(objects.segments()) - before
        way(objects, name)
        return name

    return spoil


@pytest.mark.parametrize("newer", [b"new", None])
def test_an_older_value_is_not_read_beside_what_may_hide_it(objects, clock, spoiled, newer):
    store(packed(objects, clock=clock), clock, k=b"old")
    spoiled(k=newer)
    reader = packed(objects, clock=clock)
    assert reader.get("n:k") is None
    assert reader.get_many(["n:k"]) == {}
    assert [key for key, _ in reader.scan("n:")] == []


def test_what_is_written_later_is_read(objects, clock, spoiled):
    writer = packed(objects, clock=clock)
    store(writer, clock, k=b"old", other=b"old")
    spoiled(k=b"hidden")
    store(writer, clock, k=b"new")
    reader = packed(objects, clock=clock)
    assert payload(reader, "n:k") == b"new"
    assert payload(reader, "n:other") is None


def test_who_misses_writes_anew_and_reads_it(objects, clock, spoiled):
    store(packed(objects, clock=clock), clock, k=b"old")
    spoiled(k=b"hidden")
    reader = packed(objects, clock=clock)
    assert payload(reader, "n:k") is None
    store(reader, clock, k=b"computed")
    assert payload(reader, "n:k") == b"computed"
    assert payload(packed(objects, clock=clock), "n:k") == b"computed"


def test_a_process_that_knew_the_older_value_stops_reading_it_when_it_has_looked(objects, clock, spoiled):
    store(packed(objects, clock=clock), clock, k=b"old")
    reader = packed(objects, clock=clock)
    assert payload(reader, "n:k") == b"old"
    spoiled(k=b"hidden")
    reader.refresh()
    assert payload(reader, "n:k") is None


def test_when_it_can_be_read_all_is_as_if_it_always_could(objects, clock, spoiled, monkeypatch):
    monkeypatch.setattr(aside, "FIRST_PAUSE", 0.0)
    store(packed(objects, clock=clock), clock, k=b"old", other=b"old")
    name = spoiled(k=b"hidden")
    intact = objects.bodies[name]
    reader = packed(objects, clock=clock)
    assert payload(reader, "n:other") is None
    objects.archived.clear()
    objects.before = lambda call, of: None
    objects.__dict__.pop("_info", None)
    objects.bodies[name] = intact
    if intact[-12:-8] == (2).to_bytes(4, "big"):  # for a later release another process is needed
        objects.bodies[name] = intact[:-12] + (1).to_bytes(4, "big") + intact[-8:]
        reader = packed(objects, clock=clock)
    reader.refresh()
    assert payload(reader, "n:k") == b"hidden"
    assert payload(reader, "n:other") == b"old"
    assert reader.discovery.unreadable == 0


def test_when_it_is_gone_it_hides_nothing(objects, clock, spoiled):
    store(packed(objects, clock=clock), clock, k=b"old")
    name = spoiled(other=b"hidden")
    reader = packed(objects, clock=clock)
    assert payload(reader, "n:k") is None
    del objects.bodies[name]
    reader.refresh()
    assert payload(reader, "n:k") == b"old"


def test_it_is_counted_and_told_of_once_by_its_name(objects, clock, spoiled, caplog):
    store(packed(objects, clock=clock), clock, k=b"old")
    names = [spoiled(secret=b"hidden"), spoiled(secret=b"hidden")]
    caplog.clear()
    reader = packed(objects, clock=clock)
    with caplog.at_level(logging.WARNING, "tiercache"):
        for _ in range(3):
            reader.refresh()
    told = [record.getMessage() for record in caplog.records if "segment" in record.getMessage()]
    assert len(told) == 1
    assert any(name.removeprefix("p/") in told[0] for name in names)
    assert "secret" not in told[0]
    assert reader.discovery.unreadable == reader.discovery.counters.unreadable == 2


def test_it_is_not_asked_for_with_each_look(objects, clock, spoiled):
    store(packed(objects, clock=clock), clock, k=b"old")
    name = spoiled(k=b"hidden")
    reader = packed(objects, clock=clock)
    reader.refresh()
    asked: Counter[str] = Counter()
    before = objects.before

    def count(call: str, of: str) -> None:
        asked[call] += of == name
        before(call, of)

    objects.before = count
    for _ in range(5):
        reader.refresh()
    assert asked["read_range"] == 0


@pytest.mark.parametrize("spoil", [deny, archive_unmarked])
def test_it_is_asked_for_again_after_growing_pauses_of_an_hour_at_most(objects, clock, spoil, monkeypatch):
    store(packed(objects, clock=clock), clock, k=b"old")
    store(packed(objects, clock=clock), clock, k=b"hidden")
    spoil(objects, objects.segments()[-1])
    reader, moment, pauses = packed(objects, clock=clock), [0.0], []
    monkeypatch.setattr(aside.time, "monotonic", lambda: moment[0])
    reader.refresh()
    for _ in range(9):
        [unread] = reader.discovery.aside._unread.values()
        pauses.append(unread.again_at - moment[0])
        moment[0] = unread.again_at
        before = reader.discovery.counters.asked_again
        reader.refresh()
        assert reader.discovery.counters.asked_again == before + 1
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_a_delete_waits_for_its_tombstone_as_a_value_may_be_hidden(objects, clock, spoiled):
    store(packed(objects, clock=clock), clock, other=b"value")
    spoiled(k=b"hidden")
    reader = packed(objects, clock=clock)
    before = len(objects.segments())
    reader.delete("n:k")
    assert len(objects.segments()) == before + 1


def test_a_new_value_lives_with_those_that_it_may_replace(objects, clock, spoiled):
    store(packed(objects, clock=clock), clock, other=b"value")
    assert "/keep/" in spoiled(k=b"hidden")
    reader = packed(objects, clock=clock)
    before = set(objects.segments())
    reader.put("n:k", entry("n:k", b"short", now=clock(), ttl=60))
    reader.flush()
    [new] = set(objects.segments()) - before
    assert "/keep/" in new


def test_it_is_left_alone_by_upkeep_and_so_is_what_it_may_need(objects, clock, spoiled):
    writer = packed(objects, clock=clock)
    store(writer, clock, k=b"old")
    store(writer, clock, k=None)
    name = spoiled(other=b"hidden")
    clock.advance(10 * 86_400)
    reader = packed(objects, clock=clock)
    reader.compact()
    reader.sweep()
    assert name in objects.segments()
    assert len(objects.segments()) == 2  # and the tombstone, of which nobody knows what it hides


def test_a_store_of_which_nothing_can_be_read_is_down_and_says_which_segment(objects, clock):
    store(packed(objects, clock=clock), clock, k=b"old")
    [name] = objects.segments()
    deny(objects, name)
    reader = packed(objects, clock=clock)
    with pytest.raises(AccessDenied, match=f"the segment {name.removeprefix('p/')} cannot be read, nor any other: S3 "):
        reader.get("n:k")


def test_what_cannot_be_read_for_now_is_not_set_aside(objects, clock):
    store(packed(objects, clock=clock), clock, k=b"old")
    store(packed(objects, clock=clock), clock, k=b"new")
    last = objects.segments()[-1]

    def before(call: str, of: str) -> None:
        if call == "read_range" and of == last:
            raise BackendUnavailable("down")

    objects.before = before
    reader = packed(objects, clock=clock)
    with pytest.raises(BackendUnavailable):
        reader.get("n:k")
    objects.before = lambda call, of: None
    assert payload(reader, "n:k") == b"new"


def test_a_name_of_the_future_hides_nothing_that_is_written_after_it_was_seen(objects, clock, spoiled):
    store(packed(objects, clock=clock), clock, other=b"older")
    clock.advance(86_400)
    name = spoiled(k=b"hidden")
    clock.now -= 80_000
    reader = packed(objects, clock=clock)
    assert payload(reader, "n:other") is None
    store(reader, clock, k=b"new")
    assert payload(reader, "n:k") == b"new"
    assert name in objects.segments()


def test_a_damaged_segment_is_lost_and_hides_nothing(objects, clock):
    store(packed(objects, clock=clock), clock, k=b"old")
    store(packed(objects, clock=clock), clock, other=b"lost")
    name = objects.segments()[-1]
    objects.bodies[name] = objects.bodies[name][:-1] + b"?"
    reader = packed(objects, clock=clock)
    assert payload(reader, "n:k") == b"old"
    assert reader.discovery.unreadable == 1


def test_a_tail_that_came_damaged_is_read_once_more(objects, clock):
    store(packed(objects, clock=clock), clock, k=b"value")
    read, spoil = objects.read_range, [True]

    def once(name, start, length, *, deadline):
        data = read(name, start, length, deadline=deadline)
        return data[:-1] + b"?" if spoil and spoil.pop() else data

    objects.read_range = once
    assert payload(packed(objects, clock=clock), "n:k") == b"value"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_knows_what_its_parent_has_set_aside(objects, clock, spoiled):
    store(packed(objects, clock=clock), clock, k=b"old")
    spoiled(k=b"hidden")
    reader = packed(objects, clock=clock)
    assert payload(reader, "n:k") is None
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        os._exit(0 if payload(reader, "n:k") is None else 1)
    assert os.waitpid(child, 0)[1] == 0
