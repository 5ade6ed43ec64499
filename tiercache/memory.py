"""`MemoryBackend`: entries in this process, bounded by bytes and by number.

A slot holds what a hit needs; `Entry` and `Metadata` are made from it when somebody asks for them. Reads take no
lock: each touches the table with single operations of C code, which the interpreter does not interrupt.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import msgspec
from blake3 import blake3

from . import fork
from .backend import Backend
from .entry import AttributeValue, Clock, Entry, Metadata
from .epochs.marks import NEVER, NONE, Marks
from .errors import CacheClosed, ConfigurationError, CorruptEntry, EntryTooLarge
from .eviction import EvictionPolicy, ExpiryIndex, RankHeap
from .units import Size, parse_size

ENTRY_OVERHEAD = 280
"""Bytes that an entry costs beyond key and payload (measured: `make bench`), counted toward `max_bytes`."""
SWEEP = 32
"""Expired entries that one write frees at most."""
_USE = 1 << 40
"""A use, above the bits of `Slot.rank` that number the entries in the order in which they were stored."""


class Traits(msgspec.Struct, frozen=True):
    """What many entries have in common: one object for all vectors of a model, say. Spans are whole seconds.

    `label_bytes` is what tags and attributes take; it is counted for each entry that has them. `lag` is how long before
    `created_at` the load began; `as_of` stands for it where the two moments have no exact distance.
    """

    label_bytes: int
    codec: str
    ttl: float | None = None
    stale_for: float | None = None
    stale_until: float | None = None
    lag: float | None = None
    as_of: float | None = None
    tags: tuple[str, ...] = ()
    attributes: tuple[tuple[str, AttributeValue], ...] = ()


class Slot(msgspec.Struct, gc=False):
    """A stored entry, compact: 48 bytes, and one float; no key, no dict; infinity stands for never.

    `created_at` is None where `fresh_until` less the ttl is exactly that moment.
    """

    payload: bytes
    fresh_until: float
    created_at: float | None
    traits: Traits

    @property
    def gone_at(self) -> float:
        """When the entry may be dropped."""
        traits = self.traits
        if traits.stale_for is not None:
            return self.fresh_until + traits.stale_for
        return self.fresh_until if traits.stale_until is None else traits.stale_until

    @property
    def made_at(self) -> float:
        """When the entry was made."""
        return self.fresh_until - (self.traits.ttl or 0.0) if self.created_at is None else self.created_at

    @property
    def moment(self) -> float:
        """When the load that made the entry began: what marks are compared with."""
        traits = self.traits
        if traits.as_of is not None:
            return traits.as_of
        return self.made_at if traits.lag is None else self.made_at - traits.lag

    def metadata(self, key: str) -> Metadata:
        """Return the metadata, a copy of its own for each caller."""
        traits, fresh_until = self.traits, self.fresh_until
        return Metadata(
            key=key,
            created_at=self.made_at,
            expires_at=None if fresh_until == math.inf else fresh_until,
            stale_until=traits.stale_until if traits.stale_for is None else fresh_until + traits.stale_for,
            as_of=traits.as_of if traits.lag is None else self.moment,
            codec=traits.codec,
            size=len(self.payload),
            tags=traits.tags,
            attributes=dict(traits.attributes),
        )

    def etag(self) -> str:
        """Return a version made of the content."""
        text = f"{self.made_at} {self.fresh_until} {self.gone_at} {self.traits.codec}"
        return blake3(self.payload).update(text.encode()).hexdigest(16)


class RankedSlot(Slot, gc=False):
    """The slot of the policies that keep a heap; `rank` is the policy's."""

    rank: int = 0


