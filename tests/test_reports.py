"""`TierChain(report=True)`: processes tell each other what they counted; it is summed up, and is in nobody's way."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
import redis
from moto import mock_aws

from tests.processes.harness import run
from tests.support import RemoteBackend
from tiercache import Cache, DiskBackend, KeyRing, MemoryBackend, Tier, TierChain, report_places
from tiercache.backend import Backend
from tiercache.entry import Entry
from tiercache.errors import BackendUnavailable, ConfigurationError
from tiercache.packed import PackedBackend
from tiercache.reporting import EVERY_IN_BUCKETS, TTL, Reporter
from tiercache.reports import (
    PREFIX,
    CacheCounts,
    Counts,
    Report,
    TierCounts,
    TierNow,
    look,
    read_reports,
    scope_of,
    to_entry,
    total,
)
from tiercache.stats import Stats, TierStats
from tiercache.testing import FakeClock
from tiercache.ticker import ticker
from tiercache_redis import RedisBackend
from tiercache_s3 import S3Backend


def chain_on(*backends: Backend | Tier, clock: FakeClock, **options: Any) -> TierChain:
    """A chain that reports when it is told to, and not by itself meanwhile."""
    chain = TierChain(MemoryBackend(clock=clock), *backends, clock=clock, report=True, **options)
    ticker.stop(reporter_of(chain).tick)
    return chain


def reporter_of(chain: TierChain) -> Reporter:
    assert chain.reporter is not None
    return chain.reporter


def tell(*chains: TierChain) -> None:
    for chain in chains:
        assert reporter_of(chain).write()


@pytest.fixture
def bucket() -> Iterator[dict[str, Any]]:
    """The arguments of backends on one bucket."""
    with mock_aws():
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        boto3.client("s3", region_name="us-east-1", **keys).create_bucket(Bucket="bucket")
        yield {
            "bucket": "bucket",
            "prefix": "p",
            "region": "us-east-1",
            "access_key_id": "test",
            "secret_access_key": "test",
            "timeout": 30,
        }


# What is told


def test_what_processes_counted_is_summed(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    one, two = (chain_on(store, clock=clock) for _ in range(2))
    first, second, other = Cache(one, namespace="a"), Cache(two, namespace="a"), Cache(two, namespace="b")
    first.set("k", 1)
    assert [first.get("k"), first.get("k"), second.get("k"), other.get("k")] == [1, 1, 1, None]
    tell(one, two)

    reports = read_reports(one)
    stats = total(reports)

    assert (stats.hits, stats.misses, stats.puts) == (3, 1, 1)
    assert (stats.tiers["memory"].hits, stats.tiers["remote"].hits) == (2, 1)
    assert sorted(report.namespaces for report in reports) == [["a"], ["a", "b"]]


def test_the_latest_report_of_a_process_counts_alone(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    chain = chain_on(store, clock=clock)
    cache = Cache(chain)
    for number in range(1, 4):
        cache.get(f"absent-{number}")
        clock.advance(1)
        tell(chain)

    [report] = read_reports(chain)

    assert report.stats.misses == 3
    assert report.written_at - report.started_at == 3


def test_neither_keys_nor_values_nor_tags_are_told(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    chain = chain_on(store, clock=clock)
    cache = Cache(chain)
    cache.set("canary-key", "canary-value", tags=["canary-tag"], attributes={"note": "canary-attribute"})
    assert cache.get("canary-key") == "canary-value"
    tell(chain)

    [payload] = [entry.payload for key, entry in store.entries.items() if key.startswith(PREFIX)]

    assert b"canary" not in payload


def test_percentiles_are_those_of_all_calls_together(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    quick, slow = (chain_on(store, clock=clock) for _ in range(2))
    for _ in range(98):
        quick.tiers[1].counters.read_latency.record(1_000_000)
    for _ in range(2):
        slow.tiers[1].counters.read_latency.record(1_000_000_000)
    tell(quick, slow)

    read = total(read_reports(quick)).tiers["remote"].read

    assert read.count == 100
    assert read.p50 == pytest.approx(0.001, rel=0.2)
    assert read.p99 == pytest.approx(1.0, rel=0.2)


def test_savings_are_summed_by_model_and_tier(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    chains = [chain_on(store, clock=clock) for _ in range(2)]
    caches = [Cache(chain, namespace="llm") for chain in chains]
    for cache in caches:
        cache.savings.record({"model": "m", "usd": 0.5, "input_tokens": 7}, "remote")
    tell(*chains)

    savings = total(read_reports(chains[0])).savings

    assert savings.namespace == "llm"
    assert savings.rows[("m", "remote")].usd == 1.0
    assert savings.total.input_tokens == 14


def test_what_a_cache_counted_is_told_when_it_is_gone(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    chain = chain_on(store, clock=clock)
    for _ in range(1000):
        Cache(chain).get("absent")
    gc.collect()
    tell(chain)

    assert total(read_reports(chain)).misses == 1000
    assert len(reporter_of(chain)._caches) < 1000


def test_a_reset_is_told(clock: FakeClock) -> None:
    chain = chain_on(RemoteBackend(clock), clock=clock)
    cache = Cache(chain)
    cache.get("absent")
    cache.reset_stats()
    tell(chain)

    assert total(read_reports(chain)).misses == 0


def test_a_store_that_several_see_is_counted_once(clock: FakeClock, tmp_path: Path) -> None:
    disks = [DiskBackend(tmp_path / "cache", clock=clock) for _ in range(2)]
    chains = [chain_on(disk, clock=clock) for disk in disks]
    caches = [Cache(chain) for chain in chains]
    for cache in caches:
        cache.set("k", b"v")
    tell(*chains)

    stats = total(read_reports(chains[0]))

    assert stats.tiers["memory"].entries == 2
    assert stats.tiers["disk"].entries == 2  # the entry, and the first report
    for cache in caches:
        cache.close()


def test_the_worst_breaker_is_shown(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    well, ill = (chain_on(RemoteBackend(clock, name="own"), Tier(store, name="shared"), clock=clock) for _ in range(2))
    tell(well)
    report = reporter_of(ill).current()
    now = {name: TierNow(state.scope, "open") for name, state in report.now.items()}
    well.tiers[1].backend.put(PREFIX + report.id, to_entry(msgspec.structs.replace(report, now=now)))

    assert total(read_reports(well)).tiers["shared"].breaker == "open"


def test_all_that_stats_tell_of_a_tier_and_a_cache_is_told(clock: FakeClock) -> None:
    of_tiers = {*TierCounts.__struct_fields__, *TierNow.__struct_fields__} - {"scope"}

    assert of_tiers == {field.name for field in fields(TierStats)}
    assert {*CacheCounts.__struct_fields__, "tiers"} == {field.name for field in fields(Stats)}


def test_it_tells_what_a_tier_is_used_for(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    one, other = (chain_on(store, clock=clock) for _ in range(2))
    other.switches.set("memory", "off")
    tell(one, other)

    tiers = total(read_reports(one)).tiers

    assert tiers["memory"].switch == "off | on"
    assert tiers["remote"].switch == "on"


def test_one_namespace_can_be_looked_at_alone(clock: FakeClock) -> None:
    chain = chain_on(RemoteBackend(clock), clock=clock)
    Cache(chain, namespace="a").get("absent")
    Cache(chain, namespace="b").get("absent")
    tell(chain)
    [report] = read_reports(chain)

    alone = report.of("a")

    assert alone is not None
    assert alone.stats.misses == 1
    assert report.stats.misses == 2
    assert report.of("c") is None


# Where and when


def test_it_goes_to_the_first_tier_that_other_machines_see(clock: FakeClock, tmp_path: Path) -> None:
    chain = chain_on(DiskBackend(tmp_path / "c", clock=clock), RemoteBackend(clock), clock=clock)

    assert [scope_of(tier) for tier in chain.tiers] == ["process", "host", "all"]
    assert reporter_of(chain).tier is chain.tiers[2]
    chain.close()


def test_without_such_a_tier_it_goes_to_disk(clock: FakeClock, tmp_path: Path) -> None:
    chain = chain_on(DiskBackend(tmp_path / "c", clock=clock), clock=clock)
    tell(chain)

    assert len(read_reports(chain)) == 1
    chain.close()


def test_a_tier_that_is_only_read_takes_none(clock: FakeClock) -> None:
    chain = chain_on(Tier(RemoteBackend(clock), write="never"), clock=clock)

    assert reporter_of(chain).tier is None
    assert not reporter_of(chain).write()
    chain.close()


def test_nobody_is_told_unless_it_is_asked_for(clock: FakeClock) -> None:
    chain = TierChain(RemoteBackend(clock), clock=clock)

    assert chain.reporter is None
    assert read_reports(chain) == []


def test_report_is_a_flag() -> None:
    with pytest.raises(ConfigurationError, match="report must be True or False"):
        TierChain(report="yes")  # type: ignore[arg-type]


def test_it_can_be_asked_for_in_text(tmp_path: Path) -> None:
    file = tmp_path / "cache.toml"
    file.write_text(f'[chain]\nreport = true\n[[tiers]]\nurl = "disk://{tmp_path}/c"\n')
    url = f"disk://{tmp_path}/c"
    chains = [
        TierChain.from_urls(url, report=True),
        TierChain.from_toml(file),
        TierChain.from_env({"TIERCACHE_URLS": url, "TIERCACHE_REPORT": "1"}),
    ]

    assert all(chain.reporter is not None for chain in chains)
    for chain in chains:
        chain.close()


def test_it_happens_by_itself(clock: FakeClock) -> None:
    chain = TierChain(RemoteBackend(clock), clock=clock, report=True)  # nobody uses it
    end = time.monotonic() + 30

    while not read_reports(chain):
        assert time.monotonic() < end, "no report was written"
        time.sleep(0.02)


def test_a_killed_process_is_seen_for_a_minute(clock: FakeClock) -> None:
    chain = chain_on(RemoteBackend(clock), clock=clock)
    tell(chain)

    clock.advance(TTL - 1)
    assert len(read_reports(chain)) == 1
    clock.advance(1)
    assert read_reports(chain) == []


def test_one_that_ended_is_seen_for_a_minute(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    cache, looking = Cache(chain_on(store, clock=clock)), TierChain(store, clock=clock)
    cache.get("absent")
    cache.close()

    [report] = read_reports(looking)

    assert report.ended
    assert report.stats.misses == 1
    clock.advance(TTL)
    assert read_reports(looking) == []


def test_one_that_was_dropped_tells_its_last_figures_and_lives_no_longer(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    chain = TierChain(MemoryBackend(clock=clock), store, clock=clock, report=True)
    Cache(chain).get("absent")
    gone = weakref.ref(reporter_of(chain))
    del chain
    end = time.monotonic() + 30

    while gone() is not None:
        gc.collect()
        assert time.monotonic() < end, "the reporter lives on"
        time.sleep(0.02)

    [report] = read_reports(TierChain(store, clock=clock))
    assert (report.ended, report.stats.misses) == (True, 1)


def test_one_that_was_closed_and_dropped_leaves_nothing(clock: FakeClock) -> None:
    chain = chain_on(RemoteBackend(clock), clock=clock)
    gone = weakref.ref(reporter_of(chain))
    chain.close()
    del chain
    gc.collect()

    assert gone() is None


async def _ended(store: RemoteBackend, clock: FakeClock) -> None:
    async with Cache(chain_on(store, clock=clock)) as cache:
        await cache.aget("absent")


def test_one_that_ended_is_seen_for_a_minute_awaited(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    asyncio.run(_ended(store, clock))

    [report] = read_reports(TierChain(store, clock=clock))

    assert (report.ended, report.stats.misses) == (True, 1)


def test_after_the_end_nothing_is_told(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    chain = chain_on(store, clock=clock)
    chain.close()
    store.entries.clear()

    reporter_of(chain).tick()
    chain.close()

    assert not store.entries


def test_who_only_looks_tells_nothing(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    chain = chain_on(store, clock=clock)
    reporter_of(chain).abandon()
    chain.close()

    assert not store.entries


class Walking(RemoteBackend):
    """A store that would walk through all its keys for a listing."""

    lists_by_prefix = False

    def put(self, key: str, entry: Entry, *, if_absent: bool = False, **options: Any) -> bool:
        return not (if_absent and self.get(key)) and super().put(key, entry, **options)


def test_a_store_that_would_walk_through_all_keys_is_asked_for_no_listing(clock: FakeClock) -> None:
    store = Walking(clock)
    store.faults["scan"] = AssertionError("a listing")
    chains = [chain_on(store, clock=clock) for _ in range(50)]
    for _ in range(2):
        tell(*chains)

    found = read_reports(chains[0])

    assert {report.id for report in found} == {reporter_of(chain).id for chain in chains}
    assert len([key for key in store.entries if key.startswith(PREFIX)]) == 50


def test_a_place_that_is_taken_is_left_to_who_has_it(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_places, "PLACES", 20)  # so that they meet
    store = Walking(clock)
    chains = [chain_on(store, clock=clock) for _ in range(15)]
    for chain in chains:
        while not reporter_of(chain).write():
            pass

    assert len(read_reports(chains[0])) == 15


def test_who_comes_too_late_to_renew_its_place_takes_a_free_one(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_places, "PLACES", 16)
    store = Walking(clock)
    paused, chains = chain_on(store, clock=clock), [chain_on(store, clock=clock) for _ in range(15)]
    tell(paused)
    clock.advance(TTL)
    tell(*chains)
    tell(paused)

    assert len(read_reports(paused)) == 16
    assert not reporter_of(chain_on(store, clock=clock)).write(), "all places are taken"


# In nobody's way


def test_a_store_that_fails_is_counted_and_told_later(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    chain = chain_on(Tier(store, breaker=False), clock=clock)
    store.break_down(BackendUnavailable("down", tier_wide=False))

    assert not reporter_of(chain).write()
    assert reporter_of(chain).failures == 1
    assert chain.tiers[1].counters.errors["BackendUnavailable"] == 1
    store.faults.clear()
    assert reporter_of(chain).write()


def test_a_tier_whose_breaker_is_open_is_not_asked(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    chain = chain_on(store, clock=clock)
    store.break_down()
    for _ in range(10):
        reporter_of(chain).write()
    asked = store.trace.count("remote.put")
    reporter_of(chain).write()

    assert store.trace.count("remote.put") == asked < 10


def test_one_report_at_a_time_is_under_way(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    chain = chain_on(store, clock=clock)
    reporter = reporter_of(chain)
    reached, gate = store.hold("put")
    reporter._due = 0.0
    reporter.tick()
    assert reached.wait(30)
    for _ in range(5):
        reporter._due = 0.0
        reporter.tick()
    gate.set()
    assert reporter._running is not None
    reporter._running.result(30)

    assert store.trace.count("remote.put") == 1


def test_reports_are_none_of_the_caches_entries(clock: FakeClock, tmp_path: Path) -> None:
    cache = Cache(chain_on(DiskBackend(tmp_path / "c", clock=clock), clock=clock))
    cache.set("k", 1)
    tell(cache.chain)

    assert list(cache.keys()) == ["k"]
    cache.clear(purge=True)
    cache.sweep()
    assert len(read_reports(cache.chain)) == 1
    cache.close()


def test_what_cannot_be_read_is_left_out_and_counted(clock: FakeClock) -> None:
    store = RemoteBackend(clock)
    chain = chain_on(store, clock=clock)
    tell(chain)
    later = Report(version=99, id="later", written_at=clock(), until=clock() + 60)
    store.entries[PREFIX + "later"] = to_entry(later)
    damaged = to_entry(Report(id="damaged", written_at=clock(), until=clock() + 60))
    store.entries[PREFIX + "damaged"] = type(damaged)(b"\xc1", damaged.metadata)

    found = look(chain)

    assert (len(found.reports), found.unreadable) == (1, 2)


@pytest.mark.parametrize("buckets", [{10**6: 1}, {-1: 1}, {3: -1}])
def test_a_report_with_durations_that_nobody_measured_is_none(clock: FakeClock, buckets: dict[int, int]) -> None:
    store = RemoteBackend(clock)
    chain = chain_on(store, clock=clock)
    odd = Report(id="odd", written_at=clock(), until=clock() + 60, counts=Counts({}, {"x": TierCounts(read=buckets)}))
    store.entries[PREFIX + "odd"] = to_entry(odd)

    assert look(chain).unreadable == 1
    assert total(read_reports(chain)).tiers == {}


def test_a_tier_that_cannot_be_listed_is_left_out_unless_strict(clock: FakeClock) -> None:
    broken, store = RemoteBackend(clock, name="broken"), RemoteBackend(clock)
    chain = TierChain(Tier(broken, name="broken"), store, clock=clock)
    tell(TierChain(store, clock=clock, report=True))
    broken.break_down()

    assert len(read_reports(chain)) == 1
    chain.strict = True
    with pytest.raises(BackendUnavailable):
        read_reports(chain)


# Stores


def test_sealed_reports_are_read_with_the_keys_alone(clock: FakeClock, tmp_path: Path) -> None:
    ring = KeyRing({"k1": bytes(range(32))})
    chain = chain_on(DiskBackend(tmp_path / "c", clock=clock), clock=clock, keys=ring)
    tell(chain)
    stranger = TierChain(DiskBackend(tmp_path / "c", clock=clock), clock=clock)

    assert len(read_reports(chain)) == 1
    assert look(stranger).reports == []
    assert look(stranger).unreadable == 1
    chain.close()
    stranger.close()


def test_in_a_bucket_a_process_tells_less_often_once_it_is_old(clock: FakeClock, bucket: dict[str, Any]) -> None:
    chain = chain_on(S3Backend(**bucket, clock=clock), clock=clock)
    reporter = reporter_of(chain)
    pauses, kept = [], []
    for _ in range(4):
        reporter._round()
        [report] = read_reports(chain)
        pauses.append(reporter._pause)
        kept.append(report.until - report.written_at)

    assert pauses == [20, 40, EVERY_IN_BUCKETS, EVERY_IN_BUCKETS]
    assert kept == [60, 120, 180, 180]
    chain.close()


def test_in_redis_a_process_tells_every_ten_seconds(clock: FakeClock) -> None:
    chain = chain_on(RemoteBackend(clock), clock=clock)
    for _ in range(4):
        reporter_of(chain)._round()

    assert reporter_of(chain)._pause == 10


def test_in_a_bucket_of_a_class_for_the_long_term_it_is_billed_for_no_minimum(
    clock: FakeClock, bucket: dict[str, Any]
) -> None:
    chain = chain_on(S3Backend(**bucket, storage_class="GLACIER_IR", clock=clock), clock=clock)
    tell(chain)

    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    [found] = client.list_objects_v2(Bucket="bucket")["Contents"]
    assert found["StorageClass"] == "STANDARD"
    chain.close()


def test_what_others_left_in_a_bucket_is_deleted(clock: FakeClock, bucket: dict[str, Any]) -> None:
    killed = chain_on(S3Backend(**bucket, clock=clock), clock=clock)
    tell(killed)
    reporter_of(killed).abandon()
    clock.advance(3600)
    chain = chain_on(S3Backend(**bucket, clock=clock), clock=clock)
    reporter_of(chain)._round()

    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    [found] = client.list_objects_v2(Bucket="bucket")["Contents"]
    assert found["Key"].endswith(reporter_of(chain).id)
    chain.close()
    killed.close()


def test_beside_packed_segments_it_is_an_object_of_its_own(clock: FakeClock, bucket: dict[str, Any]) -> None:
    chain = chain_on(PackedBackend(S3Backend(**bucket, clock=clock)), clock=clock)
    cache = Cache(chain)
    cache.set("k", 1)
    tell(chain)

    [report] = read_reports(chain)

    assert report.stats.puts == 1
    cache.compact()
    cache.sweep()
    assert list(cache.keys()) == ["k"]
    assert len(read_reports(chain)) == 1
    cache.close()


# Processes

FORKING = """
from tiercache.reports import read_reports
chain = TierChain(MemoryBackend(), Tier(RedisBackend(URL, prefix=os.environ["PREFIX"]), timeout=5), report=True)
cache = Cache(chain, namespace="n")
cache.set("k", 1)
[cache.get("k") for _ in range(5)]
def child():
    [cache.get("k") for _ in range(3)]
    chain.close()
