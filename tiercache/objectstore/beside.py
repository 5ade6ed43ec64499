"""Work beside the requests: what must not be cut short by a deadline, and may hold up nobody past one.

To find credentials an SDK asks a metadata server or runs a program; a token is renewed somewhere else than where it
is used. A request waits for that as long as it may itself take. The work goes on after it, so that a later request
finds it done, and however many requests need it, it is done once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from .. import fork
from ..pool import DaemonPool
from .sockets import left, until

PATIENCE = 60.0
"""Seconds that the sockets of such work may take in all."""
_TOLD_WITHIN = 10.0  # seconds for which a failure that nobody waited for is the answer to who asks next

_threads = DaemonPool(8, "tiercache-beside")


class Beside:
    """One piece of work that many may need at the same time.

    Args:
        work: called in a thread of its own; never two at a time.
        told_for: seconds for which a failure is the answer to all who ask, for work that is dear; 0: they are told
            who waited for it.
    """

    def __init__(self, work: Callable[[], object], *, told_for: float = 0.0) -> None:
        self._work = work
        self._told_for = told_for
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """Begin with no work under way: it stayed in the parent."""
        self._lock = threading.Lock()
        self._run: Future[None] | None = None
        self._ended = 0.0

    def start(self) -> None:
        """Begin the work, unless it is under way or has just failed, and wait for nothing."""
        self._running(told_within=_TOLD_WITHIN)

    def wait(self) -> None:
        """Have the work done; if it is under way, wait for its end.

        Raises:
            TimeoutError: the operation of this thread has no time left; the work goes on.
            Exception: what the work raised, to everybody who waited, or else to the next who asks.
        """
        run = self._running(told_within=self._told_for or _TOLD_WITHIN)
        try:
            run.result(left())
        finally:
            if run.done() and not self._told_for:
                self._forget(run)

    def _running(self, told_within: float) -> Future[None]:
        with self._lock:
            run = self._run
            if run is None or (run.done() and time.monotonic() >= self._ended + told_within):
                run = self._run = _threads.submit(self._do)
            return run

    def _do(self) -> None:
        try:
            with until(time.monotonic() + PATIENCE):
                self._work()
        except BaseException:
            self._ended = time.monotonic()
            raise
        with self._lock:
            self._run = None  # it succeeded: what it found tells so

    def _forget(self, run: Future[None]) -> None:
        with self._lock:
            if self._run is run:
                self._run = None
