"""Expiry that deletes: sweeps and lifecycle rules, on a dict and on S3 servers."""

from __future__ import annotations

import contextlib
import threading
import uuid

import boto3
import pytest
from moto import mock_aws

from tests.test_objectstore import DictStore, entry
from tiercache import Cache, MemoryBackend, TierChain, keys
from tiercache.errors import AccessDenied, BackendUnavailable, CacheClosed, ConfigurationError, PartialFailure
from tiercache.objectstore import LifecycleRules, ObjectStoreBackend
from tiercache.objectstore.lifecycle import whole_days
from tiercache_s3 import S3Backend

NOW = 1_700_000_000.0


class RulesInAList(LifecycleRules):
    """Rules as a vendor would keep them."""

    def __init__(self):
        self.rules = [{"id": "theirs", "days": 3}]
        self.writes = 0

    def read(self, *, deadline):
        return [dict(rule) for rule in self.rules]

    def write(self, rules, *, deadline):
        self.writes += 1
        self.rules = list(rules)

    def wanted(self, prefix, expire_after_days):
        return [{"id": f"tiercache:{prefix}", "days": expire_after_days}]

    def owns(self, rule, prefix):
        return rule["id"] == f"tiercache:{prefix}"


@pytest.fixture
def store():
    store = DictStore()
    store.lifecycle = RulesInAList()
    return store


@pytest.fixture
def backend(store, clock):
    backend = ObjectStoreBackend(store, prefix="cache", max_concurrency=4, clock=clock)
    yield backend
    backend.close()


def fill(backend, *, expired=(), fresh=()):
    backend.put_many({key: entry(key, expires_at=NOW - 1) for key in expired})
    backend.put_many({key: entry(key, expires_at=NOW + 1) for key in fresh})


def names(store):
    return sorted(name.removeprefix("cache/") for name in store.objects)


# What a sweep deletes


def test_a_sweep_deletes_what_is_expired_and_nothing_else(backend, store):
    fill(backend, expired=["a", "b"], fresh=["c"])
    backend.put("never", entry("never"))
    backend.put("stale", entry("stale", expires_at=NOW - 1, stale_until=NOW + 1))
    backend.put("gone", entry("gone", expires_at=NOW - 9, stale_until=NOW - 1))
    report = backend.sweep()
    assert names(store) == ["c", "never", "stale"]
    assert (report.examined, report.deleted, report.complete, report.changed) == (6, 3, True, 0)
    assert report.freed > 0


def test_a_sweep_below_a_prefix_leaves_other_keys(backend, store):
    fill(backend, expired=["one:a", "two:a"])
    assert backend.sweep("one:").deleted == 1
    assert names(store) == ["two:a"]


def test_a_sweep_leaves_objects_of_others(backend, store):
    fill(backend, expired=["a"])
    for name in ("cache/_meta/epoch", "cache/other/a", "elsewhere"):
        store.change(name, b"x", user_metadata={"tiercache-version": "1", "created": "1.0", "expires": "2.0"})
    backend.sweep()
    assert sorted(store.objects) == ["cache/_meta/epoch", "cache/other/a", "elsewhere"]


def test_a_sweep_deletes_expired_entries_with_cut_names(backend, store):
    fill(backend, expired=["k" * 2000], fresh=["k" * 2001])
    assert backend.sweep().deleted == 1
    assert list(store.objects) == [f"cache/{keys.object_name('k' * 2001)}"]


@pytest.mark.parametrize(
    "mirror",
    [{}, {"tiercache-version": "9"}, {"tiercache-version": "1", "created": "x"}],
    ids=["none", "of a later release", "damaged"],
)
def test_what_does_not_tell_its_expiry_stays_and_is_counted(backend, store, mirror):
    fill(backend, expired=["a", "b"])
    store.change("cache/b", user_metadata=mirror)
    report = backend.sweep()
    assert (report.deleted, report.unknown) == (1, 1)
    assert names(store) == ["b"]


def test_an_entry_that_is_written_again_while_the_sweep_runs_stays(backend, store):
    fill(backend, expired=["a", "b"])
    remove_many = store.remove_many

    def write_first(versions, *, deadline):
        backend.put("a", entry("a", b"new", expires_at=NOW + 60))
        return remove_many(versions, deadline=deadline)

    store.remove_many = write_first
    report = backend.sweep()
    assert (report.deleted, report.changed) == (1, 1)
    assert backend.get("a").payload == b"new"


# Its price


