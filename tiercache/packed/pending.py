"""`Pending`: records that are in no segment yet. They are read from here at once, and bounded in bytes.

Records that will live about as long, in one storage class, wait together in a buffer. A full or old buffer is sealed:
it becomes a `Batch`, which the writer makes a segment of. Until that is stored its records are read from here as well.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import NamedTuple

from ..entry import Clock
from ..errors import BackendTimeout, BackendUnavailable, CacheClosed
from .age import Age
from .naming import longer
from .segment import ENTRY_BYTES, Record

OVERHEAD = ENTRY_BYTES + 8
"""Bytes that a record adds to its segment, beside its envelope and its key."""


class Kind(NamedTuple):
    """What the records of one segment have in common.

    Attributes:
        bucket: of their lives (`naming.BUCKETS`).
        storage_class: None: the store's own.
        tombstones: whether they are tombstones that somebody waits for: entries are not written early with them.
    """

    bucket: str
    storage_class: str | None
    tombstones: bool = False


class Held:
    """A record that waits, and where.

    Attributes:
        record: what is stored.
        kind: of its buffer.
        batch: that it is in, once it waits.
    """

    __slots__ = ("batch", "kind", "record")

    def __init__(self, record: Record, kind: Kind) -> None:
        self.record = record
        self.kind = kind
        self.batch: Batch | None = None

    @property
    def size(self) -> int:
        """Bytes that it adds to its segment."""
        return len(self.record.data) + len(self.record.key) + OVERHEAD


class Batch:
    """Records that become one segment.

    Attributes:
        kind: what they have in common.
        held: the records, by digest.
        size: bytes of all of them.
        age: of the first one that was put.
        sealed: whether it takes no more.
        written: done when the segment is stored; fails when it is given up.
        tried: done when it is stored or given up, or one attempt to store it has failed.
        error: what kept the last attempt from storing it.
    """

    __slots__ = ("age", "error", "held", "kind", "sealed", "size", "tried", "written")

    def __init__(self, kind: Kind, clock: Clock) -> None:
        self.kind = kind
        self.held: dict[bytes, Held] = {}
        self.size = 0
        self.age = Age(clock)
        self.sealed = False
        self.written: Future[None] = Future()
        self.tried = threading.Event()
        self.error: Exception | None = None


class Pending:
    """What waits to be written.

    Args:
        segment_bytes: a buffer of this size is sealed.
        max_bytes: of all that waits; more than that waits for room, or is refused.
        wait: whether a put waits for room until its deadline; False: it is refused at once.
        seal: called with each batch, without a lock.
        clock: Unix seconds.
    """

    def __init__(
        self, segment_bytes: int, max_bytes: int, *, wait: bool, seal: Callable[[Batch], object], clock: Clock
    ) -> None:
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._wait = wait
        self._seal = seal
        self._clock = clock
        self._closed = False
        self.after_fork()

    def after_fork(self) -> None:
        """Begin empty: what waited in the parent is the parent's to write."""
        self._room = threading.Condition()
        self._newest: dict[bytes, Held] = {}
        self._open: dict[Kind, Batch] = {}
        self._sealed: deque[Batch] = deque()
        self.bytes = 0

    def get(self, digest: bytes) -> Held | None:
        """Return the newest record of a key that waits."""
        return self._newest.get(digest)

    def held(self) -> list[Held]:
        """Return the newest record of each key that waits."""
        with self._room:
            return list(self._newest.values())

    def put(
        self,
        digest: bytes,
        make: Callable[[Held | None], Held | None],
        *,
        size: int,
        deadline: float | None,
    ) -> Batch | None:
        """Let a record wait, and return the batch that it waits in; None: `make` did not want it stored.

        Args:
            digest: of its key.
            make: returns what is to wait, told what waits under the key; called with the lock held, so that what it
                looks at stays as it is.
            size: bytes that there must be room for; 0: it waits for none.
            deadline: monotonic seconds until which it waits for room.

        Raises:
            BackendUnavailable: there is no room, and a put does not wait for it.
            BackendTimeout: there was none until the deadline.
            CacheClosed: nothing is taken any more.
        """
        with self._room:
            self._make_room(size, deadline)
            if self._closed:
                raise CacheClosed("this backend")
            before = self._newest.get(digest)
            held = make(before)
            if held is None:
                return None
            if before is not None:
                held.kind = held.kind._replace(bucket=longer(held.kind.bucket, before.kind.bucket))
            batch = self._open.get(held.kind)
            if batch is None:
                batch = self._open[held.kind] = Batch(held.kind, self._clock)
            if before is not None and before.batch is not None and not before.batch.sealed:
                self._replace(digest, before.batch, held, batch)
            held.batch = batch
            batch.held[digest] = self._newest[digest] = held
            batch.size += held.size
            self.bytes += held.size
            is_full = size > 0 and batch.size >= self._segment_bytes  # 0: for whom batches are given up; next time
            if is_full:
                self._close(batch)
        if is_full:
            self._seal(batch)
        return batch

    def seal(self, which: Callable[[Batch], bool] = lambda batch: True) -> list[Batch]:
        """Seal the open buffers of which this holds, and return every batch that is not stored yet."""
        with self._room:
            full = [self._close(batch) for batch in list(self._open.values()) if which(batch)]
            waiting = list(self._sealed)
        for each in full:
            self._seal(each)
        return waiting

    def close(self) -> None:
        """Take nothing any more: whoever puts, or waits for room, is refused."""
        with self._room:
            self._closed = True
            self._room.notify_all()

    def settle(self, batch: Batch, error: Exception | None = None) -> bool:
        """The batch is in the catalogue, where its records are found from now on, or it is given up.

        Returns:
            Whether this settled it; False: it was settled before.
        """
        with self._room:
            if batch.written.done():
                return False
            self._forget(batch)
            self._room.notify_all()
            if error is None:
                batch.written.set_result(None)
            else:
                batch.written.set_exception(error)
            batch.tried.set()
            return True

    def __bool__(self) -> bool:
        return bool(self._open or self._sealed)

    def __iter__(self) -> Iterator[Batch]:
        return iter([*self._open.values(), *self._sealed])

    def withdraw(self, digest: bytes) -> bool:
        """Take every record of a key out of the open buffers; for `make`, which is called with the lock held.

        Returns:
            Whether a record with an entry is on its way into a segment, where it cannot be taken out any more.
        """
        for batch in self._open.values():
            if digest in batch.held and batch.held[digest].record.data:
                self._take_out(digest, batch)
        return any(digest in batch.held and batch.held[digest].record.data for batch in self._sealed)

    def is_elsewhere(self, digest: bytes, batch: Batch) -> bool:
        """Whether another batch has an entry under a key."""
        with self._room:
            return any(digest in other.held and other.held[digest].record.data for other in self if other is not batch)

    def _make_room(self, size: int, deadline: float | None) -> None:
        while size and self.bytes and self.bytes + size > self._max_bytes and not self._closed:
            if self._open:
                largest = max(self._open.values(), key=lambda batch: batch.size)
                self._seal_unlocked(self._close(largest))
                continue
            if not self._wait:
                raise BackendUnavailable(
                    "too much waits to be written (max_pending_bytes): the store is slower than what is put",
                    tier_wide=False,
                )
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise BackendTimeout(
                    "no room until the deadline: the store is slower than what is put", tier_wide=False
                )
            self._room.wait(left)

    def _seal_unlocked(self, batch: Batch) -> None:
        """Call `seal` from within a wait for room: it must not be called with the lock."""
        self._room.release()
        try:
            self._seal(batch)
        finally:
            self._room.acquire()

    def _replace(self, digest: bytes, before: Batch, held: Held, batch: Batch) -> None:
        """Take out what was overtaken. In another buffer it stays, unless it is deleted: somebody may wait for it."""
        if digest in before.held and (before is batch or not held.record.data):
            self._take_out(digest, before)

    def _take_out(self, digest: bytes, batch: Batch) -> None:
        size = batch.held.pop(digest).size
        batch.size -= size
        self.bytes -= size

    def _close(self, batch: Batch) -> Batch:
        del self._open[batch.kind]
        batch.sealed = True
        self._sealed.append(batch)
        return batch

    def _forget(self, batch: Batch) -> None:
        if batch in self._sealed:
            self._sealed.remove(batch)
            self.bytes -= batch.size
        for digest, held in batch.held.items():
            if self._newest.get(digest) is held:
                del self._newest[digest]
