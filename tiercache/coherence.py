"""`Coherence`: what other processes change leaves this one's memory tier at once.

A store between the processes that can carry notices (Redis) takes one for each change, and brings those of the others.
A notice names keys and times. It makes the loads of those keys that are open here unable to store, and removes the
keys from memory; whoever reads next asks the slower tiers.

Notices that were sent while nobody listened are lost. So memory is dropped when the subscription is lost and again when
it is back, and in between it is *blind*: what it takes from slower tiers stays for a second.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

from . import fork, notice
from .call import Call
from .entry import CLOCK_SKEW, Clock
from .errors import AccessDenied, BackendUnavailable, CacheClosed, ConfigurationError, TiercacheError
from .fence import Fence
from .flow import Operation
from .lease import Leases
from .memory import MemoryBackend
from .notice import Letter
from .pool import DaemonPool
from .singleflight import Flights
from .ticker import ticker
from .tier import FAILURES, Tier

BLIND_TTL = 1.0
"""Seconds for which memory keeps a copy of what slower tiers hold while no notices arrive."""
MAX_OWED = 10_000
"""Changes that could not be told, by name; beyond, everything is said to have changed."""
JOIN_SECONDS = 0.3
"""Seconds that the first callers wait for the subscription, if the tier's deadline is no longer."""
MUTE_SECONDS = 30.0
"""Seconds for which nothing is told where the carrier refuses it to this user."""
RETRY_SECONDS = 0.5
"""Seconds between attempts to tell what could not be told."""


class Listener(Protocol):
    """Whoever wants to hear notices. A carrier calls it from a thread of its own, one call at a time."""

    def live(self) -> None:
        """From now on all notices arrive; what was sent before did not."""
        ...

    def heard(self, message: bytes) -> None:
        """A notice arrived."""
        ...

    def lost(self, error: TiercacheError) -> None:
        """Notices no longer arrive, or did not from the first; it is being tried again."""
        ...


@runtime_checkable
class NoticeCarrier(Protocol):
    """A backend that carries short messages between the processes that use it. Optional for backends."""

    def announce(self, messages: Sequence[bytes], *, deadline: float | None = None) -> None:
        """Send messages to everybody who listens, this process among them."""
        ...

    async def aannounce(self, messages: Sequence[bytes], *, deadline: float | None = None) -> None:
        """`announce`, awaited."""
        ...

    def listen(self, listener: Listener) -> None:
        """Begin to listen in the background, for as long as the listener lives; returns at once."""
        ...

    def unlisten(self, listener: Listener) -> None:
        """Call the listener no more."""
        ...


@dataclass(slots=True)
class NoticeCounters:
    """What a chain's coherence counts.

    Attributes:
        sent: notices that were sent.
        heard: notices of other chains that arrived.
        unreadable: messages that were no notice; each drops all of memory.
        gaps: times that notices could not arrive for a while; each drops all of memory.
    """

    sent: int = 0
    heard: int = 0
    unreadable: int = 0
    gaps: int = 0


