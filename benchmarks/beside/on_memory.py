"""Caches in memory: hits, misses and writes, batches of vectors, many callers at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from harness import Row, Scale

from tiercache import Cache, MemoryBackend

from .contenders import Calls, Contender, Place
from .jobs import Ring, answer, noise
from .measured import OURS

AREA = "beside"
_SAME_OBJECT = "hands the stored object itself to every caller, who can change it for all others"


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    with asyncio.Runner() as runner, ExitStack() as stack:
        ring = Ring("memory", CONTENDERS, Place(runner, stack), scale, keys=1000)
        yield from ring.rows(value=answer(), values="a chat answer of 1.6 kB")
        ring.refill(noise(100))
        yield from ring.hits("100 bytes", "hit of bytes")


def tiercache(place: Place) -> Calls:
    """`Cache` on `MemoryBackend`, with a ttl."""
    cache = place.stack.enter_context(Cache(MemoryBackend("1GiB"), ttl="1h"))
    return calls_of(cache)


def calls_of(cache: Cache) -> Calls:
    """Return how a `Cache` is called."""
    return Calls(
        get=cache.get,
        set=cache.set,
        get_many=cache.get_many,
        set_many=cache.set_many,
        aget=cache.aget,
        aset=cache.aset,
        aget_many=cache.aget_many,
        aset_many=cache.aset_many,
    )


def ordered_dict(place: Place) -> Calls:
    """What an LRU costs at least in Python."""
    from collections import OrderedDict

    table: OrderedDict[str, Any] = OrderedDict()
    find, touch = table.get, table.move_to_end

    def get(key: str) -> Any:
        if (value := find(key)) is not None:
            touch(key)
        return value

    return _of_a_table(get, table)


def cachetools_ttl(place: Place) -> Calls:
    import cachetools

    return _of_a_table(None, cachetools.TTLCache(maxsize=place.room, ttl=3600))


def cachetools_lru(place: Place) -> Calls:
    import cachetools

    return _of_a_table(None, cachetools.LRUCache(maxsize=place.room))


def cachebox_lru(place: Place) -> Calls:
    import cachebox

    return _of_a_table(None, cachebox.LRUCache(place.room))


def cachebox_vttl(place: Place) -> Calls:
    import cachebox

    cache: Any = cachebox.VTTLCache(place.room)

    def put(key: str, value: Any) -> None:
        cache.insert(key, value, 3600)

    return Calls(cache.get, put, **_in_a_loop(cache.get, put))


def _of_a_table(get: Any, table: Any) -> Calls:
    get, lock = get or table.get, threading.Lock()

    def locked(key: str) -> Any:
        with lock:
            return get(key)

    unsafe = type(table).__module__.startswith("cachetools")
    return Calls(get, table.__setitem__, **_in_a_loop(get, table.__setitem__), locked=locked if unsafe else None)


def _in_a_loop(get: Any, put: Any) -> dict[str, Any]:
    """Batches, for those that have none: what their user writes."""

    def set_many(vectors: Mapping[str, Any]) -> None:
        for key, vector in vectors.items():
            put(key, vector)

    return {"get_many": lambda keys: [get(key) for key in keys], "set_many": set_many}


def dogpile_memory(place: Place) -> Calls:
    from dogpile.cache import make_region
    from dogpile.cache.api import NO_VALUE

    region = make_region().configure("dogpile.cache.memory", expiration_time=3600)

    def get(key: str) -> Any:
        value = region.get(key)
        return None if value is NO_VALUE else value

    return Calls(get, region.set, get_many=region.get_multi, set_many=region.set_multi)


def litellm_memory(place: Place) -> Calls:
    from litellm.caching.in_memory_cache import InMemoryCache

    return calls_of_litellm(InMemoryCache(max_size_in_memory=place.room, default_ttl=3600))


def litellm_dual(place: Place) -> Calls:
    from litellm.caching.dual_cache import DualCache
    from litellm.caching.in_memory_cache import InMemoryCache

    # Arrays make its batch read fail: it looks for None among the values with `in`.
    return calls_of_litellm(DualCache(InMemoryCache(max_size_in_memory=place.room, default_ttl=3600)), lists=True)


def calls_of_litellm(cache: Any, *, lists: bool = False) -> Calls:
    """Return how LiteLLM's caches are called; `lists`: what goes to a store becomes JSON, so vectors are lists."""

    def plain(vectors: Mapping[str, Any]) -> list[tuple[str, Any]]:
        return [(key, vector.tolist() if lists else vector) for key, vector in vectors.items()]

    def arrays(found: Any) -> Any:
        values = found.values() if isinstance(found, Mapping) else found
        return [np.asarray(one, np.float32) for one in values] if lists else list(values)

    def set_many(vectors: Mapping[str, Any]) -> None:
        for key, vector in plain(vectors):
            cache.set_cache(key, vector)

    async def aset_many(vectors: Mapping[str, Any]) -> None:
        await cache.async_set_cache_pipeline(plain(vectors))

    async def aget_many(keys: Sequence[str]) -> Any:
        return arrays(await cache.async_batch_get_cache(keys))

    return Calls(
        cache.get_cache,
        cache.set_cache,
        lambda keys: arrays(cache.batch_get_cache(keys)),
        set_many,
        cache.async_get_cache,
        cache.async_set_cache,
        aget_many,
        aset_many,
    )


