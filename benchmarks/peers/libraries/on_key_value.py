"""py-key-value-aio: stores of dicts, and wrappers around them."""

from __future__ import annotations

from typing import Any, ClassVar

import library
from key_value.aio.stores.memory import MemoryStore
from key_value.aio.stores.redis import RedisStore
from key_value.aio.wrappers.compression import CompressionWrapper
from key_value.aio.wrappers.fallback import FallbackWrapper
from key_value.aio.wrappers.passthrough_cache import PassthroughCacheWrapper
from key_value.aio.wrappers.timeout import TimeoutWrapper
from library import MISS, NotOfferedError, Options, answered


class Cache(library.Cache):
    """A store. Values must be dicts: others are put into one."""

    def __init__(self, store: Any, fast: Any = None) -> None:
        self.store = store
        self._fast = fast or store
        self._wrapped: set[str] = set()
        self._keys: set[str] = set()

    async def get(self, key: str) -> Any:  # type: ignore[override]
        found = await self.store.get(key)
        if found is None:
            return MISS
        return found["value"] if key in self._wrapped else found

    async def set(self, key: str, value: Any, ttl: float | None = None) -> None:  # type: ignore[override]
        self._keys.add(key)
        if not isinstance(value, dict):
            self._wrapped.add(key)
            value = {"value": value}
        await self.store.put(key, value, ttl=ttl)

    async def delete(self, key: str) -> None:  # type: ignore[override]
        await self.store.delete(key)

    async def ask(self, first: str, second: str) -> Any:
        """It has no cached functions; its keys have two parts, a collection and a key."""
        found = await self.store.get(second, collection=first)
        if found is None:
            found = {"answer": answered(first, second)}
            await self.store.put(second, found, collection=first)
        return found["answer"]

    def held(self) -> int:
        return sum(dict.__len__(collection._cache._Cache__data) for collection in self._fast._cache.values())

    async def lose_memory(self) -> None:  # type: ignore[override]
        await self._fast.delete_many(list(self._keys))

    async def close(self) -> None:  # type: ignore[override]
        if hasattr(self.store, "close"):
            await self.store.close()


class KeyValue(library.Library):
    """A library of stores: what is for callers of one key at once is not its business."""

    name = "py-key-value-aio"
    distribution = "py-key-value-aio"
    settings: ClassVar[dict[str, dict[str, Options]]] = {
        "markers": {"MemoryStore": {}, "CompressionWrapper(MemoryStore)": {"wrap": CompressionWrapper}},
        "dead": {"RedisStore": {}, "TimeoutWrapper(RedisStore, 0.1)": {"timeout": 0.1}},
        "down": {
            "RedisStore": {},
            "FallbackWrapper(RedisStore, MemoryStore, write_to_fallback=True)": {"fallback": True},
        },
    }
    markers: ClassVar[list[Any]] = [
        # gzip of {"it": "came back as something else"}: what CompressionWrapper writes, here as a user's own dict
        {"__compressed_data__": library.packed({"it": "came back as something else"})},
    ]
    takes_keywords = False

    def memory(self, wrap: Any = None) -> library.Cache:
        store = MemoryStore()
        return Cache(wrap(store) if wrap else store, store)

    def redis(self, url: str, timeout: float | None = None, fallback: bool = False) -> library.Cache:
        store: Any = RedisStore(url=url)
        if timeout:
            store = TimeoutWrapper(store, timeout)
        if fallback:
            store = FallbackWrapper(store, MemoryStore(), write_to_fallback=True)
        return Cache(store)

    def tasks(self, **options: Any) -> library.Cache:
        raise NotOfferedError("it has no get-or-compute: that is its user's code")

    threads = tasks

    def mixed(self) -> tuple[library.Cache, library.Cache]:
        return (self.tasks(),) * 2

    def keyed(self, bench: Any) -> library.Cache:
        return bench.open(self.redis, bench.redis_url())  # type: ignore[no-any-return]

    def tiers(self, url: str, timeout: float | None = None) -> library.Cache:
        fast = MemoryStore()
        return Cache(PassthroughCacheWrapper(RedisStore(url=url), fast), fast)


LIBRARY = KeyValue()
