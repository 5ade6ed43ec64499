"""Invalidations on real servers: they hold after Redis was emptied, after a restart and in other processes."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.processes.harness import run
from tiercache import Cache, DiskBackend, MemoryBackend, TierChain
from tiercache.epochs.marks import key_of
from tiercache.objectstore import ObjectStoreBackend
from tiercache_redis import RedisBackend
from tiercache_s3 import S3Backend

Make = Callable[..., Cache]
SLACK = 20.0
"""Seconds that something in the background may take on a busy machine."""


@pytest.fixture
def redis_and_disk(redis_url: str, tmp_path: Path) -> Iterator[Make]:
    """Caches on memory, Redis and disk, as different processes would have them."""
    prefix, made = f"{uuid.uuid4().hex}:", []

    def make(**options: Any) -> Cache:
        redis = RedisBackend(redis_url, prefix=prefix, timeout=5)
        made.append(Cache(TierChain(MemoryBackend(), redis, DiskBackend(tmp_path / "c"), **options), namespace="n"))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


@pytest.fixture
def s3() -> Iterator[Make]:
    """Caches on memory and S3, as different processes would have them."""
    made: list[Cache] = []
    with mock_aws():
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        boto3.client("s3", region_name="us-east-1", **keys).create_bucket(Bucket="bucket")

        def make(storage_class: str = "STANDARD", **options: Any) -> Cache:
            backend = S3Backend(
                "bucket",
                prefix="p",
                region="us-east-1",
                access_key_id="test",
                secret_access_key="test",
                timeout=30,
                storage_class=storage_class,
                typical_entry_bytes="1MiB",
            )
            made.append(Cache(TierChain(MemoryBackend(), backend, **options), namespace="n", ttl="90d"))
            return made[-1]

        yield make
        for cache in made:
            cache.close()


def requests_of(cache: Cache) -> Counter[str]:
    """Count the requests that the cache's S3 tier sends from now on."""
    sent: Counter[str] = Counter()
    backend: Any = cache.chain.tiers[-1].backend
    backend.objects._client.get().meta.events.register_first(
        "before-send.s3", lambda event_name, **_: sent.update([event_name.rpartition(".")[2]])
    )
    return sent


def test_it_holds_after_redis_was_emptied(redis_and_disk: Make) -> None:
    cache = redis_and_disk()
    cache.set_many({"tagged": 1, "other": 2}, tags=["doc:7"])
    cache.set("bare", 3)
    cache.invalidate_tags(["doc:7"])
    cache.chain.tiers[1].backend.clear()  # a flush: marks and all
    after = redis_and_disk()
    assert after.get_many(["tagged", "other", "bare"]) == {"bare": 3}
    after.drain()
    after.clear()
    after.chain.tiers[1].backend.clear()
    assert redis_and_disk().get("bare") is None


def test_a_running_process_refills_an_emptied_redis(redis_and_disk: Make) -> None:
    cache = redis_and_disk(epoch_refresh=0.05)
    cache.clear()
    redis = cache.chain.tiers[1].backend
    redis.clear()
    until(lambda: redis.get(key_of("n")) is not None)


def test_it_holds_after_a_restart_of_the_process(redis_url: str, tmp_path: Path) -> None:
    prefix = f"{uuid.uuid4().hex}:"
    run(
        """
        with make() as cache:
            cache.set("k", 1, tags=["doc:7"])
            cache.set("bare", 2)
            cache.invalidate_tags(["doc:7"])
        """,
        redis_url,
        tmp_path,
        prefix,
    )
    run(
        """
        with make() as cache:
            assert cache.get("k") is None and not cache.contains("k")
            assert cache.get("bare") == 2
            assert list(cache.keys()) == ["bare"]
            cache.clear()
        """,
        redis_url,
        tmp_path,
        prefix,
    )
    run("with make() as cache: assert cache.get_many(['k', 'bare']) == {}", redis_url, tmp_path, prefix)


def test_a_process_that_only_reads_its_memory_hears_of_another_one(redis_and_disk: Make) -> None:
    reader, writer = redis_and_disk(epoch_refresh=0.05), redis_and_disk()
    reader.set("k", "old")
    assert reader.get("k") == "old"
    writer.clear()
    until(lambda: reader.get("k") is None)


