"""The SQLite file behind `DiskBackend`: whose it is, its tables, and the statements that change them.

A file is used only if it is new or carries our `application_id`; any other is refused before a byte of it, or a
lock, a journal or a log beside it, has changed.

    entries   one envelope a row; `id` rises with every write, so the smallest id was stored first
    totals    one row, kept by triggers inside each transaction: every process sees the exact count at no cost
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from ..errors import BackendUnavailable, ConfigurationError

APPLICATION_ID = 0x54494552
"""`TIER`, in the file's header: what `file` and every SQLite tool show of it."""
VERSION = 1
SWEEP_ROWS = 100
"""Expired rows that one write removes at most (more only while too many bytes are kept)."""
VACUUM_PAGES = 1000
"""Free pages (of 4 KiB) that one write gives back to the file system at most; they cost about 10 ms."""

GET = "SELECT data FROM entries WHERE key = ?"
LIST = """SELECT key, created_at, expires_at, gone_at, size FROM entries
    WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"""
DELETE = "DELETE FROM entries WHERE key = ?"
IS_ALIVE = "SELECT gone_at IS NULL OR gone_at > ? FROM entries WHERE key = ?"
CLEARABLE = """SELECT id, gone_at IS NULL OR gone_at > ? FROM entries
    WHERE key >= ? AND key < ? AND id <= ? LIMIT ?"""
TOTALS = "SELECT entries, bytes FROM totals"
_INSERT = "INSERT INTO entries (key, created_at, expires_at, gone_at, size, data) VALUES (?, ?, ?, ?, ?, ?)"
_SWEEP = "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE gone_at <= ? ORDER BY gone_at LIMIT ?)"
_OLDEST = "SELECT id, size FROM entries ORDER BY id LIMIT ?"

_SCHEMA = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
    # Keys are UTF-8 bytes: compared byte by byte, NUL included. The payload is last, so that listings never read it.
    """CREATE TABLE entries (
        id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, created_at REAL NOT NULL, expires_at REAL, gone_at REAL,
        size INTEGER NOT NULL, data BLOB NOT NULL)""",
    "CREATE INDEX entries_gone_at ON entries (gone_at) WHERE gone_at IS NOT NULL",
    "CREATE TABLE totals (entries INTEGER NOT NULL, bytes INTEGER NOT NULL)",
    "INSERT INTO totals VALUES (0, 0)",
    """CREATE TRIGGER entry_stored AFTER INSERT ON entries
        BEGIN UPDATE totals SET entries = entries + 1, bytes = bytes + new.size; END""",
    """CREATE TRIGGER entry_removed AFTER DELETE ON entries
        BEGIN UPDATE totals SET entries = entries - 1, bytes = bytes - old.size; END""",
)
_SETTINGS = (
    "PRAGMA synchronous = NORMAL",  # a power cut may cost the last writes, never the file
    "PRAGMA temp_store = MEMORY",  # nothing that was cached reaches a temporary file outside our directory
    "PRAGMA secure_delete = FAST",  # what is deleted is overwritten, but for free pages that wait for their next use
    "PRAGMA journal_size_limit = 8388608",
    "PRAGMA trusted_schema = OFF",
)
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM}

Row = tuple[Any, ...]


def open_file(path: Path) -> tuple[sqlite3.Connection, tuple[int, int] | None]:
    """Return a connection to the file, made if there is none, and what `identity` says of it.

    One thread of the process at a time: closing a file takes away all locks that the process holds on it.

    Raises:
        ConfigurationError: the path cannot be used, or holds something that is not this cache.
        BackendUnavailable: the file cannot be made for now.
        sqlite3.Error: SQLite cannot open or prepare it.
    """
    try:
        _make_file(path)
        found = path.stat()
    except OSError as error:
        _raise_unusable(path, error)
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(f"{path} is not a file: give the cache the path of a file, such as cache.sqlite3")
    if found.st_size > 0:
        _refuse_foreign(path)
    opened = identity(path)
    db = _connect(path, "mode=rw")
    try:
        _prepare(db, path)
    except OSError as error:
        db.close()
        _raise_unusable(path, error)
    except BaseException:
        db.close()
        raise
    return db, opened


def identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode: whether the path still leads to the file that was opened. None: to no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def store(db: sqlite3.Connection, row: Row, *, now: float, max_bytes: int, until: float) -> None:
    """Write a row in the place of any with its key, inside a transaction, and keep to `max_bytes`.

    Expired rows go first, then those stored first. When `until` (monotonic) passes, the rest is left to the next
    write: only a limit that was lowered by much takes that long.

    Args:
        db: a connection in a transaction.
        row: key, created_at, expires_at, gone_at, size, data.
        now: Unix seconds.
        max_bytes: the sum of all sizes that is kept.
        until: when to stop removing.
    """
    db.execute(DELETE, row[:1])
    db.execute(_INSERT, row)
    removed = total = _sweep(db, now)
    evicting = False
    while (excess := value(db, "SELECT bytes FROM totals") - max_bytes) > 0:
        evicting = evicting or removed < SWEEP_ROWS
        removed = _evict(db, excess) if evicting else _sweep(db, now)
        total += removed
        if (evicting and not removed) or time.monotonic() >= until:
            break
    if total:
        give_back(db)