class MemoryBackend(Backend):
    """The first tier: entries in a dict of this process, gone with it.

    Args:
        max_bytes: room for keys, payloads, tags, attributes and 280 bytes an entry, such as `"256MiB"`; None: no bound.
        max_entries: number of entries at most; None: no bound.
        eviction: what leaves first when it is full: `lru`, `lfu`, `fifo` or `ttl`.
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
        self._slots: dict[str, Any] = OrderedDict() if self.eviction is EvictionPolicy.LRU else {}
        self._slot: type[Slot] = RankedSlot if self.eviction in (EvictionPolicy.LFU, EvictionPolicy.TTL) else Slot
        self._traits: dict[Any, Traits] = {}
        self._bytes = 0
        self._stored = 0
        self._expiry = ExpiryIndex()
        self._tagged: dict[str, set[str]] = {}
        self._marks: dict[str, Marks] = {}
        self._heap: RankHeap[RankedSlot] | None = None
        # What a hit does besides finding the slot; None: nothing.
        self._touch: Callable[[str], None] | None = None
        if isinstance(self._slots, OrderedDict):
            self._touch = self._slots.move_to_end
        elif self.eviction is EvictionPolicy.LFU:
            self._touch = self._count_use
            self._heap = RankHeap(self._slots, lambda slot: (slot.rank, 0))
        elif self.eviction is EvictionPolicy.TTL:
            self._heap = RankHeap(self._slots, lambda slot: (slot.gone_at, slot.rank))

    def reader(self) -> Callable[[str], Slot | None]:
        """Return the function that answers hits: the slot of a fresh entry, its use counted; None: ask `get`.

        A closure, because looking up attributes of `self` would be a fifth of the some 200 ns that it takes.
        """
        find: Callable[[str], Slot | None] = self._slots.get
        touch, clock, never = self._touch, self._clock, math.inf

        def fresh(key: str) -> Slot | None:
            slot = find(key)
            if slot is None:
                return None
            fresh_until = slot.fresh_until
            if fresh_until != never and fresh_until <= clock():  # the clock is the dearest part of a hit
                return None
            if touch is not None:
                try:  # noqa: SIM105 - contextlib.suppress would double the cost of a hit
                    touch(key)
                except KeyError:
                    pass  # evicted by another thread since it was found; what was found is still good
            return slot

        return fresh

    def get(self, key: str, *, deadline: float | None = None) -> Entry | None:
        """Return the entry, stale ones included; None when it is absent or expired."""
        slot = self._live(key)
        if slot is None:
            return None
        if self._touch is not None and key in self._slots:
            with self._lock:
                if key in self._slots:
                    self._touch(key)
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
        slot = self._slot_of(entry)
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
            size = _size(key, slot)
            if self.max_bytes is not None and size > self.max_bytes:
                raise EntryTooLarge(f"the entry takes {size:,} bytes, max_bytes is {self.max_bytes:,}")
            if self._expiry.records:
                self._sweep(now, SWEEP)
            self._make_room(size)
            if isinstance(slot, RankedSlot):
                self._stored += 1
                slot.rank = self._stored + (old.rank // _USE * _USE if isinstance(old, RankedSlot) else 0)
            self._slots[key] = slot
            self._bytes += size
            for tag in slot.traits.tags:
                self._tagged.setdefault(tag, set()).add(key)
            if self._heap is not None:
                self._heap.push(key)
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

    def _slot_of(self, entry: Entry) -> Slot:
        metadata = entry.metadata
        expires_at, stale_until = metadata.expires_at, metadata.stale_until
        ttl = stale_for = None
        if expires_at is not None:
            ttl = _apart(metadata.created_at, expires_at)
            if stale_until is not None and (stale_for := _apart(expires_at, stale_until)) is not None:
                stale_until = None
        as_of, lag = metadata.as_of, None
        if as_of is not None:
            apart = metadata.created_at - as_of
            if metadata.created_at - apart == as_of:
                as_of, lag = None, apart
        identity: Any = (metadata.codec, ttl)
        traits: tuple[Any, ...]
        if (
            metadata.attributes
            or metadata.tags
            or stale_for is not None
            or stale_until is not None
            or metadata.as_of is not None
        ):
            attributes = tuple(metadata.attributes.items())
            traits = (metadata.codec, ttl, stale_for, stale_until, lag, as_of, metadata.tags, attributes)
            # 1, 1.0 and True are equal, as are 0.0 and -0.0, and must not stand for each other.
            exact = [repr(value) if type(value) is float else type(value) for _, value in attributes]
            identity = (traits, repr(lag), repr(as_of), *exact)
        else:
            traits = identity
        shared = self._traits.get(identity)
        if shared is None:
            if len(self._traits) >= 256:
                self._traits.clear()
            shared = self._traits[identity] = Traits(_label_bytes(metadata), *traits)
        return self._slot(
            entry.payload,
            math.inf if expires_at is None else expires_at,
            metadata.created_at if ttl is None else None,
            shared,
        )

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
        slot = self._slots.pop(key)
        self._bytes -= _size(key, slot)
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
            victim = self._heap.lowest() if self._heap is not None else None
            self._remove(self._first() if victim is None else victim, "size")

    def _first(self) -> str:
        while True:
            try:
                return next(iter(self._slots))
            except RuntimeError:  # a reader, which takes no lock, moved an entry between the two steps
                continue

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

    def _count_use(self, key: str) -> None:
        self._slots[key].rank += _USE

    def _check_open(self) -> None:
        if self.closed:
            raise CacheClosed("this MemoryBackend")


def _size(key: str, slot: Slot) -> int:
    """Return the bytes that count toward `max_bytes`."""
    return len(key) + len(slot.payload) + ENTRY_OVERHEAD + slot.traits.label_bytes


def _apart(earlier: float, later: float) -> float | None:
    """Return the seconds between, if they are whole and lead exactly from each moment to the other."""
    seconds = float(later - earlier)
    return seconds if seconds.is_integer() and later - seconds == earlier and earlier + seconds == later else None


def _label_bytes(metadata: Metadata) -> int:
    values = [value for value in metadata.attributes.values() if isinstance(value, str)]
    labels = [*metadata.tags, *metadata.attributes, *values]
    return sum(len(label) + 60 for label in labels)  # a str costs 50 to 60 bytes beside its letters


class _Closed(dict[str, Slot]):
    """Takes the table's place after `close`, so that open caches pay nothing for the check."""

    def get(self, *_: Any) -> Any:
        raise CacheClosed("this MemoryBackend")
