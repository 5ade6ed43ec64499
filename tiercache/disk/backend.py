"""`DiskBackend`: entries in one SQLite file, the persistent tier that needs no server.

One row holds one envelope. The bytes kept are bounded: a write removes expired rows (a bounded number of them) and,
while too much is kept, all that is expired, then what was stored first, in its own transaction. Space that becomes
free is used again, and given back to the file system step by step where it exceeds a quarter of the file. A read
changes nothing: neither a time of access nor a count is written.

Two connections, each with a lock: one reads, one writes. With the write-ahead log a read never waits for a write, a
checkpoint or a writer in another process; one connection a thread would gain little (a read holds its lock for some
microseconds) and would cost an open file and a cache in every thread of every pool.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import SplitResult, unquote

from platformdirs import user_cache_dir

from ..backend import SCAN_PAGE
from ..entry import Clock, Entry, Metadata
from ..envelope import PLAIN, Envelope
from ..errors import (
    ConfigurationError,
    CorruptEntry,
)
from ..units import Size, parse_size
from .batches import Batches, encoded
from .connection import Connection
from .room import Room, give_back
from .schema import CLEARABLE, DELETE, GET, IS_ALIVE, LIST, TOTALS, Row, numbers, value

FILE_NAME = "cache.sqlite3"
_DRIVE = re.compile("/[A-Za-z]:[/\\\\]")  # in disk:///C:/path the first slash only ends the empty host
CLEAR_ROWS = 100
"""Rows that `clear` removes in one transaction."""


class DiskBackend(Batches):
    """Keeps entries in a SQLite file that threads and processes may share.

    The file (mode 0600) and its directory (0700) are made by the first operation, not by the constructor. A fork
    is safe. A file that is not this cache's is refused and never changed; a damaged one is reported and left alone.

    Any operation raises `BackendTimeout` when the file stays locked until its deadline (without one: for `timeout`
    seconds), `BackendUnavailable` when the disk or the file cannot serve (a full disk and a read-only file refuse
    writes and answer reads), and `ConfigurationError` when the path cannot be used: a directory, not writable, another
    application's file, one of a newer release, a damaged one.

    Args:
        path: the file; None: `cache.sqlite3` in the directory that TIERCACHE_DIR names, or else in the user's cache
            directory.
        max_bytes: envelopes kept, in bytes or as text such as `"1GiB"`. The file is some larger: by about 15 % at
            4 KiB an entry, more for tiny ones; its log takes some 16 MiB. After it was lowered, writes remove the
            excess within their deadlines.
        clock: returns Unix seconds; decides what is expired.

    Raises:
        ConfigurationError: `max_bytes` is no size, or `path` names no file.
    """

    scheme: ClassVar[str] = "disk"
    persistent: bool = True
    timeout: float | None = 1.0
    keeps_deadlines = True

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, max_bytes: Size = "1GiB", clock: Clock = time.time
    ) -> None:
        self.path = _absolute(path)
        self._room = Room(parse_size(max_bytes, "max_bytes"))
        self._clock = clock
        self.envelope: Envelope = PLAIN
        self._reader = Connection(self.path)
        self._writer = Connection(self.path, to_write=True)
        for connection in (self._reader, self._writer):
            weakref.finalize(self, connection.let_go)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Return a backend made from environment variables; what is empty counts as not set.

        Args:
            env: read for `TIERCACHE_DISK_PATH`, or `TIERCACHE_DIR` (a directory, for `cache.sqlite3`), and for
                `TIERCACHE_DISK_MAX_BYTES`; None: those of this process.
            options: arguments of the constructor; they come before the variables.

        Raises:
            ConfigurationError: a variable holds something else.
        """
        env = os.environ if env is None else env  # as a default it would stand in help()
        directory = env.get("TIERCACHE_DIR")
        path = env.get("TIERCACHE_DISK_PATH") or (directory and os.path.join(directory, FILE_NAME))
        found: dict[str, Any] = {"path": path, "max_bytes": env.get("TIERCACHE_DISK_MAX_BYTES")}
        return cls(**{name: value for name, value in found.items() if value} | options)

    @classmethod
    def url_arguments(cls, url: SplitResult) -> dict[str, str]:
        """Return the path of `disk:///absolute/path` or `disk://relative/path`; `disk://` alone is the default file."""
        path = unquote(url.netloc + url.path)
        return {"path": path[1:] if _DRIVE.match(path) else path} if path else {}

    def seal_with(self, envelope: Envelope) -> None:
        """Keep entries sealed from now on (see `Sealable`); keys and times stand beside them as they are."""
        self.envelope = envelope

    def get(self, key: str, *, deadline: float | None = None) -> Entry | None:
        """Return the entry, stale ones included; None when it is absent or expired.

        Raises:
            CorruptEntry: the row holds no intact entry of this key; the next put replaces it.
        """
        rows = self._reader.query(GET, (encoded(key),), until=self._until(deadline))
        return self._usable(rows[0][0], key) if rows else None

    def put(
        self,
        key: str,
        entry: Entry,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        deadline: float | None = None,
    ) -> bool:
        """Store the entry and return whether it was written; when it raises, nothing was.

        For `if_absent` an expired or corrupt row is nothing; `if_match` compares with the row inside the transaction.

        Raises:
            EntryTooLarge: its envelope exceeds `max_bytes`, or what an envelope takes.
        """
        until, row = self._until(deadline), self._row(key, entry)
        with self._writer.transaction(until=until) as db:
            if (if_absent or if_match is not None) and not self._may_write(db, key, if_absent, if_match):
                return False
            self._room.store(db, (row,), now=self._clock(), until=until)
        return True

    def delete(self, key: str, *, deadline: float | None = None) -> bool:
        """Remove the entry and return whether there was one (an expired one is removed and counts as none)."""
        now, raw = self._clock(), encoded(key)
        with self._writer.transaction(until=self._until(deadline)) as db:
            rows = db.execute(IS_ALIVE, (now, raw)).fetchall()
            db.execute(DELETE, (raw,))
        return rows == [(1,)]

    def scan(
        self, prefix: str = "", *, full: bool = False, deadline: float | None = None
    ) -> Iterator[tuple[str, Metadata]]:
        """Yield key and metadata of each entry whose key starts with `prefix`, in the byte order of the keys.

        A listing knows times and the stored size; `full=True` reads every entry (a damaged one is yielded as
        listed). Pages of 256 are read one by one: nothing is locked in between, and what is written meanwhile may
        or may not appear.
        """
        start, end = _bounds(prefix)
        while rows := self._reader.query(LIST, (start, end, SCAN_PAGE), until=self._until(deadline)):
            for listed in map(self._listed, rows):
                metadata = self._described(listed, deadline) if full and listed else listed
                if metadata is not None:
                    yield metadata.key, metadata
            start = rows[-1][0] + b"\0"

    def ping(self, *, deadline: float | None = None) -> None:
        """Return when the file can be read; it is made if there is none."""
        self.usage(deadline=deadline)

    def usage(self, *, deadline: float | None = None) -> tuple[int, int]:
        """Return the number of entries in the file and the bytes of their envelopes, expired ones included.

        Both are kept in one row: the price does not depend on the size of the cache.
        """
        rows = self._reader.query(TOTALS, until=self._until(deadline))
        try:
            entries, size = numbers(rows)
        except sqlite3.DatabaseError:
            raise self._reader.damaged() from None
        return entries, size

    def clear(self, prefix: str = "", *, deadline: float | None = None) -> int:
        """Delete what starts with `prefix` and was there when it began; return how many entries that were.

        It takes transactions of 100 rows: other writers get their turn, and a `BackendTimeout` keeps what was done.
        """
        with self._writer.transaction(until=self._until(deadline)) as db:
            newest = value(db, "SELECT writes FROM totals")
        alive, removed = 0, CLEAR_ROWS
        while removed == CLEAR_ROWS:
            parameters = (self._clock(), *_bounds(prefix), newest, newest, CLEAR_ROWS)
            with self._writer.transaction(until=self._until(deadline)) as db:
                rows = db.execute(CLEARABLE, parameters).fetchall()
                removed = db.executemany("DELETE FROM entries WHERE id = ?", [row[:1] for row in rows]).rowcount
                give_back(db)
            alive += sum(is_alive for _, is_alive in rows)
        return alive

    def close(self) -> None:
        """Close the file; the last process to do so brings the write-ahead log into it. May be called again."""
        super().close()
        self._reader.close()
        self._writer.close()

    def _listed(self, row: Row) -> Metadata | None:
        """Return what a row tells without its envelope; None when it is expired."""
        raw, created_at, expires_at, gone_at, size = row
        stale_until = None if gone_at == expires_at else gone_at
        try:
            listed = Metadata(
                key=raw.decode(),
                created_at=created_at,
                expires_at=expires_at,
                stale_until=stale_until,
                stored_size=size,
            )
            return listed if listed.is_usable(self._clock()) else None
        except (AttributeError, TypeError, UnicodeDecodeError):
            raise self._reader.damaged() from None

    def _described(self, listed: Metadata, deadline: float | None) -> Metadata | None:
        try:
            return self.head(listed.key, deadline=deadline)
        except CorruptEntry:  # a scan tells what is there, so that it can be removed
            return listed


def _absolute(path: str | os.PathLike[str] | None) -> Path:
    if path is None:
        path = Path(os.environ.get("TIERCACHE_DIR") or user_cache_dir("tiercache", appauthor=False), FILE_NAME)
    name = os.fspath(path)
    if not name or "\0" in name or name == ":memory:":
        raise ConfigurationError("path must name a file; for a cache in memory use MemoryBackend")
    return Path(os.path.abspath(os.path.expanduser(name)))  # a later change of directory must not move it


def _bounds(prefix: str) -> tuple[bytes, bytes]:
    """Return the first key of a prefix and the first one after it, in byte order (UTF-8 has no byte 0xFF)."""
    start = encoded(prefix) if prefix else b""
    return start, start[:-1] + bytes([start[-1] + 1]) if start else b"\xff"
