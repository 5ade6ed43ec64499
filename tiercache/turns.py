"""Turns: something that is being done, until whose end others wait."""

from __future__ import annotations

import time
from asyncio import AbstractEventLoop
from collections.abc import Sequence
from concurrent.futures import Future

STANDSTILL = 1.0
"""Seconds after which nobody waits any longer for an event loop that does not run."""


class Standstill:
    """For how long the event loop that is waited for has not run, as far as whoever looks now and then can tell.

    `run_until_complete` that returned leaves tasks in a loop which may never run again, nor be closed.
    """

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since: float | None = None

    def lasts(self, loop: AbstractEventLoop | None) -> bool:
        """Whether it has not run for too long to be waited for."""
        if loop is None or loop.is_running():
            self._since = None
            return False
        now = time.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since >= STANDSTILL


class Write:
    """Something being written under a key, that others wait for: a mutation's turn, or one promotion.

    Most are over before anybody waits for them: a future is made for each who does, and none for those that go alone.

    Attributes:
        owner: the event loop in which it runs, if it does; a blocking call in that loop must not wait for it.
        before: what must be over first.
        overtaken: somebody could not wait, so what this writes may be old: it has to be removed again.
        is_over: it has ended.
    """

    __slots__ = ("_waiting", "before", "is_over", "overtaken", "owner")

    def __init__(self, owner: AbstractEventLoop | None = None, before: Sequence[Write] = ()) -> None:
        self.owner = owner
        self.before = before
        self.overtaken = False
        self.is_over = False
        self._waiting: list[Future[None]] = []

    def end(self) -> None:
        """It is over: those who wait go on."""
        self.is_over = True
        self._release()

    def ended(self) -> Future[None]:
        """Return a future of the caller's own that is resolved at the end."""
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # so that nobody can cancel it
        self._waiting.append(future)
        if self.is_over:  # perhaps only now, and `end` has not seen this one
            self._release()
        return future

    @property
    def is_lost(self) -> bool:
        """Whether its event loop was closed before its end, so that nothing will ever end it."""
        return self.owner is not None and self.owner.is_closed()

    def needs(self, loop: AbstractEventLoop) -> bool:
        """Whether this loop has to run for it to end: to write it, or something that has to be over first."""
        seen: set[Write] = set()
        ahead: list[Write] = [self]
        while ahead:
            write = ahead.pop()
            if write in seen or write.is_over:
                continue
            if write.owner is loop:
                return True
            seen.add(write)
            ahead += write.before
        return False

    def _release(self) -> None:
        while self._waiting:
            try:
                future = self._waiting.pop()
            except IndexError:  # another thread has taken the last one
                return
            future.set_result(None)
