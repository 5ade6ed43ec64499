"""`tiercache ls`: what the tiers hold."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from tiercache import Cache, TierChain
from tiercache.testing.servers import S3Server

from .conftest import Run
from .moved import fill


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two disk tiers, as URLs."""
    return [f"disk://{tmp_path}/one", f"disk://{tmp_path}/two"]


def cache_on(urls: list[str], namespace: str = "n") -> Cache:
    return Cache(TierChain.from_urls(*urls), namespace=namespace)


def keys_of(document: Any, tier: str = "disk") -> list[str]:
    return [entry["key"] for entry in document["entries"] if entry["tier"] == tier]


def test_it_lists_what_each_tier_holds(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set_many({"b": 1, "a": 2}, ttl=600)
        cache.chain.tiers[1].backend.delete("n:b")

    seen = run("ls", *files, "-n", "n", "--json").json

    assert (keys_of(seen), keys_of(seen, "disk-2")) == (["a", "b"], ["a"])
    assert {name: total["entries"] for name, total in seen["totals"].items()} == {"disk": 2, "disk-2": 1}
    [entry] = [entry for entry in seen["entries"] if entry["tier"] == "disk-2"]
    assert entry["stored_size"] == seen["totals"]["disk-2"]["bytes"] > 0
    assert 0 <= entry["age"] < 300
    assert entry["expires_at"] - entry["created_at"] == pytest.approx(600)
    assert seen["totals"]["disk"]["complete"]


def test_what_was_not_looked_at_is_left_open(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set("a", 1, tags=["red"])

    [listed, _] = run("ls", *files, "-n", "n", "--json").json["entries"]
    [looked_at, _] = run("ls", *files, "-n", "n", "--json", "--long").json["entries"]

    assert [listed[name] for name in ("codec", "tags", "attributes")] == [None, None, None]
    assert [looked_at[name] for name in ("codec", "tags", "attributes")] == ["msgpack", ["red"], {}]


def test_people_see_lines_and_totals_and_no_values(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set("k[bold]\x1b[31m", "canary", ttl=600, tags=["doc:7"])

    ran = run("ls", *files, "-n", "n", "--long")

    assert "k[bold]\\x1b[31m  [doc:7]" in ran.out
    assert "disk: 1 entry," in ran.out
    assert "canary" not in ran.out
    assert "\x1b" not in ran.out


def test_a_prefix_a_tier_and_a_limit_narrow_it(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set_many({f"{name}:{number}": 1 for name in ("chat", "embed") for number in range(5)})

    seen = run("ls", *files, "-n", "n", "--prefix", "chat:", "--tier", "disk-2", "--limit", "3", "--json").json

    assert keys_of(seen, "disk-2") == ["chat:0", "chat:1", "chat:2"]
    assert list(seen["totals"]) == ["disk-2"]
    assert not seen["totals"]["disk-2"]["complete"]
    whole = run("ls", *files, "-n", "n", "--prefix", "chat:", "--limit", "5", "--json").json
    assert whole["totals"]["disk"] == {**whole["totals"]["disk"], "entries": 5, "complete": True}


def test_tags_and_tenants_narrow_it(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set("a", 1, tags=["red"])
        cache.set("b", 1, tags=["blue"], attributes={"tenant": "ada"})

    assert keys_of(run("ls", *files, "-n", "n", "--tag", "red", "--json").json) == ["a"]
    assert keys_of(run("ls", *files, "-n", "n", "--tenant", "ada", "--json").json) == ["b"]


def test_invalidated_entries_are_left_out_and_counted(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set("a", 1, tags=["red"])
        cache.set("b", 1)
        cache.invalidate_tags(["red"])

    seen = run("ls", *files, "-n", "n", "--json").json

    assert keys_of(seen) == ["b"]
    assert seen["totals"]["disk"]["invalidated"] == 1


def test_all_namespaces_are_listed_without_what_is_the_librarys_own(run: Run, files: list[str]) -> None:
    for name in ("one", "two"):
        with Cache(TierChain.from_urls(*files, report=True), namespace=name) as cache:
            cache.set("k", 1, tags=["red"])
            cache.invalidate_tags(["blue"])

    seen = run("ls", *files, "--namespace", "all", "--json").json

    assert [(entry["namespace"], entry["key"]) for entry in seen["entries"] if entry["tier"] == "disk"] == [
        ("one", "k"),
        ("two", "k"),
    ]


def test_lines_of_json_come_one_an_entry(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set_many({"a": 1, "b": 2})

    lines = run("ls", *files, "-n", "n", "--jsonl").out.splitlines()

    assert [(json.loads(line)["tier"], json.loads(line)["key"]) for line in lines] == [
        ("disk", "a"),
        ("disk", "b"),
        ("disk-2", "a"),
        ("disk-2", "b"),
    ]
    run("ls", *files, "--json", "--jsonl", expect=2)


@pytest.mark.slow
def test_more_than_are_sorted_are_listed_all_the_same(run: Run, files: list[str]) -> None:
    with cache_on(files[:1]) as cache:
        cache.set_many({f"{number:05}": 1 for number in range(2500)})

    assert len(run("ls", files[0], "-n", "n", "--jsonl").out.splitlines()) == 2500


def test_redis_is_sorted_where_it_holds_few(run: Run, redis_url: str) -> None:
    url = f"{redis_url}?prefix={uuid.uuid4().hex}:&timeout=5s"
    with cache_on([url]) as cache:
        cache.set_many({f"{number:03}": 1 for number in range(100)}, ttl=600)

    seen = run("ls", url, "-n", "n", "--json").json

    assert keys_of(seen, "redis") == [f"{number:03}" for number in range(100)]
    assert seen["entries"][0]["age"] is None
    long = run("ls", url, "-n", "n", "--long", "--limit", "1", "--json").json
    assert long["entries"][0]["age"] is not None


@pytest.mark.slow
def test_a_bucket_is_listed(run: Run, s3_server: S3Server, s3_bucket: str, s3_prefix: str) -> None:
    url = f"s3://{s3_bucket}/{s3_prefix}?endpoint_url={s3_server.endpoint_url}&region={s3_server.region}&timeout=20s"
    secrets = {"AWS_ACCESS_KEY_ID": s3_server.access_key, "AWS_SECRET_ACCESS_KEY": s3_server.secret_key}
    with pytest.MonkeyPatch.context() as patched:
        for name, value in secrets.items():
            patched.setenv(name, value)
        with cache_on([url]) as cache:
            cache.set_many({"a": 1, "b": 2}, ttl="1h", tags=["red"])

    seen = run("ls", url, "-n", "n", "--tag", "red", "--json", env=secrets).json

    assert keys_of(seen, "s3") == ["a", "b"]
    assert seen["entries"][0]["tags"] == ["red"]
    assert seen["entries"][0]["storage_class"] == "STANDARD"


def test_a_tier_that_is_not_there_is_a_mistake(run: Run, files: list[str]) -> None:
    for url in files:
        fill(url, 1)
    assert "there is disk, disk-2" in run("ls", *files, "--tier", "redis", expect=2).err
    assert "memory is each process's own" in run("ls", "memory://", expect=2).err


def test_a_store_that_fails_is_exit_code_3(run: Run) -> None:
    run("ls", "redis://127.0.0.1:1/0?timeout=0.5s", "--json", expect=3)


def test_a_mistake_prints_no_headings(run: Run) -> None:
    assert not run("ls", "memory://?sized=1", expect=2).out
