"""`tiercache inspect`: what each tier holds of a key."""

from __future__ import annotations

import re
import sqlite3
import time
import uuid
from pathlib import Path

import numpy
import pytest

from tiercache import Cache, DiskBackend, KeyRing, Tier, TierChain
from tiercache.entry import Entry, Metadata
from tiercache.testing.servers import S3Server
from tiercache_redis import RedisBackend

from .conftest import Run


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two disk tiers, as URLs."""
    return [f"disk://{tmp_path}/one", f"disk://{tmp_path}/two"]


def cache_on(files: list[str], namespace: str = "n") -> Cache:
    return Cache(TierChain.from_urls(*files), namespace=namespace)


def test_it_shows_what_is_known_of_each_copy(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set("k", {"a": 1}, ttl=600, tags=["doc:7"], attributes={"model": "m", "usd": 0.25})

    seen = run("inspect", "k", *files, "-n", "n", "--json").json

    assert (seen["found"], seen["answers"], seen["key"], seen["namespace"]) == (True, "disk", "k", "n")
    assert [tier["tier"] for tier in seen["tiers"]] == ["disk", "disk-2"]
    for tier in seen["tiers"]:
        assert tier["state"] == "fresh"
        assert 0 <= tier["age"] < 300
        assert 300 < tier["fresh_for"] <= 600
        assert tier["metadata"]["codec"] == "msgpack"
        assert tier["metadata"]["tags"] == ["doc:7"]
        assert tier["metadata"]["attributes"] == {"model": "m", "usd": 0.25}
        assert tier["metadata"]["stored_size"] > tier["metadata"]["size"] == 4
        assert tier["metadata"]["key_id"] is None
    assert seen["differences"] == []
    assert "value" not in seen


def test_people_see_it_in_a_table_without_the_value(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set("k", "canary", ttl=600, tags=["doc:7"], attributes={"model": "gpt"})

    ran = run("inspect", "k", *files, "-n", "n")

    assert "n:k" in ran.out
    assert "tags: doc:7" in ran.out
    assert "model: gpt" in ran.out
    assert "a read is answered by disk" in ran.out
    assert "canary" not in ran.out + ran.err


def test_people_see_short_numbers_and_scripts_all_digits(run: Run, files: list[str]) -> None:
    took = {"seconds": 0.10013914108276367, "tokens": 1200, "usd": 1234.5}
    for url, ttl in zip(files, (600, 700), strict=True):
        with cache_on([url]) as cache:
            cache.set("k", 1, ttl=ttl, attributes=took)
    people = run("inspect", "k", *files, "-n", "n").out
    document = run("inspect", "k", *files, "-n", "n", "--json").json

    assert "seconds: 0.1\n" in people
    assert "usd: 1,234.5\n" in people
    assert not re.search(r"\d\.\d{4}", people)
    assert re.search(r"expires_at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC", people)
    assert document["tiers"][0]["metadata"]["attributes"] == took


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"answer": [1, None]}, {"answer": [1, None]}),
        pytest.param("text", "text", marks=pytest.mark.slow),
        (b"\x00\xff", {"bytes": 2, "hex": "00ff"}),
        (numpy.ones((2, 3), "<f4"), {"shape": [2, 3], "dtype": "float32", "first": [1.0] * 6}),
    ],
    ids=["json", "text", "bytes", "array"],
)
def test_the_value_is_shown_on_request(run: Run, files: list[str], value: object, shown: object) -> None:
    with cache_on(files) as cache:
        cache.set("k", value)

    assert run("inspect", "k", *files, "-n", "n", "--value", "--json").json["value"] == shown


def test_it_tells_in_what_copies_differ(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set("k", "old", ttl=600)
    time.sleep(0.01)  # two moments that the clock tells apart
    with cache_on(files[:1]) as cache:
        cache.set("k", "new", ttl=600)

    differences = run("inspect", "k", *files, "-n", "n", "--json").json["differences"]

    assert "other values" in differences[0]
    assert "older" in differences[0]
    assert any("expires_at" in text for text in differences)


@pytest.mark.parametrize(("by", "why"), [("tag", "tag doc:7"), ("clear", "cleared")])
def test_it_tells_what_invalidated_a_copy(run: Run, files: list[str], by: str, why: str) -> None:
    with cache_on(files) as cache:
        cache.set("k", 1, tags=["doc:7"])
        cache.invalidate_tags(["doc:7"]) if by == "tag" else cache.clear()

    seen = run("inspect", "k", *files, "-n", "n", "--json").json

    assert [tier["state"] for tier in seen["tiers"]] == ["invalidated"] * 2
    assert all(why in tier["why"] for tier in seen["tiers"])
    assert seen["answers"] is None


def test_a_stale_copy_is_told_from_a_fresh_one(run: Run, files: list[str]) -> None:
    now = time.time()
    metadata = Metadata(key="n:k", created_at=now - 60, expires_at=now - 30, stale_until=now + 600, size=1)
    with cache_on(files) as cache:
        cache.set("other", 1)
        cache.chain.tiers[1].backend.put("n:k", Entry(b"v", metadata))

    seen = run("inspect", "k", *files, "-n", "n", "--json").json

    assert [tier["state"] for tier in seen["tiers"]] == ["absent", "stale"]
    assert seen["found"]
    assert seen["answers"] is None


def test_a_damaged_copy_is_shown_as_that(run: Run, files: list[str], tmp_path: Path) -> None:
    with cache_on(files) as cache:
        cache.set("k", "v")
    with sqlite3.connect(tmp_path / "one") as file:
        [(data,)] = file.execute("SELECT data FROM entries WHERE key = ?", (b"n:k",))
        file.execute("UPDATE entries SET data = ? WHERE key = ?", (data[:-1] + bytes([data[-1] ^ 1]), b"n:k"))
    file.close()

    seen = run("inspect", "k", *files, "-n", "n", "--json").json

    assert [tier["state"] for tier in seen["tiers"]] == ["damaged", "fresh"]
    assert "checksum" in seen["tiers"][0]["why"]


def test_a_sealed_copy_is_shown_as_that(run: Run, tmp_path: Path) -> None:
    ring = KeyRing({"2026": bytes(range(32))})
    with Cache(TierChain(DiskBackend(tmp_path / "c"), keys=ring), namespace="n") as cache:
        cache.set("k", "canary")

    ran = run("inspect", "k", f"disk://{tmp_path}/c", "-n", "n", "--value", "--json")

    assert ran.json["tiers"][0]["state"] == "sealed"
    assert "keys" in ran.json["tiers"][0]["why"]
    assert "canary" not in ran.out


def test_with_the_keys_it_tells_which_one_sealed_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"2026:{KeyRing.new_secret()}\n")
    file = tmp_path / "cache.toml"
    file.write_text(
        f'[cache]\nnamespace = "n"\n[[tiers]]\nurl = "disk://{tmp_path}/c"\n\n[chain]\nkeys = "file:{tmp_path}/keys"\n'
    )
    with Cache.from_toml(file) as cache:
        cache.set("k", "v")

    [tier] = run("inspect", "k", "--config", file, "--json").json["tiers"]

    assert (tier["state"], tier["metadata"]["key_id"]) == ("fresh", "2026")


def test_what_is_nowhere_is_exit_code_1_with_near_keys(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set("chat:gpt-4o:123", 1)

    ran = run("inspect", "chat:gpt-4o:124", *files, "-n", "n", "--json", expect=1)

    assert ran.json["found"] is False
    assert ran.json["near"] == ["chat:gpt-4o:123"]
    assert "chat:gpt-4o:123" in ran.err


def test_a_key_may_be_given_with_its_namespace(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set("a:b", 1)

    assert run("inspect", "n:a:b", *files, "--json").json["key"] == "a:b"
    run("inspect", "n:a:b", *files, "--namespace", "n", expect=1)


def test_what_redis_deleted_is_told_from_what_never_was(run: Run, redis_url: str, tmp_path: Path) -> None:
    prefix = f"{uuid.uuid4().hex}:"
    redis = Tier(RedisBackend(redis_url, prefix=prefix), timeout=5)
    with Cache(TierChain(redis, RedisBackend(redis_url, prefix=f"{prefix}2:")), namespace="n") as cache:
        cache.set("k", 1)
        cache.delete("k")
    urls = [f"{redis_url}?prefix={prefix}&timeout=5s", f"{redis_url}?prefix={prefix}2:&timeout=5s"]

    seen = run("inspect", "k", *urls, "-n", "n", "--json", expect=1).json

    assert [tier["state"] for tier in seen["tiers"]] == ["deleted", "absent"]


@pytest.mark.slow
def test_a_bucket_tells_its_storage_class(run: Run, s3_server: S3Server, s3_bucket: str, s3_prefix: str) -> None:
    url = f"s3://{s3_bucket}/{s3_prefix}?endpoint_url={s3_server.endpoint_url}&region={s3_server.region}&timeout=20s"
    secrets = {"AWS_ACCESS_KEY_ID": s3_server.access_key, "AWS_SECRET_ACCESS_KEY": s3_server.secret_key}
    with pytest.MonkeyPatch.context() as patched:
        for name, value in secrets.items():
            patched.setenv(name, value)
        with Cache(TierChain.from_urls(url), namespace="n") as cache:
            cache.set("k", "v" * 5000, ttl="1h")

    [tier] = run("inspect", "k", url, "-n", "n", "--json", env=secrets).json["tiers"]

    assert tier["metadata"]["storage_class"] == "STANDARD"
    assert tier["metadata"]["encoding"] == "zstd"
    assert tier["metadata"]["stored_size"] < tier["metadata"]["size"] == 5000


def test_a_tier_that_fails_is_shown_and_is_exit_code_3(run: Run, files: list[str]) -> None:
    with cache_on(files[:1]) as cache:
        cache.set("k", 1)

    ran = run("inspect", "k", files[0], "redis://127.0.0.1:1/0?timeout=0.5s", "-n", "n", "--json", expect=3)

    assert [tier["state"] for tier in ran.json["tiers"]] == ["fresh", "fails"]


def test_a_tier_that_is_switched_off_answers_no_read(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set("k", 1)

    seen = run("inspect", "k", *files, "-n", "n", "--json", env={"TIERCACHE_SWITCHES": "disk=off"}).json

    assert [tier["asked"] for tier in seen["tiers"]] == [False, True]
    assert seen["answers"] == "disk-2"


def test_memory_cannot_be_looked_into(run: Run) -> None:
    assert "memory is each process's own" in run("inspect", "k", "memory://", expect=2).err


def test_what_is_older_than_a_tombstone_above_it_answers_no_read(run: Run, redis_url: str, tmp_path: Path) -> None:
    fast, slow = f"{redis_url}?prefix={uuid.uuid4().hex}:&timeout=10s", f"disk://{tmp_path}/slow"
    with cache_on([slow]) as cache:
        cache.set("k", "old")
    with Cache(TierChain.from_urls(fast, f"disk://{tmp_path}/other"), namespace="n") as cache:
        cache.delete("k")
    with cache_on([fast, slow]) as cache:
        assert cache.get("k") is None

    seen = run("inspect", "k", fast, slow, "-n", "n", "--json").json

    assert seen["answers"] is None
    assert [tier["state"] for tier in seen["tiers"]] == ["deleted", "invalidated"]
    assert "redis" in seen["tiers"][1]["why"]
