"""Ten thousand callers miss one key at the same moment: how often it is computed, and what the waiting costs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from harness import Row, Scale, at_most, compare, interleave

from tiercache import Cache, MemoryBackend

AREA = "stampede"
CALLERS = 10_000
THREADS = 200
SECONDS = 0.2  # that a computation takes; what a round takes is shown without them
Ask = Callable[[], Awaitable[Any]]


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    callers = 1000 if scale.quick else CALLERS
    name = f"{callers:,} concurrent misses on one key"
    ours = asyncio.run(_computations(_ours, callers))
    what = f"{name}: computations, Cache.aget_or_set"
    yield Row(AREA, what, "computations", ours, bound=at_most(1))
    for peer, make in _PEERS.items():
        try:
            theirs = asyncio.run(_computations(make, callers))
        except ImportError as error:
            yield Row(AREA, what, "computations", ours, peer, note=f"{peer} is not installed: {error}")
        else:
            yield Row(AREA, what, "computations", ours, peer, theirs)
    yield Row(
        AREA,
        f"{THREADS} threads miss one key: computations, Cache.get_or_set",
        "computations",
        _threads(THREADS),
        bound=at_most(1),
    )
    samples = interleave(
        {
            "Cache.aget_or_set": lambda: asyncio.run(_wall(_ours, callers)),
            "a shared asyncio.Task": lambda: asyncio.run(_wall(_shared_task, callers)),
        },
        scale.rounds(7),
    )
    name = f"{name}: ms beyond the computation, Cache.aget_or_set"
    yield compare(AREA, name, samples, "Cache.aget_or_set", "a shared asyncio.Task", unit="ms")


class _Factory:
    """Computes slowly, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    async def compute(self) -> bytes:
        self.calls += 1
        await asyncio.sleep(SECONDS)
        return b"an answer that was paid for"


async def _computations(make: Callable[[_Factory], Ask], callers: int) -> int:
    factory = _Factory()
    ask = make(factory)
    await asyncio.gather(*(ask() for _ in range(callers)))
    return factory.calls


async def _wall(make: Callable[[_Factory], Ask], callers: int) -> float:
    ask = make(_Factory())
    start = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(callers)))
    return (time.perf_counter() - start - SECONDS) * 1000


def _ours(factory: _Factory) -> Ask:
    cache = Cache(MemoryBackend())

    return lambda: cache.aget_or_set("key", factory.compute)


def _shared_task(factory: _Factory) -> Ask:
    """The least that single-flight can cost in asyncio: everybody awaits one task. (No store, no cancellation.)"""
    task: asyncio.Task[bytes] | None = None

    async def ask() -> bytes:
        nonlocal task
        if task is None:
            task = asyncio.create_task(factory.compute())
        return await asyncio.shield(task)

    return ask


def _aiocache(factory: _Factory) -> Ask:
    import aiocache

    cached: Any = aiocache.cached(ttl=60, key="key")
    return cached(factory.compute)  # type: ignore[no-any-return]


def _cashews(factory: _Factory) -> Ask:
    import cashews

    cache: Any = cashews.Cache()
    cache.setup("mem://")
    return cache(ttl=60, key="key")(factory.compute)  # type: ignore[no-any-return]


def _litellm(factory: _Factory) -> Ask:
    from litellm.caching.dual_cache import DualCache

    cache: Any = DualCache()

    async def ask() -> bytes:
        """It has no get-or-compute: this is what its users write."""
        value = await cache.async_get_cache("key")
        if value is None:
            value = await factory.compute()
            await cache.async_set_cache("key", value)
        return value  # type: ignore[no-any-return]

    return ask


_PEERS: dict[str, Callable[[_Factory], Ask]] = {
    "cashews @cache": _cashews,
    "aiocache @cached": _aiocache,
    "LiteLLM get, set": _litellm,
}


def _threads(count: int) -> int:
    """Return how often the value is computed when many threads ask at once."""
    cache, calls = Cache(MemoryBackend()), []
    together = threading.Barrier(count)

    def factory() -> bytes:
        calls.append(1)
        time.sleep(SECONDS)
        return b"an answer that was paid for"

    def ask() -> None:
        together.wait()
        cache.get_or_set("key", factory)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(calls)
