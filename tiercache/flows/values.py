"""From values to entries and back: the flows behind each operation of `Cache`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import codec
from ..chain import TierChain
from ..entry import AttributeValue, Clock, Entry, Metadata
from ..errors import CorruptEntry
from ..fence import Load
from ..keys import MAX_KEY_BYTES, check_key
from ..noted import passed_over, watching
from ..options import OWN, Defaults, Options, given, shortened
from ..result import Result
from ..stats import CacheCounters
from ..tier import Tier
from ..units import Duration, parse_duration
from . import invalidate, read, write

CACHE_TTL = OWN
"""Stands for "the cache's own ttl" where None would mean "never expires"."""
_SURELY_SHORT = MAX_KEY_BYTES // 4
"""Characters that in UTF-8 take no more than a key may have."""


class ValueFlows:
    """The flows of one namespace."""

    def __init__(self, chain: TierChain, namespace: str, defaults: Defaults, clock: Clock) -> None:
        self.chain = chain
        self.prefix = f"{namespace}:"
        self.defaults = defaults
        self.clock = clock
        self.counters = CacheCounters()

    def full(self, key: str) -> str:
        """Return the stored key of a valid key; with its namespace, too, it may have 64 KiB."""
        full = self.prefix + check_key(key)
        return full if len(full) < _SURELY_SHORT else check_key(full)

    def fulls(self, keys: Iterable[str]) -> list[str]:
        """Return the stored keys of valid keys, each once, in their order."""
        if isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable):
            raise TypeError(f"keys must be a list of str, not one {type(keys).__name__}")
        return list(dict.fromkeys([self.full(key) for key in keys]))

    def options(
        self,
        ttl: Duration | None,
        stale_for: Duration | None,
        tags: Iterable[str],
        attributes: Mapping[str, AttributeValue] | None,
        storage_class: str | None = None,
    ) -> Options:
        """Check what the caller says about an entry."""
        name = None if storage_class is None else self.chain.check_class(storage_class)
        stale = given(stale_for, self.defaults.keeps_for, "stale_for")
        return Options(self._seconds(ttl), stale, tags, attributes, name)

    def expiry(self, ttl: Duration | None) -> float | None:
        """Return the moment at which something made now expires."""
        seconds = self._seconds(ttl)
        return None if seconds is None else self.clock() + seconds

    def entry(self, full: str, value: Any, options: Options, began: float | None = None) -> Entry:
        """Return the entry of a value, whose load began at that moment; raises UncacheableValue."""
        now = self.clock()
        as_of = self.chain.epochs.as_of(full, now) if began is None else None
        payload, name = codec.encode(value)
        expires_at = None if options.ttl is None else now + shortened(options.ttl, self.defaults.jitter)
        stale_until = None if expires_at is None or options.stale_for is None else expires_at + options.stale_for
        metadata = Metadata(
            key=full,
            created_at=now,
            expires_at=expires_at,
            stale_until=stale_until,
            as_of=as_of,
            codec=name,
            size=len(payload),
            tags=options.tags,
            attributes=options.attributes,
        )
        entry = Entry(payload, metadata, storage_class=options.storage_class)
        return entry if began is None else self.chain.epochs.stamped(entry, began)

    async def get(self, key: str, default: Any, type: type[Any] | None, allow_stale: bool = False) -> Any:
        """Return the fresh value, or the default."""
        found = await read.read(self.chain, self.full(key), allow_stale=allow_stale)
        if found is not None:
            try:
                value = self.decode(found, type)
            except CorruptEntry:
                pass  # counted by `decode`
            else:
                self.counters.hits += 1
                self._note(found)
                return value
        self.counters.misses += 1
        return default

    async def lookup(self, key: str, default: Any, type: type[Any] | None, *, allow_stale: bool) -> Result:
        """Return the value and where it came from."""
        found = await read.read(self.chain, self.full(key), allow_stale=allow_stale)
        if found is not None:
            result = self._result(found, type)
            if result is not None:
                self.counters.hits += 1
                self._note(found)
                return result
        self.counters.misses += 1
        return Result(default)

    def decode(self, found: read.Found, type: type[Any] | None) -> Any:
        """Return the value of an entry; a payload that is none is counted and raised as CorruptEntry."""
        try:
            return codec.decode(found.entry.payload, found.entry.metadata.codec, type)
        except CorruptEntry as error:
            found.tier.failed(error)
            passed_over(found.tier.label, "undecodable")
            raise

    async def head(self, full: str, *, allow_stale: bool = False) -> tuple[Metadata, Tier] | None:
        """Return the metadata of a fresh entry, or of a stale one where that will do, and its tier."""
        return await read.head(self.chain, full, allow_stale=allow_stale)

    async def set(self, full: str, entry: Entry) -> None:
        """Store an entry."""
        self.counters.puts += 1
        await write.write(self.chain, full, entry)

    async def set_loaded(self, load: Load, entry: Entry) -> bool:
        """Store what was begun earlier, unless its key was changed since; return whether it was stored."""
        self.counters.puts += 1
        return await write.write_loaded(self.chain, load, entry)

    async def delete(self, full: str) -> bool:
        """Remove an entry."""
        removed = await write.delete(self.chain, full)
        self.counters.deletes += removed
        return removed

    async def touch(self, full: str, expires_at: float | None) -> bool:
        """Give an entry another end."""
        return await write.touch(self.chain, full, expires_at)

    async def clear(self, namespace: str, *, purge: bool) -> None:
        """Make every entry of the namespace a miss."""
        await invalidate.clear(self.chain, namespace, purge=purge)

    async def invalidate_tags(self, namespace: str, tags: Iterable[str]) -> None:
        """Make every entry that carries one of the tags a miss."""
        await invalidate.invalidate_tags(self.chain, namespace, tags)

    def _result(self, found: read.Found, type: type[Any] | None) -> Result | None:
        metadata = found.entry.metadata
        try:
            value = self.decode(found, type)
        except CorruptEntry:
            return None
        return self.result_of(value, found.tier.label, metadata)

    def _note(self, found: read.Found) -> None:
        if (watcher := watching.get()) is not None:
            stale = found.entry.metadata.is_stale(self.clock())
            watcher.answered(found.tier.label, "stale" if stale else "hit")

    def result_of(self, value: Any, tier: str, metadata: Metadata) -> Result:
        """Return the result of a hit in the tier of that name."""
        now = self.clock()
        return Result(
            value,
            hit=True,
            tier=tier,
            age=metadata.age(now),
            ttl=metadata.ttl(now),
            is_stale=metadata.is_stale(now),
            metadata=metadata,
        )

    def _seconds(self, ttl: Duration | None) -> float | None:
        if ttl is CACHE_TTL:
            return self.defaults.ttl
        return None if ttl is None else parse_duration(ttl, "ttl")
