"""News of segments: each costs one request at most, says in which class they are, and is believed in nothing else."""

from __future__ import annotations

import threading

import pytest

from tests.packed.objects import MemoryObjects, entry, packed, payload, until
from tests.packed.test_aside import deny, make_later
from tiercache.errors import BackendUnavailable
from tiercache.objectstore import ObjectStoreBackend
from tiercache.objectstore.classes import ClassRules
from tiercache.packed import PackedBackend, compaction, told
from tiercache.packed.told import read_news
from tiercache.testing import FakeClock

UNKNOWN = "_segments/keep/01HF7YAT00B7TWJDGHZYW2QB0Q-1-130 248"
RULES = {
    name: ClassRules(store="S3", name=name, min_days=days) for name, days in (("STANDARD", 0), ("STANDARD_IA", 30))
}


class Stingy(ObjectStoreBackend):
    """A store with a class that bills a minimum of days."""

    rules = RULES


def stingy(objects, clock, **options):
    inner = Stingy(objects, prefix="p", clock=clock, timeout=30)
    inner.storage_class = "STANDARD"
    return PackedBackend(inner, **options)


@pytest.fixture
def reader(objects):
    backend = packed(objects, refresh=3600)
    backend.refresh()
    return backend


@pytest.fixture
def news(objects):
    """News of a segment that is stored."""
    sent: list[bytes] = []
    writer = packed(objects)
    writer.on_sealed = sent.extend
    writer.put("n:1", entry("n:1"))
    writer.flush()
    return sent


def asked(reader) -> int:
    reader.discovery._pool.drain(30)
    reader.discovery._looking.drain(30)
    return reader.discovery.counters.tails


def test_news_of_what_is_known_costs_nothing(reader, news):
    reader.heard(news)
    assert asked(reader) == 1
    assert payload(reader) == b"payload"
    reader.heard(news * 100)
    assert asked(reader) == 1


def test_the_same_garbage_costs_one_request(reader):
    for _ in range(100):
        reader.heard([UNKNOWN.encode()])
    assert asked(reader) == 1
    assert reader.discovery.counters.repeated == 99


def test_a_wrong_size_does_not_keep_the_right_one_from_being_looked_at(reader, news):
    name, size = news[0].split()
    reader.heard([name + b" %d" % (int(size) + 1)])
    assert asked(reader) == 1
    reader.heard(news)
    assert asked(reader) == 2
    assert payload(reader) == b"payload"


def test_news_that_could_not_be_looked_at_is_looked_at_when_it_comes_again(objects, reader, news):
    def down(call, name):
        raise BackendUnavailable("down")

    objects.before = down
    reader.heard(news)
    assert asked(reader) == 1
    objects.before = lambda call, name: None
    reader.heard(news)
    assert asked(reader) == 2
    assert payload(reader) == b"payload"


def test_what_is_remembered_of_news_is_bounded(reader, monkeypatch):
    monkeypatch.setattr(told, "MOST_REMEMBERED", 10)
    for number in range(50):
        reader.heard([f"{UNKNOWN}{number}".encode()])
    asked(reader)
    assert len(reader.discovery._told._seen) == 10


def test_a_flood_of_news_becomes_one_listing(objects, reader, news, monkeypatch):
    monkeypatch.setattr(told, "MOST_WAITING", 5)
    gate, listings = threading.Event(), reader.discovery.counters.listings
    objects.before = lambda call, name: gate.wait(30)
    flood = [f"{UNKNOWN}{number}".encode() for number in range(200)]
    reader.heard([*flood, *news])
    gate.set()
    assert asked(reader) == 6  # the one that is stored was found by the listing
    assert reader.discovery.counters.listings == listings + 1
    assert payload(reader) == b"payload"


@pytest.mark.parametrize("spoil", [deny, make_later])
def test_news_of_what_cannot_be_read_is_looked_into_at_once(objects, spoil):
    clock, sent = FakeClock(), []
    writer = packed(objects, clock=clock)
    writer.put("n:1", entry("n:1", b"old", now=clock()))
    writer.flush()
    reader = packed(objects, clock=clock, refresh=3600)
    assert payload(reader) == b"old"
    clock.advance(1)
    writer.on_sealed = sent.extend
    writer.put("n:1", entry("n:1", b"new", now=clock()))
    writer.flush()
    spoil(objects, objects.segments()[-1])
    reader.heard(sent)
    until(lambda: payload(reader) is None)
    tails = asked(reader)
    reader.heard([item + b" more" for item in sent])
    assert asked(reader) == tails


