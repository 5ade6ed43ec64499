"""aiocache: `@cached`, and `@cached_stampede` with its lock."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit

import aiocache
import library
from aiocache.serializers import PickleSerializer
from library import MISS, Options, Work, answered


class Cache(library.Cache):
    """One of its caches, and a decorated function on it."""

    def __init__(self, cache: Any, decorator: str = "cached") -> None:
        self.cache = cache
        self._works: dict[str, Work] = {}
        options = {"ttl": 60} | ({"lease": 20} if decorator == "cached_stampede" else {})
        decorated = getattr(aiocache, decorator)(key_builder=lambda function, key: f"item:{key}", **options)

        async def compute(key: str) -> Any:
            return await self._works[key].arun()

        async def ask(*args: Any, **kwargs: Any) -> str:
            return answered(*args, **kwargs)

        self._compute = decorated(compute)
        decorated.cache = cache
        self.ask = aiocache.cached(ttl=60)(ask)  # type: ignore[method-assign]

    async def get(self, key: str) -> Any:  # type: ignore[override]
        return await self.cache.get(f"item:{key}", default=MISS)

    async def set(self, key: str, value: Any, ttl: float | None = None) -> None:  # type: ignore[override]
        await self.cache.set(f"item:{key}", value, ttl=ttl)

    async def delete(self, key: str) -> None:  # type: ignore[override]
        await self.cache.delete(f"item:{key}")

    async def compute(self, key: str, work: Work) -> Any:
        self._works[key] = work
        return await self._compute(key)

    async def clear(self) -> None:  # type: ignore[override]
        await self.cache.clear()

    def held(self) -> int:
        return len(self.cache._cache)

    async def close(self) -> None:  # type: ignore[override]
        await self.cache.close()


class Aiocache(library.Library):
    """Its memory cache hands out the object itself unless it is given a serializer."""

    name = "aiocache"
    distribution = "aiocache"
    settings: ClassVar[dict[str, dict[str, Options]]] = {
        "compute": {"@cached": {}, "@cached_stampede(lease=20)": {"decorator": "cached_stampede"}},
        "callers": {"@cached": {}, "@cached_stampede(lease=20)": {"decorator": "cached_stampede"}},
        "memory": {"SimpleMemoryCache": {}, "with PickleSerializer": {"serializer": PickleSerializer}},
        "dead": {"RedisCache": {}, "timeout=0.1": {"timeout": 0.1}},
        "down": {"cache.get": {"probes": ("get",)}, "@cached": {"probes": ("compute",)}},
        "pickle": {"JsonSerializer, the default": {}},
    }

    def memory(self, decorator: str = "cached", serializer: Any = None) -> library.Cache:
        return Cache(aiocache.SimpleMemoryCache(serializer=serializer and serializer()), decorator)

    def redis(self, url: str, serializer: Any = None, **options: Any) -> library.Cache:
        where = urlsplit(url)
        options |= {"endpoint": where.hostname, "port": where.port, "serializer": serializer and serializer()}
        return Cache(aiocache.RedisCache(**options))

    def tasks(self, **options: Any) -> library.Cache:
        return self.memory(**options)


LIBRARY = Aiocache()
