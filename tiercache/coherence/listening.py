"""`Coherence`: what other processes change leaves this one's memory tier at once.

A store between the processes that can carry notices (Redis) takes one for each change, and brings those of the others.
A notice names keys and times. It makes the loads of those keys that are open here unable to store, and removes the
keys from memory; whoever reads next asks the slower tiers.

Notices that were sent while nobody listened are lost. So memory is dropped when the subscription is lost and again when
it is back, and in between it is *blind*: what it takes from slower tiers stays for a second.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import cast

from .. import fork
from ..computing.singleflight import Flights
from ..entry import CLOCK_SKEW
from ..epochs.table import Epochs
from ..errors import TiercacheError
from ..fence import Fence
from ..flow import Operation
from ..memory import MemoryBackend
from ..tier import Tier
from . import notice
from .carrier import NoticeCarrier
from .lease import Leases
from .news import News
from .telling import Teller

BLIND_TTL = 1.0
"""Seconds for which memory keeps a copy of what slower tiers hold while no notices arrive."""
JOIN_SECONDS = 0.3
"""Seconds that the first callers wait for the subscription, if the tier's deadline is no longer."""


class Coherence:
    """Keeps the memory tiers of one chain in step with other processes.

    Args:
        tiers, teller, fence, flights, leases, epochs, news: the chain's.

    Attributes:
        carrier: the tier that carries notices; None: there is none, or it is not wanted.
        joined: whether the first attempt to listen is over; until then flows wait for it, within a bound. Without
            memory nothing but news is listened to, and nobody waits.
        watched: what else is to be done when another process changes a key, and after a gap; it must be quick.
        blind: whether memory is there and no notices arrive.
        counters: the teller's.
    """

    def __init__(
        self,
        tiers: Sequence[Tier],
        teller: Teller,
        fence: Fence,
        flights: Flights,
        leases: Leases,
        epochs: Epochs,
        news: News,
    ) -> None:
        self.carrier = teller.carrier
        self.counters = teller.counters
        self._teller = teller
        self._memory = [tier for tier in tiers if tier.local] if self.carrier is not None else []
        self._fence = fence
        self._flights = flights
        self._leases = leases
        self._epochs = epochs
        self._news = news
        self._closed = False
        self.watched: dict[str, Callable[[], object]] = {}
        self.blind = False
        self._begin()
        if not self.joined:
            fork.register(self)

    def after_fork(self) -> None:
        """The subscription stayed in the parent: what memory holds can no longer be relied on here."""
        self._begin()
        for memory in self._stores():
            memory.after_fork()  # the order in which those who are registered are called is not known
            memory.forget()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._first: Future[None] | None = None
        self.joined = not self._memory and self._news.carrier is None
        self._set_blind(True)

    def join(self) -> Future[None]:
        """Begin to listen, if nobody did; the future is done when the first attempt succeeded or failed."""
        with self._lock:
            if self._first is not None:
                return self._first
            first = self._first = Future()
            first.set_running_or_notify_cancel()  # a caller that leaves does not cancel it for the others
        self._news.listen(alone=not self._memory)
        if self.carrier is not None and self._memory and not self._closed:
            cast(NoticeCarrier, self.carrier.backend).listen(self)
        else:
            self._settle()
        return first

    def live(self) -> None:
        """From now on all notices arrive: what memory holds from before is dropped."""
        self._epochs.doubt()
        self._drop_all()
        self._set_blind(False)
        self._settle()

    def heard(self, message: bytes) -> None:
        """Drop what somebody else changed."""
        if notice.is_from(self._teller.sender, message):
            return
        said = notice.read(message)
        if said is None:
            self.counters.unreadable += 1
            self._drop_all()
            return
        self.counters.heard += 1
        if said.everything:
            self._drop_all()
        for namespace, marks in said.marks.items():
            self._epochs.heard(namespace, marks)
        if said.changes:
            self._drop(said.changes)

    def lost(self, error: TiercacheError) -> None:
        """Notices do not arrive: memory is dropped, and blind until they do again."""
        if not self.blind:
            self.counters.gaps += 1
            self._set_blind(True)
            self._drop_all()
        elif self.joined:
            return  # the next attempt failed, too
        if self.carrier is not None:
            self.carrier.failed(error)
        self._settle()

    def close(self) -> None:
        """Listen no more."""
        if self.carrier is not None and not self._closed:
            self._closed = True
            cast(NoticeCarrier, self.carrier.backend).unlisten(self)

    def _drop(self, changes: dict[str, float]) -> None:
        self._fence.overtake(changes)
        for key in changes:
            self._flights.forget(key)
        for key in changes.keys() & self.watched.keys():
            self.watched[key]()
        self._leases.changed(changes)
        for memory in self._stores():
            for key, changed_at in changes.items():
                held = memory.get(key)
                # Whose clock is ahead is not known: what may be older goes.
                if held is not None and held.metadata.loaded_at <= changed_at + CLOCK_SKEW:
                    memory.delete(key)

    def _drop_all(self) -> None:
        for heard in self.watched.values():
            heard()
        self._fence.overtake_prefix("")
        self._flights.forget_prefix("")
        for memory in self._stores():
            memory.forget()

    def _stores(self) -> Iterator[MemoryBackend]:
        for tier in self._memory:
            if isinstance(tier.backend, MemoryBackend) and not tier.backend.closed:
                yield tier.backend

    def _set_blind(self, blind: bool) -> None:
        self.blind = blind and bool(self._memory)
        for tier in self._memory:
            tier.cap = BLIND_TTL if blind else None

    def _settle(self) -> None:
        self.joined = True
        with self._lock:
            first = self._first
            if first is not None and not first.done():
                first.set_result(None)


class Join(Operation[None]):
    """Wait until the first attempt to listen is over, for as long as the carrier's deadline at most."""

    __slots__ = ("coherence",)

    def __init__(self, coherence: Coherence) -> None:
        self.coherence = coherence

    def perform(self) -> None:
        """Do it, blocking."""
        wait([self.coherence.join()], self._timeout())
        self.coherence.joined = True

    async def aperform(self) -> None:
        """Do it without blocking the running loop."""
        await asyncio.wait([asyncio.wrap_future(self.coherence.join())], timeout=self._timeout())
        self.coherence.joined = True

    def _timeout(self) -> float:
        carrier = self.coherence.carrier
        return JOIN_SECONDS if carrier is None or carrier.timeout is None else max(JOIN_SECONDS, carrier.timeout)
