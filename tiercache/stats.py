"""Counters, latency histograms, and the snapshots that `cache.stats()` returns.

Counters are plain integers: under the interpreter's lock an addition without a call in it is not interrupted, so
they are exact, and cost a few nanoseconds on the path of a hit.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .savings import Savings

_STEPS = 4
"""Buckets for each doubling: a percentile is at most 19 % above the truth."""


class Histogram:
    """Durations in nanoseconds, in buckets that grow by the fourth root of two."""

    __slots__ = ("_counts", "_nanoseconds")

    def __init__(self) -> None:
        self._counts: dict[int, int] = defaultdict(int)
        self._nanoseconds = 0

    @property
    def seconds(self) -> float:
        """All durations together."""
        return self._nanoseconds / 1e9

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> Histogram:
        """Return a histogram that counted these (see `counts`); its `seconds` count the middle of each bucket."""
        made = cls()
        made._counts.update(counts)
        made._nanoseconds = round(sum(2.0 ** ((bucket + 0.5) / _STEPS) * count for bucket, count in counts.items()))
        return made

    @property
    def counts(self) -> dict[int, int]:
        """How many durations lie in each bucket, by its number: sums of them are those of what was counted together."""
        return dict(self._counts)

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self._counts.values())

    def record(self, nanoseconds: int) -> None:
        """Count one duration."""
        bucket = int(math.log2(nanoseconds) * _STEPS) if nanoseconds > 1 else 0
        self._counts[bucket] += 1
        self._nanoseconds += nanoseconds

    def percentile(self, share: float) -> float | None:
        """Return the seconds under which `share` (0 to 1) of the durations lie; None without any."""
        counts = sorted(self._counts.items())
        rank = share * sum(count for _, count in counts)
        for bucket, count in counts:
            rank -= count
            if rank <= 0:
                return float(2.0 ** ((bucket + 1) / _STEPS) / 1e9)
        return None

    def buckets(self) -> tuple[tuple[float, int], ...]:
        """Return the upper bound in seconds and the count of each bucket that is not empty."""
        return tuple((2.0 ** ((bucket + 1) / _STEPS) / 1e9, count) for bucket, count in sorted(self._counts.items()))


class TierCounters:
    """What one tier counts while it works."""

    __slots__ = (
        "deletes",
        "errors",
        "hits",
        "misses",
        "promotions",
        "puts",
        "read_latency",
        "refused",
        "retries",
        "shadow_absent",
        "shadow_different",
        "shadow_equal",
        "skipped",
        "write_latency",
    )

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start at zero again, in place: several caches count here."""
        self.hits = 0
        self.misses = 0
        self.puts = 0
        self.deletes = 0
        self.promotions = 0
        self.skipped = 0
        self.refused = 0
        self.retries = 0
        self.shadow_equal = 0
        self.shadow_different = 0
        self.shadow_absent = 0
        self.errors: dict[str, int] = defaultdict(int)
        self.read_latency = Histogram()
        self.write_latency = Histogram()

    def add(
        self,
        *,
        hits: int = 0,
        misses: int = 0,
        puts: int = 0,
        deletes: int = 0,
        promotions: int = 0,
        skipped: int = 0,
    ) -> None:
        """Count several at once; the numbers are known by now, so no addition is interrupted by their making."""
        self.hits += hits
        self.misses += misses
        self.puts += puts
        self.deletes += deletes
        self.promotions += promotions
        self.skipped += skipped


class CacheCounters:
    """What one `Cache` counts while it works."""

    __slots__ = (
        "computed",
        "deletes",
        "hits",
        "misses",
        "puts",
        "refresh_failures",
        "refreshes",
        "refreshes_dropped",
        "served_stale",
        "timeouts",
        "uncacheable",
    )

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self.puts = 0
        self.deletes = 0
        self.computed = 0
        self.uncacheable = 0
        self.served_stale = 0
        self.refreshes = 0
        self.refreshes_dropped = 0
        self.refresh_failures = 0
        self.timeouts = 0

    def as_dict(self) -> dict[str, int]:
        """Return all counts by their names."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in seconds of `count` operations (in memory, 1 hit in 64 is timed); None without any."""

    count: int
    p50: float | None
    p99: float | None
    buckets: tuple[tuple[float, int], ...] = ()
    """The histogram: upper bounds in seconds, and how many operations lie below each and above the one before."""
    seconds: float = 0.0
    """All of them together."""


