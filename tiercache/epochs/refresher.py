"""`Refresher`: marks are read again from time to time, and brought to tiers that miss some."""

from __future__ import annotations

import threading
import time
import weakref
from concurrent.futures import Future, wait

from .. import fork
from ..errors import BackendUnavailable, CacheClosed
from ..flow import drive
from ..pool import DaemonPool
from ..ticker import ticker
from ..tier import FAILURES, Tier
from .agreement import agree
from .table import Epochs

RETRY_EVERY = 2.0
"""Seconds between attempts to bring marks to a tier that misses some, at first."""
RETRY_AT_LEAST_EVERY = 60.0
CLOSE_TIMEOUT = 5.0


class Refresher:
    """Reads the marks of all tiers again from time to time, and brings them to tiers that miss some.

    Args:
        epochs: the table.
        seconds: between two readings; None: never.
    """

    def __init__(self, epochs: Epochs, seconds: float | None) -> None:
        self._epochs = epochs
        self._seconds = seconds
        self._every = min(RETRY_EVERY, seconds or RETRY_EVERY)
        self._pool = DaemonPool(1, "tiercache-epochs")
        self._registered = False
        self._closed = False
        self.after_fork()
        fork.register(self)
        start, again = weakref.WeakMethod(self.start), weakref.WeakMethod(self.retry)
        epochs.on_use = lambda: (method := start()) and method()
        for tier in epochs.tiers:
            hooks = getattr(tier, "on_recovery", None)
            if hooks is not None:
                hooks.append(lambda: (method := again()) and method())

    def after_fork(self) -> None:
        """What was under way stayed in the parent."""
        self._lock = threading.Lock()
        self._running: Future[None] | None = None
        self._due = time.monotonic() + (self._seconds or 0.0)
        self._pause = self._every
        self._retry_at = 0.0

    def start(self) -> None:
        """Begin, at the first use; in a forked child, go on."""
        if self._closed or not self._epochs.tiers:
            return
        with self._lock:
            registered, self._registered = self._registered, True
        if registered:
            ticker.wake()
            return
        self._due = time.monotonic() + (self._seconds or 0.0)
        ticker.every(self._every, self.tick)

    def tick(self) -> None:
        """Start a round if one is due, or a tier misses marks."""
        now = time.monotonic()
        every = self._seconds is not None and now >= self._due
        if every or (now >= self._retry_at and self._lacking()):
            self._submit(every)

    def retry(self) -> None:
        """A tier is back: bring it what it misses, now."""
        if self._lacking():
            self._submit(every=False)

    def round(self, every: bool) -> None:
        """Agree with the tiers, all of them or those that miss something; one that fails is asked no more in it."""
        failed: set[Tier] = set()
        for space in self._epochs.spaces:
            for tier in self._epochs.tiers:
                if tier in failed or not (every or space.lacks(tier)):
                    continue
                try:
                    drive(agree(self._epochs, space, tier))
                except FAILURES:
                    failed.add(tier)  # counted and logged by the tier
                except CacheClosed:
                    return
        # A tier that takes no marks is asked less and less often.
        self._pause = min(2 * self._pause, RETRY_AT_LEAST_EVERY) if failed else self._every
        self._retry_at = time.monotonic() + self._pause

    def close(self) -> None:
        """End; try once more, within bounds, to bring the tiers what they miss."""
        self._closed = True
        if self._registered:
            ticker.stop(self.tick)
        if self._lacking():
            self._submit(every=False)
        running = self._running
        if running is not None:
            wait([running], CLOSE_TIMEOUT)
        self._pool.close()

    def _lacking(self) -> bool:
        return any(space.lacks(tier) for space in self._epochs.spaces for tier in self._epochs.writable)

    def _submit(self, every: bool) -> None:
        with self._lock:
            if self._running is not None and not self._running.done():
                return
            if every and self._seconds is not None:
                self._due = time.monotonic() + self._seconds
            try:
                self._running = self._pool.submit(self.round, every)
            except BackendUnavailable:
                return  # no thread to be had: at the next tick
