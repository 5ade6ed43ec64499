"""`Batches`: many entries of the disk backend at once, and what one entry and many have in common.

A batch that reads is a statement for each 500 keys; one that writes is one transaction, all of which takes effect, or
nothing.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Mapping, Sequence

from ..backend import Backend
from ..entry import Clock, Entry
from ..envelope import Envelope
from ..errors import (
    BackendError,
    BackendTimeout,
    CorruptEntry,
    EntryTooLarge,
    PartialFailure,
    UnknownFormat,
)
from ..keys import check_key
from .connection import Connection
from .room import Room, give_back
from .schema import DELETE, GET, Row, marks

BATCH = 500
"""Keys in one statement."""
STEP = 16
"""Entries of a batch that are written between two looks at the deadline and at how much is kept."""


class Batches(Backend):
    """The operations of `DiskBackend` on many keys."""

    envelope: Envelope
    _reader: Connection
    _writer: Connection
    _room: Room
    _clock: Clock

    @property
    def max_bytes(self) -> int:
        """The bytes of envelopes that are kept at most."""
        return self._room.max_bytes

    def get_many(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Entry]:
        """Return the entries that are there, read in statements of up to 500 keys.

        Raises:
            PartialFailure: rows that hold no intact entry, or keys not reached before the deadline; `results` has
                the others.
        """
        results: dict[str, Entry] = {}
        failed: dict[str, BackendError] = {}
        wanted = {encoded(key): key for key in keys}
        left = list(wanted)
        while left:
            chunk = left[:BATCH]
            try:
                sql = f"SELECT key, data FROM entries WHERE key IN ({marks(chunk)})"  # noqa: S608 - only marks
                rows = self._reader.query(sql, chunk, until=self._until(deadline))
            except BackendError as error:
                if not results and not failed:
                    raise
                failed.update({wanted[raw]: error for raw in left})
                break
            left = left[BATCH:]
            now = self._clock()
            for raw, data in rows:
                if (key := wanted.get(raw)) is None:  # the index leads to the row of another key
                    raise self._reader.damaged()
                try:
                    entry = self._decoded(data, key)
                except CorruptEntry as error:
                    failed[key] = error
                else:
                    if entry.metadata.is_usable(now):
                        results[key] = entry
        if failed:
            raise PartialFailure(failed, results)
        return results

    def put_many(self, entries: Mapping[str, Entry], *, deadline: float | None = None) -> None:
        """Store all the entries in one transaction; of a batch larger than `max_bytes` its last entries remain.

        Raises:
            PartialFailure: some entries are too large; the others are stored.
            BackendTimeout: also when the deadline passes on the way; nothing was stored.
        """
        until = self._until(deadline)
        rows: list[Row] = []
        failed: dict[str, BackendError] = {}
        for key, entry in entries.items():
            try:
                rows.append(self._row(key, entry))
            except BackendError as error:
                failed[key] = error
        with self._writer.transaction(until=until) as db:
            for start in range(0, len(rows), STEP):
                if deadline is not None:
                    self._until(deadline)
                self._room.store(db, rows[start : start + STEP], now=self._clock(), until=until)
        if failed:
            raise PartialFailure(failed)

    def put_many_where(
        self, entries: Mapping[str, Entry], held: Mapping[str, str | None], *, deadline: float | None = None
    ) -> set[str]:
        """Store those entries, in one transaction, under whose keys nothing has changed; return their keys.

        Args:
            entries: what to store.
            held: the `metadata.etag` that each key holds; None: nothing that a `get` would return.
            deadline: as everywhere.

        Raises:
            PartialFailure: some entries are too large; its `results` are the keys of those that are stored.
        """
        until, rows, failed = self._until(deadline), dict[str, Row](), dict[str, BackendError]()
        for key, entry in entries.items():
            try:
                rows[key] = self._row(key, entry)
            except BackendError as error:
                failed[key] = error
        stored: set[str] = set()
        with self._writer.transaction(until=until) as db:
            for key, row in rows.items():
                if self._may_write(db, key, held[key] is None, held[key]):
                    self._room.store(db, (row,), now=self._clock(), until=until)
                    stored.add(key)
        if failed:
            raise PartialFailure(failed, stored)
        return stored

    def delete_many(self, keys: Sequence[str], *, deadline: float | None = None) -> int:
        """Remove the entries in one transaction and return how many of these keys are now absent."""
        wanted = [encoded(key) for key in dict.fromkeys(keys)]
        with self._writer.transaction(until=self._until(deadline)) as db:
            db.executemany(DELETE, [(raw,) for raw in wanted])
            give_back(db)
        return len(wanted)

    def _until(self, deadline: float | None) -> float:
        """Return until when (monotonic) to wait for locks."""
        now = time.monotonic()
        if deadline is None:
            return math.inf if self.timeout is None else now + self.timeout
        if deadline <= now:
            raise BackendTimeout("the deadline passed before the cache file was asked")
        return deadline

    def _row(self, key: str, entry: Entry) -> Row:
        data, metadata = self.envelope.encode(entry), entry.metadata
        if not metadata.has_sane_times():
            raise CorruptEntry("the entry's times are not finite numbers; nothing could read it back")
        if len(data) > self.max_bytes:
            raise EntryTooLarge(f"the entry takes {len(data):,} bytes, this cache keeps {self.max_bytes:,} in all")
        raw = check_key(key).encode()
        return raw, metadata.created_at, metadata.expires_at, metadata.gone_at, len(data), data

    def _usable(self, data: object, key: str) -> Entry | None:
        entry = self._decoded(data, key)
        return entry if entry.metadata.is_usable(self._clock()) else None

    def _decoded(self, data: object, key: str) -> Entry:
        if not isinstance(data, bytes):
            raise CorruptEntry("the row holds no bytes")
        return self.envelope.decode(data, key)

    def _may_write(self, db: sqlite3.Connection, key: str, if_absent: bool, if_match: str | None) -> bool:
        rows = db.execute(GET, (encoded(key),)).fetchall()
        try:
            there = self._usable(rows[0][0], key) if rows else None
        except UnknownFormat:
            return False
        except CorruptEntry:
            there = None
        if there is None:
            return if_match is None
        return not if_absent and there.metadata.etag == if_match


def encoded(key: str) -> bytes:
    """Return a key as the file has it; raises InvalidKey for one that is no text."""
    try:
        return key.encode()
    except UnicodeEncodeError:
        return check_key(key).encode()  # it raises, and says why