@dataclass(frozen=True, slots=True)
class TierStats:
    """One tier since the start or the last reset.

    Attributes:
        hits, misses: reads that this tier answered, and those it could not.
        puts, deletes: entries written (promotions included) and removed on request (in a batch: keys, there or not).
        promotions: entries copied up into this tier from a slower one.
        skipped: entries kept out by `max_entry_bytes`, and promotions given up.
        evictions: entries that left, by cause (`size`, `expired`, `replaced`, `explicit`), where the store tells.
        errors: failed operations by kind, such as `BackendTimeout`.
        refused: operations that were not sent, because the tier had failed: its breaker was open.
        retries: operations that were tried once more.
        breaker: `closed`, `open`, or `half-open` while a probe is under way; None: the tier has none.
        switch: what the tier is used for, such as `on` or `off; docs: read-only` (see `TierChain.switches`).
        shadow_equal, shadow_different, shadow_absent: in shadow, what the chain answered and this tier holds the same
            of, something else, or nothing.
        queued: entries that wait to be written behind.
        dropped: entries that were never written behind: the queue was full, or the process ended.
        missed: keys whose change the store has yet to take; until then it answers no reads for them.
        entries, bytes: what it holds now; None where asking would cost requests.
        read, write: latency.
    """

    hits: int = 0
    misses: int = 0
    puts: int = 0
    deletes: int = 0
    promotions: int = 0
    skipped: int = 0
    evictions: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    retries: int = 0
    breaker: str | None = None
    switch: str = "on"
    shadow_equal: int = 0
    shadow_different: int = 0
    shadow_absent: int = 0
    queued: int = 0
    dropped: int = 0
    missed: int = 0
    entries: int | None = None
    bytes: int | None = None
    read: Latency = Latency(0, None, None)
    write: Latency = Latency(0, None, None)

    @property
    def hit_rate(self) -> float:
        """Hits among the reads that reached this tier, 0 to 1; 0 without any."""
        return _rate(self.hits, self.misses)


@dataclass(frozen=True, slots=True)
class Stats:
    """A cache and its tiers. A read that a slower tier answered is one hit of the cache, one miss of each tier
    above and one hit of that tier. The cache's figures are its own, the tiers' are those of the whole chain.

    Attributes:
        hits, misses: reads of this cache, an entry each.
        puts, deletes: entries set and deleted through this cache, computed ones included.
        computed: values that a factory made.
        uncacheable: values handed through because no codec stores them.
        served_stale: reads that `get_or_set` answered with a value past its ttl; they are hits, too.
        refreshes: refreshes in the background that began.
        refreshes_dropped: those that found no free thread; the next caller starts one.
        refresh_failures: computations that failed while there was an older value to serve.
        timeouts: callers of `get_or_set` whose `timeout` or `soft_timeout` passed, whatever they got then.
        tiers: each tier by its name.
        savings: what hits saved, where the LLM layer knows it: calls, tokens, money, seconds.
    """

    hits: int = 0
    misses: int = 0
    puts: int = 0
    deletes: int = 0
    computed: int = 0
    uncacheable: int = 0
    served_stale: int = 0
    refreshes: int = 0
    refreshes_dropped: int = 0
    refresh_failures: int = 0
    timeouts: int = 0
    tiers: dict[str, TierStats] = field(default_factory=dict)
    savings: Savings = field(default_factory=Savings)

    @property
    def requests(self) -> int:
        """Reads in all."""
        return self.hits + self.misses

    @property
    def hit_rate(self) -> float:
        """Hits among all reads, 0 to 1; 0 without any."""
        return _rate(self.hits, self.misses)

    @property
    def promotions(self) -> int:
        """Entries copied up, in all tiers."""
        return sum(tier.promotions for tier in self.tiers.values())

    @property
    def evictions(self) -> dict[str, int]:
        """Entries that left a tier, by cause, in all tiers that tell."""
        return _added(tier.evictions for tier in self.tiers.values())

    @property
    def errors(self) -> dict[str, int]:
        """Failed operations by kind, in all tiers."""
        return _added(tier.errors for tier in self.tiers.values())

    @property
    def entries(self) -> int:
        """Copies of entries held by all tiers that tell."""
        return sum(tier.entries or 0 for tier in self.tiers.values())

    @property
    def bytes(self) -> int:
        """Bytes held by all tiers that tell."""
        return sum(tier.bytes or 0 for tier in self.tiers.values())

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain dicts, ready for JSON."""
        tiers = {name: asdict(tier) | {"hit_rate": tier.hit_rate} for name, tier in self.tiers.items()}
        derived = ("requests", "hit_rate", "promotions", "evictions", "errors", "entries", "bytes")
        return (
            asdict(replace(self, savings=Savings()))
            | {"tiers": tiers, "savings": self.savings.as_dict()}
            | {name: getattr(self, name) for name in derived}
        )


def latency(histogram: Histogram) -> Latency:
    """Return the percentiles of a histogram."""
    return Latency(
        histogram.count, histogram.percentile(0.5), histogram.percentile(0.99), histogram.buckets(), histogram.seconds
    )


def _added(parts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)


def _rate(hits: int, misses: int) -> float:
    return hits / (hits + misses) if hits + misses else 0.0
