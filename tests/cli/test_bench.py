"""`tiercache bench`: each operation of each tier and of the chain is measured, and what was written goes."""

from __future__ import annotations

from contextlib import closing

import pytest

from .conftest import Run
from .stores import names_in, of_s3, s3_client

OPERATIONS = ["set", "get", "miss", "set_many", "get_many"]
LITTLE = ("--calls", "5", "--batch", "4", "--size", "1KiB")


def test_tiers_and_chain_are_measured_and_nothing_is_left(
    run: Run, redis_url: str, s3_server, s3_bucket: str, s3_prefix: str
) -> None:
    redis = pytest.importorskip("redis")
    urls = ["memory://", f"{redis_url}?timeout=30", f"s3://{s3_bucket}/{s3_prefix}?timeout=30s"]
    ran = run("bench", *urls, *LITTLE, "--json", env=of_s3(s3_server))
    rows = {(row["tier"], row["operation"]): row for row in ran.json["rows"]}

    assert list(rows) == [(tier, operation) for tier in ("memory", "redis", "s3", "chain") for operation in OPERATIONS]
    assert all(0 < row["p50"] <= row["p99"] <= row["worst"] for row in rows.values())
    assert all(row["calls"] >= 3 and row["per_second"] > 0 and row["cpu"] > 0 for row in rows.values())
    assert [rows["s3", operation]["requests"] for operation in OPERATIONS] == [1, 1, 1, 4, 4]
    assert rows["memory", "get"]["requests"] is None
    assert rows["chain", "get"]["requests"] == 0, "memory answers"
    with closing(s3_client(s3_server)) as client:
        assert names_in(client, s3_bucket, s3_prefix) == []
    with closing(redis.Redis.from_url(redis_url)) as client:
        assert not [key for key in client.keys() if b"bench" in key]  # noqa: SIM118


@pytest.mark.slow
def test_it_is_a_table_for_people(run: Run, tmp_path) -> None:
    ran = run("bench", f"disk://{tmp_path}/cache", *LITTLE)

    assert "get_many" in ran.out
    assert "values of 1,024 bytes" in ran.out


@pytest.mark.slow
def test_a_tier_that_is_only_read_is_not_written_to(run: Run, tmp_path) -> None:
    ran = run("bench", "memory://", f"disk://{tmp_path}/cache?write=never", *LITTLE, "--json")

    assert {row["tier"] for row in ran.json["rows"]} == {"memory", "chain"}
    assert run("doctor", f"disk://{tmp_path}/cache", "--json").json["ok"]


@pytest.mark.parametrize(("option", "value"), [("--size", "much"), ("--calls", "0"), ("--batch", "0")])
def test_a_mistake_is_named(run: Run, option: str, value: str) -> None:
    assert option in run("bench", "memory://", option, value, expect=2).err


def test_a_store_that_is_dead_ends_it_with_exit_code_3(run: Run) -> None:
    assert "cannot reach Redis" in run("bench", "redis://127.0.0.1:1/0", *LITTLE, expect=3).err
