"""Single-flight: one computation per key among all threads, tasks and event loops of the process.

A computation belongs to nobody: the caller that starts it (the leader) waits for it like all others, so cancelling
the leader harms no follower. What travels is the entry, and each caller decodes a value of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from . import fork
from .entry import Entry
from .errors import ReentrantComputation
from .flow import Flow, Operation, adrive, drive, running_loop
from .pool import DaemonPool
from .tier import Tier

_computing: contextvars.ContextVar[frozenset[Flight]] = contextvars.ContextVar(
    "tiercache_computing", default=frozenset()
)
"""The computations that this context is part of."""
_POLL = 0.1
"""Seconds between looks at whether the loop that computes is still there."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a computation ended: an entry, a value that no codec stores, an error, or abandoned (none of these)."""

    entry: Entry | None = None
    tier: Tier | None = None
    value: Any = None
    uncacheable: bool = False
    error: BaseException | None = None
    traceback: TracebackType | None = None

    @property
    def abandoned(self) -> bool:
        """Whether the computation was interrupted from outside: whoever still wants the value starts again."""
        return self.entry is None and not self.uncacheable and self.error is None


class Flight:
    """One computation in progress."""

    __slots__ = ("_outcome", "finished", "key", "loop", "table")

    def __init__(self, key: str, table: Flights) -> None:
        self.key = key
        self.table = table
        self.loop: asyncio.AbstractEventLoop | None = None
        self.finished = False
        self._outcome: Future[Outcome] = Future()
        # Running: a follower that is cancelled cannot cancel the outcome of the others.
        self._outcome.set_running_or_notify_cancel()

    def resolve(self, outcome: Outcome) -> None:
        """Wake all waiters; the first outcome counts."""
        with contextlib.suppress(InvalidStateError):
            self._outcome.set_result(outcome)

    def wait(self) -> Outcome | None:
        """Return the outcome, blocking; None: waiting would never end, because this thread's own loop computes."""
        if not self._outcome.done() and self.loop is not None and self.loop is running_loop():
            return None
        while True:
            try:
                return self._outcome.result(timeout=_POLL)
            except FutureTimeout:
                if self.loop is not None and self.loop.is_closed():
                    self.resolve(Outcome())

    async def await_(self) -> Outcome:
        """Return the outcome."""
        waiting = asyncio.wrap_future(self._outcome)
        while self.loop is not None and self.loop is not asyncio.get_running_loop() and not waiting.done():
            await asyncio.wait([waiting], timeout=_POLL)
            if self.loop.is_closed():
                self.resolve(Outcome())
        return await waiting


class Flights:
    """The table of computations in progress."""

    def __init__(self) -> None:
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """Forget the computations of the parent: nobody here finishes them."""
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}

    def join(self, key: str) -> tuple[Flight, bool]:
        """Return the computation of the key and whether the caller has to lead it.

        Raises:
            ReentrantComputation: the caller is part of that computation.
        """
        if any(flight.key == key and not flight.finished for flight in _computing.get() if flight.table is self):
            raise ReentrantComputation("a factory asked the cache for the key that it is computing")
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = Flight(key, self)
            return flight, True

    def leave(self, flight: Flight) -> None:
        """Take a computation that is over off the table; whoever comes now starts another."""
        flight.finished = True
        with self._lock:
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]

    def forget(self, key: str) -> None:
        """The key was changed: nobody joins the computation that began before."""
        if self._flights:
            with self._lock:
                self._flights.pop(key, None)

    def forget_prefix(self, prefix: str) -> None:
        """`forget` for all keys below a prefix."""
        with self._lock:
            for key in [key for key in self._flights if key.startswith(prefix)]:
                del self._flights[key]


class Lead(Operation[None]):
    """Perform a computation: in this thread, or in a task of its own with the caller's context."""

    __slots__ = ("body", "flight")
    _tasks: set[asyncio.Task[None]] = set()  # noqa: RUF012 - the loop keeps only weak references to tasks

    def __init__(self, flight: Flight, body: Flow[None]) -> None:
        self.flight = flight
        self.body = body

    def perform(self) -> None:
        """Do it, blocking."""
        token = _computing.set(_computing.get() | {self.flight})
        try:
            drive(self.body)
        finally:
            _computing.reset(token)

    async def aperform(self) -> None:
        """Do it without blocking the running loop."""
        self.flight.loop = asyncio.get_running_loop()
        token = _computing.set(_computing.get() | {self.flight})
        try:
            task = asyncio.create_task(adrive(self.body))
        finally:
            _computing.reset(token)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)


class Follow(Operation["Outcome | None"]):
    """Wait for the outcome of a computation."""

    __slots__ = ("flight",)

    def __init__(self, flight: Flight) -> None:
        self.flight = flight

    def perform(self) -> Outcome | None:
        """Do it, blocking."""
        return self.flight.wait()

    async def aperform(self) -> Outcome | None:
        """Do it without blocking the running loop."""
        return await self.flight.await_()


class Factory(Operation[Any]):
    """Call the user's function: a plain one in this thread (in a worker when awaited), an async one in the loop."""

    __slots__ = ("function", "pool")

    def __init__(self, function: Callable[[], Any], pool: DaemonPool) -> None:
        self.function = function
        self.pool = pool

    def perform(self) -> Any:
        """Do it, blocking."""
        value = self.function()
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            raise TypeError("the factory is async: call aget_or_set() and await it")
        return value

    async def aperform(self) -> Any:
        """Do it without blocking the running loop."""
        try:
            if inspect.iscoroutinefunction(self.function):
                return await self.function()
            context = contextvars.copy_context()
            value = await asyncio.wrap_future(self.pool.submit(context.run, self.function))
            return await value if inspect.isawaitable(value) else value
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise RuntimeError("the factory was cancelled from within") from error  # nobody cancelled the computation
