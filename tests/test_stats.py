"""Statistics: what counts as a hit and where, exact under threads, cheap on the path of a hit, ready for JSON."""

from __future__ import annotations

import json
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Stats, Tier, TierChain, TierStats
from tiercache.errors import BackendUnavailable, CorruptEntry
from tiercache.stats import Histogram

THREADS = 8
ROUNDS = 400


@pytest.fixture
def remote(clock):
    return RemoteBackend(clock)


@pytest.fixture
def cache(clock, remote):
    """A cache on memory -> remote."""
    with Cache(TierChain(MemoryBackend(clock=clock), remote, clock=clock), namespace="n") as cache:
        yield cache


def forget_in_memory(cache):
    cache.chain.memory.clear()


# Which read counts where


def test_a_miss_in_memory_that_the_second_tier_answers_is_one_hit_of_the_cache(cache):
    cache.set("key", 1)
    forget_in_memory(cache)
    cache.get("key")
    stats = cache.stats()
    assert (stats.hits, stats.misses) == (1, 0)
    assert (stats.tiers["memory"].hits, stats.tiers["memory"].misses) == (0, 1)
    assert (stats.tiers["remote"].hits, stats.tiers["remote"].misses) == (1, 0)


def test_a_hit_in_memory_does_not_reach_the_tiers_below(cache):
    cache.set("key", 1)
    cache.get("key")
    stats = cache.stats()
    assert (stats.hits, stats.tiers["memory"].hits) == (1, 1)
    assert (stats.tiers["remote"].hits, stats.tiers["remote"].misses) == (0, 0)


def test_a_key_that_no_tier_has_is_one_miss_of_each(cache):
    cache.get("absent")
    stats = cache.stats()
    assert (stats.hits, stats.misses) == (0, 1)
    assert [tier.misses for tier in stats.tiers.values()] == [1, 1]


def test_a_batch_counts_each_key_once_for_each_tier_that_was_asked(cache):
    cache.set_many({"a": 1, "b": 2, "c": 3})
    forget_in_memory(cache)
    cache.get("a")
    cache.reset_stats()
    cache.get_many(["a", "b", "c", "absent"])
    stats = cache.stats()
    assert (stats.hits, stats.misses) == (3, 1)
    assert (stats.tiers["memory"].hits, stats.tiers["memory"].misses) == (1, 3)
    assert (stats.tiers["remote"].hits, stats.tiers["remote"].misses) == (2, 1)


@pytest.mark.parametrize("ask", ["get", "lookup", "get_or_set"])
def test_every_way_to_read_counts_the_same(cache, ask):
    cache.set("key", 1)
    arguments = (lambda: 2,) if ask == "get_or_set" else ()
    getattr(cache, ask)("key", *arguments)
    getattr(cache, ask)("absent", *arguments)
    stats = cache.stats()
    assert (stats.hits, stats.misses) == (1, 1)
    assert (stats.tiers["memory"].hits, stats.tiers["memory"].misses) == (1, 1)


async def test_awaited_reads_count_the_same(cache):
    await cache.aset("key", 1)
    await cache.aget("key")
    await cache.aget("absent")
    forget_in_memory(cache)
    await cache.aget("key")
    stats = cache.stats()
    assert (stats.hits, stats.misses) == (2, 1)
    assert (stats.tiers["memory"].hits, stats.tiers["memory"].misses) == (1, 2)
    assert (stats.tiers["remote"].hits, stats.tiers["remote"].misses) == (1, 1)


def test_a_value_that_is_not_of_the_type_asked_for_is_a_miss_and_no_hit(cache):
    cache.set("key", "text")
    assert cache.get("key", type=dict) is None
    stats = cache.stats()
    assert (stats.hits, stats.misses) == (0, 1)
    assert stats.tiers["memory"].errors == {"TypeMismatch": 1}


def test_a_cache_counts_its_own_reads_and_its_tiers_those_of_all_caches_on_them(cache):
    other = Cache(cache.chain, namespace="other")
    for one in (cache, other):
        one.set("key", 1)
        one.get("key")
    assert (cache.stats().hits, other.stats().hits) == (1, 1)
    assert cache.stats().tiers["memory"].hits == other.stats().tiers["memory"].hits == 2


# Writes, promotions, removals, failures


def test_writes_deletes_and_computed_values_are_counted(cache):
    cache.set("a", 1)
    cache.set_many({"b": 2, "c": 3})
    cache.get_or_set("d", lambda: 4)
    cache.delete("a")
    cache.delete("absent")
    stats = cache.stats()
    assert (stats.puts, stats.deletes, stats.computed) == (4, 1, 1)
    assert [(tier.puts, tier.deletes) for tier in stats.tiers.values()] == [(4, 1), (4, 1)]


