"""Streams and invalidations: what began before one is neither stored nor joined after it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.integrations.http.streaming import aopened, aread, opened, read
from tests.provider import FakeProvider
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, TierChain
from tiercache.llm.cache import LLMCache

Change = Callable[[Cache, str], object]


def of_tag(cache: Cache, key: str) -> None:
    cache.invalidate_tags(["mine"])


def of_key(cache: Cache, key: str) -> None:
    cache.delete(key)


def of_all(cache: Cache, key: str) -> None:
    cache.clear()


def by_another(cache: Cache, key: str) -> None:
    cache.set(key, "something else")


changes = pytest.mark.parametrize("change", [of_tag, of_key, of_all, by_another])


@pytest.fixture(params=["memory", "two tiers"])
def cache(request: pytest.FixtureRequest) -> LLMCache:
    if request.param == "memory":
        return LLMCache(Cache(MemoryBackend()))
    return LLMCache(Cache(TierChain(MemoryBackend(), RemoteBackend(clock=time.time))))


def key_of(response: Any) -> str:
    return f"chat:m:{response.headers['x-tiercache-key']}"


@changes
def test_a_stream_that_began_before_is_not_served_after(
    cache: LLMCache, provider: FakeProvider, change: Change
) -> None:
    gate = provider.hold(after=3)
    with opened(cache, provider, x_tiercache_tags="mine") as response:
        arriving = response.iter_raw()
        first = next(arriving)
        change(cache.cache, key_of(response))
        gate.open()
        before = [first, *arriving]
    status, after = read(cache, provider, x_tiercache_tags="mine")
    assert status == "MISS"
    assert after != before


@changes
async def test_a_stream_that_a_task_began_before_is_not_served_after(
    cache: LLMCache, provider: FakeProvider, change: Change
) -> None:
    gate = provider.hold(after=3)
    async with aopened(cache, provider, x_tiercache_tags="mine") as response:
        arriving = response.aiter_raw()
        first = await anext(arriving)
        change(cache.cache, key_of(response))
        gate.open()
        before = [first, *[chunk async for chunk in arriving]]
    status, after = await aread(cache, provider, x_tiercache_tags="mine")
    assert status == "MISS"
    assert after != before


@changes
def test_nobody_joins_a_stream_that_began_before(cache: LLMCache, provider: FakeProvider, change: Change) -> None:
    gate = provider.hold(after=3)
    with opened(cache, provider, x_tiercache_tags="mine") as response:
        arriving = response.iter_raw()
        first = next(arriving)
        change(cache.cache, key_of(response))
        status, after = read(cache, provider, x_tiercache_tags="mine")
        assert status == "MISS"
        gate.open()
        assert [first, *arriving] != after
    assert read(cache, provider, x_tiercache_tags="mine") == ("HIT", after)
    assert asyncio.run(aread(cache, provider, x_tiercache_tags="mine")) == ("HIT", after)


def test_a_stream_that_is_overtaken_is_counted(cache: LLMCache, provider: FakeProvider) -> None:
    gate = provider.hold(after=3)
    with opened(cache, provider) as response:
        cache.cache.delete(key_of(response))
        gate.open()
        response.read()
    assert cache.stats().chat.refused == {"overtaken": 1}
