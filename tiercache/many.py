"""`CacheOfMany`: what `Cache` does with many keys at once, a batch a tier, and with a whole namespace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from .entry import CLOCK_SKEW, AttributeValue, Entry, Metadata
from .epochs.agreement import judged
from .epochs.table import Space
from .flow import Flow, adrive, detached, drive
from .options import OWN, checked_tags
from .result import Result
from .tier import Tier
from .units import Duration
from .upkeep import CacheUpkeep

T = TypeVar("T")


class CacheOfMany(CacheUpkeep):
    """The part of `Cache` that is about many keys."""

    namespace: str
    _tasks: set[asyncio.Task[Any]]

    def get_many(
        self, keys: Iterable[str], *, type: type[Any] | None = None, allow_stale: bool = False
    ) -> dict[str, Any]:
        """Return the values that are there, in the order of `keys`: one batch a tier. Arguments as for `get`."""
        return drive(self._flows.get_many(keys, type, allow_stale))

    async def aget_many(
        self, keys: Iterable[str], *, type: type[Any] | None = None, allow_stale: bool = False
    ) -> dict[str, Any]:
        """`get_many`, awaited."""
        return await adrive(self._flows.get_many(keys, type, allow_stale))

    def lookup_many(
        self, keys: Iterable[str], *, type: type[Any] | None = None, allow_stale: bool = False
    ) -> dict[str, Result]:
        """Return value and origin of each key that has a fresh value, in the order of `keys`: one batch a tier."""
        return drive(self._flows.lookup_many(keys, type, allow_stale))

    async def alookup_many(
        self, keys: Iterable[str], *, type: type[Any] | None = None, allow_stale: bool = False
    ) -> dict[str, Result]:
        """`lookup_many`, awaited."""
        return await adrive(self._flows.lookup_many(keys, type, allow_stale))

    def set_many(
        self,
        items: Mapping[str, Any],
        *,
        ttl: Duration | None = OWN,
        stale_for: Duration | None = OWN,
        tags: Iterable[str] = (),
        attributes: Mapping[str, AttributeValue] | None = None,
        storage_class: str | None = None,
    ) -> None:
        """Store all values, one batch a tier. If one of them cannot be stored, none is. Arguments as for `set`."""
        drive(self._flows.set_many(self._entries(items, ttl, stale_for, tags, attributes, storage_class)))

    async def aset_many(
        self,
        items: Mapping[str, Any],
        *,
        ttl: Duration | None = OWN,
        stale_for: Duration | None = OWN,
        tags: Iterable[str] = (),
        attributes: Mapping[str, AttributeValue] | None = None,
        storage_class: str | None = None,
    ) -> None:
        """`set_many`, awaited."""
        await self._detached(
            self._flows.set_many(self._entries(items, ttl, stale_for, tags, attributes, storage_class))
        )

    def delete_many(self, keys: Iterable[str]) -> int:
        """Remove the values; return how many of these keys are now in no tier."""
        return drive(self._flows.delete_many(self._flows.fulls(keys)))

    async def adelete_many(self, keys: Iterable[str]) -> int:
        """`delete_many`, awaited."""
        return await self._detached(self._flows.delete_many(self._flows.fulls(keys)))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys of this namespace that start with `prefix`, each once.

        Keys of entries that a listing does not know to have expired, or to have been invalidated, are among them: S3
        lists neither tags nor when a computation began. (`contains` knows.) Once something was invalidated, Redis and
        disk entries are read. A tier that fails is left out.
        """
        seen: set[str] = set()
        space = self.chain.epochs.space(self.namespace)
        for tier in drive(judged(self.chain, space)):
            if not self._lists(tier):
                continue
            try:
                for key, metadata in tier.backend.scan(self._prefix + prefix, full=in_full(space, tier)):
                    if key not in seen and tier.reads(key) and not is_known_dead(space, tier, metadata):
                        seen.add(key)
                        yield key[len(self._prefix) :]
            except Exception as error:  # noqa: BLE001 - sorted by the tier, as for every other call
                self._leave_out(tier, error)

    async def akeys(self, prefix: str = "") -> AsyncIterator[str]:
        """`keys`, to iterate with `async for`."""
        seen: set[str] = set()
        space = self.chain.epochs.space(self.namespace)
        for tier in await adrive(judged(self.chain, space)):
            if not self._lists(tier):
                continue
            try:
                async for key, metadata in tier.backend.ascan(self._prefix + prefix, full=in_full(space, tier)):
                    if key not in seen and tier.reads(key) and not is_known_dead(space, tier, metadata):
                        seen.add(key)
                        yield key[len(self._prefix) :]
            except Exception as error:  # noqa: BLE001 - sorted by the tier, as for every other call
                self._leave_out(tier, error)

    def _lists(self, tier: Tier) -> bool:
        """Whether entries of this namespace are read from a tier."""
        switch = tier.switch
        return switch is None or switch.of(self.namespace).reads

    def warm(self, keys: Iterable[str]) -> int:
        """Copy entries up into all faster tiers, without deadlines; return how many were found."""
        return drive(self._flows.warm(self._flows.fulls(keys)))

    async def awarm(self, keys: Iterable[str]) -> int:
        """`warm`, awaited."""
        return await adrive(self._flows.warm(self._flows.fulls(keys)))

    def warm_with(self, items: Mapping[str, Any], *, ttl: Duration | None = OWN) -> None:
        """Fill the fast tiers (all but the last) from known values, leaving the slow one alone; one tier: fill it."""
        drive(self._flows.set_many(self._entries(items, ttl, OWN, (), None), fast_only=True))

    async def awarm_with(self, items: Mapping[str, Any], *, ttl: Duration | None = OWN) -> None:
        """`warm_with`, awaited."""
        await self._detached(self._flows.set_many(self._entries(items, ttl, OWN, (), None), fast_only=True))

    def clear(self, *, purge: bool = False) -> None:
        """Make every entry of this namespace a miss, in all tiers: a few requests, however many entries there are.

        It holds in this process when the call returns, and in others that share a persistent tier within the chain's
        `epoch_refresh`; after a restart, and after a tier was emptied, as well. A tier that fails is told later.

        Args:
            purge: delete the bytes too, at the price of a listing; otherwise they stay until they expire, are evicted,
                or `sweep` finds them.
        """
        drive(self._flows.clear(self.namespace, purge=purge))

    async def aclear(self, *, purge: bool = False) -> None:
        """`clear`, awaited."""
        await self._detached(self._flows.clear(self.namespace, purge=purge))

    def invalidate_tags(self, tags: Iterable[str]) -> None:
        """Make every entry of this namespace that carries one of the tags a miss, in all tiers (as `clear` does).

        Of a namespace 10,000 tags are remembered. Beyond, the oldest are forgotten, and with them go all entries that
        are older than their invalidation: misses, never a wrong value.
        """
        drive(self._flows.invalidate_tags(self.namespace, checked_tags(tags)))

    async def ainvalidate_tags(self, tags: Iterable[str]) -> None:
        """`invalidate_tags`, awaited."""
        await self._detached(self._flows.invalidate_tags(self.namespace, checked_tags(tags)))

    def _entries(
        self,
        items: Mapping[str, Any],
        ttl: Duration | None,
        stale_for: Duration | None,
        tags: Iterable[str],
        attributes: Mapping[str, AttributeValue] | None,
        storage_class: str | None = None,
    ) -> dict[str, Entry]:
        if not isinstance(items, Mapping):
            raise TypeError(f"items must map keys to values, as a dict does, not a {items.__class__.__name__}")
        options = self._flows.options(ttl, stale_for, tags, attributes, storage_class)
        fulls = {self._flows.full(key): value for key, value in items.items()}
        return {full: self._flows.entry(full, value, options) for full, value in fulls.items()}

    async def _detached(self, flow: Flow[T]) -> T:
        """Run a mutation, which goes on when its caller is cancelled."""
        return await detached(flow, self._tasks)


def in_full(space: Space, tier: Tier) -> bool:
    """Whether a listing has to read the entries: where it costs no request each, and there is something to compare."""
    return bool(space.version or space.floors) and not getattr(tier.backend, "scan_is_dear_in_full", False)


def is_known_dead(space: Space, tier: Tier, metadata: Metadata) -> bool:
    """Whether a listing tells that an entry was invalidated."""
    moment = metadata.loaded_at
    if getattr(tier.backend, "scan_tells_writing", False):
        moment += CLOCK_SKEW  # it is when the object was written, by the clock of the store, in whole seconds
    return space.covers(moment, metadata.tags, tier)
