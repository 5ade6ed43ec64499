"""The contract, held by `RedisBackend` against a real server."""

import time
import uuid

import pytest
import redis

from tiercache.testing import BackendContract
from tiercache_redis import RedisBackend


class TestRedis(BackendContract):
    many = 2500  # SCAN answers in pages of about 1,000
    seconds_later = 0.0

    @pytest.fixture
    def backend(self, redis_url):
        self.client = redis.Redis.from_url(redis_url)
        self.below = f"{uuid.uuid4().hex}:"
        # A machine under load may pause for longer than the 100 ms of everyday use.
        backend = RedisBackend(redis_url, prefix=self.below, timeout=10, clock=self.now)
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