def test_a_forked_child_hears_of_another_process_too(redis_url: str, tmp_path: Path) -> None:
    run(
        """
        def short():
            redis = Tier(RedisBackend(URL, prefix=os.environ["PREFIX"]), timeout=5)
            return Cache(TierChain(MemoryBackend(), redis, epoch_refresh=0.05), namespace="n")

        cache = short()
        cache.set("k", 1)
        assert cache.get("k") == 1

        def child():
            end = time.monotonic() + 20
            while cache.get("k") == 1:  # from memory alone
                assert time.monotonic() < end
                time.sleep(0.001)

        pid = child_of(child)
        short().clear()
        ended_well([pid])
        """,
        redis_url,
        tmp_path,
        f"{uuid.uuid4().hex}:",
    )


def test_it_holds_on_s3_without_redis(s3: Make) -> None:
    cache = s3()
    cache.set("k", 1, tags=["doc:7"])
    cache.set("bare", 2)
    cache.invalidate_tags(["doc:7"])
    cache = s3()
    assert cache.get_many(["k", "bare"]) == {"bare": 2}
    assert cache.metadata("k") is None
    cache.clear()
    assert s3().get("bare") is None


def test_a_hit_on_s3_is_one_request_and_the_marks_are_one_before_the_first(s3: Make) -> None:
    s3().set_many({f"k{number}": number for number in range(5)})
    cache = s3()
    sent = requests_of(cache)
    assert cache.get("k0") == 0
    assert sent == {"GetObject": 2}
    sent.clear()
    for number in range(1, 5):
        assert cache.get(f"k{number}") == number
    assert sent == {"GetObject": 4}


@pytest.mark.parametrize("count", [1, 200])
def test_an_invalidation_on_s3_is_two_requests_however_many_entries_there_are(s3: Make, count: int) -> None:
    cache = s3()
    cache.set_many({f"k{number}": number for number in range(count)}, tags=["doc:7"])
    sent = requests_of(cache)
    cache.invalidate_tags(["doc:7"])
    assert sent == {"GetObject": 1, "PutObject": 1}
    sent.clear()
    cache.clear()
    assert sent == {"GetObject": 1, "PutObject": 1}


def test_a_sweep_deletes_what_was_invalidated_and_leaves_the_marks(s3: Make) -> None:
    cache = s3()
    cache.set_many({f"k{number}": number for number in range(5)}, tags=["doc:7"])
    cache.set("bare", 1)
    cache.invalidate_tags(["doc:7"])
    assert cache.sweep()["s3"].deleted == 5
    assert s3().sweep()["s3"].deleted == 0
    cache.clear()
    cache.set("new", 2)
    assert s3().sweep()["s3"].deleted == 1
    store = cache.chain.tiers[-1].backend
    assert store.get(key_of("n")) is not None
    assert [key for key, _ in store.scan("n:")] == ["n:new"]
    assert s3().get("new") == 2


def test_marks_are_kept_in_a_class_that_bills_no_minimum(s3: Make) -> None:
    cache = s3(storage_class="GLACIER_IR")
    cache.clear()
    head = cache.chain.tiers[-1].backend.head(key_of("n"))
    assert head is not None
    assert head.storage_class in (None, "STANDARD")


def test_marks_are_written_again_before_a_lifecycle_rule_takes_them(s3: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = s3()
    cache.clear()
    sent = requests_of(cache)
    cache.chain.refresher.round(every=True)
    assert sent == {"GetObject": 1}
    monkeypatch.setattr("tiercache.epochs.agreement.REWRITE_AFTER", -1.0)
    cache.chain.refresher.round(every=True)
    assert sent == {"GetObject": 2, "PutObject": 1}


def test_keys_leaves_out_what_a_listing_of_s3_can_tell(s3: Make) -> None:
    cache = s3()
    cache.set("k", 1)
    cache.clear()
    backend = cache.chain.tiers[-1].backend
    assert isinstance(backend, ObjectStoreBackend)
    space = cache.chain.epochs.space("n")
    space.marks = type(space.marks)(space.marks.epoch + 600)  # ten minutes on
    assert list(cache.keys()) == []


def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in the background."""
    pause = threading.Event()
    for _ in range(int(SLACK / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    pytest.fail("it did not happen")
