"""Hit ratios as functions of the memory's size, by running the accesses through the policies of `MemoryBackend`.

The orders are the very ones that the memory tier uses; what is simulated is the table around them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, inf, sqrt
from typing import Any

import msgspec

from ..eviction import EvictionPolicy, ExpiryIndex, order_of, table_for
from .trace import DELETE, FILL, GET, LOOK, SET, Trace

SWEEP = 32
"""Expired entries that one write frees at most, as in `MemoryBackend`."""
SIZES = 12
"""Sizes of memory, each twice the one before."""
PARTS = 8
"""Parts of a sample whose differences tell its error."""


class Resident(msgspec.Struct, gc=False):
    """What stands for an entry in memory."""

    weight: int
    gone_at: float
    rank: int = 0
    aside: bool = False


class Level:
    """A memory of some size with an eviction policy, at any moment of a trace.

    Args:
        policy: what leaves first.
        room: bytes, or entries; None: no bound.
        by_entries: whether `room` counts entries.
    """

    def __init__(self, policy: EvictionPolicy, room: float | None, *, by_entries: bool = False) -> None:
        self.table: dict[Any, Resident] = table_for(policy)
        self.by_entries = by_entries
        self.room = inf if room is None else room
        self.order = order_of(policy, self.table, _one if by_entries else _weight)
        self.used = 0
        self._expiry = ExpiryIndex()

    def get(self, key: int, now: float) -> Resident | None:
        """Return what is there and has not expired; its use is counted."""
        found = self.table.get(key)
        if found is None:
            return None
        if found.gone_at <= now:
            self._drop(key, found)
            return None
        order = self.order
        if order.mark is not None:
            order.mark(found)
        elif order.touch is not None:
            order.touch(key)
        return found

    def put(self, key: int, weight: int, gone_at: float, now: float) -> None:
        """Store an entry, evicting others; one that is larger than all the room is refused."""
        table, order = self.table, self.order
        old = table.get(key)
        if old is not None:
            if old.gone_at <= now:
                self._drop(key, old)
                old = None
            else:
                self._drop(key, old)
        share = 1 if self.by_entries else weight
        if share > self.room or gone_at <= now:
            return
        if self._expiry.records:
            self.sweep(now, SWEEP)
        while self.used + share > self.room:
            victim = order.evict()
            gone = table.pop(victim)
            self.used -= 1 if self.by_entries else gone.weight
        entry = table[key] = Resident(weight, gone_at)
        self.used += share
        order.add(key, entry, old)
        if gone_at != inf:
            self._expiry.add(key, gone_at, now)  # type: ignore[arg-type]

    def sweep(self, now: float, limit: int) -> None:
        """Free expired entries."""
        for name in self._expiry.take_due(now, limit):
            entry = self.table.get(name)
            if entry is not None and entry.gone_at <= now:
                self._drop(name, entry)

    def delete(self, key: int) -> None:
        """Remove an entry."""
        found = self.table.get(key)
        if found is not None:
            self._drop(key, found)

    def _drop(self, key: Any, entry: Resident) -> None:
        self.order.discard(key, entry)
        del self.table[key]
        self.used -= 1 if self.by_entries else entry.weight


@dataclass(frozen=True, slots=True)
class Curve:
    """The hit ratio of one policy at each size.

    Attributes:
        policy: the eviction policy.
        sizes: bytes of memory, or entries.
        hit_ratio: hits / reads, 0 to 1.
        error: how far off the sample may be, about, in hit ratio (two standard errors); 0.0: the whole log was used.
    """

    policy: EvictionPolicy
    sizes: tuple[int, ...]
    hit_ratio: tuple[float, ...]
    error: tuple[float, ...]


def sizes_for(footprint: float, count: int = SIZES) -> tuple[int, ...]:
    """Return powers of two up to the first that holds all."""
    top = max(count - 1, ceil(footprint) - 1).bit_length()
    return tuple(1 << power for power in range(max(0, top - count + 1), top + 1))


def simulate(
    trace: Trace,
    policies: Iterable[EvictionPolicy] = tuple(EvictionPolicy),
    *,
    sizes: Sequence[int] | None = None,
    by_entries: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Curve]:
    """Return a curve for each policy.

    Args:
        trace: the accesses.
        policies: those of interest.
        sizes: bytes of memory, or entries; left out: 12 powers of two up to what holds everything.
        by_entries: whether `sizes` counts entries.
        progress: called with the runs that are done, and all.
    """
    chosen = tuple(policies)
    if sizes is None:
        sizes = sizes_for(trace.entries if by_entries else trace.footprint)
    plain, runs, ends = trace.is_plain, 0, trace.has_lives
    errors = _errors(trace, sizes, by_entries) if trace.rate < 1 else (0.0,) * len(sizes)
    curves = []
    known: dict[tuple[EvictionPolicy, int], float] = {}
    for policy in chosen:
        ratios = []
        # Where nothing expires, `ttl` is `fifo`.
        run = EvictionPolicy.FIFO if policy is EvictionPolicy.TTL and not ends else policy
        for size in sizes:
            if (run, size) not in known:
                known[run, size] = hit_ratio(trace, _hits(trace, run, size * trace.rate, by_entries, plain=plain))
            ratios.append(known[run, size])
            runs += 1
            if progress is not None:
                progress(runs, len(chosen) * len(sizes))
        curves.append(Curve(policy, tuple(sizes), tuple(ratios), tuple(errors)))
    return curves


def hit_ratio(trace: Trace, hits: int) -> float:
    """Return hits / reads of the whole log.

    A sample may hold a few popular keys too many or too few. If those hit in any memory, the reads that it should have
    and does not are hits (the correction of SHARDS, which is too much where memory is small); if they are as others,
    nothing is to be corrected. This is the middle.
    """
    reads = trace.reads
    if not reads:
        return 0.0
    return (hits / reads + _corrected(trace, hits)) / 2 if trace.rate < 1 else hits / reads


def _corrected(trace: Trace, hits: int) -> float:
    expected = trace.requests * trace.rate
    return min(1.0, max(0.0, (hits + expected - trace.reads) / expected))


def _hits(trace: Trace, policy: EvictionPolicy, room: float, by_entries: bool, *, plain: bool) -> int:
    return _plain_hits(trace, policy, room, by_entries) if plain else _replayed_hits(trace, policy, room, by_entries)


def _plain_hits(trace: Trace, policy: EvictionPolicy, room: float, by_entries: bool) -> int:
    """`_replayed_hits` of a trace in which nothing expires and nothing is deleted, several times as fast."""
    table: dict[int, Resident] = table_for(policy)
    order = order_of(policy, table, _one if by_entries else _weight)
    find, touch, mark, evict, add = table.get, order.touch, order.mark, order.evict, order.add
    hits, used, never = 0, 0, inf
    for key, weight in zip(trace.keys, trace.weights, strict=True):
        entry = find(key)
        if entry is not None:
            hits += 1
            if mark is not None:
                mark(entry)
            elif touch is not None:
                touch(key)
            continue
        share = 1 if by_entries else weight
        if share > room:
            continue
        used += share
        while used > room:
            gone = table.pop(evict())
            used -= 1 if by_entries else gone.weight
        entry = table[key] = Resident(weight, never)
        add(key, entry, None)
    return hits


def _replayed_hits(trace: Trace, policy: EvictionPolicy, room: float, by_entries: bool) -> int:
    level, hits = Level(policy, room, by_entries=by_entries), 0
    get, put = level.get, level.put
    for now, key, weight, kind, life in zip(
        trace.times, trace.keys, trace.weights, trace.kinds, trace.lives, strict=True
    ):
        if kind == GET:
            if get(key, now) is not None:
                hits += 1
            else:
                put(key, weight, now + life, now)
        elif kind == LOOK:
            hits += get(key, now) is not None
        elif kind == SET or (kind == FILL and key not in level.table):
            put(key, weight, now + life, now)
        elif kind == DELETE:
            level.delete(key)
    return hits


def _errors(trace: Trace, sizes: Sequence[int], by_entries: bool) -> tuple[float, ...]:
    """Return what `lru` tells of the error at each size.

    That is twice the standard error, by how far eighths of the sample are apart, or how far the two ways are apart
    between which `hit_ratio` takes the middle.
    """
    parts = []
    for part in range(PARTS):
        one = trace.only(lambda key, part=part: key % PARTS == part)  # type: ignore[misc]
        one.rate, one.requests = trace.rate / PARTS, trace.requests
        parts.append(one)
    errors = []
    for size in sizes:
        apart = _spread([hit_ratio(one, _lru_hits(one, size, by_entries)) for one in parts if len(one)])
        hits = _lru_hits(trace, size, by_entries)
        half = abs(hits / max(1, trace.reads) - _corrected(trace, hits)) / 2
        errors.append(max(2 * apart / sqrt(PARTS), half))
    return tuple(errors)


def _lru_hits(part: Trace, size: int, by_entries: bool) -> int:
    return _hits(part, EvictionPolicy.LRU, size * part.rate, by_entries, plain=part.is_plain)


def _spread(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 1.0
    mean = sum(values) / len(values)
    return sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _weight(key: Any, entry: Resident) -> int:
    return entry.weight


def _one(key: Any, entry: Resident) -> int:
    return 1
