"""An object store in memory, for the logic of packed segments: calls are counted, and it fails or lags on demand."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tiercache.entry import Entry, Metadata
from tiercache.errors import BackendError
from tiercache.objectstore import ObjectInfo, ObjectStore, ObjectStoreBackend, Upload
from tiercache.packed import PackedBackend


class MemoryObjects(ObjectStore):
    """Objects in a dict.

    Attributes:
        bodies: by name.
        calls: how often each call was made.
        lag: seconds after which a new object is listed.
        before: called with the name of each call and of its object, before it is carried out; it may raise.
        archived: names that cannot be read.
    """

    lists_from = True

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.classes: dict[str, str | None] = {}
        self.written_at: dict[str, float] = {}
        self.etags: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.lag = 0.0
        self.before: Callable[[str, str], object] = lambda call, name: None
        self.archived: set[str] = set()
        self._lock = threading.RLock()

    def read(self, name: str, *, limit: int, deadline: float | None) -> tuple[ObjectInfo, bytes] | None:
        with self._called("read", name):
            body = None if name in self.archived else self.bodies.get(name)
            return None if body is None else (self._info(name), body)

    def read_range(self, name: str, start: int, length: int, *, deadline: float | None) -> bytes | None:
        with self._called("read_range", name):
            body = None if name in self.archived else self.bodies.get(name)
            return None if body is None else body[start : start + length]

    def stat(self, name: str, *, deadline: float | None) -> ObjectInfo | None:
        with self._called("stat", name):
            return self._info(name) if name in self.bodies else None

    def write(self, upload: Upload, *, if_absent: bool, if_match: str | None, deadline: float | None) -> bool:
        with self._called("write", upload.name):
            there = upload.name in self.bodies
            if (if_absent and there) or (if_match is not None and (not there or self._etag(upload.name) != if_match)):
                return False
            self.bodies[upload.name] = upload.body
            self.classes[upload.name] = upload.storage_class
            self.written_at[upload.name] = time.monotonic()
            self.etags[upload.name] += 1
            return True

    def remove(self, name: str, *, deadline: float | None) -> None:
        with self._called("remove", name):
            self.bodies.pop(name, None)

    def remove_many(self, versions: Mapping[str, str | None], *, deadline: float | None) -> dict[str, BackendError]:
        with self._called("remove_many", ""):
            for name in versions:
                self.bodies.pop(name, None)
        return {}

    def list_page(
        self,
        prefix: str,
        token: str | None,
        *,
        after: str | None = None,
        limit: int | None = None,
        deadline: float | None,
    ) -> tuple[Sequence[ObjectInfo], str | None]:
        with self._called("list_page", prefix):
            begin = max(token or "", after or "")
            before = time.monotonic() - self.lag
            names = sorted(
                name
                for name in self.bodies
                if name.startswith(prefix) and name > begin and (not self.lag or self.written_at[name] <= before)
            )
            page = names[: limit or 1000]
            return [self._info(name) for name in page], page[-1] if len(names) > len(page) else None

    def probe(self, prefix: str, *, deadline: float | None) -> None:
        with self._called("probe", prefix):
            return

    def close(self) -> None:
        return

    def segments(self) -> list[str]:
        """Return the names of all segments."""
        return sorted(name for name in list(self.bodies) if "_segments/" in name)

    @contextlib.contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        """Yield the calls that are made while the block lasts."""
        before, made = Counter(self.calls), Counter[str]()
        yield made
        made.update(Counter(self.calls) - before)

    @contextlib.contextmanager
    def _called(self, call: str, name: str) -> Iterator[None]:
        self.before(call, name)
        with self._lock:
            self.calls[call] += 1
            yield

    def _etag(self, name: str) -> str:
        return f"{name}-{self.etags[name]}"

    def _info(self, name: str) -> ObjectInfo:
        return ObjectInfo(
            name,
            len(self.bodies[name]),
            self._etag(name),
            self.classes.get(name),
            time.time() - time.monotonic() + self.written_at.get(name, 0.0),
            archived=name in self.archived,
            user_metadata={},
        )


def packed(objects: ObjectStore, *, prefix: str = "p", clock: Callable[[], float] = time.time, **options: Any) -> Any:
    """Return a packed backend over these objects; another one over the same is another process."""
    return PackedBackend(ObjectStoreBackend(objects, prefix=prefix, clock=clock, timeout=30), **options)


def entry(
    key: str, payload: bytes = b"payload", *, ttl: float | None = None, now: float | None = None, **fields: Any
) -> Entry:
    """Return an entry made now."""
    now = time.time() if now is None else now
    expires_at = None if ttl is None else now + ttl
    return Entry(payload, Metadata(key=key, created_at=now, expires_at=expires_at, size=len(payload), **fields))


def payload(backend: Any, key: str = "n:1") -> bytes | None:
    """Return what is found under a key."""
    found = backend.get(key)
    return None if found is None else found.payload


def until(condition: Callable[[], object]) -> None:
    """Return when the condition holds; it does so soon."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