# Storage classes


def test_news_says_the_class_and_what_comes_after_it_is_left_out():
    shown = read_news("p/", f"{UNKNOWN} STANDARD_IA and more".encode())
    assert shown is not None
    assert (shown.name, shown.size, shown.storage_class) == (f"p/{UNKNOWN.split()[0]}", 248, "STANDARD_IA")
    older = read_news("p/", UNKNOWN.encode())
    assert older is not None
    assert older.storage_class is None


@pytest.mark.parametrize(
    "item", [f"{UNKNOWN} \xff", f"{UNKNOWN}  x", f"{UNKNOWN} {'x' * 41}", f"{UNKNOWN}\n", UNKNOWN[:-4]]
)
def test_what_is_written_in_any_other_way_is_no_news(item):
    assert read_news("p/", item.encode()) is None


@pytest.mark.parametrize(("own", "told_class"), [("STANDARD_IA", "STANDARD_IA"), (None, "STANDARD")])
def test_who_hears_of_a_segment_knows_its_class(objects, own, told_class):
    clock = FakeClock()
    writer, reader = stingy(objects, clock), stingy(objects, clock, refresh=3600)
    reader.refresh()
    writer.on_sealed = reader.heard
    writer.put("n:1", entry("n:1", now=clock()).in_class(own))
    writer.flush()
    until(reader.discovery.known)
    assert [segment.storage_class for segment in reader.discovery.known()] == [told_class]


def test_a_listing_corrects_what_news_says(objects):
    clock = FakeClock()
    writer, reader, sent = stingy(objects, clock), stingy(objects, clock, refresh=3600), []
    reader.refresh()
    writer.on_sealed = sent.extend
    for number in range(3):
        writer.put(f"n:{number}", entry(f"n:{number}", now=clock()).in_class("STANDARD_IA"))
        writer.flush()
    reader.heard([item.replace(b"STANDARD_IA", b"STANDARD") for item in sent])
    until(lambda: len(reader.discovery.known()) == 3)
    assert not any(compaction.is_young(reader, segment) for segment in reader.discovery.known())
    report = reader.compact()
    assert (report.young, report.deleted) == (3, 0)
    assert payload(reader, "n:1") == b"payload"


def test_a_class_that_the_store_changed_is_known_after_the_next_listing(objects):
    clock = FakeClock()
    backend = stingy(objects, clock)
    backend.put("n:1", entry("n:1", now=clock()))
    backend.flush()
    [name] = objects.segments()
    objects.classes[name] = "STANDARD_IA"  # a lifecycle rule
    backend.refresh()
    assert [segment.storage_class for segment in backend.discovery.known()] == ["STANDARD_IA"]
    found = backend.get("n:1")
    assert found is not None
    assert found.metadata.storage_class == "STANDARD_IA"


# Scans and what is the library's own


def test_a_segment_that_goes_during_a_scan_makes_no_other_be_read_twice(objects):
    clock = FakeClock()
    writer = packed(objects, clock=clock)
    for number in range(6):
        writer.put(f"n:{number}", entry(f"n:{number}", now=clock()))
        writer.flush()
    reader = packed(objects, clock=clock)
    reader.refresh()
    del objects.bodies[objects.segments()[2]]
    with objects.counted() as calls:
        found = [key for key, _ in reader.scan("n:")]
    assert sorted(found) == ["n:0", "n:1", "n:3", "n:4", "n:5"]
    assert calls["read_range"] == 6


@pytest.mark.parametrize(
    ("prefix", "shown"),
    [
        ("", ["_meta:x:1", "n:1"]),
        ("_", ["_meta:x:1"]),
        ("_meta:", ["_meta:x:1"]),
        ("_meta:x", ["_meta:x:1"]),
        ("_meta:y", []),
        ("n:", ["n:1"]),
    ],
)
def test_a_scan_and_a_clear_have_the_librarys_own_entries_as_in_the_store_beneath(objects, prefix, shown):
    def fill(backend):
        for key in ("_meta:x:1", "n:1"):
            backend.put(key, entry(key))
        return backend

    single = fill(ObjectStoreBackend(MemoryObjects(), prefix="p", timeout=30))
    backend = fill(packed(objects))
    for each in (single, backend):
        assert sorted(key for key, _ in each.scan(prefix)) == shown
        assert sorted(key for key, _ in each.scan(prefix, full=True)) == shown
        assert each.clear(prefix) == len(shown)
        assert not list(each.scan(prefix))
        assert len(list(each.scan())) == 2 - len(shown)
