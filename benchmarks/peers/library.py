"""What a row may do with a library: the interface that each file of `libraries/` fills in.

A library opens caches; a cache has the same few methods whatever is behind it. They are coroutine functions where the
library is awaited, plain ones where it blocks: rows call either through `Bench` (`bench.py`).
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import itertools
import json
import threading
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, ClassVar

MISS: Any = type("Miss", (), {"__repr__": lambda self: "a miss"})()
"""What `get` returns when the cache has nothing."""

Options = Mapping[str, Any]
Request = tuple[tuple[Any, ...], dict[str, Any]]
PATIENCE = 30.0


def packed(value: dict[str, Any]) -> str:
    """Return JSON, gzipped, as base64: what some libraries write in place of a dict."""
    return base64.b64encode(gzip.compress(json.dumps(value).encode(), mtime=0)).decode()


class NotOfferedError(Exception):
    """The library does not claim this; the text says why, for the table."""


_serial = itertools.count(1)


def answered(*args: Any, **kwargs: Any) -> str:
    """Return what the functions answer whose calls rows about keys have cached: no two answers are the same."""
    return f"answer {next(_serial)} to {args} {kwargs}"


class Work:
    """A computation: it looks at the source when it begins, and ends when the gate is open."""

    def __init__(self, source: Callable[[], Any], *, held: bool = False) -> None:
        self.source = source
        self.calls = 0
        self.begun = threading.Event()
        self.gate = threading.Event()
        self._lock = threading.Lock()
        if not held:
            self.gate.set()

    def run(self) -> Any:
        """Compute, blocking."""
        finish = self._begin()
        if not self.gate.wait(PATIENCE):
            raise TimeoutError("the row never let its computation end")
        return finish()

    async def arun(self) -> Any:
        """Compute, awaited."""
        finish = self._begin()
        async with asyncio.timeout(PATIENCE):
            while not self.gate.is_set():  # noqa: ASYNC110 - the gate is opened by another thread
                await asyncio.sleep(0.002)
        return finish()

    def _begin(self) -> Callable[[], Any]:
        with self._lock:
            self.calls += 1
        try:
            value = self.source()
        except Exception as error:
            failure = error

            def finish() -> Any:
                raise failure
        else:

            def finish() -> Any:
                return value

        self.begun.set()
        return finish


class Cache:
    """A library's cache. Methods are coroutine functions in the files of awaited libraries."""

    def get(self, key: str) -> Any:
        """Return the value, or MISS."""
        raise NotOfferedError("it has no get")

    def set(self, key: str, value: Any, ttl: float | None = None) -> Any:
        """Store the value for `ttl` seconds."""
        raise NotOfferedError("it has no set")

    def delete(self, key: str) -> Any:
        """Remove the value."""
        raise NotOfferedError("it has no delete")

    def compute(self, key: str, work: Work) -> Any:
        """Get the value, or compute and store it, the way the library's documentation says."""
        raise NotOfferedError("it has no get-or-compute: that is its user's code")

    def compute_tagged(self, key: str, work: Work, tag: str) -> Any:
        """`compute`, the entry labelled with a tag."""
        raise NotOfferedError("it has no tags")

    def invalidate_tag(self, tag: str) -> Any:
        """Invalidate all entries with the tag."""
        raise NotOfferedError("it has no tags")

    def ask(self, *args: Any, **kwargs: Any) -> Any:
        """Call a cached function that answers with its own arguments."""
        raise NotOfferedError("it makes no keys: its user does")

    def clear(self) -> Any:
        """Invalidate everything."""
        raise NotOfferedError("it has no way to invalidate everything")

    def held(self) -> int:
        """Return how many entries are in memory, expired or not."""
        raise NotOfferedError("it keeps nothing in memory")

    def lose_memory(self) -> Any:
        """Drop the fast tier, as an eviction or a restart does."""
        raise NotOfferedError("it has one tier")

    def close(self) -> Any:
        """Let go of connections."""


class Library:
    """A library. Every `open` gives a new cache; what the library has not, it need not define."""

    name: ClassVar[str]
    distribution: ClassVar[str]
    settings: ClassVar[dict[str, dict[str, Options]]] = {}
    """Topic of rows -> what to call the setting -> options for `open`; the default first, the strongest last."""
    ordinary: ClassVar[dict[str, Options]] = {"as documented": {}}
    """The settings of topics that `settings` does not list."""
    collisions: ClassVar[list[tuple[Request, Request]]] = []
    """Pairs of different requests that share a key where the parts of keys are joined as this library joins them."""
    markers: ClassVar[list[Any]] = []
    """Values that hold what the library itself writes around a value."""
    least_ttl: ClassVar[float] = 0.4
    """Seconds: the shortest time to live that it takes."""
    fast: ClassVar[str] = "memory"
    """Where `memory` keeps its entries."""
    ttl_is_the_regions: ClassVar[bool] = False
    takes_keywords: ClassVar[bool] = True
    own_requests_only: ClassVar[bool] = False
    """Whether `ask` takes only such requests as stand in `collisions` and `keyword_request`."""
    keyword_request: ClassVar[dict[str, Any]] = {"first": "x", "second": "y"}
    pickle_frame: ClassVar[Callable[[bytes], bytes]] = staticmethod(lambda data: data)
    """How it stores a pickle."""

    @classmethod
    def settings_of(cls, topic: str) -> dict[str, Options]:
        """Return the settings for a row's topic: of its words, the first that the library has settings for."""
        return next((cls.settings[word] for word in topic.split() if word in cls.settings), cls.ordinary)

    @classmethod
    def version(cls) -> str:
        """Return the release that is installed."""
        return metadata.version(cls.distribution)

    def memory(self, **options: Any) -> Cache:
        """Open a cache in memory."""
        raise NotOfferedError("it has no memory tier")

    def redis(self, url: str, **options: Any) -> Cache:
        """Open a cache in Redis alone."""
        raise NotOfferedError("it has no Redis tier")

    def tiers(self, url: str, **options: Any) -> Cache:
        """Open a cache of memory above Redis."""
        raise NotOfferedError("it has one tier")

    def mixed(self) -> tuple[Cache, Cache]:
        """Open one memory cache, as an awaited and as a blocking one."""
        raise NotOfferedError("it does not serve awaited and blocking callers together")

    def threads(self, **options: Any) -> Cache:
        """Open a memory cache that threads compute through."""
        raise NotOfferedError("its cache is awaited: callers are tasks of one loop")

    def tasks(self, **options: Any) -> Cache:
        """Open a memory cache that tasks compute through."""
        raise NotOfferedError("it blocks: callers are threads")

    def keyed(self, bench: Any) -> Cache:
        """Open a cache that makes keys of arguments."""
        return bench.open(self.memory)  # type: ignore[no-any-return]

    def shelf(self, bench: Any, **options: Any) -> tuple[Cache, Any]:
        """Open a cache on a store whose bytes can be changed behind its back; Redis, unless it has another."""
        url = bench.redis_url()
        return self.redis(url, **options), bench.raw(url)
