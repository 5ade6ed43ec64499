"""A process of `test_hammering.py`: it writes and deletes keys that all share, and puts some of its own.

Its clock may be off. What is known to be stored is said line by line: key, stamp, and the value or that it was deleted.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

from tests.packed.objects import entry
from tiercache.errors import BackendError
from tiercache.packed import PackedBackend
from tiercache.packed.segment import digest_of
from tiercache_s3 import S3Backend

KEYS = 25
LIVES = [None, 36_000, 90_000]
"""Longer than any clock here is off: what is said to be stored has not ended for others."""


class LaggingObjects:
    """The store's calls; a new name is listed some seconds after it was seen first."""

    def __init__(self, objects: Any, seconds: float) -> None:
        self._objects, self._seconds, self._first = objects, seconds, dict[str, float]()

    def list_page(self, *arguments: Any, **options: Any) -> Any:
        page, token = self._objects.list_page(*arguments, **options)
        now = time.monotonic()
        return [info for info in page if now - self._first.setdefault(info.name, now) >= self._seconds], token

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)


def backend_of(place: dict[str, str], *, off: float = 0.0, lag: float = 0.0, **options: Any) -> PackedBackend:
    """Return a backend on the server that all share, by a clock that is `off` seconds ahead."""
    inner = S3Backend(timeout=30, clock=lambda: time.time() + off, **place)  # type: ignore[arg-type]
    if lag:
        inner.objects = LaggingObjects(inner.objects, lag)  # type: ignore[assignment]
    return PackedBackend(inner, segment_bytes=20_000, **options)


def main(place: dict[str, str], name: str, off: float, lag: float) -> None:
    """Write, flush, and say what is stored, until killed."""
    backend = backend_of(place, off=off, lag=lag, refresh=0.5)
    number = 0
    while True:
        said: dict[str, list[Any]] = {}
        for _ in range(12):
            key = f"n:{random.randrange(KEYS)}"
            number += 1
            if random.random() < 0.15:
                value = None
                backend.delete(key)
            else:
                value = f"{key} {name} {number}"
                life = random.choice(LIVES)
                made = entry(key, value.encode(), ttl=life, now=backend.inner.clock())
                backend.put(key, made)
            said[key] = [key, backend.newest.stamp(digest_of(key)), value]
        own = f"own:{name}:{number}"
        backend.put(own, entry(own, own.encode() * 20, ttl=random.choice(LIVES), now=backend.inner.clock()))
        said[own] = [own, backend.newest.stamp(digest_of(own)), own * 20]
        backend.flush()
        if random.random() < 0.1 and abs(off) < 300:
            try:
                backend.compact(max_requests=60)
            except BackendError as error:
                print(f"compact: {error}", file=sys.stderr)
        print(json.dumps(list(said.values())), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
