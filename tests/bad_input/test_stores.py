"""Stores that are wrong, absent or hostile, as the user of a `Cache` meets them: a miss, a count, a clear error."""

from __future__ import annotations

import logging
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import redis
from moto import mock_aws

from tiercache import Cache, DiskBackend, MemoryBackend, Tier, TierChain, contents, envelope
from tiercache.backend import Backend
from tiercache.errors import AccessDenied, BackendUnavailable, ConfigurationError
from tiercache.testing.servers import GCSServer, S3Server
from tiercache_gcs import GCSBackend
from tiercache_redis import RedisBackend
from tiercache_s3 import S3Backend


def on_memory_and(backend: Backend) -> Cache:
    return Cache(TierChain(MemoryBackend(), backend), namespace="n")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def still_works(cache: Cache) -> None:
    """Whatever is wrong below, memory and computations go on."""
    cache.set("k", "value")
    assert cache.get("k") == "value"
    assert cache.get_or_set("c", lambda: "computed") == "computed"
    assert cache.get_many(["k", "c", "none"]) == {"k": "value", "c": "computed"}
    assert cache.get("none", "default") == "default"
    assert cache.delete("k")


@pytest.fixture
def moto() -> Iterator[None]:
    with mock_aws():
        yield


class TestS3:
    def test_a_missing_bucket(self, moto: None, caplog: pytest.LogCaptureFixture) -> None:
        cache = on_memory_and(S3Backend("missing-bucket", region="us-east-1", access_key_id="a", secret_access_key="b"))
        still_works(cache)
        still_works(cache)
        with pytest.raises(ConfigurationError, match=r"missing-bucket.*create it"):
            cache.check()
        health = cache.health()["s3"]
        assert not health.ok
        assert "missing-bucket" in str(health.error)
        errors = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert len(errors) == 1, "said once, and loudly"

    def test_a_bucket_in_another_region(self, moto: None) -> None:
        client = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
        client.create_bucket(Bucket="bucket-elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        backend = S3Backend("bucket-elsewhere", region="us-east-1", access_key_id="a", secret_access_key="b")
        still_works(on_memory_and(backend))

    def test_wrong_credentials(self, s3_server: S3Server, s3_bucket: str) -> None:
        cache = on_memory_and(
            S3Backend(
                s3_bucket,
                endpoint_url=s3_server.endpoint_url,
                region=s3_server.region,
                access_key_id=s3_server.access_key,
                secret_access_key="not-the-secret-canary",
            )
        )
        still_works(cache)
        with pytest.raises(AccessDenied) as denied:
            cache.check()
        assert "canary" not in f"{denied.value!r} {cache.health()} {cache!r} {cache.chain.tiers}"

    def test_an_endpoint_where_nobody_listens(self) -> None:
        cache = on_memory_and(
            S3Backend(
                "b",
                endpoint_url=f"http://127.0.0.1:{free_port()}",
                region="us-east-1",
                access_key_id="a",
                secret_access_key="b",
            )
        )
        still_works(cache)
        with pytest.raises(BackendUnavailable):
            cache.check()

    def test_an_object_copied_to_another_name_is_a_counted_miss(
        self, s3_server: S3Server, s3_bucket: str, s3_prefix: str
    ) -> None:
        backend = S3Backend(
            s3_bucket,
            prefix=s3_prefix,
            endpoint_url=s3_server.endpoint_url,
            region=s3_server.region,
            access_key_id=s3_server.access_key,
            secret_access_key=s3_server.secret_key,
        )
        cache = on_memory_and(backend)
        cache.set("mine", "the value of mine")
        client = boto3.client(
            "s3",
            endpoint_url=s3_server.endpoint_url,
            region_name=s3_server.region,
            aws_access_key_id=s3_server.access_key,
            aws_secret_access_key=s3_server.secret_key,
        )
        (name,) = [item["Key"] for item in client.list_objects_v2(Bucket=s3_bucket, Prefix=s3_prefix)["Contents"]]
        client.copy_object(Bucket=s3_bucket, Key=name.replace("mine", "theirs"), CopySource=f"{s3_bucket}/{name}")
        client.put_object(Bucket=s3_bucket, Key=name.replace("mine", "foreign"), Body=b"\x00 not an entry")
        assert cache.get("theirs", "miss") == "miss"
        assert cache.get("foreign", "miss") == "miss"
        assert cache.stats().tiers["s3"].errors == {"CorruptEntry": 2}
        cache.set("foreign", "now ours")
        assert cache.chain.memory is not None
        cache.chain.memory.clear()
        assert cache.get_many(["mine", "theirs", "foreign"]) == {"mine": "the value of mine", "foreign": "now ours"}

    @pytest.mark.parametrize("name", ["GLACIER", "DEEP_ARCHIVE", "SNOW", "OUTPOSTS", "PLATINUM"])
    def test_a_class_that_cannot_serve_a_cache_is_refused_with_what_to_choose(self, name: str) -> None:
        with pytest.raises(ConfigurationError, match=r"choose|one of"):
            S3Backend("b", storage_class=name)


class TestGCS:
    def test_a_missing_bucket(self, gcs_server: GCSServer, caplog: pytest.LogCaptureFixture) -> None:
        cache = on_memory_and(GCSBackend("missing-bucket", endpoint_url=gcs_server.endpoint_url, timeout=30))
        still_works(cache)
        with pytest.raises(ConfigurationError, match=r"missing-bucket.*create it"):
            cache.check()
        assert not cache.health()["gs"].ok
        errors = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert len(errors) == 1, "said once, and loudly"

    def test_an_endpoint_where_nobody_listens(self) -> None:
        cache = on_memory_and(GCSBackend("b", endpoint_url=f"http://127.0.0.1:{free_port()}"))
        still_works(cache)
        with pytest.raises(BackendUnavailable):
            cache.check()

    def test_an_endpoint_that_is_another_store(self, s3_server: S3Server) -> None:
        cache = on_memory_and(GCSBackend("b", endpoint_url=s3_server.endpoint_url, timeout=30))
        still_works(cache)
        with pytest.raises(ConfigurationError, match="endpoint_url"):
            cache.check()


class TestRedis:
    def test_a_server_that_is_not_there(self) -> None:
        cache = on_memory_and(RedisBackend(f"redis://:canary@127.0.0.1:{free_port()}/0"))
        still_works(cache)
        with pytest.raises(BackendUnavailable) as unavailable:
            cache.check()
        assert "canary" not in f"{unavailable.value!r} {cache.health()}"

    @pytest.mark.parametrize(
        "content",
        [b"", b"foreign", b"TIER", b"TIER\x01" + b"\xff" * 40, b"\x80\x04\x95pickle", b"TIER\x09" + b"\x00" * 60],
        ids=["empty", "foreign", "short", "lengths", "pickle", "a later version"],
    )
    def test_foreign_bytes_under_our_key_are_a_counted_miss(self, redis_url: str, content: bytes) -> None:
        backend = RedisBackend(redis_url, prefix="foreign:")
        cache = on_memory_and(backend)
        raw = redis.Redis.from_url(redis_url)
        raw.set("foreign:n:k", content)
        assert cache.get("k", "miss") == "miss"
        assert cache.get_many(["k"]) == {}
        assert sum(cache.stats().tiers["redis"].errors.values()) == 2
        assert raw.get("foreign:n:k") == content, "a miss deletes nothing"
        cache.set("k", "ours")
        assert cache.chain.memory is not None
        cache.chain.memory.clear()
        assert cache.get("k") == "ours"
        cache.clear()
        cache.close()
        raw.close()

    def test_a_key_of_another_type(self, redis_url: str) -> None:
        raw = redis.Redis.from_url(redis_url)
        raw.delete("typed:n:k")
        raw.rpush("typed:n:k", "an item of a list")
        cache = on_memory_and(RedisBackend(redis_url, prefix="typed:"))
        assert cache.get("k", "miss") == "miss"
        cache.close()
        raw.delete("typed:n:k")
        raw.close()


class TestDisk:
    def test_foreign_bytes_in_a_row_are_a_counted_miss(self, tmp_path: Path) -> None:
        path = tmp_path / "cache.sqlite3"
        with on_memory_and(DiskBackend(path)) as cache:
            cache.set("k", "value")
        with sqlite3.connect(path) as raw:
            (table,) = [
                name
                for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
                if "entr" in name
            ]
            columns = [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]
            blob = next(name for name in columns if name in ("envelope", "data", "body", "value"))
            raw.execute(f"UPDATE {table} SET {blob} = ?", (b"TIER\x01 truncated",))
        raw.close()
        with on_memory_and(DiskBackend(path)) as cache:
            assert cache.get("k", "miss") == "miss"
            assert cache.stats().tiers["disk"].errors == {"CorruptEntry": 1}
            still_works(cache)

    def test_a_file_that_is_no_database_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "thesis.txt"
        path.write_text("years of work " * 1000)
        cache = on_memory_and(DiskBackend(path))
        still_works(cache)
        with pytest.raises(ConfigurationError):
            cache.check()
        assert path.read_text() == "years of work " * 1000

    def test_a_database_of_another_program_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "other.sqlite3"
        with sqlite3.connect(path) as raw:
            raw.execute("CREATE TABLE bookmarks (url TEXT)")
            raw.execute("INSERT INTO bookmarks VALUES ('somewhere')")
        raw.close()
        cache = on_memory_and(DiskBackend(path))
        still_works(cache)
        with pytest.raises(ConfigurationError):
            cache.check()
        cache.close()
        with sqlite3.connect(path) as raw:
            assert raw.execute("SELECT url FROM bookmarks").fetchall() == [("somewhere",)]
            assert raw.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)
        raw.close()

    def test_a_directory_in_place_of_a_file(self, tmp_path: Path) -> None:
        cache = on_memory_and(DiskBackend(tmp_path))
        still_works(cache)
        with pytest.raises(ConfigurationError):
            cache.check()


