"""What a write to the disk backend changes and removes: rows replaced where they stand, the order in which they go."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from contextlib import closing

import pytest

from tests.disk_version_1 import made_by_version_1, write_as_version_1
from tiercache import envelope
from tiercache.disk import DiskBackend
from tiercache.disk import room as disk_room
from tiercache.disk.batches import STEP
from tiercache.entry import Entry, Metadata
from tiercache.errors import BackendTimeout

START = 1_700_000_000.0
KIB = 1024


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache.sqlite3"


@pytest.fixture
def disk(path, clock):
    with closing(DiskBackend(path, max_bytes=100 * KIB, clock=clock)) as backend:
        yield backend


def entry(key, size=KIB, ttl=None):
    expires_at = None if ttl is None else START + ttl
    return Entry(os.urandom(size), Metadata(key=key, created_at=START, expires_at=expires_at, size=size))


def put(backend, *keys, **options):
    for key in keys:
        assert backend.put(key, entry(key, **options)) is True


def rows(path, statement, *parameters):
    with closing(sqlite3.connect(path)) as db, db:
        return db.execute(statement, parameters).fetchall()


def kept(backend):
    return [key for key, _ in backend.scan()]


def counted(path):
    return [rows(path, "SELECT entries, bytes FROM totals"), rows(path, "SELECT count(*), sum(size) FROM entries")]


def test_a_row_that_is_written_again_stays_where_it_is_and_holds_the_new_entry(disk, path):
    put(disk, *"abc")
    before = rows(path, "SELECT id, key FROM entries ORDER BY id")
    again = entry("a", size=2 * KIB)
    disk.put("a", again)
    assert rows(path, "SELECT id, key FROM entries ORDER BY id") == before
    assert disk.get("a").payload == again.payload
    totals, sums = counted(path)
    assert totals == sums


def test_writing_a_row_again_changes_half_the_pages_that_removing_and_making_it_would(path, clock):
    def pages(write):
        rows(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        for key in keys[:40]:
            write(key)
        return os.stat(f"{path}-wal").st_size

    def anew(key):
        backend.delete(key)
        put(backend, key, ttl=100)

    keys = [f"{n:032x}" for n in range(400)]
    random.Random(1).shuffle(keys)
    with closing(DiskBackend(path, clock=clock)) as backend:
        put(backend, *keys, ttl=100)
        assert pages(lambda key: put(backend, key, ttl=100)) < 0.6 * pages(anew)


@pytest.mark.parametrize("moved_bytes", [1, disk_room.MOVED_BYTES])
@pytest.mark.parametrize("seed", range(3))
def test_what_was_stored_first_goes_first_whatever_is_written_again(disk, seed, moved_bytes, monkeypatch):
    monkeypatch.setattr(disk_room, "MOVED_BYTES", moved_bytes)
    choose = random.Random(seed)
    expected: dict[str, int] = {}  # in the order in which they were stored last
    for _ in range(600):
        if choose.random() < 0.1:
            key = f"{choose.randrange(60):02}"
            assert disk.delete(key) is (expected.pop(key, None) is not None)
        batch = {
            f"{choose.randrange(60):02}": choose.choice([100, KIB, 6 * KIB]) for _ in range(choose.choice([1, 1, 20]))
        }
        entries = {key: entry(key, size=size) for key, size in batch.items()}
        disk.put_many(entries)
        for number, (key, one) in enumerate(entries.items(), 1):
            expected.pop(key, None)
            expected[key] = len(envelope.encode(one))
            while number in (STEP, len(entries)) and sum(expected.values()) > disk.max_bytes:
                del expected[next(iter(expected))]
        assert kept(disk) == sorted(expected)
        assert disk.usage() == (len(expected), sum(expected.values()))


def test_clear_leaves_what_replaced_a_row_after_it_began(path):
    def clock():
        if todo:
            put(backend, todo.pop())
        return START

    todo: list[str] = []
    with closing(DiskBackend(path, clock=clock)) as backend:
        put(backend, *(f"{n:03}" for n in range(150)))
        todo = ["149"]
        assert backend.clear() == 149
        assert kept(backend) == ["149"]


def test_expired_rows_are_looked_for_once_a_second(disk, path, clock):
    put(disk, "short", ttl=0.5)
    clock.now += 0.6
    put(disk, "a")
    assert rows(path, "SELECT key FROM entries ORDER BY id") == [(b"short",), (b"a",)]
    assert disk.get("short") is None
    clock.now += 0.5
    put(disk, "a")
    assert rows(path, "SELECT key FROM entries") == [(b"a",)]


def test_a_clock_that_was_set_back_does_not_keep_what_is_expired(disk, path, clock):
    clock.now += 1_000
    put(disk, "a")
    clock.now -= 900
    put(disk, "short", ttl=10)
    put(disk, "a")
    assert rows(path, "SELECT key FROM entries") == [(b"a",)]


def test_what_has_just_expired_goes_before_what_was_stored_first(disk, clock):
    put(disk, "first", size=40 * KIB)
    put(disk, "short", size=40 * KIB, ttl=0.5)
    clock.now += 0.6
    put(disk, "last", size=40 * KIB)
    assert kept(disk) == ["first", "last"]


# Files of version 1


def test_a_file_of_version_1_is_read_and_goes_on_as_one_of_this_release(path, clock):
    entries = {f"{n:03}": entry(f"{n:03}") for n in range(80)}
    made_by_version_1(path, entries.values())
    with closing(DiskBackend(path, max_bytes=100 * KIB, clock=clock)) as backend:
        assert {key: one.payload for key, one in backend.get_many(list(entries)).items()} == {
            key: one.payload for key, one in entries.items()
        }
        put(backend, "000")  # the latest now
        put(backend, "new", size=30 * KIB)
        assert rows(path, "PRAGMA user_version") == [(2,)]
        left = kept(backend)
        assert left[0] == "000"
        assert left[1:-1] == [f"{n:03}" for n in range(80 - len(left) + 2, 80)]
        assert left[-1] == "new"
        totals, sums = counted(path)
        assert totals == sums


def test_a_process_that_opened_a_file_as_version_1_goes_on_with_it(path, clock):
    made_by_version_1(path, [entry(f"{n:03}") for n in range(20)])
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        assert len(old.execute("SELECT key FROM entries").fetchall()) == 20
        with closing(DiskBackend(path, max_bytes=100 * KIB, clock=clock)) as backend:
            for turn in range(30):
                put(backend, f"{turn % 25:03}")
                written = entry(f"{turn % 23:03}")
                write_as_version_1(old, written)
                found = backend.get(written.metadata.key)
                assert found is not None
                assert found.payload == written.payload
                totals, sums = counted(path)
                assert totals == sums
            old.execute("DELETE FROM entries WHERE id <= (SELECT min(id) FROM entries)")
            assert backend.usage() == counted(path)[1][0]


def test_a_locked_file_of_version_1_is_read_and_waited_for_by_writes(path, clock):
    made_by_version_1(path, [entry("k")])
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        closing(DiskBackend(path, clock=clock)) as backend,
    ):
        other.execute("BEGIN IMMEDIATE")
        assert backend.get("k") is not None
        with pytest.raises(BackendTimeout):
            backend.put("k", entry("k"), deadline=time.monotonic() + 0.05)
        other.execute("ROLLBACK")
        put(backend, "k")
        assert rows(path, "PRAGMA user_version") == [(2,)]


def test_reading_leaves_a_file_of_version_1_as_it_is(path, clock):
    made_by_version_1(path, [entry("k")])
    before = path.read_bytes()
    with closing(DiskBackend(path, clock=clock)) as backend:
        assert backend.get("k") is not None
        assert kept(backend) == ["k"]
        assert backend.usage()[0] == 1
    assert path.read_bytes() == before
