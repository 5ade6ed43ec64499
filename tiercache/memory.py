"""`MemoryBackend`: entries in this process, bounded by bytes and by number.

A slot (`tiercache.slots`) holds what a hit needs; `Entry` and `Metadata` are made from it when somebody asks for them.
Reads take no lock: each touches the table with single operations of C code, which the interpreter does not interrupt.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import msgspec

from . import fork
from .backend import Backend
from .entry import Clock, Entry, Metadata
from .epochs.marks import NEVER, NONE, Marks
from .errors import CacheClosed, ConfigurationError, CorruptEntry, EntryTooLarge
from .eviction import EvictionPolicy, ExpiryIndex, order_of, table_for
from .hits import Reader, reader_of
from .slots import ENTRY_OVERHEAD, QueuedSlot, RankedSlot, Slot, SlotMaker, size_of
from .units import Size, parse_size

__all__ = ["ENTRY_OVERHEAD", "SWEEP", "MemoryBackend", "Slot"]

SWEEP = 32
"""Expired entries that one write frees at most."""
KINDS: dict[EvictionPolicy, type[Slot]] = {
    EvictionPolicy.LFU: RankedSlot,
    EvictionPolicy.TTL: RankedSlot,
    EvictionPolicy.SIEVE: QueuedSlot,
    EvictionPolicy.S3FIFO: QueuedSlot,
}


class MemoryBackend(Backend):
    """The first tier: entries in a dict of this process, gone with it.

    Args:
        max_bytes: room for keys, payloads, tags, attributes and 280 bytes an entry, such as `"256MiB"`; None: no bound.
        max_entries: number of entries at most; None: no bound.
        eviction: what leaves first when it is full: `lru`, `lfu`, `fifo`, `ttl`, `sieve` or `s3fifo` (`EvictionPolicy`;
            `tiercache plan` tells which suits your requests).
        clock: returns Unix seconds; tests pass their own.

    Expired entries are freed by later operations, up to 32 by each write and by 1 hit in 64, and by `len()` and
    `usage()`; no thread runs. `removals` counts why entries left: `explicit`, `replaced`, `expired`, `size`,
    `invalidated`.

    Raises:
        ConfigurationError: an unknown eviction policy, or a bound that is no positive number.
    """

    scheme: ClassVar[str] = "memory"
    persistent = False
    timeout: float | None = None

    def __init__(
        self,
        max_bytes: Size | None = None,
        max_entries: int | None = None,
        eviction: str = EvictionPolicy.LRU,
        *,
        clock: Clock = time.time,
    ) -> None:
        try:
            self.eviction = EvictionPolicy(eviction)
        except ValueError:
            known = ", ".join(EvictionPolicy)
            raise ConfigurationError(f"eviction={eviction!r} is unknown; choose one of {known}") from None
        if max_entries is not None and (type(max_entries) is not int or max_entries < 1):
            raise ConfigurationError(f"max_entries={max_entries!r} must be a positive integer, or None for no bound")
        self.max_bytes = None if max_bytes is None else parse_size(max_bytes, "max_bytes")
        self.max_entries = max_entries
        self.removals: Counter[str] = Counter()
        self._clock = clock
        self._lock = threading.RLock()
        self._reset()
        fork.register(self)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Return a backend made from environment variables; what is empty counts as not set.

        Args:
            env: read for `TIERCACHE_MEMORY_MAX_BYTES`, `TIERCACHE_MEMORY_MAX_ENTRIES` and `TIERCACHE_MEMORY_EVICTION`;
                None: those of this process.
            options: arguments of the constructor; they come before the variables.

        Raises:
            ConfigurationError: a variable holds something else.
        """
        env = os.environ if env is None else env  # as a default it would stand in help()
        names = {name: f"TIERCACHE_MEMORY_{name.upper()}" for name in ("max_bytes", "max_entries", "eviction")}
        found: dict[str, Any] = {name: env[variable] for name, variable in names.items() if env.get(variable)}
        if "max_entries" in found:
            text = found["max_entries"]
            if not text.isdecimal():
                raise ConfigurationError("TIERCACHE_MEMORY_MAX_ENTRIES must be a whole number")
            found["max_entries"] = int(text)
        return cls(**found | options)

    def _reset(self) -> None:
        self._slots: dict[str, Any] = table_for(self.eviction)
        self._order = order_of(self.eviction, self._slots, size_of if self.max_bytes is not None else _one)
        self._make = SlotMaker(KINDS.get(self.eviction, Slot))
        self._bytes = 0
        self._expiry = ExpiryIndex()
        self._tagged: dict[str, set[str]] = {}
        self._marks: dict[str, Marks] = {}

    def reader(self) -> Reader:
        """Return the function that answers hits: the slot of a fresh entry, its use counted; None: ask `get`."""
        return reader_of(self.eviction, self._order, self._clock)

    def get(self, key: str, *, deadline: float | None = None) -> Entry | None:
        """Return the entry, stale ones included; None when it is absent or expired."""
        slot = self._live(key)
        if slot is None:
            return None
        order = self._order
        if order.mark is not None:
            order.mark(slot)
        elif order.touch is not None and key in self._slots:
            with self._lock:
                if key in self._slots:
                    order.touch(key)
        return Entry(slot.payload, slot.metadata(key))

    def head(self, key: str, *, deadline: float | None = None) -> Metadata | None:
        """Return the metadata, with the `etag` that `put(if_match=…)` takes; None as for `get`. No use is counted."""
        slot = self._live(key)
        return None if slot is None else msgspec.structs.replace(slot.metadata(key), etag=slot.etag())

    def put(
        self,
        key: str,
        entry: Entry,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        deadline: float | None = None,
    ) -> bool:
        """Store the entry, evicting others as needed; the one it replaces is gone in any case.

        Raises:
            EntryTooLarge: it alone exceeds `max_bytes`.
            CorruptEntry: its times are not numbers.
        """
        slot = self._make.of(entry)
        gone_at = slot.gone_at
        if math.isnan(slot.fresh_until) or math.isnan(gone_at):
            raise CorruptEntry("the entry's times are not numbers; it would never expire")
        now = self._clock()
        with self._lock:
            self._check_open()
            old = self._live(key)
            if (if_absent and old is not None) or (if_match is not None and (old is None or old.etag() != if_match)):
                return False
            if old is not None:
                self._remove(key, "replaced")
            if not entry.metadata.is_usable(now):
                self.removals["expired"] += 1  # stored and expired at once
                return True
            if self._marks and self._is_dead(key, entry.metadata):
                self.removals["invalidated"] += 1  # what was invalidated while it was on its way never gets in
                return True
            size = size_of(key, slot)
            if self.max_bytes is not None and size > self.max_bytes:
                raise EntryTooLarge(f"the entry takes {size:,} bytes, max_bytes is {self.max_bytes:,}")
            if self._expiry.records:
                self._sweep(now, SWEEP)
            self._make_room(size)
            self._slots[key] = slot
            self._bytes += size
            for tag in slot.traits.tags:
                self._tagged.setdefault(tag, set()).add(key)
            self._order.add(key, slot, old)
            if gone_at != math.inf:
                self._index(key, gone_at, now)
        return True

    def delete(self, key: str, *, deadline: float | None = None) -> bool:
        """Remove the entry and return whether there was one that had not expired."""
        with self._lock:
            self._check_open()
            return self._live(key) is not None and self._remove(key, "explicit")

    def scan(
        self, prefix: str = "", *, full: bool = False, deadline: float | None = None
    ) -> Iterator[tuple[str, Metadata]]:
        """Yield the live entries of the moment at which the first one is asked for."""
        with self._lock:
            self._check_open()
            found = [(key, self._slots[key]) for key in list(self._slots) if key.startswith(prefix)]
        now = self._clock()
        for key, slot in found:
            if now < slot.gone_at:
                yield key, slot.metadata(key)

    def clear(self, prefix: str = "", *, deadline: float | None = None) -> int:
        """Delete every entry whose key starts with `prefix`; return how many had not expired."""
        with self._lock:
            self._check_open()
            keys = [key for key in list(self._slots) if key.startswith(prefix)]
            return sum(self.delete(key) for key in keys)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return isinstance(self._slots, _Closed)

    def forget(self) -> None:
        """Delete every entry in one step, however many there are."""
        with self._lock:
            self._check_open()
            self.removals["explicit"] += len(self._slots)
            self._slots.clear()
            self._order.clear()
            self._tagged.clear()
            self._bytes = 0
            self._expiry.clear()

    def invalidate(self, namespace: str, marks: Marks) -> int:
        """Remove what is dead by these marks, refuse it from now on, and return how many entries that were.

        What concerns tags alone is found by an index; an epoch costs a look at every key.
        """
        prefix = f"{namespace}:"
        with self._lock:
            before = self._marks.get(namespace, NONE)
            after = before.merged(marks)
            if after is before:
                return 0
            self._marks[namespace] = after
            news = after.beyond(before)
            tagged = [key for tag in news.tags for key in self._tagged.get(tag, ())]
            return sum(
                self._remove(key, "invalidated")
                for key in (tagged if news.epoch == NEVER else list(self._slots))
                if key.startswith(prefix)
                and (slot := self._slots.get(key)) is not None
                and after.cover(slot.moment, slot.traits.tags)
            )

    def ping(self, *, deadline: float | None = None) -> None:
        """Return: memory is always there until it is closed."""
        self._check_open()

    def after_fork(self) -> None:
        """Make the lock anew: a thread of the parent may have held it."""
        self._lock = threading.RLock()

    def sweep(self, limit: int = SWEEP) -> None:
        """Free up to `limit` expired entries; writes, and 1 hit in 64 through a `Cache`, do so by themselves."""
        if self._expiry.is_due(self._clock()):
            with self._lock:
                self._sweep(self._clock(), limit)

    def usage(self) -> tuple[int, int]:
        """Return the number of live entries and the bytes they take, after freeing what has expired."""
        with self._lock:
            now = self._clock()
            self._sweep(now, self._expiry.records)
            for key in self._expiry.begun(now):
                self._live(key)
            return len(self._slots), self._bytes

    def __len__(self) -> int:
        return self.usage()[0]

    def close(self) -> None:
        """Free everything; afterwards every operation raises `CacheClosed`."""
        with self._lock:
            self._slots.clear()  # readers that were handed out find nothing, and ask `get`
            self._reset()
            self._slots = _Closed()
        super().close()

    async def aget(self, key: str, *, deadline: float | None = None) -> Entry | None:
        """`get`, awaited (nothing here ever waits)."""
        return self.get(key)

    async def ahead(self, key: str, *, deadline: float | None = None) -> Metadata | None:
        """`head`, awaited."""
        return self.head(key)

    async def aput(
        self,
        key: str,
        entry: Entry,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        deadline: float | None = None,
    ) -> bool:
        """`put`, awaited."""
        return self.put(key, entry, if_absent=if_absent, if_match=if_match)

    async def adelete(self, key: str, *, deadline: float | None = None) -> bool:
        """`delete`, awaited."""
        return self.delete(key)

    async def aget_many(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Entry]:
        """`get_many`, awaited."""
        return self.get_many(keys)

    async def aput_many(self, entries: Mapping[str, Entry], *, deadline: float | None = None) -> None:
        """`put_many`, awaited."""
        self.put_many(entries)

    async def adelete_many(self, keys: Sequence[str], *, deadline: float | None = None) -> int:
        """`delete_many`, awaited."""
        return self.delete_many(keys)

    async def ascan(
        self, prefix: str = "", *, full: bool = False, deadline: float | None = None
    ) -> AsyncIterator[tuple[str, Metadata]]:
        """`scan`, awaited."""
        for item in self.scan(prefix):
            yield item

    async def aclear(self, prefix: str = "", *, deadline: float | None = None) -> int:
        """`clear`, awaited."""
        return self.clear(prefix)

    async def aping(self, *, deadline: float | None = None) -> None:
        """`ping`, awaited."""
        self.ping()

    def _is_dead(self, key: str, metadata: Metadata) -> bool:
        marks = self._marks.get(key[: key.find(":")], NONE)
        return marks.cover(metadata.loaded_at, metadata.tags)

    def _live(self, key: str) -> Slot | None:
        slot = self._slots.get(key)
        if slot is None or self._clock() < slot.gone_at:
            return slot
        with self._lock:
            if self._slots.get(key) is slot:
                self._remove(key, "expired")
        return None

    def _remove(self, key: str, cause: str) -> bool:
        self._order.discard(key, self._slots[key])
        return self._take(key, cause)

    def _take(self, key: str, cause: str) -> bool:
        slot = self._slots.pop(key)
        self._bytes -= size_of(key, slot)
        self.removals[cause] += 1
        for tag in slot.traits.tags:
            keys = self._tagged.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._tagged[tag]
        return True

    def _make_room(self, size: int) -> None:
        while self._slots and (
            (self.max_bytes is not None and self._bytes + size > self.max_bytes)
            or (self.max_entries is not None and len(self._slots) >= self.max_entries)
        ):
            self._take(self._order.evict(), "size")

    def _index(self, key: str, gone_at: float, now: float) -> None:
        if self._expiry.records > 2 * len(self._slots) + 1000:  # overwritten entries leave records behind
            self._expiry.clear()
            for other in list(self._slots):
                slot = self._slots[other]
                if slot.gone_at != math.inf and other != key:
                    self._expiry.add(other, slot.gone_at, now)
        self._expiry.add(key, gone_at, now)

    def _sweep(self, now: float, limit: int) -> None:
        for key in self._expiry.take_due(now, limit):
            slot = self._slots.get(key)
            if slot is not None and slot.gone_at <= now:
                self._remove(key, "expired")

    def _check_open(self) -> None:
        if self.closed:
            raise CacheClosed("this MemoryBackend")


def _one(key: str, slot: Slot) -> int:
    """Stands for `size_of` where entries are counted, not bytes."""
    return 1


class _Closed(dict[str, Slot]):
    """Takes the table's place after `close`, so that open caches pay nothing for the check."""

    def get(self, *_: Any) -> Any:
        raise CacheClosed("this MemoryBackend")