def test_a_copy_into_a_faster_tier_is_a_promotion_and_a_put_there(cache):
    cache.set("key", 1)
    forget_in_memory(cache)
    cache.reset_stats()
    cache.get("key")
    memory = cache.stats().tiers["memory"]
    assert (memory.promotions, memory.puts) == (1, 1)
    assert cache.stats().puts == 0


def test_a_value_that_no_codec_takes_is_counted_and_handed_through(cache):
    value = object()
    assert cache.get_or_set("key", lambda: value) is value
    assert (cache.stats().uncacheable, cache.stats().puts) == (1, 0)


def test_removals_are_counted_by_cause(clock):
    cache = Cache(TierChain(MemoryBackend(max_entries=2, clock=clock), clock=clock))
    for key in "abcc":
        cache.set(key, 1)
    cache.delete("c")
    assert cache.stats().tiers["memory"].evictions == {"size": 1, "replaced": 1, "explicit": 1}


def test_entries_and_bytes_are_those_of_the_moment(clock):
    cache = Cache(TierChain(MemoryBackend(clock=clock), clock=clock), namespace="n")
    cache.set("key", b"x" * 1000, ttl=60)
    memory = cache.stats().tiers["memory"]
    assert memory.entries == 1
    assert 1000 < memory.bytes < 1500
    clock.advance(60)
    memory = cache.stats().tiers["memory"]
    assert (memory.entries, memory.bytes) == (0, 0)


def test_a_store_that_does_not_tell_how_much_it_holds_says_none(cache):
    assert cache.stats().tiers["remote"].entries is None
    assert cache.stats().tiers["remote"].bytes is None


def test_failures_are_counted_by_kind(cache, remote):
    remote.faults["get"] = BackendUnavailable("down")
    cache.get("key")
    cache.get("key")
    remote.faults["get"] = CorruptEntry("not an entry")
    cache.get("key")
    assert cache.stats().tiers["remote"].errors == {"BackendUnavailable": 2, "CorruptEntry": 1}


def test_a_tier_that_cannot_say_how_much_it_holds_does_not_spoil_the_statistics(cache, remote):
    def usage():
        raise KeyError("not one of ours")

    remote.usage = usage
    cache.get("key")
    stats = cache.stats()
    assert stats.misses == 1
    assert stats.tiers["remote"].entries is None


# Rates and forms


def test_the_hit_rate_is_the_share_of_hits_and_0_without_reads(cache):
    assert cache.stats().hit_rate == 0
    cache.set("key", 1)
    for key in ("key", "key", "key", "absent"):
        cache.get(key)
    stats = cache.stats()
    assert stats.hit_rate == 0.75
    assert stats.requests == 4
    assert stats.tiers["memory"].hit_rate == 0.75
    assert stats.tiers["remote"].hit_rate == 0


def test_as_dict_is_ready_for_json_and_tells_everything(cache, remote):
    cache.set("key", 1)
    cache.get("key")
    remote.faults["get"] = BackendUnavailable("down")
    cache.get("absent")
    told = json.loads(json.dumps(cache.stats().as_dict(), allow_nan=False))
    assert told["hits"] == told["misses"] == 1
    assert told["hit_rate"] == 0.5
    assert told["tiers"]["memory"]["hit_rate"] == 0.5
    assert told["tiers"]["remote"]["errors"] == {"BackendUnavailable": 1}
    assert told["tiers"]["remote"]["write"]["count"] == 1
    assert set(told["tiers"]["memory"]) == {*TierStats.__slots__, "hit_rate"}
    assert set(told) == {
        *Stats.__slots__,
        *("requests", "hit_rate", "promotions", "evictions", "errors", "entries", "bytes"),
    }


def test_a_snapshot_does_not_change_afterwards(cache):
    before = cache.stats()
    cache.get("absent")
    assert (before.misses, before.tiers["memory"].misses) == (0, 0)


def test_reset_starts_everything_at_zero_again_and_keeps_the_entries(cache, remote):
    cache.set("key", 1)
    cache.set("key", 2)
    cache.get("key")
    remote.faults["get"] = BackendUnavailable("down")
    cache.get("absent")
    cache.reset_stats()
    stats = cache.stats()
    assert (stats.requests, stats.puts, stats.deletes) == (0, 0, 0)
    for tier in stats.tiers.values():
        assert (tier.hits, tier.misses, tier.puts, tier.read.count, tier.write.count) == (0, 0, 0, 0, 0)
        assert tier.errors == tier.evictions == {}
    assert cache.get("key") == 2
    assert (cache.stats().hits, cache.stats().tiers["memory"].hits) == (1, 1)


def test_after_a_reset_the_tiers_still_count_for_every_cache_on_them(cache):
    other = Cache(cache.chain, namespace="other")
    other.set("key", 1)
    cache.reset_stats()
    other.get("key")
    assert cache.stats().tiers["memory"].hits == 1


