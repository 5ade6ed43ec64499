"""Stores of every kind, made twice where another process is meant, and entries of all sorts in them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.packed.objects import MemoryObjects, entry
from tiercache import DiskBackend, MemoryBackend
from tiercache.backend import Backend
from tiercache.objectstore import ObjectInfo, ObjectStoreBackend, Upload
from tiercache.packed import PackedBackend


class MirroringObjects(MemoryObjects):
    """Objects with what stands beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.mirrors: dict[str, dict[str, str]] = {}

    def write(self, upload: Upload, **options: Any) -> bool:
        written = super().write(upload, **options)
        if written:
            self.mirrors[upload.name] = dict(upload.user_metadata)
        return written

    def stat(self, name: str, *, deadline: float | None) -> ObjectInfo | None:
        info = super().stat(name, deadline=deadline)
        return None if info is None else replace(info, user_metadata=self.mirrors.get(name, {}))


KINDS = ["memory", "disk", "redis", "objects", "packed"]
LASTING = KINDS[1:]
Make = Callable[..., Any]


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Return `make(kind, place)`: a backend of a kind; the same place again is another process on the same store."""
    places: dict[tuple[str, str], Any] = {}
    made: list[Backend] = []

    def make(kind: str, place: str = "here", **options: Any) -> Any:
        at = (kind, place)
        backend: Any
        if kind == "memory":
            backend = places.setdefault(at, MemoryBackend("64MiB"))
        elif kind == "disk":
            backend = DiskBackend(tmp_path / place, **options)
        elif kind == "redis":
            from tiercache_redis import RedisBackend

            below = places.setdefault(at, f"{uuid.uuid4().hex}:")
            backend = RedisBackend(request.getfixturevalue("redis_url"), prefix=below, timeout=10, **options)
        else:
            objects = places.setdefault(("objects", place), MirroringObjects())
            backend = ObjectStoreBackend(objects, prefix="p", timeout=30, **options)
            if kind == "packed":
                backend = PackedBackend(backend)
        made.append(backend)
        return backend

    yield make
    for backend in made:
        backend.close()


def fill(backend: Any, count: int = 30, *, size: int = 50, namespace: str = "n") -> dict[str, bytes]:
    """Put entries of all sorts, and return their envelopes."""
    for number in range(count):
        key = f"{namespace}:{number:04}"
        fields: dict[str, Any] = {"tags": (f"t{number % 3}",), "attributes": {"model": "m", "tokens": number}}
        one = entry(key, number.to_bytes(4, "big") * size, ttl=[None, 3000.0, 90_000.0][number % 3], **fields)
        created = one.metadata.created_at - 100
        stale = None if one.metadata.expires_at is None else one.metadata.expires_at + 50
        backend.put(key, one.with_metadata(created_at=created, as_of=created - 1, stale_until=stale))
    if isinstance(backend, PackedBackend):
        backend.flush()
    return wires_of(backend)


def wires_of(backend: Any) -> dict[str, bytes]:
    """The envelopes that a store holds, by key."""
    from tiercache.envelope import encode

    keys = [key for key, _ in backend.scan() if not key.startswith("_meta")]
    return {key: one.wire or encode(one) for key in keys if (one := backend.get(key)) is not None}


def put(backend: Any, key: str, payload: bytes, *, age: float = 0.0, **fields: Any) -> None:
    """Put one entry that was made so many seconds ago."""
    backend.put(key, entry(key, payload, now=time.time() - age, **fields))
    if isinstance(backend, PackedBackend):
        backend.flush()