KEYS = [
    "with\x00nul",
    "..",
    "../../etc/passwd",
    "/",
    "//",
    "emoji 🎉",
    "new\nline",
    "x" * 10_000,
    " ",
    "%2F",
    "a~b",
    "ключ",
]


@pytest.fixture(params=["memory", "disk", "redis", "s3"])
def any_cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cache]:
    backend: Any
    if request.param == "memory":
        backend = MemoryBackend()
    elif request.param == "disk":
        backend = DiskBackend(tmp_path / "cache.sqlite3")
    elif request.param == "redis":
        backend = RedisBackend(request.getfixturevalue("redis_url"), prefix=f"{tmp_path.name}:", timeout=1)
    else:
        server = request.getfixturevalue("s3_server")
        backend = S3Backend(
            request.getfixturevalue("s3_bucket"),
            prefix=request.getfixturevalue("s3_prefix"),
            endpoint_url=server.endpoint_url,
            region=server.region,
            access_key_id=server.access_key,
            secret_access_key=server.secret_key,
            timeout=30,  # its client is made in the first call, which a machine under load takes seconds for
        )
    with Cache(TierChain(Tier(backend), strict=True), namespace="n") as cache:
        yield cache
        cache.clear()


def test_strange_keys_work_on_every_store(any_cache: Cache) -> None:
    for number, key in enumerate(KEYS):
        any_cache.set(key, number)
    assert any_cache.get_many(KEYS) == {key: number for number, key in enumerate(KEYS)}
    assert sorted(any_cache.keys()) == sorted(KEYS)
    assert any_cache.delete_many(KEYS) == len(KEYS)
    assert list(any_cache.keys()) == []


def test_an_envelope_of_another_namespace_is_not_ours(any_cache: Cache) -> None:
    other = Cache(any_cache.chain, namespace="other")
    other.set("k", "theirs")
    assert any_cache.get("k") is None
    assert list(any_cache.keys()) == []
    other.clear()


def test_a_bomb_is_a_miss(redis_url: str) -> None:
    import zstandard

    frame = zstandard.ZstdCompressor().compress(bytes(100 * 2**20))
    header = contents.encode_header(contents.Header("n:k", 1.0, "bytes", 1000, encoding="zstd"))
    start = envelope.PREFIX.pack(envelope.MAGIC, envelope.VERSION, 0, 0, len(header), len(frame))
    body = start + header + frame
    bomb = body + envelope.blake3(body).digest()
    raw = redis.Redis.from_url(redis_url)
    raw.set("bomb:n:k", bomb)
    cache = on_memory_and(RedisBackend(redis_url, prefix="bomb:"))
    assert cache.get("k", "miss") == "miss"
    assert cache.stats().tiers["redis"].errors == {"CorruptEntry": 1}
    cache.close()
    raw.delete("bomb:n:k")
    raw.close()
