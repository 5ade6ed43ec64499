"""Metrics of OpenTelemetry: the statistics, added up by namespace and tier, and how long operations took."""

from __future__ import annotations

import gc
import weakref

import pytest

pytest.importorskip("opentelemetry.sdk")

from tests.integrations.telemetry import Telemetry, call
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import BackendUnavailable, ConfigurationError
from tiercache.integrations.measures import ATTRIBUTES, MEASURES, MODELS, NAMESPACES
from tiercache.savings import Saving

FACES = pytest.mark.parametrize("face", ["sync", "async"])


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def remote(clock) -> RemoteBackend:
    return RemoteBackend(clock)


def point(telemetry: Telemetry, name: str, **labels: str) -> object:
    return telemetry.points()[name, tuple(sorted((ATTRIBUTES[label], value) for label, value in labels.items()))]


@FACES
async def test_the_points_are_those_of_the_statistics(clock, remote, telemetry, face):
    with Cache(TierChain(MemoryBackend(clock=clock), remote, clock=clock), namespace="n") as cache:
        telemetry.instrument(cache)
        await call(face, cache, "set", "key", 1)
        await call(face, cache, "get", "key")
        await call(face, cache, "get", "absent")
        stats, points = cache.stats(), telemetry.points()

    def of(name: str, **labels: str) -> object:
        return points[name, tuple(sorted((ATTRIBUTES[label], value) for label, value in labels.items()))]

    assert of("tiercache.reads", namespace="n", outcome="hit") == stats.hits == 1
    assert of("tiercache.reads", namespace="n", outcome="miss") == stats.misses == 1
    assert of("tiercache.tier.reads", tier="memory", outcome="hit") == stats.tiers["memory"].hits
    assert of("tiercache.tier.puts", tier="remote") == stats.tiers["remote"].puts
    assert of("tiercache.tier.entries", tier="memory") == stats.tiers["memory"].entries
    assert of("tiercache.tier.breakers", tier="remote", state="closed") == 1


def test_errors_are_told_by_class_and_the_breaker_by_state(clock, remote, telemetry, caplog):
    with Cache(TierChain(MemoryBackend(clock=clock), remote, clock=clock)) as cache:
        telemetry.instrument(cache)
        remote.break_down(BackendUnavailable("down"))
        while cache.chain.tiers[1].breaker.state == "closed":
            cache.get("key")
        errors = cache.stats().tiers["remote"].errors["BackendUnavailable"]
        assert point(telemetry, "tiercache.tier.errors", tier="remote", error="BackendUnavailable") == errors
        assert point(telemetry, "tiercache.tier.breakers", tier="remote", state="closed") == 0


@FACES
async def test_operations_are_timed_with_what_came_of_them(clock, remote, telemetry, face):
    with Cache(TierChain(MemoryBackend(clock=clock), remote, clock=clock), namespace="n") as cache:
        cache.get("first")
        telemetry.instrument(cache)
        await call(face, cache, "get", "absent")
        remote.faults["get"] = BackendUnavailable("down", tier_wide=False)
        await call(face, cache, "get", "absent")
    name = "tiercache.operation.duration"
    assert point(telemetry, name, namespace="n", operation="get", outcome="miss") == 2
    name = "tiercache.tier.operation.duration"
    assert point(telemetry, name, tier="remote", operation="get") == 1
    assert point(telemetry, name, tier="remote", operation="get", error="BackendUnavailable") == 1


def test_caches_of_a_namespace_and_tiers_of_a_name_are_added_up(clock, telemetry):
    chains = [TierChain(MemoryBackend(clock=clock), clock=clock) for _ in range(2)]
    caches = [Cache(chain, namespace="n") for chain in (*chains, chains[0])]
    for cache in caches:
        telemetry.instrument(cache)
        cache.set("key", 1)
    assert point(telemetry, "tiercache.puts", namespace="n") == 3
    assert point(telemetry, "tiercache.tier.puts", tier="memory") == 3, "the chain of two caches counts once"


def test_savings_are_told_by_model(clock, telemetry):
    cache = Cache(MemoryBackend(clock=clock), namespace="n")
    telemetry.instrument(cache)
    cache.savings.add("gpt", "memory", Saving(1, 10, 5, 0.25, 0, 2.0))
    about = {"namespace": "n", "tier": "memory", "model": "gpt"}
    assert point(telemetry, "tiercache.saved.cost", **about) == 0.25
    assert point(telemetry, "tiercache.saved.duration", **about) == 2.0
    assert point(telemetry, "tiercache.saved.tokens", **about, token_type="input") == 10
    assert point(telemetry, "tiercache.saved.tokens", **about, token_type="output") == 5


