"""`Retries`: where batches that failed wait for their next attempt. No thread rests with them.

While the store fails, one of them is tried at a time, so that what comes anew finds a thread; when something was
stored, all of them are due, and as many are tried as there are threads.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from itertools import count

from ..ticker import ticker
from .sending import Sending

LOOK_EVERY = 0.1
"""Seconds after which is looked for what is due, while anything waits."""


class Retries:
    """What failed.

    Args:
        most: batches that are tried at the same time, while the store takes writes.
        start: begins an attempt in another thread; `ended` is called at its end.
    """

    def __init__(self, most: int, start: Callable[[Sending], object]) -> None:
        self._most = most
        self._start = start
        self.after_fork()

    def after_fork(self) -> None:
        """What failed is the parent's to write."""
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, int, Sending]] = []
        self._count = count()
        self._under_way = 0
        self._failing = False
        self._ticking = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def failed(self, sending: Sending) -> None:
        """An attempt failed: another one is due after a pause."""
        with self._lock:
            self._failing = True
            self._add(sending)

    def stored(self) -> None:
        """Something was stored: all of them are due."""
        with self._lock:
            self._failing = False
        self.hurry()

    def hurry(self) -> None:
        """All of them are due: somebody waits for them."""
        with self._lock:
            self._waiting = [(0.0, turn, sending) for _, turn, sending in self._waiting]
            heapq.heapify(self._waiting)
        self.go_on()

    def ended(self) -> None:
        """An attempt that was started here is over."""
        with self._lock:
            self._under_way -= 1
        self.go_on()

    def go_on(self) -> None:
        """Start what is due, as much of it as may be under way."""
        while True:
            with self._lock:
                most = 1 if self._failing else self._most
                if not self._waiting or self._under_way >= most or self._waiting[0][0] > time.monotonic():
                    return
                _, _, sending = heapq.heappop(self._waiting)
                self._under_way += 1
            self._start(sending)

    def not_started(self, sending: Sending) -> None:
        """There was no thread for an attempt: it is due again after a pause."""
        with self._lock:
            self._under_way -= 1
            self._add(sending)

    def close(self) -> None:
        """Start nothing any more."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
        self._tick()

    def _add(self, sending: Sending) -> None:
        if self._closed:
            return
        heapq.heappush(self._waiting, (time.monotonic() + sending.pause(), next(self._count), sending))
        if not self._ticking:
            self._ticking = True
            ticker.every(LOOK_EVERY, self._tick)

    def _tick(self) -> None:
        with self._lock:
            if not self._waiting:
                self._ticking = False
                ticker.stop(self._tick)
                return
        self.go_on()
