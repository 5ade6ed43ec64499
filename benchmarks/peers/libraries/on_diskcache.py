"""diskcache: `memoize`, and the double-checked locking of its documentation's case study."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import diskcache
import library
from library import MISS, NotOfferedError, Options, Work, answered


class Cache(library.Cache):
    """A cache in a new directory."""

    def __init__(self, guarded: bool = False, disk: Any = diskcache.Disk) -> None:
        self.directory = tempfile.mkdtemp(prefix="peers-diskcache-")
        self.cache = diskcache.Cache(self.directory, disk=disk)
        self._works: dict[str, Work] = {}

        @self.cache.memoize(name="item", expire=60)
        def compute(key: str) -> Any:
            return self._works[key].run()

        @self.cache.memoize(name="outer", expire=0)
        @diskcache.barrier(self.cache, diskcache.Lock)
        @self.cache.memoize(name="item", expire=60)
        def compute_guarded(key: str) -> Any:
            return self._works[key].run()

        @self.cache.memoize(expire=60)
        def ask(*args: Any, **kwargs: Any) -> str:
            return answered(*args, **kwargs)

        @self.cache.memoize(name="tagged", expire=60, tag="a tag")
        def compute_tagged(key: str) -> Any:
            return self._works[key].run()

        self._compute = compute_guarded if guarded else compute
        self._compute_tagged = compute_tagged
        self._key = compute.__cache_key__
        self.ask = ask  # type: ignore[method-assign]

    def get(self, key: str) -> Any:
        return self.cache.get(key, default=MISS)

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        self.cache.set(key, value, expire=ttl)

    def delete(self, key: str) -> None:
        self.cache.delete(key)
        self.cache.delete(self._key(key))

    def compute(self, key: str, work: Work) -> Any:
        self._works[key] = work
        return self._compute(key)

    def compute_tagged(self, key: str, work: Work, tag: str) -> Any:
        self._works[key] = work
        return self._compute_tagged(key)

    def invalidate_tag(self, tag: str) -> None:
        self.cache.evict("a tag")

    def clear(self) -> None:
        self.cache.clear()

    def held(self) -> int:
        return len(self.cache)  # rows of its file, those that have expired included

    def close(self) -> None:
        self.cache.close()


class _Row:
    """The one value in its file."""

    def __init__(self, directory: str) -> None:
        self._path = Path(directory) / "cache.db"

    def read(self) -> bytes:
        with sqlite3.connect(self._path) as link:
            (value,) = link.execute("SELECT value FROM Cache").fetchone()
        return value if isinstance(value, bytes) else str(value).encode()

    def write(self, data: bytes) -> None:
        with sqlite3.connect(self._path) as link:
            link.execute("UPDATE Cache SET value = ?", (sqlite3.Binary(data),))


class Diskcache(library.Library):
    """It blocks; its entries are on disk."""

    name = "diskcache"
    distribution = "diskcache"
    settings: ClassVar[dict[str, dict[str, Options]]] = {
        "compute": {"memoize": {}, "memoize, barrier(Lock), memoize": {"guarded": True}},
        "callers": {"memoize": {}, "memoize, barrier(Lock), memoize": {"guarded": True}},
        "stored": {"Disk": {}, "JSONDisk": {"disk": diskcache.JSONDisk}},
        "pickle": {"Disk": {}, "JSONDisk": {"disk": diskcache.JSONDisk}},
    }
    fast = "disk"

    def memory(self, **options: Any) -> library.Cache:
        return Cache(**options)

    def redis(self, url: str, **options: Any) -> library.Cache:
        raise NotOfferedError("it keeps entries on disk, not in Redis")

    def threads(self, **options: Any) -> library.Cache:
        return self.memory(**options)

    def shelf(self, bench: Any, **options: Any) -> tuple[library.Cache, Any]:
        cache = Cache(**options)
        return cache, _Row(cache.directory)


LIBRARY = Diskcache()
