"""The SQLite file behind `DiskBackend`: whose it is, its tables, and the statements that change them.

A file is used only if it is new or carries our `application_id`; any other is refused before a byte of it, or a
lock, a journal or a log beside it, has changed.

    entries   one envelope a row. Writes are numbered: `id` is the number of the write that made the row, `replaced` of
              the last one that put another envelope in its place (0: none did), so that the row can stay where it is
    totals    one row, kept by triggers inside each transaction: every process sees the exact count at no cost, and
              `writes`, the number of the last write
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from ..errors import BackendUnavailable, ConfigurationError

APPLICATION_ID = 0x54494552
"""`TIER`, in the file's header: what `file` and every SQLite tool show of it."""
VERSION = 2

GET = "SELECT data FROM entries WHERE key = ?"
LIST = """SELECT key, created_at, expires_at, gone_at, size FROM entries
    WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"""
DELETE = "DELETE FROM entries WHERE key = ?"
IS_ALIVE = "SELECT gone_at IS NULL OR gone_at > ? FROM entries WHERE key = ?"
CLEARABLE = """SELECT id, gone_at IS NULL OR gone_at > ? FROM entries
    WHERE key >= ? AND key < ? AND id <= ? AND replaced <= ? LIMIT ?"""
TOTALS = "SELECT entries, bytes FROM totals"

_COUNTING = (
    """CREATE TRIGGER entry_stored AFTER INSERT ON entries
        BEGIN UPDATE totals SET entries = entries + 1, bytes = bytes + new.size, writes = max(writes, new.id); END""",
    """CREATE TRIGGER entry_replaced AFTER UPDATE OF data ON entries
        BEGIN UPDATE totals SET bytes = bytes - old.size + new.size, writes = max(writes, new.replaced); END""",
)
_SCHEMA = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
    # Keys are UTF-8 bytes: compared byte by byte, NUL included. The payload is last, so that listings never read it.
    """CREATE TABLE entries (
        id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, created_at REAL NOT NULL, expires_at REAL, gone_at REAL,
        size INTEGER NOT NULL, replaced INTEGER NOT NULL DEFAULT 0, data BLOB NOT NULL)""",
    "CREATE INDEX entries_gone_at ON entries (gone_at) WHERE gone_at IS NOT NULL",
    "CREATE TABLE totals (entries INTEGER NOT NULL, bytes INTEGER NOT NULL, writes INTEGER NOT NULL DEFAULT 0)",
    "INSERT INTO totals VALUES (0, 0, 0)",
    """CREATE TRIGGER entry_removed AFTER DELETE ON entries
        BEGIN UPDATE totals SET entries = entries - 1, bytes = bytes - old.size; END""",
    *_COUNTING,
)
# Of files that version 1 made. Whoever has one open at that moment goes on as before: its statements still hold, and
# the triggers number its writes.
_FROM_1_TO_2 = (
    "ALTER TABLE entries ADD COLUMN replaced INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE totals ADD COLUMN writes INTEGER NOT NULL DEFAULT 0",
    "UPDATE totals SET writes = (SELECT coalesce(max(id), 0) FROM entries)",
    "DROP TRIGGER entry_stored",
    *_COUNTING,
    f"PRAGMA user_version = {VERSION}",
)
_SETTINGS = (
    "PRAGMA synchronous = NORMAL",  # a power cut may cost the last writes, never the file
    "PRAGMA temp_store = MEMORY",  # nothing that was cached reaches a temporary file outside our directory
    "PRAGMA secure_delete = FAST",  # what is deleted is overwritten, but for free pages that wait for their next use
    # A checkpoint waits for the disk three times: four times as rare as by default, it also copies a page only once
    # that many writes have changed. The log stays below 16 MiB, which is what its index finds in one step.
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA journal_size_limit = 16777216",
    "PRAGMA trusted_schema = OFF",
)
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM}

Row = tuple[Any, ...]


def open_file(path: Path, *, to_write: bool) -> tuple[sqlite3.Connection, tuple[int, int] | None]:
    """Return a connection to the file, made if there is none, and what `identity` says of it.

    One that is to write brings a file of version 1 to this one; what only reads finds everything in either.

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
        _prepare(db, path, to_write)
    except OSError as error:
        db.close()
        _raise_unusable(path, error)
    except BaseException:
        db.close()
        raise
    return db, opened


def identity(path: str | Path) -> tuple[int, int] | None:
    """Return device and inode: whether the path still leads to the file that was opened. None: to no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


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


def _prepare(db: sqlite3.Connection, path: Path, to_write: bool) -> None:
    if value(db, "PRAGMA user_version") == 0:
        _create(db, path)
    if to_write and value(db, "PRAGMA user_version") < VERSION:
        _upgrade(db)
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


def _upgrade(db: sqlite3.Connection) -> None:
    db.execute("BEGIN EXCLUSIVE")
    if value(db, "PRAGMA user_version") < VERSION:  # else another process was faster
        for statement in _FROM_1_TO_2:
            db.execute(statement)
    db.execute("COMMIT")
