"""What the LLM layer did, by kind of request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..result import Result
from ..savings import Ledger
from .kinds import KINDS, Kind


@dataclass(frozen=True, slots=True)
class KindStats:
    """Requests of one kind (of embeddings: inputs).

    Attributes:
        hits: answered without the provider.
        shared: of these, answered with the answer to a request that was under way.
        misses: not answered from the cache, and sent to the provider if it was to be asked.
        stored: answers of the provider that were stored.
        refused: answers that were not, by reason (`error`, `truncated`, `filtered`, `empty`, `incomplete`,
            `malformed`, `too_large`, `uncacheable` …: see `StorePolicy.refusal`).
        bypassed: requests that had nothing to do with the cache, by their own or the caller's wish.
        bypassed_for: of these, those that passed through the HTTP transport, by reason (`asked`, `hosted_tool`,
            `background`, `malformed` …).
    """

    hits: int = 0
    shared: int = 0
    misses: int = 0
    stored: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    bypassed: int = 0
    bypassed_for: Mapping[str, int] = field(default_factory=dict)

    @property
    def hit_rate(self) -> float:
        """Hits among hits and misses, 0 to 1; 0 without any."""
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else 0.0

    def __add__(self, other: KindStats) -> KindStats:
        return KindStats(
            self.hits + other.hits,
            self.shared + other.shared,
            self.misses + other.misses,
            self.stored + other.stored,
            dict(Counter(self.refused) + Counter(other.refused)),
            self.bypassed + other.bypassed,
            dict(Counter(self.bypassed_for) + Counter(other.bypassed_for)),
        )


@dataclass(frozen=True, slots=True)
class LLMStats:
    """What an `LLMCache` and the transports on it did, by kind, since the start or the last reset.

    Attributes:
        cache_errors: failures of the cache below that were kept from the callers of the HTTP transport.
    """

    chat: KindStats = KindStats()
    completion: KindStats = KindStats()
    embedding: KindStats = KindStats()
    response: KindStats = KindStats()
    message: KindStats = KindStats()
    cache_errors: int = 0

    @property
    def combined(self) -> KindStats:
        """All kinds together."""
        return sum((getattr(self, kind) for kind in KINDS), KindStats())

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain dicts, ready for JSON."""
        kinds = {kind: getattr(self, kind) for kind in KINDS} | {"combined": self.combined}
        by_kind = {kind: asdict(stats) | {"hit_rate": stats.hit_rate} for kind, stats in kinds.items()}
        return by_kind | {"cache_errors": self.cache_errors}


class KindCounters:
    """What is counted of one kind, without a lock, as in `tiercache.stats`."""

    __slots__ = ("bypassed", "bypassed_for", "hits", "misses", "refused", "shared", "stored")

    def __init__(self) -> None:
        self.hits = self.shared = self.misses = self.stored = self.bypassed = 0
        self.refused: Counter[str] = Counter()
        self.bypassed_for: Counter[str] = Counter()

    def hit(self, result: Result, savings: Ledger) -> None:
        """Count an answer that the provider was not asked for, and what that saved."""
        self.hits += 1
        if not result.hit:
            self.shared += 1
        if result.metadata is not None:
            savings.record(result.metadata.attributes, result.tier)

    def bypass(self, reason: str) -> None:
        """Count a request that passes the cache by."""
        self.bypassed += 1
        self.bypassed_for[reason] += 1

    def refuse(self, reason: str) -> None:
        """Count an answer that is not stored."""
        self.refused[reason] += 1

    def snapshot(self) -> KindStats:
        """Return what was counted."""
        refused, bypassed_for = dict(self.refused), dict(self.bypassed_for)
        return KindStats(self.hits, self.shared, self.misses, self.stored, refused, self.bypassed, bypassed_for)


class LLMCounters:
    """The counters of all kinds."""

    def __init__(self) -> None:
        self.of: dict[Kind, KindCounters] = {kind: KindCounters() for kind in KINDS}
        self.cache_errors = 0

    def reset(self) -> None:
        """Start at zero again."""
        self.of = {kind: KindCounters() for kind in KINDS}

    def snapshot(self) -> LLMStats:
        """Return what was counted."""
        return LLMStats(
            **{kind: counters.snapshot() for kind, counters in self.of.items()}, cache_errors=self.cache_errors
        )