ended_well([child_of(child)])
[cache.get("k") for _ in range(2)]
assert chain.reporter.write()
reports = read_reports(chain)
assert len({report.id for report in reports}) == len({report.pid for report in reports}) == 2, reports
assert sorted(report.stats.hits for report in reports) == [3, 7], reports
mine, = [report for report in reports if report.pid == os.getpid()]
other, = [report for report in reports if report.pid != os.getpid()]
assert other.stats.puts == other.stats.tiers["redis"].puts == 0, other
assert other.ended and not mine.ended
chain.close()
"""


def test_a_forked_child_tells_of_itself_alone(redis_url: str, tmp_path: Path) -> None:
    run(FORKING, redis_url, tmp_path, "forked-reports:")


UNCLOSED = """
chain = TierChain(MemoryBackend(), Tier(RedisBackend(URL, prefix=os.environ["PREFIX"]), timeout=5), report=True)
Cache(chain, namespace="n").get("absent")
"""
LOOKING = """
from tiercache.reports import read_reports
chain = TierChain(Tier(RedisBackend(URL, prefix=os.environ["PREFIX"]), timeout=5))
report, = read_reports(chain)
assert report.ended and report.stats.misses == 1, report
chain.close()
"""


def test_redis_is_asked_for_reports_in_bounded_time_whatever_it_holds(redis_url: str) -> None:
    prefix = f"bounded-reports-{time.time_ns()}:"
    chains = [
        TierChain(Tier(RedisBackend(redis_url, prefix=prefix), timeout=30), report=True, keys=ring)
        for ring in [KeyRing({"k1": bytes(range(32))})] * 2
    ]
    with redis.Redis.from_url(redis_url) as client:
        tell(*chains)
        before = client.info("commandstats").get("cmdstat_scan", {}).get("calls", 0)
        found = read_reports(chains[0])
        assert client.info("commandstats").get("cmdstat_scan", {}).get("calls", 0) == before
        assert {report.id for report in found} == {reporter_of(chain).id for chain in chains}
        for chain in chains:
            chain.close()
        client.delete(*client.scan_iter(match=f"{prefix}*"))


def test_a_script_that_closes_nothing_is_seen(redis_url: str, tmp_path: Path) -> None:
    run(UNCLOSED, redis_url, tmp_path, "unclosed-reports:")
    run(LOOKING, redis_url, tmp_path, "unclosed-reports:")