def test_it_costs_the_listing_a_head_each_and_the_bulk_deletes(backend, store):
    fill(backend, expired=[f"{number:03}" for number in range(150)], fresh=["z"])
    store.bulk_delete = 60
    store.calls.clear()
    report = backend.sweep()
    assert store.calls == {"LIST": 2, "HEAD": 151, "DELETE many": 3}  # the dict lists a hundred at a time
    assert report.requests == sum(store.calls.values())


def test_where_a_listing_tells_metadata_nothing_is_looked_at_twice(backend, store):
    fill(backend, expired=["a", "b"], fresh=["c"])
    list_page = store.list_page
    store.lists_metadata = True

    def with_metadata(*arguments, **options):
        page, token = list_page(*arguments, **options)
        return [store.objects[info.name][0] for info in page], token

    store.list_page = with_metadata
    store.calls.clear()
    assert backend.sweep().deleted == 2
    assert store.calls == {"LIST": 1, "DELETE many": 1}


@pytest.mark.parametrize("budget", [3, 4, 10, 37, 130])
def test_a_budget_is_kept_and_the_sweep_can_be_resumed(backend, store, budget):
    fill(backend, expired=[f"{number:03}" for number in range(60)], fresh=[f"x{number:03}" for number in range(60)])
    resume, deleted = None, 0
    for _ in range(200):
        store.calls.clear()
        report = backend.sweep(max_requests=budget, resume=resume)
        assert report.requests == sum(store.calls.values()) <= budget
        deleted, resume = deleted + report.deleted, report.resume
        if report.complete:
            break
    assert (deleted, report.complete) == (60, True)
    assert len(store.objects) == 60


@pytest.mark.parametrize("budget", [0, 2, -1, True, 2.5])
def test_a_budget_that_allows_nothing_is_refused(backend, budget):
    with pytest.raises(ConfigurationError, match="max_requests"):
        backend.sweep(max_requests=budget)


def test_progress_is_told_after_each_page(backend):
    fill(backend, expired=[f"{number:03}" for number in range(250)])
    seen = []
    backend.sweep(progress=lambda report: seen.append((report.examined, report.deleted)))
    assert seen == [(100, 100), (200, 200), (250, 250)]


def test_a_report_can_be_read(backend):
    fill(backend, expired=["a"], fresh=["b"])
    assert str(backend.sweep()).startswith("1 of 2 objects deleted, ")
    assert "resume" in str(backend.sweep(max_requests=3)) or backend.sweep(max_requests=3).complete


async def test_a_sweep_can_be_awaited(backend, store):
    fill(backend, expired=["a"])
    assert (await backend.asweep(max_requests=10)).deleted == 1
    assert store.objects == {}


# Through a cache


def test_a_cache_sweeps_its_own_namespace_in_its_object_stores(backend, store, clock):
    cache = Cache(TierChain(MemoryBackend(clock=clock), backend, clock=clock), namespace="mine")
    other = Cache(cache.chain, namespace="other")
    for one in (cache, other):
        one.set("gone", 1, ttl=1)
        one.set("kept", 2, ttl=100)
    clock.advance(2)
    seen = []
    reports = cache.sweep(progress=lambda tier, report: seen.append((tier, report.deleted)))
    assert {tier: report.deleted for tier, report in reports.items()} == {"custom": 1}
    assert seen == [("custom", 1)]
    assert names(store) == ["mine:kept", "other:gone", "other:kept"]


def test_a_tier_that_fails_is_counted_and_left_out_of_a_sweep(backend, store, clock):
    cache = Cache(TierChain(MemoryBackend(clock=clock), backend, clock=clock))

    def down(prefix, token, **_):
        raise BackendUnavailable("down")

    store.list_page = down
    assert cache.sweep() == {}
    assert cache.stats().tiers["custom"].errors == {"BackendUnavailable": 1}


@pytest.mark.parametrize("budget", [0, 2, -1, "10"])
def test_a_budget_that_is_none_is_the_callers_mistake_not_a_tiers(backend, clock, budget):
    cache = Cache(TierChain(backend, clock=clock))
    with pytest.raises(ConfigurationError, match="max_requests"):
        cache.sweep(max_requests=budget)
    assert cache.stats().tiers["custom"].errors == {}


async def test_a_cache_sweeps_in_a_loop_with_a_budget(backend, clock):
    cache = Cache(TierChain(backend, clock=clock))
    await cache.aset_many({str(number): 1 for number in range(20)}, ttl=1)
    clock.advance(2)
    report = (await cache.asweep(max_requests=10))["custom"]
    assert 0 < report.deleted < 20
    assert report.requests <= 10
    assert not report.complete