def cashews_memory(place: Place) -> Calls:
    import cashews

    cache: Any = cashews.Cache()
    cache.setup(f"mem://?size={place.room}")
    return calls_of_cashews(cache)


def calls_of_cashews(cache: Any, *, bytes_only: bool = False) -> Calls:
    """Return how a cashews cache is called; `bytes_only`: vectors are stored as bytes."""

    async def put(key: str, value: Any) -> None:
        await cache.set(key, value, expire=3600)

    async def get_many(keys: Sequence[str]) -> Any:
        found = await cache.get_many(*keys)
        return [np.frombuffer(one, np.float32) for one in found] if bytes_only else found

    async def set_many(vectors: Mapping[str, Any]) -> None:
        if bytes_only:
            vectors = {key: vector.tobytes() for key, vector in vectors.items()}
        await cache.set_many(vectors, expire=3600)

    return Calls(aget=cache.get, aset=put, aget_many=get_many, aset_many=set_many)


def aiocache_memory(place: Place) -> Calls:
    import aiocache

    return calls_of_aiocache(aiocache.SimpleMemoryCache(ttl=3600))


def calls_of_aiocache(cache: Any) -> Calls:
    """Return how an aiocache cache is called."""

    async def set_many(vectors: Mapping[str, Any]) -> None:
        await cache.multi_set(list(vectors.items()))

    return Calls(aget=cache.get, aset=cache.set, aget_many=cache.multi_get, aset_many=set_many)


def key_value_memory(place: Place) -> Calls:
    from key_value.aio.stores.memory import MemoryStore

    return calls_of_key_value(MemoryStore(max_entries_per_collection=place.room))


def calls_of_key_value(store: Any) -> Calls:
    """Return how a py-key-value store is called: its values are JSON objects, so others are put into one."""

    async def put(key: str, value: Any) -> None:
        await store.put(key, value, ttl=3600)

    async def get_many(keys: Sequence[str]) -> Any:
        return [np.asarray(one["vector"], np.float32) for one in await store.get_many(keys)]

    async def set_many(vectors: Mapping[str, Any]) -> None:
        await store.put_many(list(vectors), [{"vector": vector.tolist()} for vector in vectors.values()], ttl=3600)

    def encode(value: Any) -> dict[str, Any]:
        return value if isinstance(value, dict) else {"value": value.hex()}

    return Calls(aget=store.get, aset=put, aget_many=get_many, aset_many=set_many, encode=encode)


def _bare(what: str) -> dict[str, str]:
    nothing = "no copy, no bound by bytes, no counters, no tier below, no fence against late writes"
    return {
        "": f"{_SAME_OBJECT}; {what}; {nothing}",
        "hit of bytes": f"{what}; no counters, no tier below",
        "miss": f"{what}; no counters; nothing below to ask",
        "batch read": f"hands out the stored arrays themselves; {what}; no counters",
        "batch write": f"keeps the caller's own arrays, which the caller can still change; {what}; {nothing}",
        "write": f"keeps the caller's own object, which the caller can still change; {what}; {nothing}",
    }


CONTENDERS = [
    Contender(OURS, tiercache),
    Contender("OrderedDict as LRU", ordered_dict, _bare("no expiry")),
    Contender("cachetools LRUCache", cachetools_lru, _bare("no expiry, not safe for threads without a lock")),
    Contender("cachetools TTLCache", cachetools_ttl, _bare("one ttl for all, not safe for threads without a lock")),
    Contender("cachebox LRUCache", cachebox_lru, _bare("compiled; no expiry")),
    Contender("cachebox VTTLCache", cachebox_vttl, _bare("compiled; evicts what expires next, not what is least used")),
    Contender("dogpile memory", dogpile_memory, _bare("no bound at all: nothing is ever evicted, expired or not")),
    Contender("LiteLLM InMemoryCache", litellm_memory, _bare("evicts what expires next, not what is least used")),
    Contender("LiteLLM DualCache", litellm_dual, _bare("evicts what expires next, not what is least used")),
    Contender("cashews mem", cashews_memory, _bare("for asyncio only")),
    Contender(
        "aiocache SimpleMemoryCache", aiocache_memory, _bare("no bound at all: nothing is evicted; for asyncio only")
    ),
    Contender("py-key-value MemoryStore", key_value_memory, _bare("for asyncio only")),
]
