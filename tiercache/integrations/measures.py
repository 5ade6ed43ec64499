"""What is measured of caches and tiers: one table, from which OpenTelemetry's and Prometheus's names are made.

The figures are those of `cache.stats()`. They are added up over the caches of a namespace and over the tiers of a
name, if a process has several: a series stands for a namespace or for a tier's name, never for a key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..cache import Cache
from ..chain import TierChain
from ..errors import ConfigurationError
from ..savings import Saving
from ..stats import Stats, TierStats

Kind = Literal["counter", "gauge"]
Series = Mapping[tuple[str, ...], float]
"""Values by their labels, in the order of `Measure.labels`."""
ATTRIBUTES: Mapping[str, str] = {
    "namespace": "tiercache.namespace",
    "tier": "tiercache.tier",
    "operation": "tiercache.operation",
    "outcome": "tiercache.outcome",
    "reason": "tiercache.reason",
    "state": "tiercache.breaker.state",
    "error": "error.type",
    "model": "gen_ai.request.model",
    "token_type": "gen_ai.token.type",
}
"""What OpenTelemetry calls each label."""
MODELS = 100
"""Models that have series of their own; savings of others count for the model `other`."""
NAMESPACES = 100
"""Namespaces that have series of their own, unless more or fewer are asked for."""
OTHER = "other"
"""Stands for the namespaces, and the models, beyond those."""
STATES = ("closed", "half-open", "open")


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric.

    Attributes:
        name: as OpenTelemetry has it.
        kind: a `counter` only grows until the process ends or `reset_stats()`; a `gauge` is the value of the moment.
        unit: in UCUM.
        labels: names of `ATTRIBUTES`.
        text: what it counts.
    """

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    text: str


_CACHE = ("namespace",)
_TIER = ("tier",)
_SAVED = ("namespace", "tier", "model")
MEASURES: tuple[Measure, ...] = (
    Measure("tiercache.reads", "counter", "{read}", (*_CACHE, "outcome"), "entries asked for, by `hit` and `miss`"),
    Measure("tiercache.puts", "counter", "{entry}", _CACHE, "entries set, computed ones included"),
    Measure("tiercache.deletes", "counter", "{entry}", _CACHE, "entries deleted"),
    Measure("tiercache.computed", "counter", "{value}", _CACHE, "values that a factory made"),
    Measure("tiercache.uncacheable", "counter", "{value}", _CACHE, "values that no codec stores"),
    Measure("tiercache.served_stale", "counter", "{read}", _CACHE, "values served past their ttl"),
    Measure("tiercache.refreshes", "counter", "{refresh}", _CACHE, "refreshes in the background that began"),
    Measure("tiercache.refreshes_dropped", "counter", "{refresh}", _CACHE, "refreshes that found no free thread"),
    Measure("tiercache.refresh_failures", "counter", "{refresh}", _CACHE, "failed while there was an older value"),
    Measure("tiercache.timeouts", "counter", "{read}", _CACHE, "callers whose patience ended first"),
    Measure("tiercache.tier.reads", "counter", "{read}", (*_TIER, "outcome"), "reads that reached the tier"),
    Measure("tiercache.tier.puts", "counter", "{entry}", _TIER, "entries written, promotions included"),
    Measure("tiercache.tier.deletes", "counter", "{entry}", _TIER, "entries removed on request"),
    Measure("tiercache.tier.promotions", "counter", "{entry}", _TIER, "entries copied up into the tier"),
    Measure("tiercache.tier.skipped", "counter", "{entry}", _TIER, "entries too large, and promotions given up"),
    Measure("tiercache.tier.evictions", "counter", "{entry}", (*_TIER, "reason"), "entries that left, by cause"),
    Measure("tiercache.tier.errors", "counter", "{error}", (*_TIER, "error"), "failed operations, by class of error"),
    Measure("tiercache.tier.refused", "counter", "{operation}", _TIER, "operations not sent: the breaker was open"),
    Measure("tiercache.tier.retries", "counter", "{operation}", _TIER, "operations tried once more"),
    Measure("tiercache.tier.dropped", "counter", "{entry}", _TIER, "entries never written behind"),
    Measure("tiercache.tier.shadowed", "counter", "{read}", (*_TIER, "outcome"), "answers compared in shadow"),
    Measure("tiercache.tier.queued", "gauge", "{entry}", _TIER, "entries that wait to be written behind"),
    Measure("tiercache.tier.missed", "gauge", "{key}", _TIER, "keys whose change the store has yet to take"),
    Measure(
        "tiercache.tier.breakers", "gauge", "{breaker}", (*_TIER, "state"), "breakers in this state: 1 or 0 a tier"
    ),
    Measure("tiercache.tier.entries", "gauge", "{entry}", _TIER, "entries held, where asking is free"),
    Measure("tiercache.tier.size", "gauge", "By", _TIER, "bytes held, where asking is free"),
    Measure("tiercache.saved.calls", "counter", "{call}", _SAVED, "calls of a provider that were not made"),
    Measure("tiercache.saved.unpriced", "counter", "{call}", _SAVED, "those without a known price"),
    Measure("tiercache.saved.tokens", "counter", "{token}", (*_SAVED, "token_type"), "tokens not paid again"),
    Measure("tiercache.saved.cost", "counter", "{USD}", _SAVED, "US dollars not paid again, at list prices"),
    Measure("tiercache.saved.duration", "counter", "s", _SAVED, "what those calls took when they were made"),
)
"""All that is counted and held."""


