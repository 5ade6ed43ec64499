"""A connection to the cache file that outlives what happens to files and processes.

It opens on first use, and again when the file was moved, deleted or found damaged: it heals without a restart.
It is closed before a fork and reopens on both sides, because SQLite's locks belong to a process while its table of
them is copied: a child could otherwise write to a log that its parent has deleted.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import BackendTimeout, BackendUnavailable, CacheClosed, ConfigurationError, TiercacheError
from .schema import Row, identity, open_file, primary_code

SETTLE = 10.0
"""Seconds that a close or a fork waits for the operation of another thread."""

_PAUSE = 0.002  # SQLite's own waits grow to 100 ms, too coarse for a deadline and unfair between two writers
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
FAILURES = (sqlite3.Error, UnicodeDecodeError)
"""What the sqlite3 module raises; the latter where SQLite's message quotes a damaged schema."""
# ERROR and CONSTRAINT: tables are not as they were made. 0: the module, or `value`, found no value of the right type.
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, 0}
_HINTS = {
    sqlite3.SQLITE_FULL: "the disk is full: free space on it or lower max_bytes",
    sqlite3.SQLITE_READONLY: "it cannot be written: make it, its '-wal' and '-shm' files and its directory writable, "
    "or choose another path",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: look at its directory's permissions and at the open-file limit",
}


class Connection:
    """One SQLite connection, used by one thread at a time, made when it is first needed.

    Args:
        path: the absolute path of the file.
        to_write: whether it has transactions, too.
    """

    def __init__(self, path: Path, *, to_write: bool = False) -> None:
        self._path = path
        self._name = str(path)
        self._to_write = to_write
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._closed = False
        self._stranded = False
        with _registry_lock:
            _registry.add(self)

    def query(self, sql: str, parameters: Sequence[object] = (), *, until: float) -> list[Row]:
        """Return all rows of a statement that reads.

        Raises:
            BackendTimeout: the file stayed locked until `until` (monotonic seconds).
            BackendUnavailable: the disk or the file cannot serve for now.
            ConfigurationError: the path cannot be used, or the file is damaged.
            CacheClosed: after `close`.
        """
        if not self._lock.acquire(False):
            self._acquire(until)
        try:
            while True:
                try:
                    db = self._db  # every hit passes here: `_ready` is called only where it has something to do
                    if db is None or self._closed or self._stranded or self._opened != identity(self._name):
                        db = self._ready()
                    return db.execute(sql, parameters).fetchall()
                except FAILURES as error:
                    self._pause_or_raise(error, until)
        finally:
            self._lock.release()

    @contextmanager
    def transaction(self, *, until: float) -> Iterator[sqlite3.Connection]:
        """Write in one transaction: all of the block takes effect or, when it raises, nothing. Raises as `query`."""
        self._acquire(until)
        try:
            db = self._begin(until)
            try:
                yield db
                db.execute("COMMIT")
            except FAILURES as error:
                self._rollback(db)
                raise self._mapped(error) from error
            except BaseException:
                self._rollback(db)
                raise
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the file for good. The last connection of all processes brings the log into the file."""
        self._closed = True
        self.let_go(wait=SETTLE)

    def let_go(self, *, wait: float = 0.0) -> None:
        """Close the file until its next use, unless another thread uses it for longer than `wait` seconds."""
        if self._lock.acquire(timeout=wait):
            try:
                self._drop()
            finally:
                self._lock.release()

    def damaged(self) -> ConfigurationError:
        """Return the error that tells a person what to do with a damaged file."""
        return ConfigurationError(
            f"the cache file {self._path} is damaged: move or delete it together with its '-wal' and '-shm' files, "
            "and an empty one is made (nothing was deleted)"
        )

    def suspend(self) -> bool:
        """Before a fork: keep every thread out and close. False: an operation did not end in time."""
        if not self._lock.acquire(timeout=SETTLE):
            return False
        self._drop()
        return True

    def resume(self, *, suspended: bool, in_child: bool) -> None:
        """After the fork, on both sides of it."""
        if in_child:
            self._lock = threading.Lock()
            self._stranded = self._stranded or not suspended
        elif suspended:
            self._lock.release()

    def _acquire(self, until: float) -> None:
        if self._lock.acquire(blocking=False):
            return
        left = until - time.monotonic()
        if left <= 0 or not self._lock.acquire(timeout=min(left, threading.TIMEOUT_MAX)):
            raise self._timeout()

    def _begin(self, until: float) -> sqlite3.Connection:
        while True:
            try:
                db = self._ready()
                # Where there is no write-ahead log, IMMEDIATE would let COMMIT fail because of a reader.
                db.execute("BEGIN EXCLUSIVE")
                return db
            except FAILURES as error:
                self._pause_or_raise(error, until)

    def _ready(self) -> sqlite3.Connection:
        if self._closed:
            raise CacheClosed("this disk backend")
        if self._stranded:
            raise BackendUnavailable(
                "this process was forked in the middle of a cache operation; start it before the cache is used"
            )
        if self._db is None or self._opened != identity(self._name):
            self._drop()
            with _open_lock:
                self._db, self._opened = open_file(self._path, to_write=self._to_write)
        return self._db

    def _pause_or_raise(self, error: sqlite3.Error | UnicodeDecodeError, until: float) -> None:
        left = until - time.monotonic()
        if primary_code(error) not in _BUSY or left <= 0:
            raise self._mapped(error) from error
        time.sleep(min(_PAUSE, left))

    def _mapped(self, error: sqlite3.Error | UnicodeDecodeError) -> TiercacheError:
        """Map SQLite's errors: the only place. Where the file may be at fault, the next use opens it anew."""
        code = primary_code(error)
        if code in _BUSY:
            return self._timeout()
        if code != sqlite3.SQLITE_FULL:
            self._drop()
        if code in _DAMAGED:
            return self.damaged()
        name = getattr(error, "sqlite_errorname", "an error")
        hint = _HINTS.get(code, f"SQLite reports {name}: look at the disk")
        only_writes = code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY)
        return BackendUnavailable(f"the cache file {self._path} does not serve: {hint}", tier_wide=not only_writes)

    def _timeout(self) -> BackendTimeout:
        return BackendTimeout(
            f"the cache file {self._path} stayed locked; if this repeats, another process holds a long transaction"
        )

    def _rollback(self, db: sqlite3.Connection) -> None:
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
        except sqlite3.Error:  # what broke the transaction is about to be raised; closing rolls back as well
            self._drop()

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


_open_lock = threading.Lock()
_registry_lock = threading.Lock()
_registry: weakref.WeakSet[Connection] = weakref.WeakSet()
_suspended: list[tuple[Connection, bool]] = []


def _before_fork() -> None:
    _registry_lock.acquire()
    _suspended.extend([(connection, connection.suspend()) for connection in _registry])


def _after_fork(*, in_child: bool) -> None:
    global _open_lock
    if in_child:
        _open_lock = threading.Lock()
    while _suspended:
        connection, suspended = _suspended.pop()
        connection.resume(suspended=suspended, in_child=in_child)
    _registry_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(in_child=False),
        after_in_child=lambda: _after_fork(in_child=True),
    )
