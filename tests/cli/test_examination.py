"""What a store says of itself, judged: the cases that no test server is in."""

from __future__ import annotations

import pytest

from tiercache_gcs.examination import judged as judged_google
from tiercache_redis.examination import judged

WELL = {
    "redis_version": "7.2.4",
    "role": "master",
    "maxmemory": "1000000",
    "used_memory": "500000",
    "maxmemory_policy": "allkeys-lru",
    "evicted_keys": "0",
    "uptime_in_seconds": "100000",
    "rdb_last_bgsave_status": "ok",
    "aof_enabled": "1",
}


def told(said) -> list[tuple[str, str]]:
    return [(finding.level, finding.about) for finding in judged(WELL | said)]


def test_nothing_is_said_of_a_redis_that_is_well() -> None:
    assert told({}) == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"redis_version": "4.0.14"}, ("fault", "version")),
        ({"role": "slave"}, ("fault", "role")),
        ({"maxmemory": "0", "maxmemory_policy": "noeviction"}, ("warning", "memory")),
        ({"maxmemory_policy": "noeviction"}, ("warning", "eviction")),
        ({"maxmemory_policy": "volatile-lru"}, ("note", "eviction")),
        ({"evicted_keys": "5000"}, ("note", "eviction")),
        ({"rdb_last_bgsave_status": "err"}, ("warning", "persistence")),
        ({"aof_enabled": "0", "rdb_saves": "0"}, ("note", "persistence")),
    ],
)
def test_what_is_wrong_with_a_redis_is_told(said, expected) -> None:
    assert told(said) == [expected]


def test_a_redis_that_is_nearly_full_and_evicts_nothing_is_about_to_refuse() -> None:
    assert told({"maxmemory_policy": "noeviction", "used_memory": "950000"}) == [
        ("warning", "eviction"),
        ("warning", "memory"),
    ]


def test_a_number_that_is_none_says_nothing() -> None:
    assert told({"evicted_keys": "many", "redis_version": "unstable"}) == []


def test_soft_delete_and_versions_of_a_google_bucket_are_told_with_the_commands() -> None:
    about = {"softDeletePolicy": {"retentionDurationSeconds": "604800"}, "versioning": {"enabled": True}}
    found = list(judged_google(about, "bucket"))

    assert [finding.about for finding in found] == ["soft delete", "versions"]
    assert "for 7 days" in found[0].text
    assert found[0].fix == "gcloud storage buckets update gs://bucket --clear-soft-delete"
    assert list(judged_google({}, "bucket")) == []
