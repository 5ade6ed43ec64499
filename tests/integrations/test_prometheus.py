"""Prometheus: what a real scrape of a real endpoint shows, and that it is what the statistics say."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, make_asgi_app, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import BackendUnavailable, ConfigurationError
from tiercache.integrations.measures import MEASURES
from tiercache.integrations.prometheus import BOUNDS, LATENCY, CacheCollector, name_of
from tiercache.stats import Histogram, latency
from tiercache_redis import RedisBackend

DOCS = Path(__file__).parents[2] / "docs"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def scrape(registry: CollectorRegistry) -> Iterator[Any]:
    """Reads the samples from an HTTP endpoint."""
    server, thread = start_http_server(0, "127.0.0.1", registry)

    def read() -> Samples:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=30) as response:
            return parsed(response.read().decode())

    yield read
    server.shutdown()
    thread.join()
    server.server_close()


def parsed(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def sample(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def test_a_scrape_shows_the_statistics(redis_url, registry, scrape):
    chain = TierChain(MemoryBackend(), RedisBackend(redis_url, prefix="prometheus:"))
    with Cache(chain, namespace="search") as cache:
        registry.register(CacheCollector(cache))
        cache.set("key", "value")
        cache.get("key")
        chain.memory.clear()
        cache.get("key")
        cache.get("absent")
        stats, samples = cache.stats(), scrape()
        cache.clear(purge=True)
    assert sample(samples, "tiercache_reads_total", namespace="search", outcome="hit") == stats.hits == 2
    assert sample(samples, "tiercache_reads_total", namespace="search", outcome="miss") == stats.misses == 1
    for tier, figures in stats.tiers.items():
        assert sample(samples, "tiercache_tier_reads_total", tier=tier, outcome="hit") == figures.hits
        assert sample(samples, f"{LATENCY}_count", tier=tier, operation="read") == figures.read.count
        seconds = sample(samples, f"{LATENCY}_sum", tier=tier, operation="read")
        assert seconds == pytest.approx(figures.read.seconds)
    assert sample(samples, "tiercache_tier_breakers", tier="redis", state="closed") == 1
    assert sample(samples, "tiercache_tier_size_bytes", tier="memory") == stats.tiers["memory"].bytes


def test_a_store_that_is_down_shows(free_port, registry, scrape, caplog):
    with Cache(TierChain(MemoryBackend(), RedisBackend(f"redis://127.0.0.1:{free_port}/0"))) as cache:
        registry.register(CacheCollector(cache))
        while cache.chain.tiers[1].breaker.state != "open":
            cache.get("key")
        samples = scrape()
    assert sample(samples, "tiercache_tier_errors_total", tier="redis", error="BackendUnavailable") > 0
    assert sample(samples, "tiercache_tier_breakers", tier="redis", state="closed") == 0


def test_a_chain_stands_for_all_caches_on_it(clock, registry, scrape):
    chain = TierChain(MemoryBackend(clock=clock), clock=clock)
    registry.register(CacheCollector(chain))
    for namespace in ("one", "two"):
        Cache(chain, namespace=namespace).set("key", 1)
    kept = [Cache(chain, namespace=namespace) for namespace in ("one", "two")]
    for cache in kept:
        cache.set("key", 1)
    samples = scrape()
    assert {sample(samples, "tiercache_puts_total", namespace=cache.namespace) for cache in kept} == {1}
    assert sample(samples, "tiercache_tier_puts_total", tier="memory") == 4


def test_the_buckets_of_the_histogram_are_exact():
    histogram = Histogram()
    durations = [3, 999, 1024, 5_000, 70_000, 2**30, 10**11]
    for nanoseconds in durations:
        histogram.record(nanoseconds)
    chain = TierChain(MemoryBackend())
    chain.tiers[0].counters.read_latency = histogram
    (family,) = [family for family in CacheCollector(chain).collect() if family.name == LATENCY]
    read = [each for each in family.samples if each.labels["operation"] == "read"]
    shown = {each.labels["le"]: each.value for each in read if each.name.endswith("_bucket")}
    assert shown == {f"{bound:.9g}": sum(each / 1e9 < bound for each in durations) for bound in BOUNDS} | {"+Inf": 7}
    assert latency(histogram).seconds == pytest.approx(sum(durations) / 1e9)


def test_registering_asks_no_store(clock, registry):
    remote = RemoteBackend(clock)
    remote.usage = lambda: pytest.fail("the store was asked")  # type: ignore[attr-defined]
    registry.register(CacheCollector(Cache(remote, clock=clock)))


def test_a_store_that_cannot_say_how_much_it_holds_does_not_spoil_the_scrape(clock, registry, scrape):
    remote = RemoteBackend(clock)

    def usage() -> tuple[int, int]:
        raise BackendUnavailable("down")

    remote.usage = usage  # type: ignore[attr-defined]
    registry.register(CacheCollector(TierChain(Tier(remote), clock=clock)))
    samples = scrape()
    assert ("tiercache_tier_entries", frozenset({("tier", "remote")})) not in samples
    assert sample(samples, "tiercache_tier_puts_total", tier="remote") == 0


def test_it_mounts_in_an_asgi_application(clock, registry):
    fastapi = pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    cache = Cache(MemoryBackend(clock=clock), namespace="web", clock=clock)
    registry.register(CacheCollector(cache))
    app = fastapi.FastAPI()
    app.mount("/metrics", make_asgi_app(registry))
    cache.get("absent")
    with TestClient(app) as client:
        samples = parsed(client.get("/metrics/").text)
    assert sample(samples, "tiercache_reads_total", namespace="web", outcome="miss") == 1


def test_what_is_no_cache_is_refused():
    with pytest.raises(ConfigurationError, match="not a dict"):
        CacheCollector({})  # type: ignore[arg-type]


# What people build on the names


def names() -> set[str]:
    own = {name_of(measure) + "_total" * (measure.kind == "counter") for measure in MEASURES}
    return own | {f"{LATENCY}_{ending}" for ending in ("bucket", "sum", "count")}


def used(text: str) -> set[str]:
    return set(re.findall(r"\btiercache_\w+", text))


def test_the_dashboard_asks_for_metrics_that_there_are():
    dashboard = json.loads((DOCS / "observability" / "grafana.json").read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(expressions) >= 8
    for expression in expressions:
        assert used(expression), expression
        assert used(expression) <= names(), expression


def test_the_alert_rules_ask_for_metrics_that_there_are():
    yaml = pytest.importorskip("yaml")
    groups = yaml.safe_load((DOCS / "observability" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) >= 4
    for rule in rules:
        assert used(rule["expr"]) <= names(), rule["alert"]
        assert used(rule["expr"])
        assert rule["annotations"]["description"]


def test_namespaces_beyond_a_number_are_summed_as_other(clock, registry, scrape):
    chain = TierChain(MemoryBackend(clock=clock), clock=clock)
    caches = [Cache(chain, namespace=f"n{number}") for number in range(5)]
    registry.register(CacheCollector(chain, max_namespaces=2))
    for cache in caches:
        cache.get("absent")
    samples = scrape()
    assert sample(samples, "tiercache_reads_total", namespace="n0", outcome="miss") == 1
    assert sample(samples, "tiercache_reads_total", namespace="other", outcome="miss") == 3
    assert {dict(labels)["namespace"] for name, labels in samples if name == "tiercache_puts_total"} == {
        "n0",
        "n1",
        "other",
    }
    chain.close()


@pytest.mark.parametrize("most", [0, 2.5, True])
def test_a_number_of_namespaces_that_is_none(most):
    with pytest.raises(ConfigurationError, match="max_namespaces must be a whole number"):
        CacheCollector(max_namespaces=most)
