"""LlamaIndex on a `Cache`: a `BaseKVStore` for `IngestionCache`, and for the `embeddings_cache` of an embedding model.

store = LlamaIndexStore(cache, namespace="text-embedding-3-small")
OpenAIEmbedding(model="text-embedding-3-small", embeddings_cache=store)
IngestionPipeline(transformations=[…], cache=IngestionCache(cache=LlamaIndexStore(cache, namespace="docs")))
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ..cache import Cache
from ..codec import encode
from ..errors import MissingExtra, TiercacheError, UncacheableValue
from ..options import OWN, given
from ..slips import cache_given
from ..units import Duration
from .counted import AdapterStats, Counters
from .named import Names, abatches, batches, is_record, record

try:
    from llama_index.core.storage.kvstore.types import DEFAULT_BATCH_SIZE, DEFAULT_COLLECTION, BaseKVStore
except ImportError:
    raise MissingExtra("tiercache.integrations.llamaindex", "llamaindex") from None


class LlamaIndexStore(BaseKVStore):
    """Dicts by collection and key.

    It is a cache: what expired or was evicted is gone, so do not keep a document store or an index store in it.
    Nothing is raised into LlamaIndex for a store that fails, nor for a value that no codec takes: it is not stored.

    Args:
        cache: where the dicts are kept; it stays its owner's to close.
        namespace: what the values were made with. LlamaIndex keys an embedding by its text alone: name the model here,
            and its dimensions and prefixes, or two models would be given each other's vectors.
        ttl: how long a value is fresh; left out: as the cache was told; None: for ever.

    Attributes:
        errors: what was not raised, by the name of the error.

    Raises:
        ConfigurationError: there is no namespace; or the ttl is none.
    """

    def __init__(self, cache: Cache, *, namespace: str, ttl: Duration | None = OWN) -> None:
        self.cache = cache_given(cache)
        self.namespace = namespace
        self.errors: Counter[str] = Counter()
        self._names = Names("llamaindex", namespace, "what the values are made with, such as the embedding model")
        self._ttl: float | None = given(ttl, OWN, "ttl")
        self._counters = Counters()

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Store a value, replacing what was there."""
        self.put_all([(key, val)], collection)

    async def aput(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """`put`, awaited."""
        await self.aput_all([(key, val)], collection)

    def put_all(
        self,
        kv_pairs: Iterable[tuple[str, dict[str, Any]]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """Store values, one batch a tier whatever `batch_size` is; if one of them cannot be stored, none is."""
        items = self._items(kv_pairs, collection)
        try:
            self.cache.set_many(items, ttl=self._ttl)
        except TiercacheError as error:
            self._refused(error)
        else:
            self._counters.stored += len(items)

    async def aput_all(
        self,
        kv_pairs: Iterable[tuple[str, dict[str, Any]]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """`put_all`, awaited."""
        items = self._items(kv_pairs, collection)
        try:
            await self.cache.aset_many(items, ttl=self._ttl)
        except TiercacheError as error:
            self._refused(error)
        else:
            self._counters.stored += len(items)

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Return the value, which is the caller's own; None on a miss."""
        try:
            return self._value(key, self.cache.get(self._names.name(collection, key)))
        except TiercacheError as error:
            self._missed(error)
            return None

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """`get`, awaited."""
        try:
            return self._value(key, await self.cache.aget(self._names.name(collection, key)))
        except TiercacheError as error:
            self._missed(error)
            return None

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Return all values of a collection by key: a listing of the stores, and their values in batches."""
        values: dict[str, dict[str, Any]] = {}
        try:
            for names in batches(self.cache.keys(self._names.prefix(collection))):
                values |= _values(self.cache.get_many(names))
        except TiercacheError as error:
            self._missed(error)
        return values

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """`get_all`, awaited."""
        values: dict[str, dict[str, Any]] = {}
        try:
            async for names in abatches(self.cache.akeys(self._names.prefix(collection))):
                values |= _values(await self.cache.aget_many(names))
        except TiercacheError as error:
            self._missed(error)
        return values

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Remove a value; return whether it was there."""
        try:
            return self.cache.delete(self._names.name(collection, key))
        except TiercacheError as error:
            self._failed(error)
            return False

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """`delete`, awaited."""
        try:
            return await self.cache.adelete(self._names.name(collection, key))
        except TiercacheError as error:
            self._failed(error)
            return False

    def stats(self) -> AdapterStats:
        """Return what was served, stored, and refused for which reason."""
        return self._counters.snapshot()

    def __repr__(self) -> str:  # LlamaIndex hashes it with the pipeline: the same in every process
        return f"<LlamaIndexStore {self.namespace!r}>"

    def _items(self, pairs: Iterable[tuple[str, dict[str, Any]]], collection: str) -> dict[str, Any]:
        return {self._names.name(collection, key): record(key, _storable(value)) for key, value in pairs}

    def _value(self, key: str, found: Any) -> dict[str, Any] | None:
        if is_record(found, key) and isinstance(found["value"], dict):
            self._counters.hits += 1
            return found["value"]
        self._counters.misses += 1
        self._counters.unreadable += found is not None
        return None

    def _missed(self, error: TiercacheError) -> None:
        self._counters.misses += 1
        self._failed(error)

    def _refused(self, error: TiercacheError) -> None:
        if isinstance(error, UncacheableValue):
            self._counters.refused["uncacheable"] += 1
        self._failed(error)

    def _failed(self, error: TiercacheError) -> None:
        self.errors[type(error).__name__] += 1


def _storable(value: Any) -> Any:
    """Return the value; one that holds what no codec takes as JSON would have it, which is all that LlamaIndex asks.

    Nodes hold enumerations, and some models' vectors are lists of numpy's numbers.
    """
    try:
        encode(value)
    except UncacheableValue:
        try:
            return json.loads(json.dumps(value, default=lambda number: number.item()))
        except (AttributeError, TypeError, ValueError, RecursionError):
            return value  # refused when it is stored, and counted there
    return value


def _values(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    records = [value for value in found.values() if is_record(value)]
    return {value["key"]: value["value"] for value in records if isinstance(value["value"], dict)}
