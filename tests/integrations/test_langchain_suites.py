"""LangChain's own suites for caches and stores: all four, on memory, on disk and on a real Redis."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("langchain_tests")

from langchain_tests import integration_tests as suites

from tiercache import Cache, DiskBackend, MemoryBackend, TierChain
from tiercache.integrations.langchain import LangChainByteStore, LangChainCache
from tiercache_redis import RedisBackend


@pytest.fixture(params=["memory", "disk", "redis", "memory+redis"])
def tiers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cache]:
    backends: list[Any] = []
    for name in request.param.split("+"):
        if name == "memory":
            backends.append(MemoryBackend())
        elif name == "disk":
            backends.append(DiskBackend(tmp_path / "cache.db"))
        else:
            backends.append(RedisBackend(request.getfixturevalue("redis_url"), prefix=f"{uuid.uuid4().hex}:"))
    with Cache(TierChain(*backends)) as cache:
        yield cache


class _Store:
    @pytest.fixture
    def kv_store(self, tiers: Cache) -> LangChainByteStore:
        return LangChainByteStore(tiers)

    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return b"one", b"", b"\x00\xff"


class _Cache:
    @pytest.fixture
    def cache(self, tiers: Cache) -> LangChainCache:
        return LangChainCache(tiers)


class TestStore(_Store, suites.BaseStoreSyncTests[bytes]):
    pass


class TestStoreAwaited(_Store, suites.BaseStoreAsyncTests[bytes]):
    pass


class TestCache(_Cache, suites.SyncCacheTestSuite):
    pass


class TestCacheAwaited(_Cache, suites.AsyncCacheTestSuite):
    pass
