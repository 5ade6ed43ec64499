"""One Redis in front of one slower store, and the caches of several processes on them."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache_redis import RedisBackend


class Shared:
    """(Memory ->) Redis -> a slower store, as each process has it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = RemoteBackend(time.time, name="store")
        self.prefix = f"{uuid.uuid4().hex}:"
        self.threads = ThreadPoolExecutor(8)
        self.caches: list[Cache] = []

    def process(self, *, memory: bool = False, write: Any = "through", **redis: Any) -> Cache:
        """Return the cache of one more process."""
        tiers = [Tier(self._redis(), **redis), Tier(self.store, name="store", write=write, breaker=False)]
        cache = Cache(TierChain(*([MemoryBackend()] if memory else []), *tiers), namespace="n")
        self.caches.append(cache)
        return cache

    def flush_redis(self) -> None:
        with closing(self._redis()) as backend:
            backend.clear()

    def holds_in_redis(self, key: str) -> bool:
        with closing(self._redis()) as backend:
            return backend.get(f"n:{key}") is not None

    def close(self) -> None:
        for event in self.store.gates.values():
            event.set()
        self.threads.shutdown()
        self.store.faults.clear()
        for cache in self.caches:
            cache.close()

    def _redis(self) -> RedisBackend:
        return RedisBackend(self.url, prefix=self.prefix, timeout=5)
