"""Streams and slow stores: a stream is stored behind its reader's back, and whoever comes meanwhile waits for it."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integrations.http.streaming import aopened, aread, ask, opened, read
from tests.provider import FakeProvider
from tests.support import RemoteBackend
from tiercache import Cache, TierChain
from tiercache.errors import BackendUnavailable
from tiercache.llm.cache import LLMCache

PATIENCE = 60.0


@pytest.fixture
def store() -> RemoteBackend:
    return RemoteBackend(time.time)


@pytest.fixture
def cache(store: RemoteBackend) -> LLMCache:
    return LLMCache(Cache(TierChain(store)))


def test_the_end_marker_does_not_wait_for_the_store(
    cache: LLMCache, provider: FakeProvider, store: RemoteBackend
) -> None:
    reached, go_on = store.hold("put")
    with opened(cache, provider) as response:
        for chunk in response.iter_raw():
            if b"[DONE]" in chunk:
                break
        assert reached.wait(PATIENCE)  # it is being stored, and the client reads no further
        assert cache.stats().chat.stored == 0
        go_on.set()
    assert cache.stats().chat.stored == 1


async def test_the_end_marker_does_not_wait_for_the_store_in_a_loop(
    cache: LLMCache, provider: FakeProvider, store: RemoteBackend
) -> None:
    reached, go_on = store.hold("put")
    async with aopened(cache, provider) as response:
        async for chunk in response.aiter_raw():
            if b"[DONE]" in chunk:
                break
        assert await asyncio.to_thread(reached.wait, PATIENCE)
        assert cache.stats().chat.stored == 0
        go_on.set()
    assert cache.stats().chat.stored == 1


@pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "awaiting"])
def test_who_comes_while_a_stream_is_stored_does_not_ask_again(
    cache: LLMCache, provider: FakeProvider, store: RemoteBackend, awaited: bool
) -> None:
    reached, go_on = store.hold("put")

    def ask_it() -> tuple[str, list[bytes]]:
        return asyncio.run(aread(cache, provider)) if awaited else read(cache, provider)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask_it)
        assert reached.wait(PATIENCE)
        second = pool.submit(ask_it)
        threading.Timer(0.1, go_on.set).start()
        assert first.result(PATIENCE)[0] == "MISS"
        status, chunks = second.result(PATIENCE)
    assert status in ("HIT", "SHARED")
    assert chunks == first.result()[1]
    assert provider.calls() == 1


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "awaiting"])
def test_a_store_that_fails_is_not_in_the_way(provider: FakeProvider, strict: bool, awaited: bool) -> None:
    store = RemoteBackend(time.time)
    cache = LLMCache(Cache(TierChain(store, strict=strict)))
    store.break_down(BackendUnavailable("away"))
    for _ in range(2):
        status, chunks = asyncio.run(aread(cache, provider)) if awaited else read(cache, provider)
        assert status == "MISS"
        assert b"[DONE]" in chunks[-1]


def test_a_store_that_fails_only_at_the_end_is_counted(provider: FakeProvider) -> None:
    store = RemoteBackend(time.time)
    cache = LLMCache(Cache(TierChain(store, strict=True)))
    store.faults["put"] = BackendUnavailable("away")
    assert b"[DONE]" in read(cache, provider)[1][-1]
    assert cache.stats().cache_errors == 1
    assert cache.stats().chat.stored == 0


def test_streams_of_one_client_one_after_the_other_are_stored_each(cache: LLMCache, provider: FakeProvider) -> None:
    kinds: list[Any] = ["chat", "completion", "response", "message"]
    assert [ask(kind, cache, provider)[0] for kind in kinds * 2] == ["MISS"] * 4 + ["HIT"] * 4
