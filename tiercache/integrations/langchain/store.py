"""`LangChainByteStore`: LangChain's `ByteStore` on a `Cache`, for `CacheBackedEmbeddings` and others that take one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.stores import BaseStore

from ...cache import Cache
from ...options import OWN, given
from ...slips import cache_given
from ...units import Duration


class LangChainByteStore(BaseStore[str, bytes]):
    """Bytes by key, a batch a tier.

    Args:
        cache: where the bytes are kept.
        prefix: what the store's keys begin with in the cache; two stores with different ones do not meet.
        ttl: how long a value is kept; left out: as the cache was told; None: for ever.

    A value that has expired or was evicted is None, as is one that is not bytes. Keys are those of `Cache`, less the
    length of the prefix.

    Raises:
        ConfigurationError: the ttl is none.
    """

    def __init__(self, cache: Cache, *, prefix: str = "bytes:", ttl: Duration | None = OWN) -> None:
        self.cache = cache_given(cache)
        self.prefix = prefix
        self._ttl: float | None = given(ttl, OWN, "ttl")

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values in the order of the keys, None where there is none."""
        return self._in_order(keys, self.cache.get_many(self._fulls(keys)))

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """`mget`, awaited."""
        return self._in_order(keys, await self.cache.aget_many(self._fulls(keys)))

    def mset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Store the values; of a key that comes twice, the last one. Raises TypeError for what is not bytes."""
        self.cache.set_many(self._items(key_value_pairs), ttl=self._ttl)

    async def amset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """`mset`, awaited."""
        await self.cache.aset_many(self._items(key_value_pairs), ttl=self._ttl)

    def mdelete(self, keys: Sequence[str]) -> None:
        """Remove the values; a key that is not there is no error."""
        self.cache.delete_many(self._fulls(keys))

    async def amdelete(self, keys: Sequence[str]) -> None:
        """`mdelete`, awaited."""
        await self.cache.adelete_many(self._fulls(keys))

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """Yield the keys that begin with `prefix`, each once, as they were set (see `Cache.keys`)."""
        for full in self.cache.keys(self.prefix + (prefix or "")):
            yield full[len(self.prefix) :]

    async def ayield_keys(  # pyright: ignore[reportIncompatibleMethodOverride] - the base is one, too
        self, *, prefix: str | None = None
    ) -> AsyncIterator[str]:
        """`yield_keys`, to iterate with `async for`."""
        async for full in self.cache.akeys(self.prefix + (prefix or "")):
            yield full[len(self.prefix) :]

    def _fulls(self, keys: Iterable[str]) -> list[str]:
        return [self.prefix + key for key in keys]

    def _items(self, pairs: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
        items = dict(pairs)
        for value in items.values():
            if not isinstance(value, bytes):
                raise TypeError(f"a ByteStore holds bytes, not {type(value).__name__}; encode the value first")
        return {self.prefix + key: bytes(value) for key, value in items.items()}

    def _in_order(self, keys: Iterable[str], found: Mapping[str, Any]) -> list[bytes | None]:
        values = [found.get(self.prefix + key) for key in keys]
        return [value if isinstance(value, bytes) else None for value in values]
