"""`LangGraphCache`: LangGraph's cache of what nodes wrote, on a `Cache`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from langgraph.cache.base import BaseCache, FullKey, Namespace, ValueT
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from ...cache import Cache
from ...errors import ConfigurationError, TiercacheError
from ...keys import digest
from ...options import OWN, given
from ...slips import cache_given
from ...units import Duration
from ..counted import AdapterStats, Counters
from .values import pack, unpack

_Batch = tuple[dict[str, Any], dict[str, Any]]
"""Values by key, and the options they are stored with."""


class LangGraphCache(BaseCache[ValueT]):
    """What nodes and tasks wrote, by namespace and key: `builder.compile(cache=LangGraphCache(cache))`.

    A node's `CachePolicy` says how long what it wrote is fresh, in seconds. LangGraph makes the key from the node's
    name and input, not from its code or from the graph: give another graph, or a node that was changed, another
    `prefix`.

    Plain data, tuples and sets among them, come back as they were. Objects are written by LangGraph's serialiser,
    which makes only objects of its own list of types again, and of those in `allowed`; there is no pickle. What would
    not come back equal is not stored, and what cannot be read is a miss.

    Nothing is raised into a graph's run, also where a chain is strict, or closed; `clear` raises as `Cache` does.

    Args:
        cache: where the values are kept.
        allowed: classes of your own, of which objects are stored and made again.
        serde: in place of all this, a serialiser that you answer for; one that falls back to pickle is refused.
        ttl: how long a value without a ttl of its own is fresh; left out: as the cache was told; None: for ever.
        prefix: what the keys begin with; `clear` is about the values that were stored with this prefix.

    Attributes:
        errors: what was not raised, by the name of the error.

    Raises:
        ConfigurationError: the ttl is none, or the serialiser uses pickle; or both it and `allowed` are given.
    """

    def __init__(
        self,
        cache: Cache,
        *,
        allowed: Iterable[type] = (),
        serde: SerializerProtocol | None = None,
        ttl: Duration | None = OWN,
        prefix: str = "langgraph",
    ) -> None:
        own = tuple(allowed)
        if serde is not None and own:
            raise ConfigurationError("allowed is for the built-in serialiser: tell your serde itself what it may make")
        if _uses_pickle(serde):
            raise ConfigurationError("the serde falls back to pickle, which runs what it reads: pickle_fallback=False")
        super().__init__(serde=serde or JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=own or None))
        self.cache = cache_given(cache)
        self.prefix = prefix
        self._checked = serde is None
        self._ttl: float | None = given(ttl, OWN, "ttl")
        self.errors: Counter[str] = Counter()
        self._counters = Counters()

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, ValueT]:
        """Return the values that are there."""
        fulls = self._fulls(keys)
        try:
            found = self.cache.get_many(fulls)
        except TiercacheError as error:
            found = self._failed(error)
        return self._values(fulls, found)

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, ValueT]:
        """`get`, awaited."""
        fulls = self._fulls(keys)
        try:
            found = await self.cache.aget_many(fulls)
        except TiercacheError as error:
            found = self._failed(error)
        return self._values(fulls, found)

    def set(self, pairs: Mapping[FullKey, tuple[ValueT, int | None]]) -> None:
        """Store the values, each for its own number of seconds; what cannot be stored is left out and counted."""
        for items, options in self._batches(pairs):
            try:
                self.cache.set_many(items, **options)
            except TiercacheError as error:
                self._failed(error)
            else:
                self._counters.stored += len(items)

    async def aset(self, pairs: Mapping[FullKey, tuple[ValueT, int | None]]) -> None:
        """`set`, awaited."""
        for items, options in self._batches(pairs):
            try:
                await self.cache.aset_many(items, **options)
            except TiercacheError as error:
                self._failed(error)
            else:
                self._counters.stored += len(items)

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Make the values of these namespaces misses, or (None) all of this prefix: a few requests in any case."""
        self.cache.invalidate_tags(self._tags(namespaces))

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """`clear`, awaited."""
        await self.cache.ainvalidate_tags(self._tags(namespaces))

    def stats(self) -> AdapterStats:
        """Return what was served, stored, and refused for which reason."""
        return self._counters.snapshot()

    def _failed(self, error: TiercacheError) -> dict[str, Any]:
        """Count what is not raised; nothing was found."""
        self.errors[type(error).__name__] += 1
        return {}

    def _fulls(self, keys: Iterable[FullKey]) -> dict[str, FullKey]:
        return {self._key(full): full for full in keys}

    def _key(self, full: FullKey) -> str:
        namespace, key = full
        return f"{self.prefix}:{digest('langgraph.1', list(namespace), key)}"

    def _tags(self, namespaces: Iterable[Namespace] | None) -> list[str]:
        if namespaces is None:
            return [self.prefix]
        return [f"{self.prefix}:{digest(list(namespace))}" for namespace in namespaces]

    def _values(self, fulls: Mapping[str, FullKey], found: Mapping[str, Any]) -> dict[FullKey, ValueT]:
        values = {}
        counters = self._counters
        for key, stored in found.items():
            try:
                values[fulls[key]] = unpack(stored, self.serde, checked=self._checked)
            except Exception:  # noqa: BLE001 - whatever another hand's bytes lead LangGraph to raise
                counters.unreadable += 1
        counters.hits += len(values)
        counters.misses += len(fulls) - len(values)
        return values

    def _batches(self, pairs: Mapping[FullKey, tuple[ValueT, int | None]]) -> Iterator[_Batch]:
        """Yield what is to be stored, together what has the same namespace and ttl."""
        batches: dict[tuple[Namespace, int | None], dict[str, Any]] = {}
        for full, (value, ttl) in pairs.items():
            if ttl is not None and ttl <= 0:
                continue  # it has expired before anybody could ask for it
            try:
                stored = pack(value, self.serde, checked=self._checked)
            except Exception:  # noqa: BLE001 - a value that cannot be written goes on its way without the cache
                self._counters.refused["uncacheable"] += 1
                continue
            batches.setdefault((tuple(full[0]), ttl), {})[self._key(full)] = stored
        for (namespace, ttl), items in batches.items():
            tags = [self.prefix, *self._tags([namespace])]
            yield items, {"ttl": self._ttl if ttl is None else ttl, "tags": tags}


def _uses_pickle(serde: Any) -> bool:
    """Whether a serialiser, or one that it wraps, falls back to pickle."""
    while serde is not None:
        if getattr(serde, "pickle_fallback", False):
            return True
        serde = getattr(serde, "serde", None)
    return False
