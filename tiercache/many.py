"""`CacheOfMany`: what `Cache` does with many keys at once, a batch a tier, and with a whole namespace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from .entry import AttributeValue, Entry
from .flow import Flow, adrive, drive
from .flows import batch
from .flows.values import CACHE_TTL
from .result import Result
from .units import Duration
from .upkeep import CacheUpkeep

T = TypeVar("T")


class CacheOfMany(CacheUpkeep):
    """The part of `Cache` that is about many keys."""

    _tasks: set[asyncio.Task[Any]]

    def get_many(self, keys: Iterable[str], *, type: type[Any] | None = None) -> dict[str, Any]:
        """Return the values that are there, in the order of `keys`: one batch a tier."""
        return drive(self._flows.get_many(keys, type))

    async def aget_many(self, keys: Iterable[str], *, type: type[Any] | None = None) -> dict[str, Any]:
        """`get_many`, awaited."""
        return await adrive(self._flows.get_many(keys, type))

    def lookup_many(self, keys: Iterable[str], *, type: type[Any] | None = None) -> dict[str, Result]:
        """Return value and origin of each key that has a fresh value, in the order of `keys`: one batch a tier."""
        return drive(self._flows.lookup_many(keys, type))

    async def alookup_many(self, keys: Iterable[str], *, type: type[Any] | None = None) -> dict[str, Result]:
        """`lookup_many`, awaited."""
        return await adrive(self._flows.lookup_many(keys, type))

    def set_many(
        self,
        items: Mapping[str, Any],
        *,
        ttl: Duration | None = CACHE_TTL,
        stale_for: Duration | None = None,
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
        ttl: Duration | None = CACHE_TTL,
        stale_for: Duration | None = None,
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

        Entries that a listing does not know to have expired are among them. A tier that fails is left out.
        """
        seen: set[str] = set()
        for tier in self.chain.tiers:
            try:
                for key, _ in tier.backend.scan(self._prefix + prefix):
                    if key not in seen:
                        seen.add(key)
                        yield key[len(self._prefix) :]
            except Exception as error:  # noqa: BLE001 - sorted by the tier, as for every other call
                self._leave_out(tier, error)

    async def akeys(self, prefix: str = "") -> AsyncIterator[str]:
        """`keys`, to iterate with `async for`."""
        seen: set[str] = set()
        for tier in self.chain.tiers:
            try:
                async for key, _ in tier.backend.ascan(self._prefix + prefix):
                    if key not in seen:
                        seen.add(key)
                        yield key[len(self._prefix) :]
            except Exception as error:  # noqa: BLE001 - sorted by the tier, as for every other call
                self._leave_out(tier, error)

    def warm(self, keys: Iterable[str]) -> int:
        """Copy entries up into all faster tiers, without deadlines; return how many were found."""
        return drive(self._flows.warm(self._flows.fulls(keys)))

    async def awarm(self, keys: Iterable[str]) -> int:
        """`warm`, awaited."""
        return await adrive(self._flows.warm(self._flows.fulls(keys)))

    def warm_with(self, items: Mapping[str, Any], *, ttl: Duration | None = CACHE_TTL) -> None:
        """Fill the fast tiers (all but the last) from known values, leaving the slow one alone; one tier: fill it."""
        drive(self._flows.set_many(self._entries(items, ttl, None, (), None), fast_only=True))

    async def awarm_with(self, items: Mapping[str, Any], *, ttl: Duration | None = CACHE_TTL) -> None:
        """`warm_with`, awaited."""
        await self._detached(self._flows.set_many(self._entries(items, ttl, None, (), None), fast_only=True))

    def clear(self, *, purge: bool = False) -> None:
        """Delete every entry of this namespace from all tiers.

        Args:
            purge: delete the bytes too. In this release both do, at the price of a listing.
        """
        drive(batch.clear(self.chain, self._prefix))

    async def aclear(self, *, purge: bool = False) -> None:
        """`clear`, awaited."""
        await self._detached(batch.clear(self.chain, self._prefix))

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
        """Run a mutation in a task of its own, which goes on when its caller is cancelled."""
        task = asyncio.create_task(adrive(flow))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)
