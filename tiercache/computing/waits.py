"""Which computation waits for which: found out before a wait that would never end.

Two computations wait for each other when the factory of `a` asks for `b` in one thread while the factory of `b` asks
for `a` in another. Only a wait inside a computation, or one that blocks an event loop, can close such a ring, so only
those look here; all other callers pay nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Collection, Iterator
from typing import Protocol

from .. import fork


class Waiting(Protocol):
    """A computation, as far as waiting is concerned.

    Attributes:
        loop: the event loop that computes, if one does.
        waits_for: what its factory, or something below it, waits for at this moment.
    """

    loop: asyncio.AbstractEventLoop | None
    waits_for: list[Waiting]

    @property
    def done(self) -> bool:
        """Whether nobody has to wait for it any more."""
        ...


class WaitGraph:
    """The waits of computations, and of blocked event loops, in this process."""

    def __init__(self) -> None:
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """Those who waited stayed in the parent."""
        self._lock = threading.RLock()  # what nobody finishes is closed by the garbage collector, in any place
        self._blocked: dict[asyncio.AbstractEventLoop, list[Waiting]] = {}

    @contextlib.contextmanager
    def wait(
        self, target: Waiting, waiters: Collection[Waiting], blocks: asyncio.AbstractEventLoop | None
    ) -> Iterator[bool]:
        """Announce a wait, for as long as it lasts; False: it would never end and was not announced.

        Args:
            target: what is waited for.
            waiters: the computations inside of which the wait happens.
            blocks: the event loop that the wait holds up, if it does.
        """
        if target.done or not (waiters or blocks):
            yield True
            return
        with self._lock:
            ends = not self._leads_back(target, waiters, blocks)
            if ends:
                for waiter in waiters:
                    waiter.waits_for.append(target)
                if blocks is not None:
                    self._blocked.setdefault(blocks, []).append(target)
        try:
            yield ends
        finally:
            if ends:
                with self._lock:
                    for waiter in waiters:
                        waiter.waits_for.remove(target)
                    if blocks is not None:
                        self._unblock(blocks, target)

    def _leads_back(
        self, target: Waiting, waiters: Collection[Waiting], blocks: asyncio.AbstractEventLoop | None
    ) -> bool:
        """Whether the target cannot end before the waiters go on."""
        seen: set[int] = set()
        ahead = [target]
        while ahead:
            one = ahead.pop()
            if id(one) in seen or one.done:
                continue
            seen.add(id(one))
            if one in waiters or (blocks is not None and one.loop is blocks):
                return True
            ahead += one.waits_for
            if one.loop is not None:
                ahead += self._blocked.get(one.loop, ())
        return False

    def _unblock(self, loop: asyncio.AbstractEventLoop, target: Waiting) -> None:
        waits = self._blocked[loop]
        waits.remove(target)
        if not waits:
            del self._blocked[loop]


graph = WaitGraph()
"""The one of this process: computations of several chains may wait for each other."""