class Subjects:
    """The caches and chains that are measured. A chain stands for all caches on it, those made later included.

    Args:
        subjects: the first of them.
        max_namespaces: so many have series of their own; those that are met later are `other`.

    Raises:
        ConfigurationError: one of the subjects is none, or `max_namespaces` is no number.
    """

    def __init__(self, *subjects: Cache | TierChain, max_namespaces: int = NAMESPACES) -> None:
        self._subjects: list[Cache | TierChain] = [checked(each) for each in subjects]
        self._most = _checked_most(max_namespaces)
        self._named: dict[str, None] = {}  # in the order in which they were met, so that none changes its name later

    def allow(self, namespaces: int) -> None:
        """Let so many have series of their own, unless more may already."""
        self._most = max(self._most, _checked_most(namespaces))

    def named(self, namespace: str) -> str:
        """Return what a namespace is called in series: as it is, or `other`."""
        if namespace not in self._named:
            if len(self._named) >= self._most:
                return OTHER
            self._named[namespace] = None
        return namespace

    def add(self, subject: Cache | TierChain) -> None:
        """Measure this one, too."""
        self._subjects = [*self._subjects, checked(subject)]

    def remove(self, subject: Cache | TierChain) -> None:
        """Measure it no longer."""
        self._subjects = [each for each in self._subjects if each is not subject]

    def tiers(self) -> list[tuple[str, TierStats]]:
        """Return the name and the figures of each tier, once, however many caches are on its chain."""
        chains = {id(chain): chain for chain in map(_chain, self._subjects)}
        tiers = {id(tier): tier for chain in chains.values() for tier in chain.tiers}
        return [(tier.label, tier.snapshot()) for tier in tiers.values()]

    def caches(self) -> list[tuple[str, Stats]]:
        """Return the namespace, as it is called in series, and the own figures of each cache."""
        found: dict[int, Cache] = {}
        for each in self._subjects:
            found |= {id(cache): cache for cache in ([each] if isinstance(each, Cache) else each.caches)}
        return [(self.named(cache.namespace), cache.own_stats()) for cache in found.values()]

    def series_with(self, tiers: Iterable[tuple[str, TierStats]]) -> dict[str, Series]:
        """Return the series of each measure by its name, the tiers' from these figures."""
        return series(self.caches(), tiers)


