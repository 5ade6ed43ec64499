"""What a write does to the tables: its row is stored, and what is too much or too old is removed.

A row whose key is there already is replaced where it stands: in the middle of the file that changes half the pages of a
row that is deleted and made anew at its end. What was stored first still goes first: a row that was replaced moves to
where it belongs when its turn to go seems to have come.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterable

from .schema import Row, numbers, value

SWEEP_ROWS = 100
"""Expired rows that one write removes at most (more only while too many bytes are kept)."""
SWEEP_EVERY = 1.0
"""Seconds between two looks for expired rows, unless there were more than one write removes."""
STEP_ROWS = 100
"""Rows that one step of eviction removes or moves at most."""
VACUUM_PAGES = 1000
"""Free pages (of 4 KiB) that one write gives back to the file system at most; they cost about 10 ms."""
MOVED_BYTES = 2**20
"""After so many bytes of rows that moved to their places a step ends."""

_STORE = """INSERT INTO entries (id, key, created_at, expires_at, gone_at, size, data)
    VALUES ((SELECT writes + 1 FROM totals), ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET replaced = excluded.id, created_at = excluded.created_at,
    expires_at = excluded.expires_at, gone_at = excluded.gone_at, size = excluded.size, data = excluded.data"""
_SWEEP = "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE gone_at <= ? ORDER BY gone_at LIMIT ?)"
_OLDEST = "SELECT id, replaced, size FROM entries ORDER BY id LIMIT ?"
_MOVE = "UPDATE entries SET id = replaced, replaced = 0 WHERE id = ?"


class Room:
    """Keeps the bytes in a file to a limit.

    Args:
        max_bytes: the sum of all sizes that is kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._swept = -math.inf  # Unix seconds; threads that race for it sweep once more than they had to

    def store(self, db: sqlite3.Connection, rows: Iterable[Row], *, now: float, until: float) -> None:
        """Write rows in the place of any with their keys, inside a transaction, and keep to the limit.

        Expired rows go first, then those stored first. When `until` (monotonic) passes, the rest is left to the next
        write: only a limit that was lowered by much takes that long.

        Args:
            db: a connection in a transaction.
            rows: key, created_at, expires_at, gone_at, size, data.
            now: Unix seconds.
            until: when to stop removing.
        """
        db.executemany(_STORE, rows)
        total, may_be_expired = 0, True
        if not self._swept <= now < self._swept + SWEEP_EVERY:  # a clock that was set back makes it due, too
            total = self._sweep(db, now)
            may_be_expired = total == SWEEP_ROWS
        while (excess := value(db, "SELECT bytes FROM totals") - self.max_bytes) > 0:
            removed = self._sweep(db, now) if may_be_expired else 0
            may_be_expired = removed == SWEEP_ROWS
            removed = removed or _evict(db, excess)
            total += removed
            if not removed or time.monotonic() >= until:
                break
        if total:
            give_back(db)

    def _sweep(self, db: sqlite3.Connection, now: float) -> int:
        removed = db.execute(_SWEEP, (now, SWEEP_ROWS)).rowcount
        if removed < SWEEP_ROWS:
            self._swept = now
        return removed


def give_back(db: sqlite3.Connection) -> None:
    """Shorten the file by some of its free pages if they exceed a quarter of it."""
    free = value(db, "PRAGMA freelist_count")
    used = value(db, "PRAGMA page_count") - free
    for _ in range(min(free - used // 3, VACUUM_PAGES)):
        db.execute("PRAGMA incremental_vacuum(1)")  # Python steps it once: one execution, one page


def _evict(db: sqlite3.Connection, excess: int) -> int:
    """Remove the rows that were stored first, as many as the excess asks for, at most 100; return how many changed.

    Where some of the first were replaced since, those move instead, and the next step looks again.
    """
    last, moving, bytes_moved = 0, list[tuple[int]](), 0
    for row in db.execute(_OLDEST, (STEP_ROWS,)).fetchall():
        last, replaced, size = numbers([row])
        if replaced:
            moving.append((last,))
            bytes_moved += size
            if bytes_moved >= MOVED_BYTES:
                break
        excess -= size
        if excess <= 0:
            break
    if moving:
        return db.executemany(_MOVE, moving).rowcount
    return db.execute("DELETE FROM entries WHERE id <= ?", (last,)).rowcount
