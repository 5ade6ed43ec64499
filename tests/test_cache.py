"""The front door as a whole: the default cache, switching it off, closing, one object for both faces."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, DiskBackend, MemoryBackend, Tier, TierChain
from tiercache.errors import CacheClosed


def test_the_default_cache_survives_the_process(tmp_path: Path) -> None:
    program = (
        "from tiercache import Cache\nwith Cache() as cache:\n    print(cache.get_or_set('k', lambda: 'made'))\n    "
    )
    environment = {"TIERCACHE_DIR": str(tmp_path)}
    for tier in ("None", "disk"):
        lookup = program.replace("print(", "print(cache.lookup('k').tier, ")
        done = subprocess.run(
            [sys.executable, "-c", lookup], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [tier, "made"]


def test_the_default_cache_is_memory_and_disk() -> None:
    with Cache() as cache:
        assert [tier.name for tier in cache.chain.tiers] == ["memory", "disk"]
        assert isinstance(cache.chain.tiers[1].backend, DiskBackend)


@pytest.mark.parametrize("value", ["1", "true"])
def test_disabled_by_the_environment_it_is_a_pass_through(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TIERCACHE_DISABLED", value)
    memory = MemoryBackend()
    cache = Cache(TierChain(memory))
    cache.set("k", 1)
    assert cache.get("k") is None
    assert [cache.get_or_set("k", lambda: 2), cache.get_or_set("k", lambda: 3)] == [2, 3]
    assert len(memory) == 0


@pytest.mark.parametrize("value", ["", "0"])
def test_not_disabled(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TIERCACHE_DISABLED", value)
    cache = Cache(MemoryBackend())
    cache.set("k", 1)
    assert cache.get("k") == 1


def test_after_close_every_operation_says_so(tmp_path: Path) -> None:
    cache = Cache(TierChain(MemoryBackend(), DiskBackend(tmp_path / "c.sqlite3")))
    cache.set("k", b"v")
    cache.close()
    cache.close()
    for operation in (
        lambda: cache.get("k"),
        lambda: cache.set("k", 1),
        lambda: cache.get_many(["k"]),
        lambda: cache.get_or_set("k", lambda: 1),
        lambda: cache.delete("k"),
        lambda: list(cache.keys()),
    ):
        with pytest.raises(CacheClosed):
            operation()


def test_both_faces_are_one_cache(clock: FakeClock) -> None:
    cache = Cache(TierChain(MemoryBackend(clock=clock), Tier(RemoteBackend(clock)), clock=clock))

    async def main() -> None:
        async with cache:
            await cache.aset("a", 1)
            cache.set("b", 2)
            assert cache.get("a") == 1
            assert await cache.aget_many(["a", "b"]) == {"a": 1, "b": 2}
            assert await cache.acontains("b")
            assert (await cache.alookup("b")).tier == "memory"
            assert await cache.ametadata("none") is None
            stats = await cache.astats()
            assert stats.puts == 2
            assert stats.hits == 4
            await cache.acheck()
            assert all(health.ok for health in (await cache.ahealth()).values())

    asyncio.run(main())
    with pytest.raises(CacheClosed):
        cache.get("a")


def test_what_a_caller_gets_is_its_own() -> None:
    cache = Cache(MemoryBackend())
    value = {"list": [1], "bytes": bytearray(b"x")}
    cache.set("k", value)
    value["list"].append(2)  # type: ignore[attr-defined]
    first = cache.get("k")
    first["list"].append(3)
    first["bytes"][0] = 0
    assert cache.get("k") == {"list": [1], "bytes": bytearray(b"x")}
    metadata = cache.metadata("k")
    assert metadata is not None
    metadata.attributes["changed"] = True
    assert cache.lookup("k").metadata.attributes == {}  # type: ignore[union-attr]


def test_arrays_are_read_only_views() -> None:
    cache = Cache(MemoryBackend())
    array = np.arange(4, dtype=np.float32)
    cache.set("k", array)
    array[:] = 9
    hit = cache.get("k")
    assert hit.tolist() == [0, 1, 2, 3]
    assert hit.base is not None
    with pytest.raises(ValueError, match="read-only"):
        hit[0] = 5


def test_a_cache_that_is_only_read_frees_what_has_expired(clock: FakeClock) -> None:
    memory = MemoryBackend(clock=clock)
    cache = Cache(TierChain(memory, clock=clock))
    cache.set("stays", b"v")
    cache.set_many({f"goes {number}": number for number in range(500)}, ttl=10)
    clock.advance(100)
    for _ in range(64 * 20):
        cache.get("stays")
    assert len(memory._slots) == 1


def test_stats_in_all_add_up_the_tiers(clock: FakeClock) -> None:
    remote = RemoteBackend(clock)
    cache = Cache(TierChain(MemoryBackend(clock=clock), Tier(remote), clock=clock))
    cache.set("k", 1)
    assert cache.chain.memory is not None
    cache.chain.memory.clear()
    cache.get("k")
    remote.break_down()
    cache.get("other")
    stats = cache.stats()
    assert (stats.promotions, stats.errors, stats.evictions) == (1, {"BackendUnavailable": 1}, {"explicit": 1})
    assert (stats.entries, stats.bytes > 0) == (1, True)
    assert sum(count for _, count in stats.tiers["remote"].read.buckets) == stats.tiers["remote"].read.count


def test_a_value_of_another_type_is_a_miss_of_its_own_kind() -> None:
    cache = Cache(MemoryBackend())
    cache.set("k", 1)
    assert cache.get("k", "default", type=str) == "default"
    assert cache.stats().errors == {"TypeMismatch": 1}
    assert cache.get("k") == 1
