"""`Writer`: batches become segments. A few threads; what fails is tried again until it is too old to be worth it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import wait
from dataclasses import dataclass

from .. import fork
from ..entry import Clock
from ..errors import BackendError, BackendTimeout, BackendUnavailable, CacheClosed, ConfigurationError
from ..objectstore.objects import ObjectStore
from ..pool import DaemonPool
from .naming import SegmentName
from .pending import Batch, Pending
from .retries import Retries
from .segment import Built
from .sending import Sending

THREADS = 4
LONGEST_WAIT = 900.0
"""Seconds after which a buffer is sealed at the latest, whatever `flush_after` says: far less than `MAX_HOLD`."""
MAX_HOLD = 3600.0
"""Seconds after which what could not be written is given up. No attempt to store a record begins later than that, also
where the machine was suspended meanwhile."""


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
        self._retries = Retries(THREADS, self._send_again_soon)
        self.counters = WriteCounters()
        self.pending = Pending(segment_bytes, max_bytes, wait=wait, seal=self._write_soon, clock=clock)
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """What waits is the parent's to write."""
        self.pending.after_fork()
        self._retries.after_fork()
        self._lock = threading.Lock()
        self._closing = False

    def seal_older_than(self, seconds: float) -> None:
        """Seal the buffers whose first record has waited so long."""
        before = time.monotonic() - min(seconds, LONGEST_WAIT)
        self.pending.seal(lambda batch: batch.age.since <= before or batch.age.seconds() >= LONGEST_WAIT)

    def flush(self, deadline: float | None) -> None:
        """Store all that waits.

        Raises:
            BackendError: some of it could not be stored until the deadline: why the last attempt failed.
        """
        batches = self.pending.seal()
        self._retries.hurry()
        await_all(batches, deadline)

    def close(self, seconds: float) -> int:
        """Take nothing more, store what waits, for so many seconds at most, and return how many records are lost."""
        before = self.counters.dropped
        self.pending.close()
        batches = self.pending.seal()
        self._retries.hurry()
        wait([batch.written for batch in batches], seconds)
        self._closing = True
        self._retries.close()
        for batch in batches:
            self._give_up(batch, CacheClosed("this backend"))
        self._pool.close()
        return self.counters.dropped - before

    def _write_soon(self, batch: Batch) -> None:
        try:
            self._pool.submit(self._write, batch)
        except BackendUnavailable as error:  # closed, or the system gives no thread
            self._give_up(batch, error)

    def _write(self, batch: Batch) -> None:
        with self._giving_up(batch):
            if batch.held:
                self._send(Sending(batch, self._prefix, self._clock))
            else:  # all of it was deleted again
                self.pending.settle(batch)

    def _send_again_soon(self, sending: Sending) -> None:
        try:
            self._pool.submit(self._send_again, sending)
        except BackendUnavailable:  # there is no thread now; `close` gives up what waits
            self._retries.not_started(sending)

    def _send_again(self, sending: Sending) -> None:
        try:
            with self._giving_up(sending.batch):
                self._send(sending)
        finally:
            self._retries.ended()

    @contextlib.contextmanager
    def _giving_up(self, batch: Batch) -> Iterator[None]:
        """Give a batch up at an error that nobody expects: who waits for it must not wait for ever."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is
            why = BackendUnavailable(f"unexpected {type(error).__name__} while a segment was stored", tier_wide=False)
            why.__cause__ = error
            self._give_up(batch, why)

    def _send(self, sending: Sending) -> None:
        """Try once to store a batch, unless it is too old or this is closed; if that fails, it is tried again later."""
        batch = sending.batch
        if batch.written.done() or self._closing:
            return
        # Before each attempt, not after: it may have waited for a thread all the time, or the machine was suspended.
        if batch.age.seconds() > MAX_HOLD and any(held.record.data for held in batch.held.values()):
            self._give_up(batch, batch.error or BackendUnavailable("a segment could not be stored for an hour"))
            return
        try:
            stored = sending.attempt(self._objects)
        except (BackendError, ConfigurationError) as error:
            with self._lock:
                self.counters.failed += 1
            batch.error = error
            self._retries.failed(sending)
            batch.tried.set()
        else:
            self._adopt(sending.name, batch.kind.storage_class, sending.built)
            with self._lock:
                self.counters.segments += 1
                self.counters.records += len(batch.held)
                self.counters.bytes += len(sending.built.body)
                self.counters.recognised += not stored
            self.pending.settle(batch)
            self._retries.stored()  # the store takes writes: the others need not wait any longer

    def _give_up(self, batch: Batch, error: Exception) -> None:
        if batch.written.done():
            return
        self._lost(batch)  # first: as long as its records wait, they hide the older ones
        if self.pending.settle(batch, error):
            with self._lock:
                self.counters.dropped += len(batch.held)


def await_first_attempts(batches: Iterable[Batch], deadline: float | None) -> None:
    """Return when each of the batches is stored or given up, or one attempt to store it failed; see `why_not`."""
    for batch in batches:
        batch.tried.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))


def await_all(batches: list[Batch], deadline: float | None) -> None:
    """Return when the batches are stored.

    Raises:
        BackendError, ConfigurationError: one could not be stored until the deadline: why its last attempt failed.
    """
    wait([batch.written for batch in batches], None if deadline is None else max(0.0, deadline - time.monotonic()))
    errors = [error for batch in batches if (error := why_not(batch)) is not None]
    if errors:
        # What is known is worth more than that there was no time.
        raise next((error for error in errors if not isinstance(error, BackendTimeout)), errors[0])


def why_not(batch: Batch) -> Exception | None:
    """Return why a batch is not stored: why it was given up, or its last attempt failed; None: it is."""
    if batch.written.done():
        error = batch.written.exception()
        return error if isinstance(error, Exception) else None
    return batch.error or BackendTimeout("the deadline passed before the segment was stored; it is still being tried")
