"""A hit in Redis through the whole cache, checked, decoded and promoted, beside a bare `GET` of the same bytes.

The first tier has room for a few entries and is asked for many in turn, so that every read misses it, is answered by
Redis and promoted, and pushes another one out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from typing import Any

from harness import WALL, Row, Sample, Scale, aeach, at_most, compare, each, interleave, times
from l1 import chat_response

from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.testing.servers import ServerUnavailable, redis_server

AREA = "redis"
KEYS = 64
ROOM = 8  # in the first tier
CALLS = 256  # a sample


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    try:
        with redis_server() as server:
            for name, (value, bound, abound) in _cases().items():
                yield from _blocking(server.url, name, value, bound, scale)
                yield from _awaited(server.url, name, value, abound, scale)
            yield from _batch(server.url, scale)
            yield from _guarded(server.url, scale)
    except ServerUnavailable as reason:
        yield Row(AREA, "L2 hit (Redis)", note=str(reason))


def _cases() -> dict[str, tuple[Any, float, float]]:
    """Values, and what a hit may cost, in times of a bare GET: blocking and awaited."""
    noise = random.Random(1).randbytes
    return {
        "4 KiB of bytes": (noise(4096), 1.15, 1.2),
        "compressed JSON of 1.6 kB": (chat_response(), 1.5, 1.5),
        "64 KiB of bytes": (noise(65536), 1.4, 1.4),
    }


def _blocking(url: str, name: str, value: Any, bound: float, scale: Scale) -> Iterator[Row]:
    import redis

    with _cache(url) as cache, redis.Redis.from_url(url) as bare:
        keys, names = _fill(cache, value)
        size = len(bare.get(names[0]))
        calls: dict[str, Sample] = {
            "Cache.get": partial(each, cache.get, keys, WALL),
            "redis.Redis.get": partial(each, bare.get, names, WALL),
        }
        samples = interleave(calls, scale.rounds(61))
        _check_tiers(cache)
    name = f"L2 hit, {name} ({size:,} stored): Cache.get"
    yield compare(AREA, name, samples, "Cache.get", "redis.Redis.get", bound=times(bound))


def _awaited(url: str, name: str, value: Any, bound: float, scale: Scale) -> Iterator[Row]:
    import redis.asyncio

    with asyncio.Runner() as runner:
        cache, bare = _cache(url), redis.asyncio.Redis.from_url(url)
        keys, names = _fill(cache, value)
        calls: dict[str, Sample] = {
            "Cache.aget": partial(_run, runner, cache.aget, keys),
            "redis.asyncio.Redis.get": partial(_run, runner, bare.get, names),
        }
        samples = interleave(calls, scale.rounds(61))
        _check_tiers(cache)
        runner.run(cache.aclose())
        runner.run(bare.aclose())
    yield compare(
        AREA, f"L2 hit, {name}: Cache.aget", samples, "Cache.aget", "redis.asyncio.Redis.get", bound=times(bound)
    )


def _batch(url: str, scale: Scale) -> Iterator[Row]:
    """A hundred keys: how many commands reach the server, and what they cost beside one bare `MGET`."""
    import redis

    noise = random.Random(2).randbytes
    batches = [[f"batch-{batch}-{number}" for number in range(100)] for batch in range(2)]  # in turn: no hit in memory
    with _cache(url) as cache, redis.Redis.from_url(url) as bare:
        for keys in batches:
            cache.set_many({key: noise(4096) for key in keys})
        names = [[f"tiercache:default:{key}" for key in keys] for keys in batches]
        cache.get("absent")  # at the first use of a namespace its marks are read, once
        bare.config_resetstat()
        found = cache.get_many(batches[0])
        calls = {name: stats["calls"] for name, stats in bare.info("commandstats").items()}
        commands = sum(count for name, count in calls.items() if name.removeprefix("cmdstat_") not in _NOT_OURS)
        if len(found) != 100 or cache.stats().tiers["memory"].hits:
            raise AssertionError(f"get_many found {len(found)} of 100 keys, some in memory")
        yield Row(AREA, "get_many(100): commands that reach Redis", "commands", commands, bound=at_most(1))
        contenders: dict[str, Sample] = {
            "Cache.get_many": partial(each, cache.get_many, batches * 2, WALL),
            "redis.Redis.mget": partial(each, bare.mget, names * 2, WALL),
        }
        samples = interleave(contenders, scale.rounds(41))
    name = "get_many(100), 4 KiB each: Cache.get_many"
    yield compare(
        AREA, name, samples, "Cache.get_many", "redis.Redis.mget", note="checks and promotes a hundred entries"
    )


def _guarded(url: str, scale: Scale) -> Iterator[Row]:
    """What deadlines, breaker and retry budget cost a hit, beside the same cache without them."""
    value = random.Random(3).randbytes(4096)
    guarded, bare = "with deadline and breaker", "without"
    with _cache(url) as ours, _cache(url, timeout=None, breaker=False) as without:
        for cache in (ours, without):
            keys, _ = _fill(cache, value)
        calls: dict[str, Sample] = {
            guarded: partial(each, ours.get, keys, WALL),
            bare: partial(each, without.get, keys, WALL),
        }
        samples = interleave(calls, scale.rounds(61))
    yield compare(AREA, "L2 hit, 4 KiB: what a deadline costs, Cache.get", samples, guarded, bare, bound=times(1.1))
    with asyncio.Runner() as runner:
        ours, without = _cache(url), _cache(url, timeout=None, breaker=False)
        calls = {
            guarded: partial(_run, runner, ours.aget, keys),
            bare: partial(_run, runner, without.aget, keys),
        }
        samples = interleave(calls, scale.rounds(61))
        runner.run(ours.aclose())
        runner.run(without.aclose())
    yield compare(AREA, "L2 hit, 4 KiB: what a deadline costs, Cache.aget", samples, guarded, bare, bound=times(1.1))


_NOT_OURS = {"config|resetstat", "info", "client|setinfo", "hello"}


def _cache(url: str, *, timeout: float | None = 0.1, breaker: bool = True) -> Cache:
    from tiercache_redis import RedisBackend

    redis = Tier(RedisBackend(url, timeout=timeout), breaker=breaker)
    return Cache(TierChain(MemoryBackend(max_entries=ROOM), redis, strict=True))


def _fill(cache: Cache, value: Any) -> tuple[list[str], list[str]]:
    """Store the value under many keys; return them in the order to ask for, and their names in Redis."""
    keys = [f"key-{number}" for number in range(KEYS)]
    cache.set_many(dict.fromkeys(keys, value))
    asked = list(islice(cycle(keys), CALLS))
    return asked, [f"tiercache:default:{key}" for key in asked]


def _check_tiers(cache: Cache) -> None:
    """Raise unless every read was answered by Redis and promoted: then the figure is of something else."""
    memory, redis = cache.stats().tiers.values()
    if memory.hits or redis.misses or not memory.promotions == redis.hits > 0:
        raise AssertionError(f"not every read was a promoted hit in Redis: {memory}, {redis}")


def _run(runner: asyncio.Runner, call: Callable[[str], Any], asked: list[str]) -> float:
    return runner.run(aeach(call, asked, WALL))
