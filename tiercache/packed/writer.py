"""`Writer`: batches become segments. A few threads; what fails is tried again until it is too old to be worth it.

A segment is created, never overwritten: where the name is taken, the store has kept what an earlier attempt sent, whose
answer was lost, for names are never used twice. A store also refuses to create what conflicts with an attempt that is
still under way and may yet fail: so whether the segment is there is asked for before it is believed.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import wait
from dataclasses import dataclass

from .. import fork
from ..entry import Clock
from ..errors import BackendError, BackendTimeout, BackendUnavailable, CacheClosed, ConfigurationError
from ..objectstore.objects import ObjectStore, Upload
from ..pool import DaemonPool, give_way
from .naming import SegmentName, new_ulid, object_name
from .pending import Batch, Pending
from .segment import Built, build

THREADS = 4
UPLOAD_SECONDS, UPLOAD_SPEED = 30.0, 2**20
"""Seconds that one attempt to store a segment may take, and one more for so many bytes."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
LONGEST_WAIT = 900.0
"""Seconds after which a buffer is sealed at the latest, whatever `flush_after` says: far less than `MAX_HOLD`."""
MAX_HOLD = 3600.0
"""Seconds after which what could not be written is given up. No record reaches a segment later than that."""


@dataclass(slots=True)
class WriteCounters:
    """What a packed backend wrote.

    Attributes:
        segments: that were stored.
        records: that they hold.
        bytes: of these segments.
        failed: attempts that failed.
        recognised: segments whose stored answer was lost, and found to be stored.
        dropped: records that were given up.
    """

    segments: int = 0
    records: int = 0
    bytes: int = 0
    failed: int = 0
    recognised: int = 0
    dropped: int = 0


