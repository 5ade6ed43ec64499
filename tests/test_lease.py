"""Leases: of several processes that miss one key, one computes."""

from __future__ import annotations

import asyncio
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from tests.other_process import OtherProcess
from tiercache import Cache, MemoryBackend, TierChain
from tiercache.coherence.lease import LeaseKeeper
from tiercache.errors import ConfigurationError
from tiercache_redis import RedisBackend

WAIT = 20


@pytest.fixture
def prefix():
    return f"{uuid.uuid4().hex[:12]}:"


@pytest.fixture
def make(redis_url, prefix):
    made = []

    def make(url=redis_url, lease="10s", **options):
        chain = TierChain(MemoryBackend(), RedisBackend(url, prefix=prefix, timeout=5), lease=lease, **options)
        made.append(chain)
        return Cache(chain, namespace="n")

    yield make
    for chain in made:
        chain.close()


@pytest.fixture
def store(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield client


# The keeper.


@pytest.fixture
def backend(redis_url, prefix):
    backend = RedisBackend(redis_url, prefix=prefix, timeout=5)
    yield backend
    backend.close()


def test_one_holder_at_a_time(backend):
    assert isinstance(backend, LeaseKeeper)
    assert backend.lease("k", b"a" * 16, 60)
    assert not backend.lease("k", b"b" * 16, 60)
    assert backend.lease("k", b"a" * 16, 60)  # prolonged
    assert backend.lease("other", b"b" * 16, 60)
    assert not backend.end_lease("k", b"b" * 16)
    assert backend.end_lease("k", b"a" * 16)
    assert not backend.end_lease("k", b"a" * 16)
    assert backend.lease("k", b"b" * 16, 60)


def test_one_holder_at_a_time_awaited(backend):
    async def main():
        return (
            await backend.alease("k", b"a" * 16, 60),
            await backend.alease("k", b"b" * 16, 60),
            await backend.aend_lease("k", b"a" * 16),
        )

    assert asyncio.run(main()) == (True, False, True)


def test_a_lease_ends_by_itself(backend):
    assert backend.lease("k", b"a" * 16, 0.05)
    end = time.monotonic() + WAIT
    while not backend.lease("k", b"b" * 16, 0.05):
        assert time.monotonic() < end


def test_no_listing_shows_a_lease_and_its_name_does_not_hold_the_key(backend, store, prefix):
    backend.lease("n:the-key", b"a" * 16, 60)
    assert list(backend.scan()) == []
    assert list(backend.scan(full=True)) == []
    (name,) = store.scan_iter(f"{prefix}*")
    assert b"the-key" not in name


# Chains.


def test_of_two_chains_one_computes_and_the_other_gets_its_value(make):
    one, other = make(), make()
    calls = []

    def slow():
        calls.append(1)
        time.sleep(0.3)
        return "v"

    with ThreadPoolExecutor() as threads:
        both = [threads.submit(cache.get_or_set, "k", slow) for cache in (one, other)]
        assert [future.result(WAIT) for future in both] == ["v", "v"]
    assert len(calls) == 1


def test_of_two_chains_one_computes_awaited(make):
    one, other = make(), make()
    calls = []

    async def slow():
        calls.append(1)
        await asyncio.sleep(0.3)
        return "v"

    async def main():
        return await asyncio.gather(one.aget_or_set("k", slow), other.aget_or_set("k", slow))

    assert asyncio.run(main()) == ["v", "v"]
    assert len(calls) == 1


def test_a_lease_is_given_back_when_the_value_is_there_and_when_the_factory_fails(make, store, prefix):
    cache = make()

    def leases():
        return list(store.scan_iter(f"{prefix}!lease:*"))

    cache.get_or_set("k", lambda: leases() and "held")
    assert cache.get("k") == "held"
    with pytest.raises(ZeroDivisionError):
        cache.get_or_set("l", lambda: 1 / 0)
    cache.drain()
    assert leases() == []


def test_a_failure_is_computed_again_by_who_waited(make):
    one, other = make(), make()
    calls = []

    def fail_once():
        calls.append(1)
        if len(calls) == 1:
            time.sleep(0.2)
            raise OSError("the model is busy")
        return "v"

    with ThreadPoolExecutor() as threads:
        first = threads.submit(one.get_or_set, "k", fail_once)
        while not calls:
            time.sleep(0.001)
        assert other.get_or_set("k", fail_once) == "v"
        with pytest.raises(OSError, match="busy"):
            first.result(WAIT)
    assert len(calls) == 2


def test_who_waited_as_long_as_a_lease_lasts_computes(make, backend):
    cache = make(lease=0.2)
    backend.lease("n:k", b"x" * 16, 60)  # by a process that does not end
    assert cache.get_or_set("k", lambda: "mine") == "mine"
    assert cache.get("k") == "mine"


def test_a_computation_that_takes_longer_than_a_lease_keeps_it(make):
    one, other = make(lease=0.3), make(lease=60)
    calls = []

    def slow():
        calls.append(1)
        time.sleep(1.2)
        return "v"

    with ThreadPoolExecutor() as threads:
        first = threads.submit(one.get_or_set, "k", slow)
        while not calls:
            time.sleep(0.001)
        assert other.get_or_set("k", slow) == "v"
        assert first.result(WAIT) == "v"
    assert len(calls) == 1


def test_where_redis_is_down_everybody_computes_at_once(make):
    cache = make("redis://127.0.0.1:9", lease=60)
    started = time.monotonic()
    assert cache.get_or_set("k", lambda: "v") == "v"
    assert time.monotonic() - started < 30


def test_without_a_lease_nothing_is_asked_of_redis(make, store, prefix):
    cache = make(lease=None)
    assert cache.get_or_set("k", lambda: len(list(store.scan_iter(f"{prefix}!lease:*")))) == 0


def test_a_lease_must_be_a_duration():
    with pytest.raises(ConfigurationError, match="lease"):
        TierChain(MemoryBackend(), lease="soon")


# Processes.


def counted(store, prefix):
    return int(store.get(f"count-{prefix}") or 0)


def test_four_processes_compute_once(redis_url, prefix, store):
    others = [OtherProcess(redis_url, prefix=prefix, lease="30s") for _ in range(4)]
    try:
        for other in others:
            other("get", "warm")
        for other in others:
            other.begin("compute", "k", 0.5)
        assert {other.end() for other in others} == {"computed"}
    finally:
        for other in others:
            other.__exit__()
    assert counted(store, prefix) == 1


def test_a_holder_that_is_killed_is_replaced(redis_url, prefix, store):
    with OtherProcess(redis_url, prefix=prefix, lease="1s") as second:
        second("get", "warm")
        first = OtherProcess(redis_url, prefix=prefix, lease="1s")
        first.begin("compute", "k", 600)
        while not counted(store, prefix):
            time.sleep(0.005)
        second.begin("compute", "k", 0)
        first.process.kill()
        first.__exit__()
        assert second.end() == "computed"
    assert counted(store, prefix) == 2


def test_a_lease_that_may_have_been_granted_is_given_back(make, store, prefix, monkeypatch):
    cache = make(lease="60s")
    keeper = cache.chain.leases.keeper
    granted = keeper.backend.alease

    async def late(*args, **options):
        await granted(*args, **options)
        await asyncio.sleep(60)

    monkeypatch.setattr(keeper.backend, "alease", late)

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(cache.aget_or_set("k", lambda: 1), 0.5)

    asyncio.run(main())  # which cancels the computation at its end
    cache.drain()
    assert list(store.scan_iter(f"{prefix}!lease:*")) == []
    began = time.monotonic()
    assert cache.get_or_set("k", lambda: "mine") == "mine"
    assert time.monotonic() - began < WAIT
