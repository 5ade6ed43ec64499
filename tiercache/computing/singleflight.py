"""Single-flight: one computation per key among all threads, tasks and event loops of the process.

A computation belongs to nobody: the caller that starts it (the leader) waits for it like all others, so cancelling
the leader harms no follower. What travels is the entry, and each caller decodes a value of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from .. import fork
from ..entry import Entry
from ..errors import ReentrantComputation

if TYPE_CHECKING:
    from ..flows.read import Found
    from ..tier import Tier

Kind = Literal["find", "renew", "aside"]
"""What a computation does: look first and store; store without looking; neither look nor store."""

_computing: contextvars.ContextVar[frozenset[Flight]] = contextvars.ContextVar(
    "tiercache_computing", default=frozenset()
)
"""The computations that this context is part of."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """How a computation ended: an entry, a value that no codec stores, an error, or abandoned (none of these).

    Attributes:
        entry: the entry, as it was stored or found.
        tier: the tier that held it; None: it was computed.
        value: what no codec stores.
        uncacheable: whether `value` is the result.
        absent: the factory of a batch was asked for this key and left it out.
        overtaken: another process changed the key meanwhile: who did not make it looks again.
        error: what the factory raised.
        traceback: the error's, as it was when it was caught.
    """

    entry: Entry | None = None
    tier: Tier | None = None
    value: Any = None
    uncacheable: bool = False
    absent: bool = False
    overtaken: bool = False
    error: BaseException | None = None
    traceback: TracebackType | None = None

    @property
    def abandoned(self) -> bool:
        """Whether the computation was interrupted from outside: whoever still wants the value starts again."""
        return self.entry is None and not self.uncacheable and not self.absent and self.error is None


ABANDONED = Outcome()


class Flight:
    """One computation in progress.

    Attributes:
        key: the full stored key.
        kind: what is done.
        loop, thread: where it is computed; when that is gone, the computation is.
        refreshes: whether it was started behind callers who were served an older entry.
        spare: what may be served in place of the value, while it is computed or when that fails: an older entry. It
            must have been read when the flight was in the table: what changes the key then takes the flight off it.
        landing: resolved when the slower tiers are written, too, where the leader has to wait for that.
    """

    __slots__ = (
        "_outcome",
        "finished",
        "key",
        "kind",
        "landing",
        "loop",
        "refreshes",
        "spare",
        "table",
        "thread",
        "waits_for",
    )

    def __init__(self, key: str, table: Flights, kind: Kind = "find") -> None:
        self.key = key
        self.kind: Kind = kind
        self.table = table
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread: threading.Thread | None = None
        self.finished = False
        self.refreshes = False
        self.spare: Found | None = None
        self.landing: Future[None] | asyncio.Future[None] | None = None
        self.waits_for: list[Any] = []
        self._outcome: Future[Outcome] = Future()
        # Running: a follower that is cancelled cannot cancel the outcome of the others.
        self._outcome.set_running_or_notify_cancel()

    @property
    def done(self) -> bool:
        """Whether there is an outcome."""
        return self._outcome.done()

    @property
    def future(self) -> Future[Outcome]:
        """What to wait for."""
        return self._outcome

    @property
    def outcome(self) -> Outcome:
        """The outcome, which must be there."""
        return self._outcome.result(timeout=0)

    @property
    def is_lost(self) -> bool:
        """Whether the loop or the thread that computed is gone, so that nothing will ever end it."""
        if self.done:
            return False
        return (self.loop is not None and self.loop.is_closed()) or (
            self.thread is not None and not self.thread.is_alive()
        )

    def resolve(self, outcome: Outcome) -> None:
        """Wake all waiters; the first outcome counts."""
        with contextlib.suppress(InvalidStateError):
            self._outcome.set_result(outcome)

    def abandon(self) -> None:
        """End it without an outcome, unless it has one; whoever comes now starts another."""
        self.table.leave(self)
        self.resolve(ABANDONED)


class Flights:
    """The table of computations in progress."""

    def __init__(self) -> None:
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """Forget the computations of the parent: nobody here finishes them."""
        self._lock = threading.RLock()  # what nobody finishes is closed by the garbage collector, in any place
        self._flights: dict[tuple[str, Kind], Flight] = {}

    def join(self, key: str, kind: Kind = "find") -> tuple[Flight, bool]:
        """Return the computation of the key and whether the caller has to lead it.

        Raises:
            ReentrantComputation: the caller is part of that computation.
        """
        led, followed = self.join_many([key], kind)
        return (led[key], True) if led else (followed[key], False)

    def join_many(self, keys: Sequence[str], kind: Kind = "find") -> tuple[dict[str, Flight], dict[str, Flight]]:
        """Return the computations that the caller has to lead and those that others lead.

        Raises:
            ReentrantComputation: the caller is part of one of them.
        """
        own = {flight.key for flight in computing() if flight.table is self}
        if own and not own.isdisjoint(keys):
            raise ReentrantComputation(
                "a factory asked the cache for a key that it is computing, itself or through others: call the function "
                "that makes the value, not the cache, or use another key"
            )
        led: dict[str, Flight] = {}
        followed: dict[str, Flight] = {}
        with self._lock:
            for key in keys:
                flight = self._flights.get((key, kind))
                if flight is None or flight.is_lost:
                    led[key] = self._flights[key, kind] = Flight(key, self, kind)
                else:
                    followed[key] = flight
        return led, followed

    def start(self, key: str) -> Flight | None:
        """Return a new computation of the key; None: there is one, or the caller is part of one."""
        if any(flight.key == key and flight.table is self for flight in computing()):
            return None
        with self._lock:
            flight = self._flights.get((key, "find"))
            if flight is not None and not flight.is_lost:
                return None
            flight = self._flights[key, "find"] = Flight(key, self)
            flight.refreshes = True
            return flight

    def is_under_way(self, key: str) -> bool:
        """Whether somebody who asks for the key now would wait for another's computation, as far as can be told."""
        flight = self._flights.get((key, "find"))
        return flight is not None and not flight.done

    def leave(self, flight: Flight) -> None:
        """Take a computation that is over off the table; whoever comes now starts another."""
        flight.finished = True
        self.drop(flight)

    def drop(self, flight: Flight) -> None:
        """Let nobody join this computation any more, although it may go on."""
        with self._lock:
            if self._flights.get((flight.key, flight.kind)) is flight:
                del self._flights[flight.key, flight.kind]

    def forget(self, key: str) -> None:
        """The key was changed: nobody joins the computations that began before."""
        if self._flights:
            with self._lock:
                for kind in _KINDS:
                    self._flights.pop((key, kind), None)

    def forget_prefix(self, prefix: str) -> None:
        """`forget` for all keys below a prefix."""
        with self._lock:
            for slot in [slot for slot in self._flights if slot[0].startswith(prefix)]:
                del self._flights[slot]


_KINDS: tuple[Kind, ...] = ("find", "renew", "aside")


def computing() -> list[Flight]:
    """Return the computations inside of which this code runs."""
    return [flight for flight in _computing.get() if not flight.finished]


@contextlib.contextmanager
def part_of(flights: Sequence[Flight], *, alone: bool = False) -> Iterator[None]:
    """Run what is inside as part of these computations; `alone`: and of no other."""
    token = _computing.set(frozenset(flights) if alone else _computing.get() | frozenset(flights))
    try:
        yield
    finally:
        _computing.reset(token)