# Latency


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_within_19_percent_of_the_truth(seed):
    dice = random.Random(seed)
    durations = [int(10 ** dice.uniform(1, 10)) for _ in range(2000)]
    histogram = Histogram()
    for duration in durations:
        histogram.record(duration)
    durations.sort()
    for share in (0.01, 0.5, 0.9, 0.99, 1.0):
        truth = durations[max(0, round(share * 2000) - 1)] / 1e9
        assert truth <= histogram.percentile(share) <= truth * 1.19
    assert histogram.count == 2000


@pytest.mark.parametrize("duration", [0, 1, 2, 10**15])
def test_any_duration_can_be_recorded(duration):
    histogram = Histogram()
    histogram.record(duration)
    assert histogram.percentile(0.5) >= duration / 1e9


def test_without_durations_there_is_no_percentile():
    assert Histogram().percentile(0.5) is None


def test_calls_to_a_store_are_timed(cache):
    cache.get("absent")  # the first read asks for the namespace's marks as well
    cache.reset_stats()
    cache.set("key", 1)
    cache.get("absent")
    remote = cache.stats().tiers["remote"]
    assert (remote.read.count, remote.write.count) == (1, 1)
    assert 0 < remote.read.p50 <= remote.read.p99 < 60


@pytest.mark.parametrize("awaited", [False, True])
async def test_of_64_hits_in_memory_one_is_timed(cache, awaited):
    cache.set("key", 1)
    cache.reset_stats()
    for _ in range(640):
        assert (await cache.aget("key") if awaited else cache.get("key")) == 1
    memory = cache.stats().tiers["memory"]
    assert (memory.hits, memory.read.count) == (640, 10)


# Threads


@pytest.fixture
def impatient_threads():
    """Let threads take turns after every few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(work):
    """Run the function THREADS times at once, and raise what one of them raises."""
    start = threading.Barrier(THREADS)

    def begin(number):
        start.wait(30)
        for step in range(ROUNDS):
            work(number, step)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(begin, range(THREADS)))


@pytest.mark.usefixtures("impatient_threads")
def test_hits_and_misses_are_exact_under_threads(cache):
    cache.set("key", 1)
    forget_in_memory(cache)
    cache.get("key")
    cache.reset_stats()

    def work(number, step):
        cache.get("key")
        cache.get(f"absent-{number}")

    in_threads(work)
    stats = cache.stats()
    assert (stats.hits, stats.misses) == (THREADS * ROUNDS, THREADS * ROUNDS)
    assert (stats.tiers["memory"].hits, stats.tiers["memory"].misses) == (THREADS * ROUNDS, THREADS * ROUNDS)
    assert (stats.tiers["remote"].hits, stats.tiers["remote"].misses) == (0, THREADS * ROUNDS)


@pytest.mark.usefixtures("impatient_threads")
def test_writes_and_batches_are_exact_under_threads(cache):
    def work(number, step):
        key = f"{number}"
        cache.set_many({key: 1, key + "b": 2})
        cache.get_many([key, key + "b", "absent"])
        cache.delete(key)

    in_threads(work)
    stats = cache.stats()
    calls = THREADS * ROUNDS
    assert (stats.puts, stats.hits, stats.misses, stats.deletes) == (2 * calls, 2 * calls, calls, calls)
    for tier in stats.tiers.values():
        assert (tier.puts, tier.deletes) == (2 * calls, calls)
    assert (stats.tiers["memory"].hits, stats.tiers["memory"].misses) == (2 * calls, calls)


@pytest.mark.usefixtures("impatient_threads")
def test_failures_and_latencies_are_exact_under_threads(clock, remote):
    remote.faults["get"] = BackendUnavailable("down")
    cache = Cache(TierChain(Tier(remote, name="remote", breaker=False), clock=clock))

    def work(number, step):
        cache.get("key")
        cache.set(f"{number}", step)

    in_threads(work)
    tier = cache.stats().tiers["remote"]
    assert tier.errors == {"BackendUnavailable": THREADS * ROUNDS}
    assert tier.write.count == THREADS * ROUNDS


@pytest.mark.usefixtures("impatient_threads")
def test_deletes_elsewhere_are_counted_while_a_namespace_is_cleared(clock, remote):
    cache = Cache(TierChain(Tier(remote, name="remote"), clock=clock), namespace="a")
    other = Cache(cache.chain, namespace="b")
    other.set("key", 1)
    reached, gate = remote.hold("scan")
    with ThreadPoolExecutor(1) as pool:
        clearing = pool.submit(cache.clear, purge=True)
        assert reached.wait(30)
        other.delete("key")
        gate.set()
        clearing.result(30)
    assert cache.stats().tiers["remote"].deletes == 1