class Writer:
    """Writes what waits.

    Args:
        objects: the store's calls.
        prefix: of all names.
        segment_bytes, max_bytes, wait: see `Pending`.
        clock: Unix seconds.
        adopt: called with each stored segment, before its records leave `pending`.
        lost: called with each batch that was given up.

    Attributes:
        pending: what waits.
        counters: what was written.
    """

    def __init__(
        self,
        objects: ObjectStore,
        prefix: str,
        *,
        segment_bytes: int,
        max_bytes: int,
        wait: bool,
        clock: Clock,
        adopt: Callable[[SegmentName, str | None, Built], object],
        lost: Callable[[Batch], object],
    ) -> None:
        self._objects = objects
        self._prefix = prefix
        self._clock = clock
        self._adopt = adopt
        self._lost = lost
        self._pool = DaemonPool(THREADS, "tiercache-segments")
        self.counters = WriteCounters()
        self.pending = Pending(segment_bytes, max_bytes, wait=wait, seal=self._write_soon)
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """What waits is the parent's to write."""
        self.pending.after_fork()
        self._lock = threading.Lock()
        self._closing = False
        self._again = threading.Event()

    def seal_older_than(self, seconds: float) -> None:
        """Seal the buffers whose first record has waited so long."""
        before = time.monotonic() - min(seconds, LONGEST_WAIT)
        self.pending.seal(lambda batch: batch.since <= before)

    def flush(self, deadline: float | None) -> None:
        """Store all that waits.

        Raises:
            BackendError: some of it could not be stored until the deadline: why the last attempt failed.
        """
        batches = self.pending.seal()
        self._try_again()
        await_all(batches, deadline)

    def close(self, seconds: float) -> int:
        """Store what waits, for so many seconds at most, and return how many records are lost."""
        batches = self.pending.seal()
        self._try_again()
        wait([batch.written for batch in batches], seconds)
        self._closing = True
        self._try_again()
        lost = [batch for batch in batches if not batch.written.done()]
        for batch in lost:
            self._give_up(batch, CacheClosed("this backend"))
        self._pool.close()
        return sum(len(batch.held) for batch in lost)

    def _write_soon(self, batch: Batch) -> None:
        try:
            self._pool.submit(self._write, batch)
        except BackendUnavailable as error:  # closed, or the system gives no thread
            self._give_up(batch, error)

    def _write(self, batch: Batch) -> None:
        try:
            if batch.held:
                self._store(batch)
            else:  # all of it was deleted again
                self.pending.settle(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is: who waits for the batch must not wait for ever
            why = BackendUnavailable(f"unexpected {type(error).__name__} while a segment was stored", tier_wide=False)
            why.__cause__ = error
            self._give_up(batch, why)

    def _store(self, batch: Batch) -> None:
        """Store a batch, however often it takes, until it is too old or this is closed."""
        built = build([held.record for held in batch.held.values()])
        bucket, storage_class, _ = batch.kind
        name = SegmentName(bucket, new_ulid(self._clock()), len(batch.held), built.tail)
        # No `gone_at`: a rule that goes by it would delete a value that ends before the older one that it replaced.
        upload = Upload(object_name(self._prefix, name), built.body, {}, None, storage_class)
        pause = FIRST_PAUSE
        while not batch.written.done() and not self._closing:
            # Before each attempt, not after: it may have waited for a thread all the time.
            if time.monotonic() - batch.since > MAX_HOLD and any(held.record.data for held in batch.held.values()):
                self._give_up(batch, batch.error or BackendUnavailable("a segment could not be stored for an hour"))
                return
            again = self._again
            try:
                stored = create(self._objects, upload, enough_for(len(built.body)))
            except (BackendError, ConfigurationError) as error:
                batch.error = error
                batch.tried.set()
                with self._lock:
                    self.counters.failed += 1
                with give_way():  # another batch may be tried meanwhile: somebody may wait for it
                    again.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                pause = min(LONGEST_PAUSE, 2 * pause)
            else:
                self._adopt(name, storage_class, built)
                with self._lock:
                    self.counters.segments += 1
                    self.counters.records += len(batch.held)
                    self.counters.bytes += len(built.body)
                    self.counters.recognised += not stored
                self.pending.settle(batch)
                self._try_again()  # the store takes writes: the others need not wait any longer

    def _try_again(self) -> None:
        """End the pauses of all that failed."""
        again, self._again = self._again, threading.Event()
        again.set()

    def _give_up(self, batch: Batch, error: Exception) -> None:
        if batch.written.done():
            return
        self._lost(batch)  # first: as long as its records wait, they hide the older ones
        if self.pending.settle(batch, error):
            with self._lock:
                self.counters.dropped += len(batch.held)


def enough_for(size: int) -> float:
    """Return when a request for so many bytes, which nobody waits for, must end, in monotonic seconds."""
    return time.monotonic() + UPLOAD_SECONDS + size / UPLOAD_SPEED


def create(objects: ObjectStore, upload: Upload, due: float | None) -> bool:
    """Store a segment; False: an earlier attempt had stored it.

    Raises:
        BackendUnavailable: it was refused and is not there.
        BackendError: of the store.
    """
    if objects.write(upload, if_absent=True, if_match=None, deadline=due):
        return True
    info = objects.stat(upload.name, deadline=due)
    if info is None or info.size != len(upload.body):
        raise BackendUnavailable("the store refused a new segment for the sake of another write", tier_wide=False)
    return False


def await_first_attempts(batches: list[Batch], deadline: float | None) -> None:
    """`await_all` that fails with the first attempt, as a write of a single object does."""
    for batch in batches:
        batch.tried.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
    failed = any(batch.tried.is_set() and not batch.written.done() for batch in batches)
    await_all(batches, time.monotonic() if failed else deadline)


def await_all(batches: list[Batch], deadline: float | None) -> None:
    """Return when the batches are stored.

    Raises:
        BackendError, ConfigurationError: one could not be stored until the deadline: why its last attempt failed.
    """
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    done, late = wait([batch.written for batch in batches], left)
    for future in done:
        error = future.exception()
        if error is not None:
            raise error
    if late:
        why = next((batch.error for batch in batches if batch.error is not None and not batch.written.done()), None)
        if isinstance(why, BackendError | ConfigurationError):
            raise why
        raise BackendTimeout("the deadline passed before the segment was stored; it is still being tried")