def test_a_cache_goes_on_where_its_budget_ended(backend, store, clock):
    cache = Cache(TierChain(backend, clock=clock))
    cache.set_many({f"a{number:02}": 1 for number in range(30)})
    cache.set_many({f"b{number:02}": 1 for number in range(30)}, ttl=1)
    clock.advance(2)
    reports, rounds = None, 0
    while reports is None or not reports["custom"].complete:
        reports, rounds = cache.sweep(max_requests=10, resume=reports), rounds + 1
    assert len(store.objects) == 30
    assert rounds > 5
    assert cache.sweep(resume=reports)["custom"].examined == 30  # a complete one begins anew


def test_what_progress_raises_ends_the_sweep_and_is_no_failure_of_the_tier(backend, clock):
    cache = Cache(TierChain(backend, clock=clock))

    def progress(tier, report):
        raise KeyError(tier)

    with pytest.raises(KeyError):
        cache.sweep(progress=progress)
    assert cache.stats().tiers["custom"].errors == {}


def test_a_tier_of_which_some_objects_fail_reports_what_it_did(backend, store, clock):
    cache = Cache(TierChain(backend, clock=clock))
    cache.set_many({"a": 1, "b": 2}, ttl=1)
    clock.advance(2)
    stat = store.stat

    def deny_one(name, *, deadline):
        if name.endswith("a"):
            raise AccessDenied("denied")
        return stat(name, deadline=deadline)

    store.stat = deny_one
    report = cache.sweep()["custom"]
    assert (report.deleted, report.failed) == (1, {"AccessDenied": 1})
    assert cache.stats().tiers["custom"].errors == {"AccessDenied": 1}


# Its failures


def test_objects_that_cannot_be_deleted_are_counted_and_the_rest_goes(backend, store):
    fill(backend, expired=["a", "b"])
    remove_many = store.remove_many

    def deny_one(versions, *, deadline):
        versions = dict(versions)
        versions.pop("cache/a")
        return remove_many(versions, deadline=deadline) | {"cache/a": BackendUnavailable("busy")}

    store.remove_many = deny_one
    with pytest.raises(PartialFailure) as caught:
        backend.sweep()
    assert (caught.value.results.deleted, caught.value.results.failed) == (1, {"BackendUnavailable": 1})
    assert {kind: str(error) for kind, error in caught.value.failed.items()} == {"BackendUnavailable": "busy"}
    assert names(store) == ["a"]


def test_a_store_that_goes_down_ends_the_sweep_with_its_error(backend, store):
    fill(backend, expired=["a"])

    def down(prefix, token, **_):
        raise BackendUnavailable("down")

    store.list_page = down
    with pytest.raises(BackendUnavailable):
        backend.sweep()


def test_a_prefix_that_a_listing_cannot_tell_apart_is_refused(backend):
    with pytest.raises(ConfigurationError, match="prefix"):
        backend.sweep("k" * 1000)


def test_a_closed_backend_does_not_sweep(backend):
    backend.close()
    with pytest.raises(CacheClosed):
        backend.sweep()


# Several machines at once, on a real server


