"""What reaches each tier: what memory misses goes to Redis, what Redis misses to the store, which keeps all of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from ..eviction import EvictionPolicy
from ..pricing import DAY, MONTH
from ..slots import ENTRY_OVERHEAD
from .simulation import Level
from .trace import DELETE, FILL, GET, LOOK, Trace

ENVELOPE_BYTES = 180
"""What the envelope adds to an entry's payload in remote tiers: header with a key of 64 letters, and the tag."""
REDIS_BYTES = 100
"""What Redis adds to a string and its key, about."""
STORE = "store"
MEMORY = "memory"
REDIS = "redis"


@dataclass(frozen=True, slots=True)
class TierTraffic:
    """What one tier does in a month of 30 days, at the pace of the log.

    Attributes:
        tier: `memory`, `redis` or `store`.
        reads: requests that reach it.
        hits: that it answers.
        writes: entries that are stored in it.
        hit_bytes, written_bytes: their payloads, as the tier has them.
    """

    tier: str
    reads: float
    hits: float
    writes: float
    hit_bytes: float
    written_bytes: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """What all tiers do in a month, and what nobody had.

    Attributes:
        tiers: from fast to slow.
        computed: values that are computed, since no tier has them.
        entries: that the store holds on average, of which the log knows.
        entry_bytes: of one of them, as it is stored.
        rewritten: whether entries of the store expire, so that their number has a bound.
    """

    tiers: tuple[TierTraffic, ...]
    computed: float
    entries: float
    entry_bytes: float
    rewritten: bool

    def of(self, tier: str) -> TierTraffic:
        """Return that of one tier."""
        return next(one for one in self.tiers if one.tier == tier)


class _Count:
    def __init__(self, tier: str) -> None:
        self.tier = tier
        self.reads = self.hits = self.writes = self.hit_bytes = self.written_bytes = 0

    def hit(self, size: int) -> None:
        self.hits += 1
        self.hit_bytes += size

    def write(self, size: int) -> None:
        self.writes += 1
        self.written_bytes += size

    def told(self, factor: float) -> TierTraffic:
        return TierTraffic(
            self.tier,
            self.reads * factor,
            self.hits * factor,
            self.writes * factor,
            self.hit_bytes * factor,
            self.written_bytes * factor,
        )


class _Store:
    """An unbounded tier; knows for how long entries were in it."""

    def __init__(self) -> None:
        self.ends: dict[int, float] = {}
        self._since: dict[int, float] = {}
        self.lived = 0.0

    def get(self, key: int, now: float) -> float | None:
        end = self.ends.get(key)
        return None if end is None or end <= now else end

    def put(self, key: int, end: float, now: float) -> None:
        self.delete(key, now)
        self.ends[key] = end
        self._since[key] = now

    def delete(self, key: int, now: float) -> None:
        end = self.ends.pop(key, None)
        if end is not None:
            self.lived += max(0.0, min(now, end) - self._since.pop(key))

    def close(self, now: float) -> None:
        for key in list(self.ends):
            self.delete(key, now)


def traffic(
    trace: Trace, policy: EvictionPolicy, memory_bytes: float | None, redis_bytes: float | None = None
) -> Traffic:
    """Run the accesses through memory, Redis and a store.

    Args:
        trace: the accesses.
        policy: of the memory.
        memory_bytes: its size; None: there is none.
        redis_bytes: of the Redis, which evicts what was not used for longest (`allkeys-lru`); None: there is none.
    """
    memory = None if memory_bytes is None else Level(policy, memory_bytes * trace.rate)
    redis = None if redis_bytes is None else Level(EvictionPolicy.LRU, redis_bytes * trace.rate)
    run = _Run(memory, redis)
    for now, key, weight, stored, kind, life in zip(
        trace.times, trace.keys, trace.weights, trace.stored, trace.kinds, trace.lives, strict=True
    ):
        run.access(kind, key, weight, stored + ENVELOPE_BYTES, now, now + life)
    return run.told(trace)


class _Run:
    def __init__(self, memory: Level | None, redis: Level | None) -> None:
        self.levels = [(level, _Count(name)) for name, level in ((MEMORY, memory), (REDIS, redis)) if level]
        self.store, self.below = _Store(), _Count(STORE)
        self.computed = self.stored_bytes = self.stores = 0

    def access(self, kind: int, key: int, weight: int, stored: int, now: float, end: float) -> None:
        if kind in (GET, LOOK):
            self._read(kind, key, weight, stored, now, end)
        elif kind == DELETE:
            for level, _ in self.levels:
                level.delete(key)
            self.store.delete(key, now)
        elif kind != FILL or self.store.get(key, now) is None:
            self.computed += kind == FILL
            self._write(key, weight, stored, now, end)

    def _read(self, kind: int, key: int, weight: int, stored: int, now: float, end: float) -> None:
        asked: list[tuple[Level, _Count]] = []
        for level, count in self.levels:
            count.reads += 1
            found = level.get(key, now)
            if found is not None:
                count.hit(_size(count, weight, stored))
                self._promote(asked, key, weight, stored, now, found.gone_at)
                return
            asked.append((level, count))
        self.below.reads += 1
        kept = self.store.get(key, now)
        if kept is not None:
            self.below.hit(stored)
            self._promote(asked, key, weight, stored, now, kept)
        elif kind == GET:
            self.computed += 1
            self._write(key, weight, stored, now, end)

    def _write(self, key: int, weight: int, stored: int, now: float, end: float) -> None:
        self._promote(self.levels, key, weight, stored, now, end)
        self.store.put(key, end, now)
        self.below.write(stored)

    def _promote(
        self, levels: list[tuple[Level, _Count]], key: int, weight: int, stored: int, now: float, end: float
    ) -> None:
        for level, count in levels:
            level.put(key, weight if count.tier == MEMORY else stored + REDIS_BYTES, end, now)
            count.write(_size(count, weight, stored))

    def told(self, trace: Trace) -> Traffic:
        self.store.close(trace.times[-1])
        factor = per_month(trace) * trace.requests / trace.reads
        counts = [count.told(factor) for _, count in self.levels]
        writes = self.below.writes
        return Traffic(
            (*counts, self.below.told(factor)),
            self.computed * factor,
            self.store.lived / trace.span / trace.rate if trace.span else float(len(set(trace.keys))),
            self.below.written_bytes / writes if writes else 0.0,
            any(life != inf for life in trace.lives),
        )


def per_month(trace: Trace) -> float:
    """Return how many times the log's span goes into a month; a log of one moment counts as a second."""
    return MONTH * DAY / max(trace.span, 1.0)


def _size(count: _Count, weight: int, stored: int) -> int:
    return weight - ENTRY_OVERHEAD if count.tier == MEMORY else stored
