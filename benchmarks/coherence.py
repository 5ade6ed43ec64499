"""How soon a change is seen in another process's memory, and what telling of it adds to a write to Redis."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from statistics import quantiles
from typing import Any

from harness import WALL, Row, Sample, Scale, at_most, compare, each, interleave

from tiercache import Cache, MemoryBackend, TierChain
from tiercache.testing.servers import ServerUnavailable, redis_server

AREA = "coherence"
CALLS = 256  # a sample


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    try:
        with redis_server() as server:
            yield from _latency(server.url, 200 if scale.quick else 1000)
            yield from _cost(server.url, scale)
    except ServerUnavailable as reason:
        yield Row(AREA, "a change seen by another process", note=str(reason))


def _latency(url: str, changes: int) -> Iterator[Row]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    other = context.Process(target=_watch, args=(url, theirs, changes), daemon=True)
    other.start()
    took: list[float] = []
    with _cache(url) as cache:
        cache.set("k", 0)
        for number in range(1, changes + 1):
            assert ours.recv() == "ready"
            cache.set("k", number)
            written = time.time()
            took.append(max(0.0, ours.recv() - written) * 1e3)
    other.join(10)
    cuts = quantiles(took, n=100)
    for name, figure in (("median", cuts[49]), ("99 %", cuts[98]), ("longest", max(took))):
        what = f"from the end of a set to its value in another process's memory: {name}"
        yield Row(AREA, what, "ms", figure, bound=at_most(100) if name != "median" else None)


def _watch(url: str, pipe: Connection, changes: int) -> None:
    with _cache(url) as cache:
        for number in range(1, changes + 1):
            while cache.get("k") != number - 1:
                time.sleep(0.001)
            pipe.send("ready")
            while cache.get("k") != number:
                time.sleep(0.0001)  # as a server that has other things to do
            pipe.send(time.time())


def _cost(url: str, scale: Scale) -> Iterator[Row]:
    for tiers, memory in (("memory and Redis", True), ("Redis alone", False)):
        with _cache(url, memory=memory) as told, _cache(url, memory=memory, coherent=False) as untold:
            keys = [f"k{number}" for number in range(CALLS)]
            value = bytes(1024)
            calls: dict[str, Sample] = {
                "coherent": partial(each, partial(_set, told, value), keys, WALL),
                "not telling": partial(each, partial(_set, untold, value), keys, WALL),
            }
            samples = interleave(calls, scale.rounds(31))
            yield compare(AREA, f"set of 1 KiB, {tiers}, telling other processes", samples, "coherent", "not telling")


def _set(cache: Cache, value: bytes, key: str) -> None:
    cache.set(key, value)


def _cache(url: str, *, memory: bool = True, **options: Any) -> Cache:
    from tiercache_redis import RedisBackend

    first = [MemoryBackend()] if memory else []
    return Cache(TierChain(*first, RedisBackend(url, timeout=5), **options))
