"""The contract, held by `RedisBackend` on a real cluster and behind real sentinels."""

import time
import uuid

import pytest
import redis

from tiercache.testing import BackendContract
from tiercache_redis import RedisBackend


class Remote(BackendContract):
    many = 2500  # SCAN answers in pages of about 1,000
    seconds_later = 0.0

    def backend_at(self, url):
        self.below = f"{uuid.uuid4().hex}:"
        # A machine under load may pause for longer than the 100 ms of everyday use.
        return RedisBackend(url, prefix=self.below, timeout=10, clock=self.now)

    def now(self):
        return time.time() + self.seconds_later

    def advance(self, seconds):
        self.seconds_later += seconds

    def raw_get(self, backend, key):
        return self.client.get(self.below + key)

    def raw_put(self, backend, key, data):
        self.client.set(self.below + key, data)


class TestRedisCluster(Remote):
    @pytest.fixture
    def backend(self, redis_cluster):
        self.client = redis.RedisCluster.from_url(redis_cluster.primaries[1].url)
        backend = self.backend_at(redis_cluster.url)
        yield backend
        backend.close()
        self.client.flushall()
        self.client.close()


class TestRedisSentinel(Remote):
    @pytest.fixture
    def backend(self, redis_sentinels):
        self.client = redis.Redis.from_url(redis_sentinels.primary.url)
        backend = self.backend_at(redis_sentinels.url)
        yield backend
        backend.close()
        self.client.flushall()
        self.client.close()
