"""Prometheus: the figures of caches and their tiers, read when they are scraped.

from prometheus_client import REGISTRY, start_http_server
REGISTRY.register(CacheCollector(cache))                 # or a chain, or several of them
start_http_server(9100)                                  # or app.mount("/metrics", make_asgi_app())

Nothing is counted twice for it: a scrape reads what `cache.stats()` shows, and costs what that costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..cache import Cache
from ..chain import TierChain
from ..errors import MissingExtra
from ..stats import Latency, TierStats
from .measures import MEASURES, NAMESPACES, Measure, Subjects

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError:
    raise MissingExtra("tiercache.integrations.prometheus", "prometheus") from None

LATENCY = "tiercache_tier_latency_seconds"
LATENCY_TEXT = "operations that succeeded, by `read` and `write` (in memory, 1 hit in 64 is timed)"
BOUNDS = tuple(2.0 ** (2 * step) / 1e9 for step in range(5, 18))
"""Upper bounds in seconds, from a microsecond to 17 seconds, each four times the one before.

Bounds of `tiercache.stats.Histogram`, too: so no operation counts in a wrong bucket.
"""
_UNITS: Mapping[str, str] = {"s": "seconds", "By": "bytes", "{USD}": "usd"}


class CacheCollector(Collector):
    """Collects the metrics of caches, or of chains with all caches on them, those made later included.

    Args:
        subjects: caches and chains. Of several caches of one namespace, or tiers of one name, the sums are told.
        max_namespaces: so many namespaces have series of their own; those that are met later are summed up as `other`.

    With `PROMETHEUS_MULTIPROC_DIR` prometheus_client does not ask collectors: each process needs an address of its
    own there.

    Raises:
        ConfigurationError: something is neither a cache nor a chain, or `max_namespaces` is no number.
    """

    def __init__(self, *subjects: Cache | TierChain, max_namespaces: int = NAMESPACES) -> None:
        self._subjects = Subjects(*subjects, max_namespaces=max_namespaces)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of this moment."""
        tiers = self._subjects.tiers()
        series = self._subjects.series_with(tiers)
        for measure in MEASURES:
            family = _family(measure)
            for labels, value in series[measure.name].items():
                family.add_metric(labels, value)
            yield family
        yield _latency(tiers)

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without their values: no store is asked when the collector is registered."""
        yield from map(_family, MEASURES)
        yield HistogramMetricFamily(LATENCY, LATENCY_TEXT, labels=("tier", "operation"))


def name_of(measure: Measure) -> str:
    """Return what Prometheus calls a measure; a counter's samples end with `_total`."""
    name, unit = measure.name.replace(".", "_"), _UNITS.get(measure.unit)
    return name if unit is None or name.endswith(unit) else f"{name}_{unit}"


def _family(measure: Measure) -> CounterMetricFamily | GaugeMetricFamily:
    family = CounterMetricFamily if measure.kind == "counter" else GaugeMetricFamily
    return family(name_of(measure), measure.text, labels=measure.labels)


def _latency(tiers: Iterable[tuple[str, TierStats]]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(LATENCY, LATENCY_TEXT, labels=("tier", "operation"))
    found: dict[tuple[str, str], list[Latency]] = {}
    for tier, stats in tiers:
        found.setdefault((tier, "read"), []).append(stats.read)
        found.setdefault((tier, "write"), []).append(stats.write)
    for labels, latencies in found.items():
        family.add_metric(labels, _buckets(latencies), sum(each.seconds for each in latencies))
    return family


def _buckets(latencies: Iterable[Latency]) -> list[tuple[str, float]]:
    """Return how many operations took no longer than each bound."""
    counted = [bucket for each in latencies for bucket in each.buckets]
    margin = 1 + 1e-9  # of two ways to compute the same bound
    below = [(f"{bound:.9g}", float(sum(n for top, n in counted if top <= bound * margin))) for bound in BOUNDS]
    return [*below, ("+Inf", float(sum(n for _, n in counted)))]
