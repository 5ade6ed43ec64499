"""Caches on disk, shared by the processes of one machine: ours is SQLite, alone, without a memory tier above it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from harness import Row, Scale

from tiercache import Cache, DiskBackend

from .contenders import Calls, Contender, Place
from .jobs import Ring, answer
from .measured import OURS
from .on_memory import calls_of, calls_of_cashews, calls_of_key_value


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    with (
        asyncio.Runner() as runner,
        tempfile.TemporaryDirectory(prefix="tiercache-bench-") as directory,
        ExitStack() as stack,
    ):
        ring = Ring("disk", CONTENDERS, Place(runner, stack, directory=directory), scale, keys=500, rounds=11)
        yield from ring.rows(value=answer(), values="a chat answer of 1.6 kB", callers=False)


def tiercache(place: Place) -> Calls:
    """`Cache` on `DiskBackend`."""
    backend = DiskBackend(Path(place.directory, "ours.sqlite3"))
    return calls_of(place.stack.enter_context(Cache(backend, ttl="1h")))


def diskcache(place: Place) -> Calls:
    """Its batches are loops in a transaction, as its documentation advises; vectors are stored as bytes."""
    import diskcache

    cache: Any = place.stack.enter_context(diskcache.Cache(str(Path(place.directory, "diskcache"))))

    def put(key: str, value: Any) -> None:
        cache.set(key, value, expire=3600)

    def get_many(keys: Sequence[str]) -> Any:
        with cache.transact():
            return [np.frombuffer(cache.get(key), np.float32) for key in keys]

    def set_many(vectors: Mapping[str, Any]) -> None:
        with cache.transact():
            for key, vector in vectors.items():
                cache.set(key, vector.tobytes(), expire=3600)

    return Calls(cache.get, put, get_many, set_many)


def dogpile_dbm(place: Place) -> Calls:
    from dogpile.cache import make_region
    from dogpile.cache.api import NO_VALUE

    region = make_region().configure(
        "dogpile.cache.dbm", expiration_time=3600, arguments={"filename": str(Path(place.directory, "dogpile.dbm"))}
    )

    def get(key: str) -> Any:
        value = region.get(key)
        return None if value is NO_VALUE else value

    return Calls(get, region.set, region.get_multi, region.set_multi)


def cashews_disk(place: Place) -> Calls:
    import cashews

    cache: Any = cashews.Cache()
    cache.setup(f"disk://?directory={Path(place.directory, 'cashews')}&timeout=60")
    place.aclose(cache.close)
    return calls_of_cashews(cache, bytes_only=True)


def key_value_disk(place: Place) -> Calls:
    from key_value.aio.stores.disk import DiskStore

    store: Any = DiskStore(directory=str(Path(place.directory, "key-value")))
    place.aclose(store.close)
    return calls_of_key_value(store)


_PICKLE = "reads and writes pickles, which run code when they are read"
_UNCHECKED = "no checksum, so that a damaged entry is an error or a wrong value"
_LESS = {
    "": f"{_UNCHECKED}; {_PICKLE}; no deadline, no breaker",
    "miss": "no deadline, no breaker, no look at what was invalidated elsewhere",
    "write": f"no checksum; no fence against late writes; {_PICKLE}; its bound by bytes is not exact",
    "batch read": f"{_UNCHECKED}; no deadline",
    "batch write": "no checksum; no fence against late writes; its bound by bytes is not exact",
}
_BLOCKS = {job: f"blocks the event loop meanwhile, which ours does not; {less}" for job, less in _LESS.items()}
CONTENDERS = [
    Contender(OURS, tiercache),
    Contender("diskcache", diskcache, _LESS),
    Contender("dogpile dbm", dogpile_dbm, {job: f"{less}; nothing is ever evicted" for job, less in _LESS.items()}),
    Contender("cashews disk", cashews_disk, _LESS),
    Contender("py-key-value DiskStore", key_value_disk, _BLOCKS),
]
