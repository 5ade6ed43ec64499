"""A chain of memory, disk, Redis and S3 with keys, and all that each store holds, read beside it."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import redis

from tiercache import Backend, DiskBackend, KeyRing, MemoryBackend, TierChain
from tiercache_redis import RedisBackend
from tiercache_s3 import S3Backend


class Stores:
    """The three stores beside memory: backends on demand, and their raw bytes."""

    def __init__(self, directory: Path, redis_url: str, s3: Any) -> None:
        self.directory, self.redis_url, self.s3 = directory, redis_url, s3
        self.bucket = f"sealed-{uuid.uuid4().hex}"
        s3.create_bucket(Bucket=self.bucket)
        self.below = f"{uuid.uuid4().hex}:"
        self.redis = redis.Redis.from_url(redis_url)
        self._made: list[Backend] = []

    def make(self, name: str) -> Backend:
        """A backend on `disk`, `redis` or `s3`."""
        makers = {
            "memory": MemoryBackend,
            "disk": lambda: DiskBackend(self.directory / "cache.sqlite3"),
            "redis": lambda: RedisBackend(self.redis_url, prefix=self.below, timeout=10),
            "s3": lambda: S3Backend(
                self.bucket, prefix="p/", region="us-east-1", access_key_id="test", secret_access_key="test", timeout=60
            ),
        }
        backend: Backend = makers[name]()
        self._made.append(backend)
        return backend

    def chain(self, *names: str, keys: KeyRing | None = None) -> TierChain:
        return TierChain(*map(self.make, names), keys=keys)

    def raw(self, name: str) -> bytes:
        """All bytes that a store holds: what somebody sees who can read it, names and metadata included."""
        return {"disk": self._disk, "redis": self._redis, "s3": self._s3}[name]()

    def bodies(self, name: str) -> list[bytes]:
        """The stored envelopes."""
        if name == "s3":
            return [self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in self._names()]
        if name == "redis":
            return [self.redis.get(key) for key in self._redis_names()]  # type: ignore[misc]
        with closing(sqlite3.connect(self.directory / "cache.sqlite3")) as db:
            return [row[0] for row in db.execute("SELECT data FROM entries ORDER BY id")]

    def replace_all(self, name: str, data: bytes) -> None:
        """Write these bytes under every key, beside the backend."""
        if name == "s3":
            for key in self._names():
                self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)
        elif name == "redis":
            for key in self._redis_names():
                self.redis.set(key, data)
        else:
            with closing(sqlite3.connect(self.directory / "cache.sqlite3")) as db, db:
                db.execute("UPDATE entries SET data = ?", (data,))

    def close(self) -> None:
        for backend in self._made:
            backend.close()
        for key in self._redis_names():
            self.redis.unlink(key)
        self.redis.close()

    def _names(self) -> list[str]:
        return [found["Key"] for found in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", ())]

    def _redis_names(self) -> list[bytes]:
        return sorted(self.redis.scan_iter(f"{self.below}*"))

    def _disk(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.directory.iterdir()))

    def _redis(self) -> bytes:
        return b"".join(key + (self.redis.get(key) or b"") for key in self._redis_names())  # type: ignore[operator]

    def _s3(self) -> bytes:
        found = b""
        for key in self._names():
            answer = self.s3.get_object(Bucket=self.bucket, Key=key)
            found += key.encode() + repr(answer).encode() + answer["Body"].read()
            found += repr(self.s3.get_object_tagging(Bucket=self.bucket, Key=key)["TagSet"]).encode()
        return found


async def do(face: str, target: Any, operation: str, *args: Any, **options: Any) -> Any:
    """Call an operation, or await its a-twin."""
    if face == "sync":
        return getattr(target, operation)(*args, **options)
    return await getattr(target, f"a{operation}")(*args, **options)
