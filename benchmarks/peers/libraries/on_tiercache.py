"""tiercache, through its awaited and through its blocking methods."""

from __future__ import annotations

from typing import Any, ClassVar

import library
from library import MISS, NotOfferedError, Options, Work, answered

from tiercache import Cache, MemoryBackend, Tier, TierChain


class Blocking(library.Cache):
    """Plain calls."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.ask = cache.cached(answer)  # type: ignore[method-assign]

    def get(self, key: str) -> Any:
        return self.cache.get(key, MISS)

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        self.cache.set(key, value, ttl=ttl)

    def delete(self, key: str) -> None:
        self.cache.delete(key)

    def compute(self, key: str, work: Work) -> Any:
        return self.cache.get_or_set(key, work.run, ttl=60)

    def compute_tagged(self, key: str, work: Work, tag: str) -> Any:
        return self.cache.get_or_set(key, work.run, ttl=60, tags=[tag])

    def invalidate_tag(self, tag: str) -> None:
        with_tags(self.cache).invalidate_tags([tag])

    def clear(self) -> None:
        self.cache.clear()

    def held(self) -> int:
        assert self.cache.chain.memory is not None
        return len(self.cache.chain.memory._slots)  # len(memory) would free what has expired

    def lose_memory(self) -> None:
        assert self.cache.chain.memory is not None
        self.cache.chain.memory.clear()

    def close(self) -> None:
        self.cache.close()


class Awaited(Blocking):
    """Awaited calls of the same object."""

    def __init__(self, cache: Cache) -> None:
        super().__init__(cache)
        self.ask = cache.cached(aanswer)  # type: ignore[method-assign]

    async def get(self, key: str) -> Any:  # type: ignore[override]
        return await self.cache.aget(key, MISS)

    async def set(self, key: str, value: Any, ttl: float | None = None) -> None:  # type: ignore[override]
        await self.cache.aset(key, value, ttl=ttl)

    async def delete(self, key: str) -> None:  # type: ignore[override]
        await self.cache.adelete(key)

    async def compute(self, key: str, work: Work) -> Any:
        return await self.cache.aget_or_set(key, work.arun, ttl=60)

    async def compute_tagged(self, key: str, work: Work, tag: str) -> Any:
        return await self.cache.aget_or_set(key, work.arun, ttl=60, tags=[tag])

    async def invalidate_tag(self, tag: str) -> None:  # type: ignore[override]
        await with_tags(self.cache).ainvalidate_tags([tag])

    async def clear(self) -> None:  # type: ignore[override]
        await self.cache.aclear()

    async def close(self) -> None:  # type: ignore[override]
        await self.cache.aclose()


def answer(*args: Any, **kwargs: Any) -> str:
    return answered(*args, **kwargs)


async def aanswer(*args: Any, **kwargs: Any) -> str:
    return answered(*args, **kwargs)


def with_tags(cache: Any) -> Any:
    if not hasattr(cache, "invalidate_tags"):
        raise NotOfferedError("this version stores tags and cannot invalidate by them yet")
    return cache


class Tiercache(library.Library):
    """Nothing to configure: every row runs as awaited and as blocking."""

    name = "tiercache"
    distribution = "tiercache"
    ordinary: ClassVar[dict[str, Options]] = {  # patient with a busy machine, but where the deadline is the matter
        "awaited": {"face": Awaited, "timeout": 10.0},
        "blocking": {"face": Blocking, "timeout": 10.0},
    }
    settings: ClassVar[dict[str, dict[str, Options]]] = {
        "callers": {"as documented": {}},
        "dead": {"awaited": {"face": Awaited}, "blocking": {"face": Blocking}},
    }

    def memory(self, face: type[Blocking], timeout: float | None = None) -> library.Cache:
        return face(Cache(MemoryBackend()))

    def redis(self, url: str, face: type[Blocking], **options: Any) -> library.Cache:
        return face(Cache(_redis_tier(url, **options)))

    def tiers(self, url: str, face: type[Blocking], **options: Any) -> library.Cache:
        return face(Cache(TierChain(MemoryBackend(), _redis_tier(url, **options))))

    def tasks(self, face: type[Blocking] = Awaited, timeout: float | None = None) -> library.Cache:
        return self.memory(face)

    def threads(self) -> library.Cache:
        return self.memory(Blocking)

    def mixed(self) -> tuple[library.Cache, library.Cache]:
        cache = Cache(MemoryBackend())
        return Awaited(cache), Blocking(cache)


def _redis_tier(url: str, **options: Any) -> Tier:
    from tiercache_redis import RedisBackend

    return Tier(RedisBackend(url), **options)


LIBRARY = Tiercache()
