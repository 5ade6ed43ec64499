"""Missed writes, on real servers: S3, then Redis, is away while values change; back again, it never serves an old one.

Each server is reached through a proxy that refuses connections while it is "stopped". Two processes are two chains with
connections, memories and journals of their own.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.testing import FaultProxy
from tiercache.testing.servers import S3Server
from tiercache_redis import RedisBackend
from tiercache_s3 import S3Backend

WAIT = 60


class Stores:
    """Redis and S3, each behind a proxy, and processes that use them."""

    def __init__(self, redis_url: str, s3: S3Server, bucket: str, stack: ExitStack) -> None:
        self._stack = stack
        self._s3, self._bucket = s3, bucket
        self._name = uuid.uuid4().hex
        self.proxies = {
            "redis": stack.enter_context(FaultProxy(redis_url.split("/")[2])),
            "s3": stack.enter_context(FaultProxy(s3.endpoint_url.split("/")[2])),
        }

    def process(self) -> Cache:
        """Another process: memory -> Redis -> S3."""
        redis = RedisBackend(f"redis://{self.proxies['redis'].address}/0", prefix=f"{self._name}:")
        s3 = S3Backend(
            self._bucket,
            prefix=f"{self._name}/",
            endpoint_url=f"http://{self.proxies['s3'].address}",
            access_key_id=self._s3.access_key,
            secret_access_key=self._s3.secret_key,
            region=self._s3.region,
        )
        chain = TierChain(MemoryBackend(), Tier(redis, timeout=5), Tier(s3, timeout=10))
        cache = Cache(chain, namespace="n")
        self._stack.callback(cache.close)
        return cache

    def stop(self, name: str) -> None:
        self.proxies[name].inject("refuse")

    def start(self, name: str) -> None:
        self.proxies[name].heal()

    def evict(self) -> None:
        """Redis loses what it holds of ours, as when it is full."""
        RedisBackend(f"redis://{self.proxies['redis'].address}/0", prefix=f"{self._name}:n:", timeout=30).clear()


@pytest.fixture
def stores(redis_url: str, s3_server: S3Server, s3_bucket: str) -> Iterator[Stores]:
    with ExitStack() as stack:
        yield Stores(redis_url, s3_server, s3_bucket, stack)


CHANGES: list[tuple[str, Callable[[Cache], Any], tuple[Any, ...]]] = [
    ("set", lambda cache: cache.set("k", "v2"), ("v2", None)),
    ("delete", lambda cache: cache.delete("k"), (None,)),
    ("set_many", lambda cache: cache.set_many({"k": "v2"}), ("v2", None)),
    ("clear", lambda cache: cache.clear(), (None,)),
]
each_change = pytest.mark.parametrize(("change", "right"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
each_server = pytest.mark.parametrize("server", ["s3", "redis"])


@each_server
@each_change
def test_in_one_process(stores: Stores, server: str, change: Callable[[Cache], Any], right: tuple[Any, ...]) -> None:
    cache = stores.process()
    cache.set("k", "v1")
    stores.stop(server)
    change(cache)
    stores.start(server)
    assert_right(cache, right, lambda: forget(cache, stores, server))
    settled(cache)
    assert_right(cache, right, lambda: forget(cache, stores, server))


@each_server
@each_change
def test_in_two_processes(stores: Stores, server: str, change: Callable[[Cache], Any], right: tuple[Any, ...]) -> None:
    here, there = stores.process(), stores.process()
    here.set("k", "v1")
    forget(there, stores, "")
    assert there.get("k") == "v1"
    stores.stop(server)
    change(here)
    there.chain.memory.clear()
    there.get("k")  # it notices that the store is away
    stores.start(server)
    assert_right(there, right, lambda: forget(there, stores, server))
    settled(here)
    assert_right(there, right, lambda: forget(there, stores, server))


@each_server
@each_change
async def test_awaited_in_two_processes(
    stores: Stores, server: str, change: Callable[[Cache], Any], right: tuple[Any, ...]
) -> None:
    here, there = stores.process(), stores.process()
    await here.aset("k", "v1")
    stores.stop(server)
    changes = {
        "set": lambda: here.aset("k", "v2"),
        "delete": lambda: here.adelete("k"),
        "set_many": lambda: here.aset_many({"k": "v2"}),
        "clear": lambda: here.aclear(),
    }
    await next(changes[name]() for name, one, _ in CHANGES if one is change)
    await there.aget("k")
    stores.start(server)
    for _ in range(3):
        forget(there, stores, server)
        assert await there.aget("k") in right
        assert (await there.aget_many(["k"])).get("k") in right
    await here.aclose()
    await there.aclose()


def forget(cache: Cache, stores: Stores, server: str) -> None:
    """Have the memory, and Redis if S3 is what was away, lose the entry: the store that was away would be asked."""
    assert cache.chain.memory is not None
    cache.chain.memory.clear()
    if server == "s3":
        stores.evict()


def assert_right(cache: Cache, right: tuple[Any, ...], before: Callable[[], None]) -> None:
    for read in (
        lambda: cache.get("k"),
        lambda: cache.get_many(["k"]).get("k"),
        lambda: cache.lookup("k").value,
        lambda: cache.get("k") if cache.contains("k") else None,
    ):
        before()
        assert read() in right


def settled(cache: Cache) -> None:
    """Wait until the store that is back has taken what it missed."""
    ends = time.monotonic() + WAIT
    while cache.chain.has_pending and time.monotonic() < ends:
        cache.get("some other key")
        cache.drain(0.5)
    assert not cache.chain.has_pending
