"""Hits, misses and writes in Redis.

Ours has a memory tier above it with room for a few entries of many, so that each read misses it, is answered by Redis,
checked, decoded and promoted. The others are their Redis caches alone, except LiteLLM's DualCache.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from harness import Row, Scale

from tiercache import Cache, MemoryBackend, TierChain
from tiercache.testing.servers import ServerUnavailable, redis_server

from .contenders import Calls, Contender, Place
from .jobs import Ring, answer
from .measured import OURS
from .on_memory import calls_of, calls_of_aiocache, calls_of_cashews, calls_of_key_value, calls_of_litellm

CONNECTIONS = 256
"""As many as callers at once and more, for all alike."""
ROOM = 8
"""Entries that the memory tiers above Redis have room for."""


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    with asyncio.Runner() as runner, ExitStack() as stack:
        try:
            server = stack.enter_context(redis_server())
        except ServerUnavailable as reason:
            yield Row("beside", "Redis", note=str(reason))
            return
        ring = Ring("Redis", CONTENDERS, Place(runner, stack, url=server.url), scale, keys=300, rounds=11)
        yield from ring.rows(value=answer(), values="a chat answer of 1.6 kB")


def tiercache(place: Place) -> Calls:
    """`Cache` on memory and Redis."""
    from tiercache_redis import RedisBackend

    backend = RedisBackend(place.url, timeout=60, max_connections=CONNECTIONS)
    chain = TierChain(MemoryBackend(max_entries=ROOM), backend, strict=True)
    cache = Cache(chain, ttl="1h")
    place.aclose(cache.aclose)
    return calls_of(cache)


def bare(place: Place) -> Calls:
    """redis-py itself: JSON in, JSON out, vectors as bytes."""
    import redis
    import redis.asyncio

    one: Any = place.stack.enter_context(redis.Redis.from_url(place.url, max_connections=CONNECTIONS))
    two: Any = redis.asyncio.Redis.from_url(place.url, max_connections=CONNECTIONS)
    place.aclose(two.aclose)

    def get(key: str) -> Any:
        found = one.get(key)
        return None if found is None else json.loads(found)

    async def aget(key: str) -> Any:
        found = await two.get(key)
        return None if found is None else json.loads(found)

    def put(key: str, value: Any) -> None:
        one.set(key, json.dumps(value), ex=3600)

    async def aput(key: str, value: Any) -> None:
        await two.set(key, json.dumps(value), ex=3600)

    def fill(pipeline: Any, vectors: Mapping[str, Any]) -> Any:
        for key, vector in vectors.items():
            pipeline.set(key, vector.tobytes(), ex=3600)
        return pipeline.execute()

    async def afill(vectors: Mapping[str, Any]) -> None:
        await fill(two.pipeline(transaction=False), vectors)

    async def aget_many(keys: Sequence[str]) -> Any:
        return _arrays(await two.mget(keys))

    return Calls(
        get,
        put,
        lambda keys: _arrays(one.mget(keys)),
        lambda vectors: fill(one.pipeline(transaction=False), vectors),
        aget,
        aput,
        aget_many,
        afill,
    )


def _arrays(found: Sequence[bytes]) -> list[Any]:
    return [np.frombuffer(one, np.float32) for one in found]


def dogpile_redis(place: Place) -> Calls:
    from dogpile.cache import make_region
    from dogpile.cache.api import NO_VALUE

    region = make_region(serializer=lambda value: json.dumps(value).encode(), deserializer=json.loads)
    arguments = {"url": place.url, "connection_kwargs": {"max_connections": CONNECTIONS}}
    region.configure("dogpile.cache.redis", expiration_time=3600, arguments=arguments)

    def get(key: str) -> Any:
        value = region.get(key)
        return None if value is NO_VALUE else value

    def set_many(vectors: Mapping[str, Any]) -> None:
        region.set_multi({key: vector.tolist() for key, vector in vectors.items()})

    return Calls(get, region.set, region.get_multi, set_many)


def litellm_redis(place: Place, *, dual: bool = False) -> Calls:
    import litellm
    from litellm.caching.dual_cache import DualCache
    from litellm.caching.in_memory_cache import InMemoryCache
    from litellm.caching.redis_cache import RedisCache

    litellm.suppress_debug_info = True
    where = urlsplit(place.url)
    cache: Any = RedisCache(host=where.hostname, port=where.port, socket_timeout=60, max_connections=CONNECTIONS)
    place.aclose(cache.disconnect)
    calls = calls_of_litellm(DualCache(InMemoryCache(max_size_in_memory=ROOM), cache) if dual else cache, lists=True)
    if dual:  # not the same job: keys that it asked Redis for within ten seconds it does not ask for again
        calls.get_many = calls.set_many = calls.aget_many = calls.aset_many = None
    return calls


def cashews_redis(place: Place) -> Calls:
    import cashews

    cache: Any = cashews.Cache()
    cache.setup(place.url, socket_timeout=60, max_connections=CONNECTIONS)
    place.aclose(cache.close)
    return calls_of_cashews(cache, bytes_only=True)


def aiocache_redis(place: Place) -> Calls:
    import aiocache
    from aiocache.serializers import JsonSerializer

    where = urlsplit(place.url)
    cache: Any = aiocache.RedisCache(
        endpoint=where.hostname,
        port=where.port,
        serializer=JsonSerializer(),
        timeout=60,
        ttl=3600,
        pool_max_size=CONNECTIONS,
    )
    place.aclose(cache.close)
    calls = calls_of_aiocache(cache)

    async def set_many(vectors: Mapping[str, Any]) -> None:
        await cache.multi_set([(key, vector.tolist()) for key, vector in vectors.items()])

    calls.aset_many = set_many
    return calls


def key_value_redis(place: Place) -> Calls:
    import redis.asyncio
    from key_value.aio.stores.redis import RedisStore

    client = redis.asyncio.Redis.from_url(place.url, max_connections=CONNECTIONS, decode_responses=True)
    place.aclose(client.aclose)
    store: Any = RedisStore(client=client)
    return calls_of_key_value(store)


_LESS = {
    "": "no tier above to fill; no checksum and no comparison of the key; no look at what was invalidated",
    "miss": "no tier above that was asked first; no look at what was invalidated",
    "write": "one store to write instead of two; no checksum; no fence against late writes",
    "batch read": "no tier above to fill; no checksum, no comparison of the keys",
    "batch write": "one store to write instead of two; no checksum; no fence against late writes",
}
_DUAL = {
    "": "no checksum and no comparison of the key; the copy above may outlive its original",
    "miss": "no look at what was invalidated",
    "write": "no checksum; no fence against late writes; a tier that missed the write goes on serving the old value",
}


def _and(more: str, less: Mapping[str, str] = _LESS) -> dict[str, str]:
    return {job: f"{text}; {more}" for job, text in less.items()}


CONTENDERS = [
    Contender(OURS, tiercache),
    Contender("redis-py and json", bare, _and("no breaker, no bound over a slow answer")),
    Contender("dogpile redis (JSON)", dogpile_redis, _and("no breaker")),
    Contender("LiteLLM RedisCache", litellm_redis, _LESS),
    Contender("LiteLLM DualCache, Redis", partial(litellm_redis, dual=True), _DUAL),
    Contender("cashews redis", cashews_redis, _and("reads pickles, which run code")),
    Contender("aiocache RedisCache (JSON)", aiocache_redis, _and("no breaker")),
    Contender("py-key-value RedisStore", key_value_redis, _and("no breaker")),
]
