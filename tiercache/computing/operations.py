"""The operations of a computation: start it, wait for it, run it in the background, call the user's function."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

from ..errors import BackendUnavailable
from ..flow import Flow, Operation, adrive, drive, running_loop
from ..pool import DaemonPool, give_way
from ..turns import Standstill
from .singleflight import ABANDONED, Flight, Outcome, computing, part_of
from .waits import graph

_POLL = 0.1
"""Seconds between looks at whether the loop or thread that computes is still there."""
_POLL_SPARE = 0.01
"""Seconds between looks at whether a spare was found that the caller would take at once."""
FOLLOW_LIMIT = 600.0
"""Seconds after which a caller in another thread no longer believes in a computation and starts its own.

A factory that hands its own key to a plain thread and waits for it cannot be told from a long computation: context
variables do not reach such threads.
"""

WOULD_HANG = Outcome()
"""What `Follow` returns when waiting could never end."""
TIME_IS_UP = Outcome()
"""What `Follow` returns when the caller's patience has ended first."""
SPARE_WILL_DO = Outcome()
"""What `Follow` returns when the flight's spare is served at once."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Until when (monotonic seconds) a caller waits: in all, and as long as there is nothing else to serve."""

    hard: float | None = None
    soft: float | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether there is an end to it."""
        return self.hard is not None or self.soft is not None

    def left(self, spare: bool) -> float | None:
        """Return the seconds that are left; None: no bound. `spare`: there is something else to serve."""
        ends = [self.hard] if self.hard is not None else []
        if spare and self.soft is not None:
            ends.append(self.soft)
        return min(ends) - time.monotonic() if ends else None


class Lead(Operation[None]):
    """Perform a computation: in this thread, or in a worker if one is given; in a loop as a task.

    Blocking and without a worker, this returns when it is over; else at once.
    """

    __slots__ = ("body", "flights", "worker")

    def __init__(self, flights: Sequence[Flight], body: Flow[None], worker: DaemonPool | None = None) -> None:
        self.flights = flights
        self.body = body
        self.worker = worker

    def perform(self) -> None:
        """Do it, blocking."""
        with part_of(self.flights):
            if self.worker is not None:
                context = contextvars.copy_context()
                try:
                    landing = self.worker.submit(context.run, _drive_here, self.flights, self.body)
                except BackendUnavailable:
                    pass  # no worker is to be had: without a bound, then
                else:
                    for flight in self.flights:
                        flight.landing = landing
                    return
            _drive_here(self.flights, self.body)

    async def aperform(self) -> None:
        """Do it without blocking the running loop."""
        with part_of(self.flights):
            task = _start_task(self.flights, self.body)
        for flight in self.flights:
            flight.landing = task


class Spawn(Operation[bool]):
    """Perform a computation in the background: in a pool, or as a task of the running loop; False: the pool is full.

    As a task even where the function is a plain one: what it returns may have to be awaited. A loop that ends takes its
    tasks with it; the next caller starts again.
    """

    __slots__ = ("body", "flights", "pool")

    def __init__(self, flights: Sequence[Flight], body: Flow[None], pool: DaemonPool) -> None:
        self.flights = flights
        self.body = body
        self.pool = pool

    def perform(self) -> bool:
        """Do it, blocking."""
        try:
            self.pool.submit(contextvars.copy_context().run, _drive_alone, self.flights, self.body)
        except BackendUnavailable:
            self.body.close()
            return False
        return True

    async def aperform(self) -> bool:
        """Do it without blocking the running loop."""
        with part_of(self.flights, alone=True):
            _start_task(self.flights, self.body)
        return True


class Follow(Operation[Outcome]):
    """Wait for the outcome of a computation; `WOULD_HANG`, `TIME_IS_UP` or `SPARE_WILL_DO` where that is not to be had.

    Args:
        flight: the computation.
        patience: until when.
        may_spare: says whether the flight's spare would do for this caller in the end.
        at_once: says whether it would do at once; None: that is not to be watched for.
        landing: wait for the slower tiers, too.
    """

    __slots__ = ("at_once", "flight", "landing", "may_spare", "patience", "still")

    def __init__(
        self,
        flight: Flight,
        patience: Patience,
        may_spare: Callable[[], bool],
        at_once: Callable[[], bool] | None = None,
        *,
        landing: bool = False,
    ) -> None:
        self.flight = flight
        self.patience = patience
        self.may_spare = may_spare
        self.at_once = at_once
        self.landing = landing
        self.still = Standstill()

    def perform(self) -> Outcome:
        """Do it, blocking."""
        flight = self.flight
        if not flight.done:
            with graph.wait(flight, computing(), running_loop()) as ends, give_way() as room:
                if not (ends and room):
                    return WOULD_HANG
                limit = time.monotonic() + FOLLOW_LIMIT
                while not flight.done:
                    if self._is_served():
                        return SPARE_WILL_DO
                    seconds = self._seconds()
                    if seconds <= 0:
                        return TIME_IS_UP
                    wait([flight.future], seconds)
                    if self._gives_up(limit):
                        return ABANDONED
        if self.landing and isinstance(flight.landing, Future):
            wait([flight.landing], self._left())
            if flight.outcome.abandoned and flight.landing.done():
                flight.landing.result()  # a SystemExit of the factory, say
        return flight.outcome

    async def aperform(self) -> Outcome:
        """Do it without blocking the running loop."""
        flight = self.flight
        if not flight.done:
            with graph.wait(flight, computing(), None) as ends:
                if not ends:
                    return WOULD_HANG
                if (late := await self._outcome()) is not None:
                    return late
        if self.landing and isinstance(flight.landing, asyncio.Future):
            left = self._left()
            if left is None or left > 0:
                await asyncio.wait([flight.landing], timeout=left)
        return flight.outcome

    async def _outcome(self) -> Outcome | None:
        flight = self.flight
        waiting = asyncio.wrap_future(flight.future)
        if flight.loop is asyncio.get_running_loop() and not self.patience.is_bounded and self.at_once is None:
            await waiting
            return None
        limit = time.monotonic() + FOLLOW_LIMIT
        while not waiting.done():
            if self._is_served():
                return SPARE_WILL_DO
            seconds = self._seconds()
            if seconds <= 0:
                return TIME_IS_UP
            await asyncio.wait([waiting], timeout=seconds)
            if self._gives_up(limit):
                return ABANDONED
        return None

    def _left(self) -> float | None:
        return self.patience.left(spare=False)

    def _is_served(self) -> bool:
        return self.at_once is not None and self.flight.spare is not None and self.at_once()

    def _seconds(self) -> float:
        """How long to wait before the next look."""
        patience, spare = self.patience, self.flight.spare
        poll = _POLL_SPARE if spare is None and self.at_once is not None else _POLL
        left = patience.left(spare=spare is not None and self.may_spare())
        return poll if left is None else min(poll, left)

    def _gives_up(self, limit: float) -> bool:
        """Whether to believe no longer that the computation will end."""
        flight = self.flight
        if flight.is_lost:
            flight.abandon()
        elif not flight.done and (time.monotonic() > limit or self.still.lasts(flight.loop)):
            flight.table.drop(flight)  # it may go on; those who wait for it start another, and share that
            return True
        return False


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
            raise TypeError("the factory is async: call aget_or_set() (or aget_or_set_many()) and await it")
        return value

    async def aperform(self) -> Any:
        """Do it without blocking the running loop."""
        try:
            if inspect.iscoroutinefunction(self.function):
                return await self.function()
            context = contextvars.copy_context()
            working = self.pool.submit(context.run, self.function)
            try:
                value = await asyncio.wrap_future(working)
            except asyncio.CancelledError:
                working.add_done_callback(_close)
                raise
            return await value if inspect.isawaitable(value) else value
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise RuntimeError("the factory was cancelled from within") from error  # nobody cancelled the computation


def _close(working: Future[Any]) -> None:
    """A coroutine that nobody awaits any more is not to complain about it."""
    if not working.cancelled() and working.exception() is None and inspect.iscoroutine(working.result()):
        working.result().close()


_tasks: set[asyncio.Task[None]] = set()
"""The loop keeps only weak references to tasks."""


def _start_task(flights: Sequence[Flight], body: Flow[None]) -> asyncio.Task[None]:
    loop = asyncio.get_running_loop()
    for flight in flights:
        flight.loop = loop

    def over(task: asyncio.Task[None]) -> None:
        _tasks.discard(task)
        body.close()  # cancelled before its first step, it would never have begun
        for flight in flights:
            flight.abandon()

    task = loop.create_task(adrive(body))
    _tasks.add(task)
    task.add_done_callback(over)
    return task


def _drive_here(flights: Sequence[Flight], body: Flow[None]) -> None:
    for flight in flights:
        flight.thread = threading.current_thread()
    drive(body)


def _drive_alone(flights: Sequence[Flight], body: Flow[None]) -> None:
    with part_of(flights, alone=True):
        _drive_here(flights, body)
