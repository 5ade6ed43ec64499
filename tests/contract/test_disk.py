"""The disk backend fulfils the contract; the rows are read and written beside it, through a connection of the test."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import pytest

from tiercache.disk import DiskBackend
from tiercache.testing import BackendContract


class TestDisk(BackendContract):
    secrets = ("tenant-folder",)
    seconds_later = 0.0

    def now(self):
        return time.time() + self.seconds_later

    def advance(self, seconds):
        self.seconds_later += seconds

    @pytest.fixture
    def backend(self, tmp_path):
        backend = DiskBackend(tmp_path / "tenant-folder" / "cache.sqlite3", clock=self.now)
        yield backend
        backend.close()

    def raw_get(self, backend, key):
        backend.ping()
        with closing(sqlite3.connect(backend.path)) as db:
            row = db.execute("SELECT data FROM entries WHERE key = ?", (key.encode(),)).fetchone()
        return None if row is None else row[0]

    def raw_put(self, backend, key, data):
        with closing(sqlite3.connect(backend.path)) as db, db:
            changed = db.execute("UPDATE entries SET data = ? WHERE key = ?", (data, key.encode())).rowcount
        assert changed == 1
