"""A hit in an object store through the whole cache: its CPU beside the SDK's own bare GET, and the requests it makes.

CPU, not time: of a request over a real network the CPU is what a cache in front of the SDK can add to. It is that of
the whole process, the backend's worker threads included. The first tier is kept too small, as for Redis.
"""

from __future__ import annotations

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle, islice
from typing import Any, ClassVar

from harness import Row, Sample, Scale, aeach, at_most, compare, each, interleave, times

from tiercache import Backend, Cache, MemoryBackend, TierChain
from tiercache.testing.servers import ServerUnavailable

BUCKET = "bench"
KEYS = 16
ROOM = 4
CALLS = 48


class Store(ABC):
    """An object store with an empty bucket, and its SDK's own client.

    Attributes:
        area: what the benchmark calls it.
        bare: the SDK's call that is compared.
    """

    area: ClassVar[str]
    bare: ClassVar[str]

    @abstractmethod
    def __init__(self, stack: ExitStack) -> None:
        """Start the server and make the bucket; the stack stops it."""

    @abstractmethod
    def backend(self, prefix: str) -> Backend:
        """Return tiercache's backend, patient: on a busy machine a slow answer would be a miss."""

    @abstractmethod
    def names(self, prefix: str) -> list[str]:
        """Return the names of the objects below the prefix."""

    @abstractmethod
    def get(self, name: str) -> bytes:
        """Return an object with the bare call."""


def rows(kind: type[Store], scale: Scale) -> Iterator[Row]:
    """Measure."""
    with ExitStack() as stack:
        try:
            store = kind(stack)
        except ServerUnavailable as reason:
            yield Row(kind.area, f"L3 hit ({kind.area})", note=str(reason))
            return
        for name, size in (("a vector of 1,536 float32", 6144), ("64 KiB of bytes", 65536)):
            yield from _hits(store, name, size, scale)


def _hits(store: Store, name: str, size: int, scale: Scale) -> Iterator[Row]:
    payload = random.Random(1).randbytes(size)
    prefix = f"{size}/"
    keys = [f"key-{number}" for number in range(KEYS)]
    asked = list(islice(cycle(keys), CALLS))
    chain = TierChain(MemoryBackend(max_entries=ROOM), store.backend(prefix), strict=True, epoch_refresh=None)
    with asyncio.Runner() as runner, Cache(chain) as cache:
        cache.set_many(dict.fromkeys(keys, payload))
        listed = store.names(prefix)
        names = list(islice(cycle(listed), CALLS))
        if len(listed) != KEYS or payload not in store.get(names[0]):
            raise AssertionError("the bare GET does not read what the cache wrote")
        calls: dict[str, Sample] = {
            "Cache.get": partial(each, cache.get, asked, time.process_time_ns),
            "Cache.aget": partial(_run, runner, cache.aget, asked),
            store.bare: partial(each, store.get, names, time.process_time_ns),
        }
        samples = interleave(calls, scale.rounds(31))
        with requests_counted() as requests:
            for key in asked:
                cache.get(key)
        with requests_counted() as writes:
            for key in keys:
                cache.set(key, payload)
        memory, remote = cache.stats().tiers.values()
        if memory.hits or remote.misses or not memory.promotions == remote.hits > 0:
            raise AssertionError(f"not every read was a promoted hit in the store: {memory}, {remote}")
    what = f"{store.area}: L3 hit, {name}"
    for call in ("Cache.get", "Cache.aget"):
        bound = times(1.1) if call == "Cache.get" else None
        yield compare(store.area, f"{what}, CPU: {call}", samples, call, store.bare, bound=bound)
    yield Row(store.area, f"{what}: requests", "requests", len(requests) / len(asked), bound=at_most(1))
    yield Row(store.area, f"{what}: requests of a write", "requests", len(writes) / len(keys), bound=at_most(1))


@contextmanager
def requests_counted() -> Iterator[list[str]]:
    """Note every request of every client: all three SDKs send through urllib3."""
    from urllib3.connectionpool import HTTPConnectionPool

    sent: list[str] = []
    urlopen = HTTPConnectionPool.urlopen

    def counted(self: Any, method: str, *arguments: Any, **options: Any) -> Any:
        sent.append(method)
        return urlopen(self, method, *arguments, **options)

    HTTPConnectionPool.urlopen = counted  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        HTTPConnectionPool.urlopen = urlopen  # type: ignore[method-assign]


def _run(runner: asyncio.Runner, call: Callable[[str], Any], asked: list[str]) -> float:
    return runner.run(aeach(call, asked, time.process_time_ns))