def test_machines_that_sweep_at_once_delete_each_expired_entry_and_no_fresh_one(s3_server, s3_bucket, clock):
    prefix = uuid.uuid4().hex

    def machine():
        return S3Backend(
            s3_bucket,
            prefix=prefix,
            endpoint_url=s3_server.endpoint_url,
            access_key_id=s3_server.access_key,
            secret_access_key=s3_server.secret_key,
            region=s3_server.region,
            timeout=30,
            clock=clock,
        )

    machines = [machine() for _ in range(3)]
    fill(machines[0], expired=[f"old{number}" for number in range(40)], fresh=[f"new{number}" for number in range(10)])
    start, reports = threading.Barrier(3), []

    def sweep(backend):
        start.wait(30)
        reports.append(backend.sweep())

    threads = [threading.Thread(target=sweep, args=(backend,)) for backend in machines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(report.deleted for report in reports) >= 40
    assert sorted(key for key, _ in machines[0].scan()) == sorted(f"new{number}" for number in range(10))
    machines[0].clear()
    for backend in machines:
        backend.close()


# Lifecycle rules


def test_a_lifecycle_rule_is_added_beside_those_of_others(backend, store):
    change = backend.apply_lifecycle(expire_after="30d")
    assert change.applied
    assert store.lifecycle.rules == [{"id": "theirs", "days": 3}, {"id": "tiercache:cache/", "days": 30}]
    assert change.kept == ({"id": "theirs", "days": 3},)


def test_applied_again_it_changes_and_writes_nothing(backend, store):
    backend.apply_lifecycle(expire_after="30d")
    change = backend.apply_lifecycle(expire_after="30d")
    assert not change
    assert not change.applied
    assert store.lifecycle.writes == 1
    assert "nothing to change" in str(change)


def test_another_duration_replaces_our_rule(backend, store):
    backend.apply_lifecycle(expire_after="30d")
    change = backend.apply_lifecycle(expire_after="60d")
    assert [rule["days"] for rule in change.removed + change.added] == [30, 60]
    assert [rule["days"] for rule in store.lifecycle.rules] == [3, 60]


def test_a_dry_run_says_what_would_change_and_changes_nothing(backend, store):
    change = backend.apply_lifecycle(expire_after="30d", dry_run=True)
    assert change
    assert not change.applied
    assert store.lifecycle.writes == 0
    assert str(change).splitlines() == [
        "lifecycle rules, not applied:",
        '+ {"id": "tiercache:cache/", "days": 30}',
        '  {"id": "theirs", "days": 3}',
    ]


@pytest.mark.parametrize(("duration", "days"), [("1s", 1), ("1d", 1), ("25h", 2), (86_400 * 365, 365)])
def test_no_store_deletes_before_the_time_is_over(duration, days):
    assert whole_days(duration) == days


def test_a_store_without_rules_says_so(clock):
    backend = ObjectStoreBackend(DictStore(), clock=clock)
    with pytest.raises(ConfigurationError, match="cannot be reached"):
        backend.apply_lifecycle(expire_after="1d")
    backend.close()


async def test_rules_can_be_applied_in_a_loop(backend):
    assert (await backend.aapply_lifecycle(expire_after="1d")).applied


@pytest.fixture
def on_moto():
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_bucket(Bucket="bucket")
        backend = S3Backend(
            "bucket", prefix="p", region="us-east-1", access_key_id="x", secret_access_key="x", timeout=60
        )
        yield backend, client
        backend.close()


def test_the_rule_of_s3_expires_below_the_prefix_and_keeps_other_rules(on_moto):
    backend, client = on_moto
    theirs = {"ID": "logs", "Filter": {"Prefix": "logs/"}, "Status": "Enabled", "Expiration": {"Days": 7}}
    client.put_bucket_lifecycle_configuration(Bucket="bucket", LifecycleConfiguration={"Rules": [theirs]})
    assert backend.apply_lifecycle(expire_after="90d").applied
    assert not backend.apply_lifecycle(expire_after="90d")
    rules = client.get_bucket_lifecycle_configuration(Bucket="bucket")["Rules"]
    assert rules[0] == theirs
    assert rules[1] == {
        "ID": "tiercache:p/",
        "Filter": {"Prefix": "p/"},
        "Status": "Enabled",
        "Expiration": {"Days": 90},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    }


def test_what_s3_keeps_beside_the_rules_is_sent_back(web):
    header = "x-amz-transition-default-minimum-object-size"
    rule = "<Rule><ID>logs</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Enabled</Status></Rule>"
    answer = 200, f"<LifecycleConfiguration>{rule}</LifecycleConfiguration>"
    server = web((*answer, {header: "varies_by_storage_class", "Content-Type": "application/xml"}), answer)
    options = {"region": "us-east-1", "access_key_id": "x", "secret_access_key": "x", "timeout": 60}
    with contextlib.closing(S3Backend("bucket", prefix="p", endpoint_url=server.url, **options)) as backend:
        assert backend.apply_lifecycle(expire_after="90d").applied
    assert server.asked[-1].headers[header] == "varies_by_storage_class"


def test_the_rule_of_s3_is_the_first_of_a_bucket_without_any(on_moto):
    backend, client = on_moto
    change = backend.apply_lifecycle(expire_after="90d")
    assert (len(change.added), change.kept) == (1, ())
    assert len(client.get_bucket_lifecycle_configuration(Bucket="bucket")["Rules"]) == 1


def test_s3_needs_to_know_how_long_entries_live(on_moto):
    with pytest.raises(ConfigurationError, match="expire_after"):
        on_moto[0].apply_lifecycle()