def _sweep(db: sqlite3.Connection, now: float) -> int:
    return db.execute(_SWEEP, (now, SWEEP_ROWS)).rowcount


def _evict(db: sqlite3.Connection, excess: int) -> int:
    """Remove the rows that were stored first, as many as the excess asks for, at most 100."""
    last = 0
    for row in db.execute(_OLDEST, (SWEEP_ROWS,)).fetchall():
        last, size = numbers([row])
        excess -= size
        if excess <= 0:
            break
    return db.execute("DELETE FROM entries WHERE id <= ?", (last,)).rowcount


def give_back(db: sqlite3.Connection) -> None:
    """Shorten the file by some of its free pages if they exceed a quarter of it."""
    free = value(db, "PRAGMA freelist_count")
    used = value(db, "PRAGMA page_count") - free
    for _ in range(min(free - used // 3, VACUUM_PAGES)):
        db.execute("PRAGMA incremental_vacuum(1)")  # Python steps it once: one execution, one page


def value(db: sqlite3.Connection, sql: str) -> int:
    """Return the number that a statement yields; sqlite3.DatabaseError where a damaged file yields something else."""
    [number] = numbers(db.execute(sql).fetchall())
    return int(number)


def numbers(rows: list[Row]) -> Row:
    """Return the only row, of integers; sqlite3.DatabaseError where a damaged file yields something else."""
    if len(rows) != 1 or not all(isinstance(number, int) for number in rows[0]):
        raise sqlite3.DatabaseError("not one row of integers")
    return rows[0]


def marks(values: Sequence[Any]) -> str:
    """Return as many parameter marks as there are values."""
    return ",".join("?" * len(values))


def primary_code(error: Exception) -> int:
    """Return SQLite's primary result code; 0 where the module itself raised."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _make_file(path: Path) -> None:
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Private from its first moment, whatever the umask; SQLite gives its log and its index the same mode.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _raise_unusable(path: Path, error: OSError) -> NoReturn:
    if error.errno in _PASSING:
        raise BackendUnavailable(f"the cache file {path} cannot be made for now: {error.strerror}") from error
    raise ConfigurationError(
        f"the cache cannot be kept at {path}: {error.strerror}; choose a path in a directory that this user can "
        "write to, or set TIERCACHE_DIR to such a directory"
    ) from error


def _refuse_foreign(path: Path) -> None:
    """Look at the header alone: `immutable` opens neither log nor lock, so that not even a trace is left."""
    try:
        db = _connect(path, "mode=ro&immutable=1")
        try:
            # Another process may be copying its log into the file, whose size then lags behind its header. This
            # switch makes SQLite accept that; on a read-only connection it allows nothing else.
            db.execute("PRAGMA writable_schema = ON")
            application_id = value(db, "PRAGMA application_id")
        finally:
            db.close()
    except sqlite3.Error as error:
        if primary_code(error) == sqlite3.SQLITE_CANTOPEN and not os.access(path, os.R_OK):
            _raise_unusable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
        if primary_code(error) == sqlite3.SQLITE_NOTADB:
            raise ConfigurationError(
                f"{path} is not a database: choose another path for the cache or, if this was its file, move or "
                "delete it (nothing was changed)"
            ) from error
        raise
    if application_id != APPLICATION_ID:
        raise ConfigurationError(
            f"{path} is the database of another application: choose another path for the cache (nothing was changed)"
        )


def _connect(path: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.as_uri()}?{options}", uri=True, timeout=0, isolation_level=None, check_same_thread=False
    )


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    if value(db, "PRAGMA user_version") == 0:
        _create(db, path)
    if value(db, "PRAGMA user_version") > VERSION:
        raise ConfigurationError(
            f"{path} was made by a newer release of tiercache: use that release, or choose another path"
        )
    try:
        db.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as error:
        # Network file systems lack the shared memory that the log needs: the rollback journal serves, more slowly.
        if primary_code(error) == sqlite3.SQLITE_BUSY:
            raise
    for setting in _SETTINGS:
        db.execute(setting)


def _create(db: sqlite3.Connection, path: Path) -> None:
    db.execute("BEGIN")
    # It makes the first page, which must not be seen without our mark: so this too belongs to the transaction.
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    if value(db, "PRAGMA user_version") == 0:  # else another process was faster
        # Left by a file that was deleted alone: whoever still has that one open must share nothing with this one,
        # which nobody can have taken to write-ahead logging yet.
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        for statement in _SCHEMA:
            db.execute(statement)
    db.execute("COMMIT")