def test_callers_who_make_models_up_make_no_more_than_a_hundred_series(clock, telemetry):
    cache = Cache(MemoryBackend(clock=clock), namespace="n")
    telemetry.instrument(cache)
    for number in range(MODELS + 20):
        cache.savings.add(f"model-{number}", "memory", Saving(1))
    models = {
        dict(labels)["gen_ai.request.model"] for name, labels in telemetry.points() if name == "tiercache.saved.calls"
    }
    assert len(models) == MODELS + 1
    assert point(telemetry, "tiercache.saved.calls", namespace="n", tier="memory", model="other") == 20


def namespaces_of(telemetry: Telemetry, name: str) -> dict[str, float]:
    """The sum of a metric's points for each namespace."""
    found: dict[str, float] = {}
    for (metric, labels), value in telemetry.points().items():
        if metric == name:
            namespace = dict(labels)["tiercache.namespace"]
            found[namespace] = found.get(namespace, 0) + value
    return found


@FACES
async def test_namespaces_beyond_a_hundred_are_summed_as_other(clock, remote, telemetry, face):
    chain = TierChain(MemoryBackend(clock=clock), remote, clock=clock)
    telemetry.instrument(chain)
    caches = [Cache(chain, namespace=f"n{number}") for number in range(NAMESPACES + 20)]
    for cache in caches:
        await call(face, cache, "get", "absent")
    for name in ("tiercache.reads", "tiercache.operation.duration"):
        found = namespaces_of(telemetry, name)
        assert len(found) == NAMESPACES + 1
        assert found["other"] == 20
    chain.close()


def test_a_namespace_keeps_its_name_when_others_are_gone(clock, remote, telemetry):
    chain = TierChain(MemoryBackend(clock=clock), remote, clock=clock)
    telemetry.instrument(chain, max_namespaces=2)
    caches = [Cache(chain, namespace=name) for name in ("a", "b", "c")]
    caches[2].get("absent")
    assert namespaces_of(telemetry, "tiercache.reads")["other"] == 1
    del caches[0]
    gc.collect()
    found = namespaces_of(telemetry, "tiercache.reads")
    assert (found["other"], set(found)) == (1, {"b", "other"})
    chain.close()


def test_of_several_numbers_of_namespaces_the_largest_holds(clock, remote, telemetry):
    chains = [TierChain(MemoryBackend(clock=clock), clock=clock) for _ in range(2)]
    for chain, most in zip(chains, (3, 1), strict=True):
        telemetry.instrument(chain, max_namespaces=most)
    caches = [Cache(chain, namespace=name) for chain in chains for name in ("a", "b", "c", "d")]
    assert set(namespaces_of(telemetry, "tiercache.puts")) == {"a", "b", "c", "other"}
    assert len(caches) == 8


@pytest.mark.parametrize("most", [0, -1, True, "5", None])
def test_a_number_of_namespaces_that_is_none(clock, telemetry, most):
    with pytest.raises(ConfigurationError, match="max_namespaces must be a whole number"):
        telemetry.instrument(TierChain(MemoryBackend(clock=clock)), max_namespaces=most)


def test_no_series_has_other_attributes_than_the_table_says(clock, remote, telemetry):
    with Cache(TierChain(MemoryBackend(clock=clock), Tier(remote, write="behind"), clock=clock)) as cache:
        telemetry.instrument(cache)
        cache.savings.add("model", "memory", Saving(1))
        cache.get_or_set("key", lambda: 1)
        cache.drain(30)
        wanted = {measure.name: {ATTRIBUTES[label] for label in measure.labels} for measure in MEASURES}
        for name, labels in telemetry.points():
            if name in wanted:
                assert {label for label, _ in labels} == wanted[name]


def test_an_instrumented_chain_keeps_no_cache_alive(clock, remote, telemetry):
    chain = TierChain(MemoryBackend(clock=clock), remote, clock=clock)
    telemetry.instrument(chain)
    cache = Cache(chain)
    cache.get("key")
    gone = weakref.ref(cache)
    del cache
    gc.collect()
    assert gone() is None
    chain.close()
