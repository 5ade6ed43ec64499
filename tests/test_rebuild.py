"""After minutes with an open breaker a backend forgets what may be out of date: connections, addresses, credentials."""

from __future__ import annotations

import asyncio
import re

import pytest

from tests.support import RemoteBackend
from tiercache import Tier
from tiercache.errors import BackendTimeout, CacheClosed
from tiercache.health.breaker import BreakerPolicy
from tiercache.objectstore.client import LazyClient
from tiercache_redis import RedisBackend
from tiercache_s3 import S3Backend


@pytest.fixture
def connections_made(redis_url):
    """A function that returns how many connections the server has taken so far."""
    import redis

    with redis.Redis.from_url(redis_url) as client:
        client.ping()
        yield lambda: client.info("stats")["total_connections_received"]


def test_redis_connects_anew(redis_url, connections_made):
    backend = RedisBackend(redis_url, timeout=10)
    backend.ping()
    before = connections_made()
    backend.ping()
    assert connections_made() == before
    backend.rebuild()
    backend.ping()
    assert connections_made() == before + 1
    backend.close()


async def test_redis_connects_anew_in_each_event_loop(redis_url, connections_made):
    backend = RedisBackend(redis_url, timeout=10)
    await backend.aping()
    before = connections_made()
    await asyncio.to_thread(backend.rebuild)
    await asyncio.sleep(0)  # what the loop was told to do comes first
    await asyncio.sleep(0)
    await backend.aping()
    assert connections_made() == before + 1
    await backend.aclose()


async def test_an_operation_under_way_is_not_disturbed(redis_url):
    backend = RedisBackend(redis_url, timeout=10)
    await backend.aping()
    asking = [asyncio.create_task(backend.aping()) for _ in range(10)]
    await asyncio.sleep(0)
    backend.rebuild()
    await asyncio.gather(*asking)
    await backend.aclose()


def test_s3_looks_for_its_credentials_again(web, monkeypatch):
    store = web((404, "<Error><Code>NoSuchKey</Code></Error>", {"Content-Type": "application/xml"}))

    def user() -> str:
        found = re.search(r"Credential=(\w+)/", store.asked[-1].headers["Authorization"])
        assert found
        return found[1]

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "first")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    backend = S3Backend("bucket", endpoint_url=store.url, region="us-east-1", timeout=30)
    assert backend.get("k") is None
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "second")
    assert backend.get("k") is None
    assert user() == "first"
    backend.rebuild()
    assert backend.get("k") is None
    assert user() == "second"
    backend.close()


def test_a_client_with_given_credentials_is_made_anew_as_well():
    made: list[object] = []

    def build() -> object:
        made.append(object())
        return made[-1]

    client = LazyClient(build, lambda _: None, renewable=False)
    first = client.get()
    client.renew()
    assert client.get() is not first
    assert len(made) == 2


def test_a_closed_backend_stays_closed(redis_url):
    backend = RedisBackend(redis_url)
    backend.close()
    backend.rebuild()
    with pytest.raises(CacheClosed):
        backend.ping()


def test_a_store_without_the_hook_is_left_alone(clock):
    backend = RemoteBackend(clock)
    backend.rebuild = None
    tier = Tier(backend, breaker=BreakerPolicy(rebuild_after=0.0))
    backend.break_down(BackendTimeout("late"))
    with pytest.raises(BackendTimeout):
        tier.get("k").perform()
    backend.faults.clear()
    tier.ping().perform()
    assert tier.breaker.state == "closed"