def checked(subject: Any) -> Cache | TierChain:
    """Return a cache or a chain.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(subject, (Cache, TierChain)):
        return subject
    raise ConfigurationError(f"what is measured must be a Cache or a TierChain, not a {type(subject).__name__}")


def _checked_most(namespaces: Any) -> int:
    if isinstance(namespaces, bool) or not isinstance(namespaces, int) or namespaces < 1:
        raise ConfigurationError(f"max_namespaces must be a whole number from 1 on, not {namespaces!r}")
    return namespaces


def series(caches: Iterable[tuple[str, Stats]], tiers: Iterable[tuple[str, TierStats]]) -> dict[str, Series]:
    """Return the series of each measure: those of one namespace, model or tier's name added up."""
    sums: dict[str, dict[tuple[str, ...], float]] = {measure.name: defaultdict(float) for measure in MEASURES}
    for namespace, stats in caches:
        for name, labels, value in _of_cache(stats):
            sums[name][namespace, *labels] += value
    for tier, figures in tiers:
        for name, labels, value in _of_tier(figures):
            sums[name][tier, *labels] += value
    return {name: dict(values) for name, values in sums.items()}


_Sample = tuple[str, tuple[str, ...], float]
_OF_A_CACHE = (
    "puts",
    "deletes",
    "computed",
    "uncacheable",
    "served_stale",
    "refreshes",
    "refreshes_dropped",
    "refresh_failures",
    "timeouts",
)
_OF_A_TIER = ("puts", "deletes", "promotions", "skipped", "refused", "retries", "dropped", "queued", "missed")


def _of_cache(stats: Stats) -> Iterator[_Sample]:
    yield "tiercache.reads", ("hit",), stats.hits
    yield "tiercache.reads", ("miss",), stats.misses
    yield from ((f"tiercache.{name}", (), getattr(stats, name)) for name in _OF_A_CACHE)
    models = dict.fromkeys(model for model, _ in stats.savings.rows)
    named = set(list(models)[:MODELS])  # in the order of their first hits, so that none changes its name later
    for (model, tier), saving in stats.savings.rows.items():
        yield from _saved((tier, model if model in named else OTHER), saving)


def _saved(labels: tuple[str, ...], saving: Saving) -> Iterator[_Sample]:
    yield "tiercache.saved.calls", labels, saving.calls
    yield "tiercache.saved.unpriced", labels, saving.unpriced
    yield "tiercache.saved.tokens", (*labels, "input"), saving.input_tokens
    yield "tiercache.saved.tokens", (*labels, "output"), saving.output_tokens
    yield "tiercache.saved.cost", labels, saving.usd
    yield "tiercache.saved.duration", labels, saving.seconds


def _of_tier(stats: TierStats) -> Iterator[_Sample]:
    yield "tiercache.tier.reads", ("hit",), stats.hits
    yield "tiercache.tier.reads", ("miss",), stats.misses
    yield from ((f"tiercache.tier.{name}", (), getattr(stats, name)) for name in _OF_A_TIER)
    yield from (("tiercache.tier.evictions", (cause,), count) for cause, count in stats.evictions.items())
    yield from (("tiercache.tier.errors", (kind,), count) for kind, count in stats.errors.items())
    for outcome in ("equal", "different", "absent"):
        yield "tiercache.tier.shadowed", (outcome,), getattr(stats, f"shadow_{outcome}")
    if stats.breaker is not None:
        yield from (("tiercache.tier.breakers", (state,), stats.breaker == state) for state in STATES)
    if stats.entries is not None:
        yield "tiercache.tier.entries", (), stats.entries
    if stats.bytes is not None:
        yield "tiercache.tier.size", (), stats.bytes


def _chain(subject: Cache | TierChain) -> TierChain:
    return subject.chain if isinstance(subject, Cache) else subject
