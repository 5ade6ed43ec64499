"""A `FaultyBackend` without rules is the backend that it wraps: it holds the same contract."""

import sqlite3
import time
import uuid
from contextlib import closing

import pytest
import redis

from tiercache import DiskBackend, MemoryBackend
from tiercache.testing import BackendContract, FakeClock, FaultyBackend
from tiercache_redis import RedisBackend


class TestFaultyMemory(BackendContract):
    supports_raw = False  # it keeps slots, no envelopes
    honours_deadline = False  # it never waits for anything

    @pytest.fixture
    def backend(self):
        self.clock = FakeClock()
        backend = FaultyBackend(MemoryBackend(clock=self.clock))
        yield backend
        backend.close()

    def now(self):
        return self.clock()

    def advance(self, seconds):
        self.clock.advance(seconds)


class TestFaultyDisk(BackendContract):
    secrets = ("tenant-folder",)
    seconds_later = 0.0

    def now(self):
        return time.time() + self.seconds_later

    def advance(self, seconds):
        self.seconds_later += seconds

    @pytest.fixture
    def backend(self, tmp_path):
        backend = FaultyBackend(DiskBackend(tmp_path / "tenant-folder" / "cache.sqlite3", clock=self.now))
        yield backend
        backend.close()

    def raw_get(self, backend, key):
        backend.inner.ping()
        with closing(sqlite3.connect(backend.inner.path)) as db:
            row = db.execute("SELECT data FROM entries WHERE key = ?", (key.encode(),)).fetchone()
        return None if row is None else row[0]

    def raw_put(self, backend, key, data):
        with closing(sqlite3.connect(backend.inner.path)) as db, db:
            changed = db.execute("UPDATE entries SET data = ? WHERE key = ?", (data, key.encode())).rowcount
        assert changed == 1


class TestFaultyRedis(BackendContract):
    """Its a-twins are native: they must not pass through a thread."""

    seconds_later = 0.0

    @pytest.fixture
    def backend(self, redis_url):
        self.client = redis.Redis.from_url(redis_url)
        self.below = f"{uuid.uuid4().hex}:"
        # A machine under load may pause for longer than the 100 ms of everyday use.
        backend = FaultyBackend(RedisBackend(redis_url, prefix=self.below, timeout=10, clock=self.now))
        yield backend
        backend.close()
        for name in self.client.scan_iter(f"{self.below}*", count=1000):
            self.client.unlink(name)
        self.client.close()

    def now(self):
        return time.time() + self.seconds_later

    def advance(self, seconds):
        self.seconds_later += seconds

    def raw_get(self, backend, key):
        return self.client.get(self.below + key)

    def raw_put(self, backend, key, data):
        self.client.set(self.below + key, data)
