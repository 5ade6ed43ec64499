"""Leases: of several processes that miss one key, one computes it, and the others wait for what it stores.

A lease is a right with an end, kept by a store between the processes (Redis). Whoever holds it prolongs it while the
computation goes on; a process that dies holds it until its end. Nobody waits longer than a lease lasts: then it
computes for itself, as it does where the store is down. So a lease saves computations and never keeps one from a
caller; that nothing old is stored is the fences' business.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Protocol, runtime_checkable

from .. import fork
from ..call import Call
from ..errors import BackendUnavailable, CacheClosed
from ..flow import Operation
from ..pool import DaemonPool
from ..ticker import ticker
from ..tier import FAILURES, Tier

FIRST_LOOK, LAST_LOOK = 0.05, 0.5
"""Seconds between looks at whether the value is there: the first, and the longest (a notice wakes a waiter earlier)."""
LONGEST = 10
"""Lives of a lease for which it is prolonged: a computation that hangs does not hold it for ever."""


@runtime_checkable
class LeaseKeeper(Protocol):
    """A backend that keeps leases. Optional for backends; each method has an `a…` twin."""

    def lease(self, key: str, token: bytes, seconds: float, *, deadline: float | None = None) -> bool:
        """Take the lease of a key for so many seconds, or prolong one's own; False: somebody else holds it."""
        ...

    async def alease(self, key: str, token: bytes, seconds: float, *, deadline: float | None = None) -> bool:
        """`lease`, awaited."""
        ...

    def end_lease(self, key: str, token: bytes, *, deadline: float | None = None) -> bool:
        """Give a lease back; False: it was no longer one's own."""
        ...

    async def aend_lease(self, key: str, token: bytes, *, deadline: float | None = None) -> bool:
        """`end_lease`, awaited."""
        ...


class Lease:
    """The lease of one key, held by this process.

    Attributes:
        key: the full stored key.
        token: what proves that it is ours.
        until: when it is no longer prolonged, in monotonic seconds.
    """

    __slots__ = ("key", "token", "until")

    def __init__(self, key: str, seconds: float) -> None:
        self.key = key
        self.token = os.urandom(16)
        self.until = time.monotonic() + LONGEST * seconds


class Leases:
    """The leases that a chain's computations hold, and those that they wait for.

    Args:
        tiers: the chain's; the last backend that keeps leases is used, which most processes share.
        seconds: how long one lasts; None: the chain uses none.
        pool: where they are prolonged and given back.

    Attributes:
        keeper: the tier that keeps leases; None: there is none, or none is wanted.
    """

    def __init__(self, tiers: Sequence[Tier], seconds: float | None, pool: DaemonPool) -> None:
        keepers = [tier for tier in tiers if tier.write != "never" and isinstance(tier.backend, LeaseKeeper)]
        self.keeper = keepers[-1] if keepers and seconds is not None else None
        self.seconds = seconds or 0.0
        self._pool = pool
        self._ticking = False
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """The parent's leases are the parent's."""
        self._lock = threading.Lock()
        self._held: dict[bytes, Lease] = {}
        self._waiting: dict[str, Future[None]] = {}

    def ask(self, lease: Lease) -> Call[bool]:
        """Ask the keeper for a lease, or for more of one that is held."""
        assert self.keeper is not None  # noqa: S101 - for the type checker
        return Call(self.keeper, "lease", (lease.key, lease.token, self.seconds), self.keeper.timeout)

    def holds(self, lease: Lease) -> None:
        """Prolong the lease from now on, until it is given back."""
        with self._lock:
            self._held[lease.token] = lease
            begin, self._ticking = not self._ticking, True
        if begin:
            ticker.every(self.seconds / 3, self._prolong_soon)
        else:
            ticker.wake()

    def give_back(self, lease: Lease | object) -> None:
        """Give the lease back, if it is one, in the background; where that fails it ends by itself."""
        if not isinstance(lease, Lease):
            return
        with self._lock:
            if self._held.pop(lease.token, None) is None:
                return
        with suppress(BackendUnavailable):
            self._pool.submit(self._end, lease)

    def may_hold(self, lease: Lease) -> None:
        """An asking was given up, and may have been granted all the same: nobody is to wait for that."""
        with suppress(BackendUnavailable):
            self._pool.submit(self._end, lease)

    def waiting(self, key: str) -> Future[None]:
        """Return what is done when another process has changed the key."""
        with self._lock:
            future = self._waiting.get(key)
            if future is None:
                future = self._waiting[key] = Future()
                future.set_running_or_notify_cancel()
            return future

    def changed(self, keys: Iterable[str]) -> None:
        """Another process changed these keys: whoever waits for one looks now."""
        if self._waiting:
            with self._lock:
                woken = [future for key in keys if (future := self._waiting.pop(key, None)) is not None]
            for future in woken:
                future.set_result(None)

    def waits_no_more(self, key: str) -> None:
        """Nobody here waits for the key."""
        with self._lock:
            self._waiting.pop(key, None)

    def _prolong_soon(self) -> None:
        now = time.monotonic()
        for lease in list(self._held.values()):
            if now < lease.until:
                with suppress(BackendUnavailable):
                    self._pool.submit(self._prolong, lease)

    def _prolong(self, lease: Lease) -> None:
        if lease.token in self._held:
            with suppress(CacheClosed, *FAILURES):  # counted; it ends by itself
                self.ask(lease).perform()
            if lease.token not in self._held:
                self._end(lease)  # it was given back meanwhile

    def _end(self, lease: Lease) -> None:
        keeper = self.keeper
        if keeper is not None:
            with suppress(CacheClosed, *FAILURES):
                Call(keeper, "end_lease", (lease.key, lease.token), keeper.timeout).perform()


class Nap(Operation[None]):
    """Wait until a future is done, so many seconds at most."""

    __slots__ = ("future", "seconds")

    def __init__(self, future: Future[None], seconds: float) -> None:
        self.future = future
        self.seconds = seconds

    def perform(self) -> None:
        """Do it, blocking."""
        wait([self.future], self.seconds)

    async def aperform(self) -> None:
        """Do it without blocking the running loop."""
        await asyncio.wait([asyncio.wrap_future(self.future)], timeout=self.seconds)


def looks(seconds: float) -> Iterable[float]:
    """Yield the seconds between looks, for so many seconds in all."""
    end, pause = time.monotonic() + seconds, FIRST_LOOK
    while (left := end - time.monotonic()) > 0:
        yield min(left, pause * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
        pause = min(LAST_LOOK, 1.5 * pause)
