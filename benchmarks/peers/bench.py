"""What a row works with: one library in one setting, a loop in a thread for awaited ones, and the servers."""

from __future__ import annotations

import asyncio
import inspect
import shutil
import tempfile
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from library import PATIENCE, Cache, Library, NotOfferedError, Options
from wire import BlackHole, Proxy, refused_port

Verdict = Literal["pass", "fail", "n/a"]


@dataclass(frozen=True)
class Outcome:
    """How a row ended, and what happened."""

    verdict: Verdict
    happened: str


def judged(good: bool, happened: str) -> Outcome:
    """Return a pass or a fail."""
    return Outcome("pass" if good else "fail", happened)


@dataclass(frozen=True)
class Row:
    """A defect: what is done, what a correct cache does, and the program that does it."""

    name: str
    title: str
    done: str
    right: str
    topic: str
    run: Callable[[Bench], Outcome]


ROWS: dict[str, Row] = {}


def row(name: str, title: str, *, topic: str, done: str, right: str) -> Callable[..., Callable[[Bench], Outcome]]:
    """Make a function a row of the table. `topic`: which of a library's settings matter to it."""

    def register(function: Callable[[Bench], Outcome]) -> Callable[[Bench], Outcome]:
        ROWS[name] = Row(name, title, done, right, topic, function)
        return function

    return register


class Bench:
    """One run of one row."""

    def __init__(self, library: Library, options: Options, redis: str | None) -> None:
        self.library = library
        self.options = dict(options)
        self.directory = Path(tempfile.mkdtemp(prefix="peers-"))
        self._redis = redis
        self._closing: list[Callable[[], Any]] = []
        self._threads = ThreadPoolExecutor(64, "peers")
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def call(self, method: Callable[..., Any], *args: Any) -> Any:
        """Call a method of a cache, and wait for it."""
        return self.start(method, *args).result(PATIENCE * 4)

    def start(self, method: Callable[..., Any], *args: Any) -> Future[Any]:
        """Call a method of a cache in a task of the loop, or in a thread if it blocks."""
        if not inspect.iscoroutinefunction(method):
            return self._threads.submit(method, *args)
        coroutine: Coroutine[Any, Any, Any] = method(*args)
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def open(self, opener: Callable[..., Cache], *args: Any, **options: Any) -> Cache:
        """Open a cache with the options of the setting; it is closed with the bench."""
        return self.opened(self.call(self._opening, lambda: opener(*args, **(self.options | options))))

    def opened(self, cache: Cache) -> Cache:
        """Close this cache with the bench, too."""
        self._closing.append(cache.close)
        return cache

    def redis_url(self) -> str:
        """Return the URL of a Redis that is empty."""
        if self._redis is None:
            raise NotOfferedError("no Redis server can be had here")
        self._admin(self._redis).flushdb()
        return self._redis

    def proxy(self) -> Proxy:
        """Return a wire to that Redis that can be cut, and on which answers can be held."""
        proxy = Proxy(self.redis_url())
        self._closing.insert(0, proxy.close)
        return proxy

    def black_hole(self) -> str:
        """Return the URL of a Redis that accepts, and never answers."""
        hole = BlackHole()
        self._closing.insert(0, hole.close)
        return hole.url

    def nowhere(self) -> str:
        """Return the URL of a Redis that is down: the port refuses."""
        return f"redis://127.0.0.1:{refused_port()}/0"

    def raw(self, url: str) -> RawRedis:
        """Return the store's bytes."""
        return RawRedis(self._admin(url))

    def close(self) -> None:
        """Close what was opened; what a library does not manage to close is left to the end of the process."""
        for close in reversed(self._closing):
            try:
                self.start(close).result(5)
            except Exception as error:
                print(f"closing: {type(error).__name__}: {error}".splitlines()[0])
        self._threads.shutdown(wait=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    async def _opening(self, opener: Callable[[], Cache]) -> Cache:
        return opener()  # in the loop: some clients belong to the loop that was running when they were made

    def _admin(self, url: str) -> Any:
        import redis

        return redis.Redis.from_url(url, socket_timeout=10)


class RawRedis:
    """The one text value in a Redis, behind the library's back."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def read(self) -> bytes:
        names = [name for name in self._client.keys("*") if self._client.type(name) == b"string"]
        if len(names) != 1:
            raise LookupError(f"the library stored {len(names)} values")
        self._name = names[0]
        return self._client.get(self._name)  # type: ignore[no-any-return]

    def write(self, data: bytes) -> None:
        self._client.set(self._name, data, keepttl=True)
