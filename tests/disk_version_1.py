"""Files of the disk backend as version 1 made them, before rows were replaced where they stand."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tiercache import envelope

_SCHEMA = """
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA application_id = 1414088018;
    PRAGMA user_version = 1;
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, created_at REAL NOT NULL, expires_at REAL, gone_at REAL,
        size INTEGER NOT NULL, data BLOB NOT NULL);
    CREATE INDEX entries_gone_at ON entries (gone_at) WHERE gone_at IS NOT NULL;
    CREATE TABLE totals (entries INTEGER NOT NULL, bytes INTEGER NOT NULL);
    INSERT INTO totals VALUES (0, 0);
    CREATE TRIGGER entry_stored AFTER INSERT ON entries
        BEGIN UPDATE totals SET entries = entries + 1, bytes = bytes + new.size; END;
    CREATE TRIGGER entry_removed AFTER DELETE ON entries
        BEGIN UPDATE totals SET entries = entries - 1, bytes = bytes - old.size; END;
"""


def made_by_version_1(path, entries):
    """Make a file that holds the entries."""
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(_SCHEMA)
        db.execute("PRAGMA journal_mode = WAL")
        for one in entries:
            write_as_version_1(db, one)


def write_as_version_1(db, entry):
    """Store an entry with the statements of version 1."""
    key, data = entry.metadata.key.encode(), envelope.encode(entry)
    db.execute("DELETE FROM entries WHERE key = ?", (key,))
    statement = "INSERT INTO entries (key, created_at, expires_at, gone_at, size, data) VALUES (?, ?, ?, ?, ?, ?)"
    db.execute(statement, (key, entry.metadata.created_at, None, None, len(data), data))
