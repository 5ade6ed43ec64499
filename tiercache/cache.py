"""`Cache`: the front door. Values in, values out; each operation for callers that block and for those that await.

A fresh value in memory is answered at once, in a few hundred nanoseconds. Everything else is a flow, run by one of
the two drivers (`tiercache.flow`).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter_ns
from typing import Any, Self

from .backend import Backend
from .chain import TierChain
from .codec import decode
from .disk import DiskBackend
from .entry import AttributeValue, Clock, Metadata, check_clock
from .errors import CorruptEntry
from .factories import CacheOfFactories
from .flow import adrive, drive
from .flows.computed import ComputedFlows
from .keys import check_key, check_namespace
from .memory import MemoryBackend, Slot
from .options import OWN, Defaults
from .result import Result
from .savings import Ledger
from .stats import TierCounters
from .tier import Tier
from .units import Duration

DEFAULT_MEMORY = "256MiB"
_TAKE_EVERY = 63  # a mask: 1 hit in 64 is timed


class Cache(CacheOfFactories):
    """A cache of values in a chain of tiers.

    Args:
        chain: the tiers; left out: memory and a file in the user's cache directory (`TIERCACHE_DIR` moves it), which
            needs no server and survives a restart. A single backend is a chain of one tier.
        namespace: separates the keys of several caches on one store: letters, digits, `_`, `.`, `-`.
        ttl: seconds for which values stay fresh, a `timedelta` or text such as `"12h"`; None: for ever.
        stale_for: how long after its ttl a value is kept, and served by `get_or_set` while a newer one is made; None:
            not at all. This and the next five hold for calls that do not say it themselves: see `get_or_set`.
        stale_if_error: how long after its ttl a value is served when its factory fails; True: as long as it is kept.
        soft_timeout: how long a factory may take where there is an older value to serve; None: as long as it wants.
        timeout: how long a factory may take where there is none; None: as long as it wants.
        refresh_ahead: the last part of a ttl, 0 to 1, in which a value is made anew before it expires; None: it is not.
        negative_ttl: how long a None is kept; None: as any value.
        jitter: 0 to 1; each ttl is shortened by a random part of it, this much at most, so that what was stored
            together does not expire together. It is never lengthened.
        clock: returns Unix seconds; left out, the chain's. What is made here of a backend, or of nothing, takes it too.

    Failures of tiers are counted and skipped, never raised, unless the chain is `strict`. With `TIERCACHE_DISABLED=1`
    in the environment every read is a miss and nothing is stored.

    All operations may be called from any thread and any event loop; each has an `a…` twin to await.

    Raises:
        ConfigurationError: a namespace, a duration or a fraction that is none.
    """

    def __init__(
        self,
        chain: TierChain | Tier | Backend | None = None,
        *,
        namespace: str = "default",
        ttl: Duration | None = None,
        stale_for: Duration | None = None,
        stale_if_error: bool | Duration | None = None,
        soft_timeout: Duration | None = None,
        timeout: Duration | None = None,
        refresh_ahead: float | None = None,
        negative_ttl: Duration | None = None,
        jitter: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        now: Clock = time.time if clock is None else check_clock(clock)
        if os.environ.get("TIERCACHE_DISABLED", "") not in ("", "0"):
            chain = TierChain(clock=now)
        elif chain is None:
            chain = TierChain(MemoryBackend(DEFAULT_MEMORY, clock=now), DiskBackend(clock=now), clock=now)
        elif not isinstance(chain, TierChain):
            chain = TierChain(chain, clock=now)
        self.chain = chain
        self.namespace = check_namespace(namespace)
        defaults = Defaults.of(
            ttl=ttl,
            stale_for=stale_for,
            stale_if_error=stale_if_error,
            soft_timeout=soft_timeout,
            timeout=timeout,
            refresh_ahead=refresh_ahead,
            negative_ttl=negative_ttl,
            jitter=jitter,
        )
        self.ttl = defaults.ttl
        self._ahead = defaults.refresh_ahead
        self._flows = ComputedFlows(chain, namespace, defaults, clock or chain.clock)
        self._counters = self._flows.counters
        self.savings = Ledger()
        self._prefix = f"{namespace}:"
        self._memory = chain.memory
        self._fresh: Callable[[str], Slot | None]
        chain.switches.follow(self)  # sets it
        self._l1 = chain.tiers[0].counters if chain.tiers else TierCounters()
        self._tasks: set[asyncio.Task[Any]] = set()
        if chain.reporter is not None:
            chain.reporter.watch(self)
        self._advise()
        chain.serves(self)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Self:
        """Return the cache that a TOML file describes: `[cache]`, and its chain (see `TierChain.from_toml`).

        A file without `[[tiers]]` has those of `Cache()`: memory and disk.

        Raises:
            ConfigurationError: as for `TierChain.from_toml`.
        """
        from .config.loading import cache_from_toml

        return cache_from_toml(path, cls)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Return the cache that environment variables describe: `TIERCACHE_NAMESPACE`, `TIERCACHE_TTL` and so on.

        The chain is that of `TierChain.from_env`; where nothing says which tiers there are, memory and disk.

        Args:
            environ: the variables; None: those of this process.

        Raises:
            ConfigurationError: as for `TierChain.from_env`.
        """
        from .config.loading import cache_from_env

        return cache_from_env(environ, cls)

    # One key.

    def get(self, key: str, default: Any = None, type: type[Any] | None = None, allow_stale: bool = False) -> Any:
        """Return the fresh value of the key, or `default` (also when a tier fails or holds a broken entry).

        Args:
            key: text of up to 64 KiB, its namespace included.
            default: what a miss returns. (`lookup` tells a cached None from a miss.)
            type: the class to return, for models; a value that is not of it is a miss.
            allow_stale: where no tier has a fresh value, return one that is past its ttl and still kept.
        """
        try:
            slot = self._fresh(self._prefix + key)
        except TypeError:
            check_key(key)
            raise
        if slot is not None:
            counters = self._counters
            counters.hits = hits = counters.hits + 1
            self._l1.hits += 1
            if not hits & _TAKE_EVERY:
                self._time_hit(key)
            if type is None and slot.traits.codec == "bytes":
                return slot.payload
            try:
                return decode(slot.payload, slot.traits.codec, type)
            except CorruptEntry:
                self._uncount_hit()
        return drive(self._flows.get(key, default, type, allow_stale))

    async def aget(
        self, key: str, default: Any = None, type: type[Any] | None = None, allow_stale: bool = False
    ) -> Any:
        """`get`, awaited; a hit in memory does not give way to other tasks."""
        try:
            slot = self._fresh(self._prefix + key)
        except TypeError:
            check_key(key)
            raise
        if slot is not None:
            counters = self._counters
            counters.hits = hits = counters.hits + 1
            self._l1.hits += 1
            if not hits & _TAKE_EVERY:
                self._time_hit(key)
            if type is None and slot.traits.codec == "bytes":
                return slot.payload
            try:
                return decode(slot.payload, slot.traits.codec, type)
            except CorruptEntry:
                self._uncount_hit()
        return await adrive(self._flows.get(key, default, type, allow_stale))

    def lookup(self, key: str, default: Any = None, type: type[Any] | None = None) -> Result:
        """Return the value and where it came from; a stale value is shown too."""
        return drive(self._flows.lookup(key, default, type, allow_stale=True))

    async def alookup(self, key: str, default: Any = None, type: type[Any] | None = None) -> Result:
        """`lookup`, awaited."""
        return await adrive(self._flows.lookup(key, default, type, allow_stale=True))

    def set(
        self,
        key: str,
        value: Any,
        *,
        ttl: Duration | None = OWN,
        stale_for: Duration | None = OWN,
        tags: Iterable[str] = (),
        attributes: Mapping[str, AttributeValue] | None = None,
        storage_class: str | None = None,
    ) -> None:
        """Store the value in all tiers, replacing what was there.

        Args:
            key: text of up to 64 KiB, its namespace included.
            value: what `tiercache.codec` lists; it is copied.
            ttl: how long it is fresh; left out: the cache's; None: for ever.
            stale_for: how long after its ttl a stale copy is kept; left out: as the cache was told; None: not at all.
            tags: labels, stored with the entry; `invalidate_tags` goes by them.
            attributes: what people want to see later, such as model and price; stored with the entry.
            storage_class: the class that object stores keep it in, such as `"GLACIER_IR"`; left out: as the tier's
                `storage_classes` rules or the backend say. Tiers that have no such class go by those as well.

        Raises:
            UncacheableValue: no codec gives this value back unchanged. (A TypeError; names the path inside it.)
            InvalidKey, ConfigurationError: the key, the ttl or the class is none. (ValueErrors.)
        """
        full = self._flows.full(key)
        options = self._flows.options(ttl, stale_for, tags, attributes, storage_class)
        drive(self._flows.set(full, self._flows.entry(full, value, options)))

    async def aset(
        self,
        key: str,
        value: Any,
        *,
        ttl: Duration | None = OWN,
        stale_for: Duration | None = OWN,
        tags: Iterable[str] = (),
        attributes: Mapping[str, AttributeValue] | None = None,
        storage_class: str | None = None,
    ) -> None:
        """`set`, awaited; a caller that is cancelled leaves no half-done write behind.

        Into memory alone it does not give way to other tasks.
        """
        full = self._flows.full(key)
        options = self._flows.options(ttl, stale_for, tags, attributes, storage_class)
        await self._detached(self._flows.set(full, self._flows.entry(full, value, options)))

    def delete(self, key: str) -> bool:
        """Remove the value from all tiers; return whether any had one."""
        return drive(self._flows.delete(self._flows.full(key)))

    async def adelete(self, key: str) -> bool:
        """`delete`, awaited."""
        return await self._detached(self._flows.delete(self._flows.full(key)))

    def contains(self, key: str, *, allow_stale: bool = False) -> bool:
        """Return whether a tier has a fresh entry (or a stale one), without reading its payload where the store can."""
        return drive(self._flows.head(self._flows.full(key), allow_stale=allow_stale)) is not None

    async def acontains(self, key: str, *, allow_stale: bool = False) -> bool:
        """`contains`, awaited."""
        return await adrive(self._flows.head(self._flows.full(key), allow_stale=allow_stale)) is not None

    def metadata(self, key: str) -> Metadata | None:
        """Return what is known of a fresh entry, without its payload where the store can; None on a miss."""
        found = drive(self._flows.head(self._flows.full(key)))
        return found and found[0]

    async def ametadata(self, key: str) -> Metadata | None:
        """`metadata`, awaited."""
        found = await adrive(self._flows.head(self._flows.full(key)))
        return found and found[0]

    def touch(self, key: str, ttl: Duration | None = OWN) -> bool:
        """Let the value expire `ttl` from now (left out: the cache's; None: never); False on a miss.

        The entry is written again, with the tags, attributes and storage class that it has.
        """
        return drive(self._flows.touch(self._flows.full(key), self._flows.expiry(ttl)))

    async def atouch(self, key: str, ttl: Duration | None = OWN) -> bool:
        """`touch`, awaited."""
        return await self._detached(self._flows.touch(self._flows.full(key), self._flows.expiry(ttl)))

    def switched(self) -> None:
        """The chain's switches have changed: hits in memory are answered as they say from now on."""
        self._fresh = self.chain.reader(self.namespace)

    def __reduce__(self) -> str:
        raise TypeError("a Cache cannot be sent to another process: make it in the other process, from the same URLs")

    def __repr__(self) -> str:
        return f"<Cache {self.namespace!r} on {self.chain!r}>"

    def _hit(self, key: str) -> Slot | None:
        """Find a fresh value in memory and count it; `get` and `aget` do the same without this call."""
        try:
            slot = self._fresh(self._prefix + key)
        except TypeError:
            check_key(key)
            raise
        if slot is not None:
            counters = self._counters
            counters.hits = hits = counters.hits + 1
            self._l1.hits += 1
            if not hits & _TAKE_EVERY:
                self._time_hit(key)
        return slot

    def _uncount_hit(self) -> None:
        """What memory holds is not of the type that was asked for: the flow counts it as what it is."""
        self._counters.hits -= 1
        self._l1.hits -= 1

    def _time_hit(self, key: str) -> None:
        recorded = self.chain.recorder is not None
        fresh = self.chain.reader(self.namespace, recorded=False) if recorded else self._fresh
        start = perf_counter_ns()
        fresh(self._prefix + key)
        self._l1.read_latency.record(perf_counter_ns() - start)
        self.chain.epochs.waken()  # a forked child that is only read from memory has to hear of others, too
        if self._memory is not None:
            self._memory.sweep()  # so that a cache which is only read frees what has expired, too

    def _advise(self) -> None:
        """Let object stores say, now that the TTL is known, whether their storage class suits it."""
        for tier in self.chain.tiers:
            advise = getattr(tier.backend, "advise", None)
            if advise is not None and tier.write != "never":
                lives = [seconds for seconds in (self.ttl, tier.max_ttl) if seconds is not None]
                advise(min(lives, default=None), tier.common_class)
