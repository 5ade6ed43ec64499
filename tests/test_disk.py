"""The disk backend: what it keeps, what it removes and when, and how much room that takes."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import platformdirs
import pytest

from tiercache import envelope
from tiercache.disk import DiskBackend
from tiercache.disk import schema as disk_schema
from tiercache.disk.batches import STEP
from tiercache.entry import Entry, Metadata
from tiercache.errors import BackendTimeout, ConfigurationError, CorruptEntry, EntryTooLarge, InvalidKey, PartialFailure

START = 1_700_000_000.0
KIB = 1024


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "cache.sqlite3"


@pytest.fixture
def disk(path, clock):
    with closing(DiskBackend(path, max_bytes=100 * KIB, clock=clock)) as backend:
        yield backend


def entry(key, size=KIB, ttl=None, stale_for=None):
    payload = os.urandom(size)
    expires_at = None if ttl is None else START + ttl
    stale_until = None if stale_for is None else expires_at + stale_for
    return Entry(
        payload, Metadata(key=key, created_at=START, expires_at=expires_at, stale_until=stale_until, size=size)
    )


def put(backend, *keys, **options):
    for key in keys:
        assert backend.put(key, entry(key, **options)) is True


def rows(backend, sql, *parameters):
    with closing(sqlite3.connect(backend.path)) as db, db:
        return db.execute(sql, parameters).fetchall()


def kept(backend):
    return [key for key, _ in backend.scan()]


# Where


def test_the_constructor_touches_nothing(path):
    DiskBackend(path)
    assert not path.parent.exists()


def test_without_a_path_the_file_is_in_the_folder_that_the_environment_names(monkeypatch, tmp_path):
    monkeypatch.setenv("TIERCACHE_DIR", str(tmp_path / "elsewhere"))
    with closing(DiskBackend()) as backend:
        put(backend, "k")
        assert backend.path == tmp_path / "elsewhere" / "cache.sqlite3"
        assert backend.path.exists()


def test_without_a_path_and_the_environment_the_file_is_in_the_users_cache_directory(monkeypatch):
    monkeypatch.delenv("TIERCACHE_DIR", raising=False)
    assert DiskBackend().path.parent == Path(platformdirs.user_cache_dir("tiercache", appauthor=False))


def test_a_relative_path_is_that_of_the_moment_of_construction(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    backend = DiskBackend("sub/cache.sqlite3")
    monkeypatch.chdir("/")
    assert backend.path == tmp_path / "sub" / "cache.sqlite3"


@pytest.mark.parametrize("path", ["", ":memory:", "a\0b"])
def test_a_path_that_names_no_file_is_refused(path):
    with pytest.raises(ConfigurationError, match="MemoryBackend"):
        DiskBackend(path)


def test_a_path_of_special_characters_is_taken_as_it_is(tmp_path):
    with closing(DiskBackend(tmp_path / "what? #1 100%41 größe.db")) as backend:
        put(backend, "k")
    assert [file.name for file in tmp_path.iterdir()] == ["what? #1 100%41 größe.db"]


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
def test_only_the_user_can_read_the_files_whatever_the_umask(path):
    before = os.umask(0)
    try:
        with closing(DiskBackend(path)) as backend:
            put(backend, "k")
            modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["cache.sqlite3", "cache.sqlite3-wal", "cache.sqlite3-shm"], 0o600)
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
def test_the_mode_of_a_directory_that_was_there_is_left_alone(tmp_path):
    tmp_path.chmod(0o755)
    with closing(DiskBackend(tmp_path / "cache.sqlite3")) as backend:
        put(backend, "k")
    assert tmp_path.stat().st_mode & 0o777 == 0o755


# Keeping


def test_entries_outlive_the_backend(path):
    with closing(DiskBackend(path)) as backend:
        put(backend, "k")
        stored = backend.get("k")
    with closing(DiskBackend(path)) as backend:
        assert backend.get("k") == stored


def test_close_leaves_one_file_that_holds_everything(path):
    with closing(DiskBackend(path)) as backend:
        put(backend, "k")
    assert [file.name for file in path.parent.iterdir()] == ["cache.sqlite3"]


def test_a_backend_that_is_forgotten_closes_its_file(path):
    backend = DiskBackend(path)
    put(backend, "k")
    del backend
    assert [file.name for file in path.parent.iterdir()] == ["cache.sqlite3"]


def test_the_repr_tells_no_path(disk, path):
    assert repr(disk) == "<DiskBackend>"


def test_keys_are_compared_byte_by_byte_in_a_scan(disk):
    keys = ["a\0b", "a", "a%", "a_", "aB", "ab", "a\U0010ffff", "a\U0010ffff\U0010ffff", "á", "b"]
    put(disk, *keys)
    assert [key for key, _ in disk.scan("a")] == sorted((k for k in keys if k[0] == "a"), key=str.encode)
    assert [key for key, _ in disk.scan("a\U0010ffff")] == ["a\U0010ffff", "a\U0010ffff\U0010ffff"]


@pytest.mark.parametrize("field", ["created_at", "expires_at", "stale_until", "as_of"])
def test_an_entry_whose_times_are_no_numbers_is_refused(disk, field):
    with pytest.raises(CorruptEntry, match="times"):
        disk.put("k", entry("k").with_metadata(**{field: float("nan")}))


@pytest.mark.parametrize("operation", ["get", "delete", "get_many", "scan"])
def test_a_key_that_is_no_unicode_is_refused(disk, operation):
    with pytest.raises(InvalidKey):
        list(getattr(disk, operation)("\ud800") or ())


def test_a_listing_tells_times_and_stored_size(disk):
    put(disk, "k", ttl=60, stale_for=40)
    put(disk, "for ever")
    [(_, for_ever), (_, found)] = disk.scan()
    assert (found.created_at, found.expires_at, found.stale_until) == (START, START + 60, START + 100)
    assert (for_ever.expires_at, for_ever.stale_until) == (None, None)
    assert found.stored_size == disk.get("k").metadata.stored_size


def test_a_page_of_a_scan_begins_with_the_very_next_key(disk):
    keys = [f"{n:03}" for n in range(256)] + ["255\0", "255\0\0", "256"]
    disk.put_many({key: entry(key, size=10) for key in keys})
    assert kept(disk) == keys


def test_a_scan_holds_neither_a_lock_nor_a_snapshot_between_its_pages(disk):
    disk.put_many({f"{n:04}": entry(f"{n:04}", size=10) for n in range(600)})
    found = disk.scan()
    first = next(found)[0]
    put(disk, "9999")
    disk.delete("0599")
    assert rows(disk, "PRAGMA wal_checkpoint(TRUNCATE)") == [(0, 0, 0)]  # not busy: nobody reads the log
    assert [first, *(key for key, _ in found)] == [f"{n:04}" for n in range(599)] + ["9999"]


def test_a_full_scan_yields_a_damaged_entry_as_listed(disk):
    put(disk, "damaged", "good")
    rows(disk, "UPDATE entries SET data = x'00' WHERE key = ?", b"damaged")
    found = dict(disk.scan(full=True))
    assert (found["damaged"].size, found["good"].size) == (0, KIB)


def test_get_many_reads_more_keys_than_a_statement_takes(disk):
    keys = [f"{n:04}" for n in range(1200)]
    disk.put_many({key: entry(key, size=8) for key in keys[:1100]})
    assert sorted(disk.get_many(keys)) == kept(disk) == keys[1100 - len(kept(disk)) : 1100]
    assert disk.delete_many(keys) == 1200
    assert disk.usage() == (0, 0)


@pytest.mark.parametrize("data", ["x'00'", "'text'", "1"])
def test_get_many_names_the_damaged_and_returns_the_others(disk, data):
    put(disk, "damaged", "good")
    rows(disk, f"UPDATE entries SET data = {data} WHERE key = ?", b"damaged")
    with pytest.raises(PartialFailure) as failure:
        disk.get_many(["damaged", "good", "absent"])
    assert list(failure.value.failed) == ["damaged"]
    assert list(failure.value.results) == ["good"]


def test_get_many_keeps_what_arrived_before_its_deadline(disk, monkeypatch):
    keys = [f"{n:04}" for n in range(700)]
    disk.put_many({key: entry(key, size=8) for key in keys})
    seconds = iter([0.0, 2.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    with pytest.raises(PartialFailure) as failure:
        disk.get_many(keys, deadline=1.0)
    assert list(failure.value.results) == keys[:500]
    assert list(failure.value.failed) == keys[500:]
    assert {type(error) for error in failure.value.failed.values()} == {BackendTimeout}


def test_put_many_whose_deadline_passes_stores_nothing(disk, monkeypatch):
    disk.ping()
    seconds = iter([0.0, 0.5, 2.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    with pytest.raises(BackendTimeout):
        disk.put_many({f"{n}": entry(f"{n}") for n in range(STEP + 1)}, deadline=1.0)
    monkeypatch.undo()
    assert disk.usage() == (0, 0)


def test_if_absent_replaces_a_damaged_entry_and_leaves_one_of_a_later_release(disk):
    put(disk, "damaged", "later")
    rows(disk, "UPDATE entries SET data = x'00' WHERE key = ?", b"damaged")
    data = bytearray(envelope.encode(entry("later")))
    data[4] = 9
    rows(disk, "UPDATE entries SET data = ? WHERE key = ?", bytes(data), b"later")
    assert disk.put("damaged", entry("damaged"), if_absent=True) is True
    assert disk.put("later", entry("later"), if_absent=True) is False


# Removing


def test_a_put_removes_what_is_expired_a_hundred_rows_at_a_time(disk, clock):
    disk.put_many({f"{n:03}": entry(f"{n:03}", size=8, ttl=10) for n in range(250)})
    clock.now += 11
    counts = []
    for key in "abc":
        put(disk, key)
        counts.append(disk.usage()[0])
    assert counts == [151, 52, 3]


def test_an_entry_is_kept_until_its_stale_time_is_over(disk, clock):
    put(disk, "k", ttl=10, stale_for=20)
    clock.now += 15
    put(disk, "other")
    assert disk.get("k").metadata.is_stale(clock.now)
    clock.now += 15
    put(disk, "other")
    assert rows(disk, "SELECT key FROM entries") == [(b"other",)]


def test_delete_removes_an_expired_entry_and_says_that_there_was_none(disk, clock):
    put(disk, "k", ttl=10)
    clock.now += 11
    assert disk.delete("k") is False
    assert disk.usage() == (0, 0)


def test_clear_counts_only_what_could_be_read(disk, clock):
    put(disk, "a", "b", ttl=10)
    put(disk, "c")
    clock.now += 11
    assert disk.clear() == 1
    assert disk.usage() == (0, 0)


def test_clear_leaves_what_is_stored_after_it_began(path):
    def clock():
        if todo:
            put(backend, todo.pop())
        return START

    todo = []
    with closing(DiskBackend(path, clock=clock)) as backend:
        put(backend, *(f"{n:03}" for n in range(150)))
        todo = ["new"]
        assert backend.clear() == 150
        assert kept(backend) == ["new"]


def test_usage_is_the_exact_sum_of_the_envelopes(disk):
    put(disk, "a", "b", "c", size=3 * KIB)
    put(disk, "a", size=KIB)
    disk.put_many({"d": entry("d"), "e": entry("e", ttl=100)})
    disk.delete("b")
    assert list(disk.usage()) == list(rows(disk, "SELECT count(*), sum(length(data)) FROM entries")[0])
    assert disk.usage()[0] == 4


def test_backends_on_one_file_share_the_count(disk, path, clock):
    with closing(DiskBackend(path, max_bytes=10 * KIB, clock=clock)) as other:
        put(disk, *"abcdefgh")
        put(other, *"ABCDEFGH")
        assert disk.usage() == other.usage()
        assert kept(disk) == [*"ABCDEFGH", "h"]


def test_what_was_stored_first_goes_first(disk):
    put(disk, *"abcdefghi", size=10 * KIB)
    put(disk, "a", size=10 * KIB)  # stored anew: now the latest
    put(disk, "j", size=10 * KIB)
    assert kept(disk) == list("acdefghij")
    assert disk.usage()[1] <= disk.max_bytes


def test_what_is_expired_goes_before_what_was_stored_first(disk, clock):
    put(disk, "first", size=10 * KIB)
    disk.put_many({f"{n:03}": entry(f"{n:03}", size=128, ttl=10) for n in range(350)})
    clock.now += 11
    put(disk, "last", size=85 * KIB)
    assert kept(disk) == ["first", "last"]


def test_an_entry_that_could_never_fit_is_refused_and_removes_nothing(disk):
    put(disk, "k")
    with pytest.raises(EntryTooLarge):
        disk.put("huge", entry("huge", size=101 * KIB))
    assert kept(disk) == ["k"]


def test_put_many_stores_what_fits_and_names_what_is_too_large(disk):
    with pytest.raises(PartialFailure) as failure:
        disk.put_many({"a": entry("a"), "huge": entry("huge", size=101 * KIB), "b": entry("b")})
    assert {key: type(error) for key, error in failure.value.failed.items()} == {"huge": EntryTooLarge}
    assert kept(disk) == ["a", "b"]


def test_of_a_batch_larger_than_the_cache_the_last_entries_remain(disk):
    disk.put_many({f"{n:02}": entry(f"{n:02}", size=9 * KIB) for n in range(25)})
    assert kept(disk) == [f"{n:02}" for n in range(14, 25)]


def test_a_lower_limit_holds_from_the_next_put_on(disk, path, clock):
    disk.put_many({f"{n:03}": entry(f"{n:03}", size=200) for n in range(300)})
    with closing(DiskBackend(path, max_bytes=10 * KIB, clock=clock)) as smaller:
        put(smaller, "k")
        assert smaller.usage()[1] <= 10 * KIB


def test_a_much_lower_limit_is_reached_step_by_step_where_time_is_short(disk, path, clock):
    disk.put_many({f"{n:03}": entry(f"{n:03}", size=200) for n in range(300)})
    with closing(DiskBackend(path, max_bytes=10 * KIB, clock=clock)) as smaller:
        smaller.ping()
        smaller.timeout = 0.0
        counts = []
        for _ in range(3):
            put(smaller, "k")
            counts.append(smaller.usage()[0])
        assert counts[0] == 201
        assert smaller.usage()[1] <= 10 * KIB


def test_the_file_does_not_grow_with_what_is_written(path, clock):
    limit = 4 * 2**20
    with closing(DiskBackend(path, max_bytes=limit, clock=clock)) as backend:
        for n in range(1000):
            put(backend, f"{n}", size=[500, 4 * KIB, 20 * KIB, 60 * KIB][n % 4])
        entries, size = backend.usage()
        assert 0 < entries < 1000
        assert limit * 0.9 < size <= limit
    assert path.stat().st_size < 1.3 * limit


def test_tiny_entries_take_bounded_room_too(path, clock):
    limit = 2**18
    with closing(DiskBackend(path, max_bytes=limit, clock=clock)) as backend:
        for batch in range(10):
            keys = [f"namespace:{batch}:{n:06}" for n in range(1000)]
            backend.put_many({key: entry(key, size=40) for key in keys})
    assert path.stat().st_size < 4 * limit


def test_clear_gives_the_room_back(path, clock):
    with closing(DiskBackend(path, clock=clock)) as backend:
        backend.put_many({f"{n}": entry(f"{n}", size=20 * KIB) for n in range(200)})
        rows(backend, "PRAGMA wal_checkpoint")
        full = path.stat().st_size
        assert backend.clear() == 200
    assert full > 4 * 2**20
    assert path.stat().st_size < full / 10


def test_a_lower_limit_gives_the_room_back(path, clock):
    with closing(DiskBackend(path, clock=clock)) as backend:
        backend.put_many({f"{n}": entry(f"{n}", size=20 * KIB) for n in range(100)})
    full = path.stat().st_size
    with closing(DiskBackend(path, max_bytes=200 * KIB, clock=clock)) as smaller:
        put(smaller, "k")
    assert full > 2_000_000
    assert path.stat().st_size < 400_000


# Threads and locks


def test_reads_go_on_while_another_process_writes(disk):
    put(disk, "k")
    with closing(sqlite3.connect(disk.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert disk.get("k") is not None


@pytest.mark.parametrize("seconds", [0.05, None], ids=["its deadline", "the timeout"])
def test_a_write_waits_for_another_process_until(disk, seconds):
    put(disk, "k")
    disk.timeout = 0.05
    deadline = None if seconds is None else time.monotonic() + seconds
    with closing(sqlite3.connect(disk.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BackendTimeout, match="locked"):
            disk.put("other", entry("other"), deadline=deadline)
    assert kept(disk) == ["k"]


def test_a_write_succeeds_once_the_other_process_is_done(disk):
    put(disk, "k")
    with closing(sqlite3.connect(disk.path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        done = threading.Timer(0.05, other.execute, ["COMMIT"])
        done.start()
        disk.put("other", entry("other"), deadline=time.monotonic() + 60)
        done.join()
    assert kept(disk) == ["k", "other"]


def test_a_write_waits_for_another_thread_no_longer_than_its_deadline(disk):
    with disk._writer.transaction(until=time.monotonic() + 60), pytest.raises(BackendTimeout):
        disk.put("k", entry("k"), deadline=time.monotonic() + 0.02)


def test_many_backends_make_the_file_together(path, clock):
    start = threading.Barrier(8)
    backends = [DiskBackend(path, clock=clock) for _ in range(8)]

    def first_write(number):
        start.wait(30)
        put(backends[number], f"{number}")

    threads = [threading.Thread(target=first_write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert kept(backends[0]) == list("01234567")
    for backend in backends:
        backend.close()


@pytest.mark.skipif(os.name == "nt", reason="the lock files are those of SQLite on POSIX")
def test_a_file_system_without_shared_memory_is_served_by_the_rollback_journal(path, clock, monkeypatch):
    connect = disk_schema._connect
    monkeypatch.setattr(
        disk_schema, "_connect", lambda path, options: connect(path, options.replace("rw", "rw&vfs=unix-dotfile"))
    )
    with closing(DiskBackend(path, clock=clock)) as one, closing(DiskBackend(path, clock=clock)) as two:
        put(one, "a", "b")
        put(two, "c")
        assert kept(one) == kept(two) == ["a", "b", "c"]
    assert path.read_bytes()[18] == 1  # 2 is the write-ahead log