class Coherence:
    """Keeps the memory tiers of one chain in step with other processes.

    Args:
        tiers: the chain's; the last backend that carries notices is used, which most processes share.
        wanted: False: this chain neither sends nor hears notices.
        fence, flights, leases, clock: the chain's.
        pool: where what could not be told is tried again.

    Attributes:
        carrier: the tier that carries notices; None: there is none, or it is not wanted.
        joined: whether the first attempt to listen is over; until then flows wait for it, within a bound.
        blind: whether memory is there and no notices arrive.
        counters: what it did.
    """

    def __init__(
        self,
        tiers: Sequence[Tier],
        *,
        wanted: bool,
        fence: Fence,
        flights: Flights,
        leases: Leases,
        clock: Clock,
        pool: DaemonPool,
    ) -> None:
        carriers = [tier for tier in tiers if not tier.local and isinstance(tier.backend, NoticeCarrier)]
        self.carrier = carriers[-1] if carriers and wanted else None
        self.counters = NoticeCounters()
        self._is_only = not [
            tier for tier in tiers if not tier.local and tier is not self.carrier and tier.write != "never"
        ]
        self._memory = [tier for tier in tiers if tier.local] if self.carrier is not None else []
        self._fence = fence
        self._flights = flights
        self._leases = leases
        self._clock = clock
        self._pool = pool
        self._closed = False
        self._ticking = False
        self.blind = False
        self._begin()
        if self.carrier is not None:
            fork.register(self)
            for tier in tiers:
                tier.on_taken = self.taken

    def after_fork(self) -> None:
        """The subscription stayed in the parent: what memory holds can no longer be relied on here."""
        self._begin()
        for memory in self._stores():
            memory.after_fork()  # the order in which those who are registered are called is not known
            memory.forget()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._sender = os.urandom(16)
        self._owed: dict[str, float] = {}
        self._owes_all = False
        self._mute_until = 0.0
        self._ride()
        self._first: Future[None] | None = None
        self.joined = not self._memory
        self._set_blind(True)

    # Hearing

    def join(self) -> Future[None]:
        """Begin to listen, if nobody did; the future is done when the first attempt succeeded or failed."""
        with self._lock:
            if self._first is not None:
                return self._first
            first = self._first = Future()
            first.set_running_or_notify_cancel()  # a caller that leaves does not cancel it for the others
        if self.carrier is not None and not self._closed:
            cast(NoticeCarrier, self.carrier.backend).listen(self)
        else:
            self._settle()
        return first

    def live(self) -> None:
        """From now on all notices arrive: what memory holds from before is dropped."""
        self._drop_all()
        self._set_blind(False)
        self._settle()

    def heard(self, message: bytes) -> None:
        """Drop what somebody else changed."""
        if notice.is_from(self._sender, message):
            return
        said = notice.read(message)
        if said is None:
            self.counters.unreadable += 1
            self._drop_all()
            return
        self.counters.heard += 1
        if said.everything:
            self._drop_all()
        for prefix in said.prefixes:
            self._drop_prefix(prefix)
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

    def _drop(self, changes: dict[str, float]) -> None:
        self._fence.overtake(changes)
        for key in changes:
            self._flights.forget(key)
        self._leases.changed(changes)
        for memory in self._stores():
            for key, changed_at in changes.items():
                held = memory.get(key)
                # Whose clock is ahead is not known: what may be older goes.
                if held is not None and notice.began(held) <= changed_at + CLOCK_SKEW:
                    memory.delete(key)

    def _drop_prefix(self, prefix: str) -> None:
        self._fence.overtake_prefix(prefix)
        self._flights.forget_prefix(prefix)
        for memory in self._stores():
            memory.clear(prefix)

    def _drop_all(self) -> None:
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

    # Telling

    @property
    def tells(self) -> bool:
        """Whether this chain tells others of its changes."""
        return self.carrier is not None and self.carrier.write != "never" and time.monotonic() >= self._mute_until

    def told(self, changes: Mapping[str, float | None], prefixes: Sequence[str] = ()) -> Call[None]:
        """Return the call that tells of these changes; what is owed is added to them, and no longer owed."""
        with self._lock:
            owed, everything, self._owed, self._owes_all = self._owed, self._owes_all, {}, False
        messages = notice.written(self._sender, {**owed, **self._timed(changes)}, prefixes, everything=everything)
        carrier = cast(Tier, self.carrier)
        return Call(carrier, "announce", (messages,), carrier.timeout)

    def was_told(self) -> None:
        """A call of `told` did what it should."""
        self.counters.sent += 1
        self._ride()

    def letter(self, changes: Mapping[str, float | None]) -> Letter:
        """Return what tells of these changes, for the carrier to send together with its write."""
        timed = self._timed(changes)
        self.counters.sent += 1
        return Letter(notice.written(self._sender, timed), lambda error: self._not_sent(timed, error))

    def went_along(self, results: Sequence[object]) -> bool:
        """Whether a change was told of with its write, so that nothing more needs to be said: results a tier.

        Where other tiers took it, too, they may have done so later than the carrier, and it is told of again.
        """
        if self.carrier is None or self.carrier.tells is None or not self._is_only or self._owed or self._owes_all:
            return False
        return not any(isinstance(result, BaseException) for result in results)

    @contextmanager
    def changing(self, changes: Mapping[str, float | None], prefixes: Sequence[str] = ()) -> Iterator[None]:
        """Where changing the tiers is interrupted, have it told all the same: who knows how far it came."""
        try:
            yield
        except BaseException:
            self.owe_changes(changes, prefixes)
            self._pay_soon()
            raise

    def taken(self, keys: Iterable[str]) -> None:
        """A tier took changes that it had missed, or that were written behind: until now it held what was older."""
        self.owe_changes(dict.fromkeys(keys))
        self._pay_soon()

    def owe(self, call: Call[None], error: TiercacheError | None = None) -> None:
        """A call of `told` failed: what it was to say is said again later."""
        for message in call.args[0]:
            said = notice.read(message)
            if said is not None:
                self.owe_changes(said.changes, said.prefixes, everything=said.everything)
        self._mute(error)

    def owe_changes(
        self, changes: Mapping[str, float | None], prefixes: Sequence[str] = (), *, everything: bool = False
    ) -> None:
        """Tell of these changes soon, from the background: they may have been made."""
        if self.carrier is None or self.carrier.write == "never":
            return
        with self._lock:
            self._owed |= self._timed(changes)
            if everything or prefixes or len(self._owed) > MAX_OWED:
                self._owed, self._owes_all = {}, True
            begin, self._ticking = not self._ticking, True
        if begin:
            ticker.every(RETRY_SECONDS, self._pay_soon)
        else:
            ticker.wake()

    def close(self) -> None:
        """Listen no more; tell what is owed, once."""
        if self.carrier is not None and not self._closed:
            self._closed = True
            self._pay()
            ticker.stop(self._pay_soon)
            cast(NoticeCarrier, self.carrier.backend).unlisten(self)

    def _timed(self, changes: Mapping[str, float | None]) -> dict[str, float]:
        now = self._clock()
        return {key: now if began is None else began for key, began in changes.items()}

    def _not_sent(self, changes: dict[str, float], error: TiercacheError) -> None:
        if self.carrier is not None:
            self.carrier.failed(error)
        self.owe_changes(changes)
        self._mute(error)

    def _mute(self, error: TiercacheError | None) -> None:
        """What this user may not send is not tried again with each write."""
        if isinstance(error, (AccessDenied, ConfigurationError)):
            self._mute_until = time.monotonic() + MUTE_SECONDS
            if self.carrier is not None:
                self.carrier.tells = None

    def _pay_soon(self) -> None:
        if (self._owed or self._owes_all) and self.tells:
            with suppress(BackendUnavailable):  # no thread for it: the next time
                self._pool.submit(self._pay)

    def _pay(self) -> None:
        if (self._owed or self._owes_all) and self.tells:
            call = self.told({})
            try:
                call.perform()
            except FAILURES as error:
                self.owe(call, error)
            except CacheClosed:
                return  # nobody is left to tell
            else:
                self.was_told()

    def _ride(self) -> None:
        """Have the carrier send notices together with its writes, if it can."""
        if self.carrier is not None and self.carrier.write == "through":
            self.carrier.tells = self.letter if getattr(self.carrier.backend, "takes_letters", False) else None


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
