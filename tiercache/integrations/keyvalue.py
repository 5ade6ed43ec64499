"""py-key-value (`AsyncKeyValue`) on a `Cache`, and through it FastMCP.

ResponseCachingMiddleware(cache_storage=KeyValueStore(cache, namespace="weather-server"))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from ..cache import Cache
from ..errors import BackendError, CacheClosed, MissingExtra
from ..options import OWN
from .named import Names, abatches, is_record, record

try:
    from key_value.aio.errors import DeserializationError, StoreConnectionError
    from key_value.aio.stores.base import (
        BaseDestroyCollectionStore,
        BaseEnumerateKeysStore,
        BaseStore,
        ManagedEntry,
    )
except ImportError:
    raise MissingExtra("tiercache.integrations.keyvalue", "keyvalue") from None


class KeyValueStore(BaseEnumerateKeysStore, BaseDestroyCollectionStore, BaseStore):
    """An `AsyncKeyValue` store, for whatever takes one.

    It is a cache: what was evicted is gone, as is what has no ttl of its own when that of the cache is over. Values are
    JSON, as in the library's other stores.

    Args:
        cache: where the values are kept; it stays its owner's to close.
        namespace: whose values they are: two servers of FastMCP, say, may have tools of the same name.
        default_collection: the collection of calls that name none.

    A tier that fails is counted and skipped. Where a chain is strict, or closed, the library's own
    `StoreConnectionError` is raised, which its wrappers (retry, fallback …) know.

    Raises:
        ConfigurationError: there is no namespace.
    """

    def __init__(self, cache: Cache, *, namespace: str, default_collection: str | None = None) -> None:
        self._cache = cache
        self._names = Names("keyvalue", namespace, "whose values they are, such as the server")
        super().__init__(default_collection=default_collection, stable_api=True)

    async def _get_managed_entry(self, *, collection: str, key: str) -> ManagedEntry | None:
        with _as_theirs():
            found = await self._cache.aget(self._names.name(collection, key))
        return self._entry(key, found)

    async def _get_managed_entries(self, *, collection: str, keys: Sequence[str]) -> list[ManagedEntry | None]:
        names = {key: self._names.name(collection, key) for key in keys}
        with _as_theirs():
            found = await self._cache.aget_many(names.values())
        return [self._entry(key, found.get(names[key])) for key in keys]

    async def _put_managed_entry(self, *, collection: str, key: str, managed_entry: ManagedEntry) -> None:
        await self._put(collection, [key], [managed_entry], managed_entry.ttl)

    async def _put_managed_entries(
        self,
        *,
        collection: str,
        keys: Sequence[str],
        managed_entries: Sequence[ManagedEntry],
        ttl: float | None,
        created_at: datetime,
        expires_at: datetime | None,
    ) -> None:
        await self._put(collection, keys, managed_entries, ttl)

    async def _delete_managed_entry(self, *, key: str, collection: str) -> bool:
        with _as_theirs():
            return await self._cache.adelete(self._names.name(collection, key))

    async def _get_collection_keys(self, *, collection: str, limit: int | None = None) -> list[str]:
        keys: list[str] = []
        with _as_theirs():
            async for names in abatches(self._cache.akeys(self._names.prefix(collection))):
                found = await self._cache.aget_many(names)
                keys += [value["key"] for value in found.values() if is_record(value)]
        return keys[:limit]

    async def _delete_collection(self, *, collection: str) -> bool:
        with _as_theirs():
            names = [name async for name in self._cache.akeys(self._names.prefix(collection))]
            await self._cache.adelete_many(names)
        return bool(names)

    async def _put(
        self, collection: str, keys: Sequence[str], entries: Sequence[ManagedEntry], ttl: float | None
    ) -> None:
        items = {
            self._names.name(collection, key): record(key, self._serialization_adapter.dump_json(entry=entry))
            for key, entry in zip(keys, entries, strict=True)
        }
        with _as_theirs():
            if ttl is not None and ttl <= 0:  # it expired on its way here
                await self._cache.adelete_many(items)
            else:
                await self._cache.aset_many(items, ttl=OWN if ttl is None else ttl)

    def _entry(self, key: str, found: Any) -> ManagedEntry | None:
        if not is_record(found, key) or not isinstance(found["value"], str):
            return None
        try:
            return self._serialization_adapter.load_json(json_str=found["value"])
        except (DeserializationError, TypeError, RecursionError):  # another release's, or another hand's
            return None


@contextmanager
def _as_theirs() -> Iterator[None]:
    """Let what a strict or closed cache raises be the library's own error."""
    try:
        yield
    except (BackendError, CacheClosed) as error:
        raise StoreConnectionError(f"the cache does not serve: {type(error).__name__}") from None
