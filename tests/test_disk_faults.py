"""The disk backend on bad ground: foreign, damaged, vanished and unwritable files, a full disk."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.disk_version_1 import made_by_version_1
from tiercache.disk import DiskBackend
from tiercache.disk import schema as disk_schema
from tiercache.entry import Entry, Metadata
from tiercache.errors import BackendUnavailable, ConfigurationError, TiercacheError

posix = pytest.mark.skipif(os.name == "nt", reason="files and users as POSIX has them")


def entry(key, payload=b"payload"):
    return Entry(payload, Metadata(key=key, created_at=time.time(), size=len(payload)))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache.sqlite3"


@pytest.fixture
def filled(path):
    """The path of a closed cache of 200 entries in about 50 pages."""
    with closing(DiskBackend(path)) as backend:
        backend.put_many({f"{n:03}": entry(f"{n:03}", b"%03d" % n * 300) for n in range(200)})
    return path


def sql(path, *statements):
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement)


def folder(path):
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.parent.iterdir()}


def refused(path, match):
    """Expect that reads and writes are refused by an error that names the file, and that nothing changed."""
    before = folder(path)
    with closing(DiskBackend(path)) as backend:
        for operation in (lambda: backend.get("k"), lambda: backend.put("k", entry("k")), backend.ping):
            with pytest.raises(ConfigurationError, match=match) as error:
                operation()
            assert str(path) in str(error.value)
    assert folder(path) == before


# Files that are not ours


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_the_database_of_another_application_is_refused_and_not_changed(path, mode):
    sql(path, f"PRAGMA journal_mode = {mode}", "CREATE TABLE theirs (a)", "INSERT INTO theirs VALUES (1)")
    refused(path, "another application.*choose another path")


def test_a_database_that_another_application_has_open_is_refused_and_not_changed(path):
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("PRAGMA journal_mode = WAL")
        theirs.execute("CREATE TABLE theirs (a)")
        theirs.commit()
        refused(path, "another application")


@pytest.mark.parametrize("content", [b"hello", b"some text\n" * 1000], ids=["short", "long"])
def test_a_file_that_is_no_database_is_refused_and_not_changed(path, content):
    path.write_bytes(content)
    refused(path, "not a database.*choose another path")


def test_a_file_of_a_newer_release_is_refused(filled):
    sql(filled, f"PRAGMA user_version = {disk_schema.VERSION + 1}")
    with closing(DiskBackend(filled)) as backend, pytest.raises(ConfigurationError, match="newer release"):
        backend.get("000")


def test_a_file_into_which_its_log_is_being_copied_is_ours(path, tmp_path):
    with closing(DiskBackend(path)) as backend:
        backend.put_many({f"{n}": entry(f"{n}", os.urandom(3000)) for n in range(20)})
        before, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    halfway = tmp_path / "halfway.sqlite3"
    halfway.write_bytes(path.read_bytes()[:4096] + before[4096:])  # its header speaks of pages still to come
    Path(f"{halfway}-wal").write_bytes(log)
    with closing(DiskBackend(halfway)) as backend:
        assert len(backend.get_many([f"{n}" for n in range(20)])) == 20


def test_an_empty_file_becomes_a_cache(path):
    path.touch()
    with closing(DiskBackend(path)) as backend:
        backend.put("k", entry("k"))
        assert backend.get("k") is not None


def test_a_directory_is_refused(tmp_path):
    with closing(DiskBackend(tmp_path)) as backend, pytest.raises(ConfigurationError, match="path of a file"):
        backend.get("k")


def test_a_path_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    backend = DiskBackend(tmp_path / "file" / "cache.sqlite3")
    with pytest.raises(ConfigurationError, match="TIERCACHE_DIR"):
        backend.get("k")


@posix
def test_a_pipe_is_refused_and_nothing_waits_for_its_other_end(path):
    os.mkfifo(path)
    with closing(DiskBackend(path)) as backend, pytest.raises(ConfigurationError, match="path of a file"):
        backend.get("k")


# Permissions


@pytest.fixture
def unprivileged():
    """A new directory of a user whom permissions bind (root is bound by none)."""
    root = os.geteuid() == 0
    if root:
        os.setresuid(65534, 65534, 0)
    directory = Path(tempfile.mkdtemp())
    try:
        yield directory
    finally:
        if root:
            os.setresuid(0, 0, 0)
        shutil.rmtree(directory)


@posix
def test_a_directory_that_cannot_be_written_is_refused(unprivileged):
    unprivileged.chmod(0o500)
    backend = DiskBackend(unprivileged / "cache.sqlite3")
    with pytest.raises(ConfigurationError, match=r"Permission denied.*TIERCACHE_DIR"):
        backend.get("k")


@posix
def test_a_file_that_cannot_be_read_is_refused(unprivileged):
    path = unprivileged / "cache.sqlite3"
    with closing(DiskBackend(path)) as backend:
        backend.put("k", entry("k"))
    path.chmod(0)
    with closing(DiskBackend(path)) as backend, pytest.raises(ConfigurationError, match="Permission denied"):
        backend.get("k")


@posix
def test_a_read_only_file_serves_reads_and_refuses_writes_until_it_can_be_written(unprivileged):
    path = unprivileged / "cache.sqlite3"
    with closing(DiskBackend(path)) as backend:
        backend.put("k", entry("k"))
    serves_reads_only(path)


@posix
def test_a_read_only_file_of_version_1_does_so_too(unprivileged):
    path = unprivileged / "cache.sqlite3"
    made_by_version_1(path, [entry("k")])
    serves_reads_only(path)


def serves_reads_only(path):
    path.chmod(0o400)
    with closing(DiskBackend(path)) as backend:
        assert backend.get("k") is not None
        with pytest.raises(BackendUnavailable, match="cannot be written"):
            backend.put("other", entry("other"))
        assert backend.get("k") is not None
        for file in path.parent.iterdir():
            file.chmod(0o600)
        assert backend.put("other", entry("other")) is True


@posix
def test_a_directory_that_turned_read_only_refuses_and_heals(unprivileged):
    path = unprivileged / "cache.sqlite3"
    with closing(DiskBackend(path)) as backend:
        backend.put("k", entry("k"))
    unprivileged.chmod(0o500)
    with closing(DiskBackend(path)) as backend:
        with pytest.raises(BackendUnavailable, match="directory writable"):
            backend.put("other", entry("other"))
        unprivileged.chmod(0o700)
        assert backend.put("other", entry("other")) is True


# A full disk


@contextmanager
def file_size_limit(size):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@posix
def test_where_the_disk_takes_no_more_writes_fail_whole_and_reads_go_on(path):
    with closing(DiskBackend(path)) as backend:
        backend.put("k", entry("k"))
        with file_size_limit(200_000):
            with pytest.raises(BackendUnavailable, match="look at the disk"):
                backend.put_many({f"{n}": entry(f"{n}", os.urandom(50_000)) for n in range(20)})
            assert backend.get("k") is not None
            assert backend.usage()[0] == 1
        assert backend.put("other", entry("other", os.urandom(500_000))) is True


def test_a_full_disk_is_named_as_such(path, monkeypatch):
    monkeypatch.setattr(disk_schema, "_SETTINGS", (*disk_schema._SETTINGS, "PRAGMA max_page_count = 20"))
    with closing(DiskBackend(path)) as backend:
        backend.put("k", entry("k"))
        with pytest.raises(BackendUnavailable, match=r"disk is full.*lower max_bytes"):
            backend.put("huge", entry("huge", os.urandom(100_000)))
        assert backend.get("k") is not None
        assert backend.put("other", entry("other")) is True


# Damage


def test_a_damaged_file_says_what_to_do_and_heals_once_it_was_moved(filled):
    content = bytearray(filled.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    filled.write_bytes(content)
    with closing(DiskBackend(filled)) as backend:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=r"damaged: move or delete it.*'-wal' and '-shm'") as error:
                backend.get("000")
            assert str(filled) in str(error.value)
        assert filled.read_bytes() == content
        for file in list(filled.parent.iterdir()):
            file.unlink()
        assert backend.get("000") is None
        assert backend.put("000", entry("000")) is True


def test_a_truncated_file_says_what_to_do(filled):
    os.truncate(filled, filled.stat().st_size // 2)
    with closing(DiskBackend(filled)) as backend, pytest.raises(ConfigurationError, match="damaged"):
        backend.get_many([f"{n:03}" for n in range(200)])


def test_a_file_whose_tables_are_gone_says_what_to_do(filled):
    sql(filled, "DROP TABLE entries")
    with closing(DiskBackend(filled)) as backend:
        for operation in (
            lambda: backend.get("000"),
            lambda: backend.put("k", entry("k")),
            lambda: list(backend.scan()),
        ):
            with pytest.raises(ConfigurationError, match="damaged"):
                operation()


def test_a_schema_that_is_no_text_says_what_to_do(filled):
    sql(filled, "PRAGMA writable_schema = ON", "UPDATE sqlite_master SET name = CAST(x'80' AS TEXT), sql = 'CREATE'")
    with closing(DiskBackend(filled)) as backend, pytest.raises(ConfigurationError, match="damaged"):
        backend.get("000")


@pytest.mark.parametrize("damage", [b"noodle", b"n\x80odle"], ids=["text", "no text"])
@pytest.mark.parametrize("place", range(3), ids=["first", "second", "third"])
def test_a_key_that_is_damaged_in_one_of_its_places_leads_to_no_other_entry(filled, place, damage):
    with closing(DiskBackend(filled)) as backend:
        backend.put("needle", entry("needle"))
    *parts, last = filled.read_bytes().split(b"needle")
    assert len(parts) == 3  # the row, its envelope, the index
    words = [damage if number == place else b"needle" for number in range(3)]
    filled.write_bytes(b"".join(part + word for part, word in zip(parts, words, strict=True)) + last)
    keys = [*(f"{n:03}" for n in range(200)), "needle", "noodle"]
    with closing(DiskBackend(filled)) as backend:
        for key in keys[-2:]:
            with suppress(TiercacheError):
                assert backend.get(key) is None or key == "needle"
        with suppress(TiercacheError):
            assert all(found.metadata.key == key for key, found in backend.get_many(keys).items())
        with suppress(TiercacheError):
            assert {key for key, _ in backend.scan()} <= {*keys}


@pytest.mark.parametrize("change", ["DELETE FROM totals", "UPDATE totals SET bytes = 0.5, entries = 0.5"])
def test_a_lost_count_says_what_to_do(filled, change):
    sql(filled, change)
    with closing(DiskBackend(filled)) as backend:
        for operation in (backend.usage, lambda: backend.put("k", entry("k"))):
            with pytest.raises(ConfigurationError, match="damaged"):
                operation()


def test_a_count_that_is_too_high_ends_no_write_in_an_endless_loop(filled):
    sql(filled, "UPDATE totals SET bytes = bytes + 1000000000000")
    with closing(DiskBackend(filled)) as backend:
        backend.timeout = None
        assert backend.put("k", entry("k")) is True


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_damaged_no_wrong_value_is_read_and_no_other_error_raised(filled, seed):
    dice = random.Random(seed)
    content = bytearray(filled.read_bytes())
    page = dice.randrange(len(content) // 4096) * 4096
    for _ in range(dice.choice([1, 5, 100])):
        content[(page + dice.randrange(4096)) if seed % 3 else dice.randrange(len(content))] = dice.randrange(256)
    filled.write_bytes(content)
    backend = DiskBackend(filled, max_bytes=150_000)
    answers = []

    def read():
        answers.extend(filter(None, (backend.get(f"{n:03}") for n in range(0, 200, 7))))
        answers.extend(backend.get_many([f"{n:03}" for n in range(200)]).values())

    operations = (
        read,
        lambda: list(backend.scan()),
        lambda: list(backend.scan("1", full=True)),
        backend.usage,
        lambda: backend.put_many({f"n{n}": entry(f"n{n}", os.urandom(3000)) for n in range(60)}),
        lambda: backend.put("005", entry("005"), if_absent=True),
        lambda: backend.delete("006"),
        lambda: backend.clear("0"),
        backend.close,
    )
    for operation in operations:
        with suppress(TiercacheError):
            operation()
    assert all(found.payload == found.metadata.key.encode() * 300 for found in answers)


# Files that vanish


@posix
def test_a_file_that_was_deleted_is_an_empty_cache_at_once(path):
    with closing(DiskBackend(path)) as backend:
        backend.put("k", entry("k"))
        for file in list(path.parent.iterdir()):
            file.unlink()
        assert backend.get("k") is None
        assert backend.put("other", entry("other")) is True
        assert backend.usage()[0] == 1
    with closing(DiskBackend(path)) as backend:
        assert backend.get("other") is not None


@posix
def test_a_file_that_was_deleted_alone_leaves_nothing_of_its_log_behind(path):
    with closing(DiskBackend(path)) as backend:
        backend.put("k", entry("k"))
        assert backend.get("k") is not None  # both connections are open
        shared_memory = os.stat(f"{path}-shm").st_ino
        path.unlink()
        assert backend.put("other", entry("other")) is True
        assert os.stat(f"{path}-shm").st_ino != shared_memory
        assert backend.get("k") is None
        assert [key for key, _ in backend.scan()] == ["other"]


@posix
def test_a_file_that_was_put_in_the_place_of_the_open_one_is_used(path, tmp_path):
    with closing(DiskBackend(tmp_path / "new.sqlite3")) as new:
        new.put("new", entry("new"))
    with closing(DiskBackend(path)) as backend:
        backend.put("old", entry("old"))
        os.replace(tmp_path / "new.sqlite3", path)
        for suffix in ("-wal", "-shm"):
            os.unlink(f"{path}{suffix}")
        assert (backend.get("old"), backend.get("new") is not None) == (None, True)
