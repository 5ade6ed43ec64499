"""Flows and their two drivers: the logic of the cache is written once, for callers that block and callers that await.

A flow is an `async def` that awaits only operations. An operation's `__await__` yields the operation itself, so a
flow is a plain coroutine that hands out data: "get this key from that tier". A driver performs what it is handed
and sends the result back in. asyncio never sees a flow, and a flow never sees asyncio: a stray
`await asyncio.sleep()` in one fails under both drivers. (After psycopg's generators and httpx's `auth_flow`.)
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Coroutine, Generator, Sequence
from concurrent.futures import Future, wait
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from .errors import BackendUnavailable
from .fence import Standstill, Write
from .health import this_call
from .pool import DaemonPool

T = TypeVar("T")

_POLL = 0.5
"""Seconds between looks at whether the event loop that writes is still there."""
Flow = Coroutine["Operation[Any]", Any, T]


class Operation(ABC, Generic[T]):
    """Something a flow asks its driver for."""

    __slots__ = ()

    def __await__(self) -> Generator[Operation[T], T, T]:
        return (yield self)

    @abstractmethod
    def perform(self) -> T:
        """Do it, blocking."""

    @abstractmethod
    async def aperform(self) -> T:
        """Do it without blocking the running loop."""


def drive(flow: Flow[T]) -> T:
    """Run a flow in this thread and return its result."""
    outermost = this_call.begin()
    try:
        operation = flow.send(None)
        while True:
            try:
                result = operation.perform()
            except BaseException as error:  # noqa: BLE001 - the flow decides, as with any await
                operation = flow.throw(error)
            else:
                operation = flow.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        if outermost:
            this_call.end()


async def adrive(flow: Flow[T]) -> T:
    """Run a flow in the running loop and return its result."""
    outermost = this_call.begin()
    try:
        operation = flow.send(None)
        while True:
            try:
                result = await operation.aperform()
            except BaseException as error:  # noqa: BLE001 - cancellation too
                operation = flow.throw(error)
            else:
                operation = flow.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        if outermost:
            this_call.end()


class Gather(Operation[list[Any]]):
    """Run flows side by side; the result lists what each returned or the exception it raised.

    Without a loop the first flow runs in the caller's thread and the others in the pool; where the pool is full
    they run in the caller's thread as well.
    """

    __slots__ = ("flows", "pool")

    def __init__(self, flows: Sequence[Flow[Any]], pool: DaemonPool) -> None:
        self.flows = flows
        self.pool = pool

    def perform(self) -> list[Any]:
        """Do it, blocking."""
        running: list[Future[Any]] = []
        try:
            for flow in self.flows[1:]:
                try:
                    running.append(self.pool.submit(copy_context().run, drive, flow))  # part of the same call
                except BackendUnavailable:
                    running.append(_run_here(flow))
            if self.flows:
                running.insert(0, _run_here(self.flows[0]))
        finally:
            wait(running)  # interrupted, too: what they still write would come after what the caller does next
        return [future.exception() or future.result() for future in running]

    async def aperform(self) -> list[Any]:
        """Do it without blocking the running loop."""
        if len(self.flows) == 1:
            try:
                return [await adrive(self.flows[0])]
            except Exception as error:  # noqa: BLE001 - returned, as for several
                return [error]
        return await asyncio.gather(*map(adrive, self.flows), return_exceptions=True)


class Background(Operation[bool]):
    """Run a flow in the pool and do not wait; the result says whether the pool took it.

    In a thread under both drivers: the work outlives the caller's event loop.
    """

    __slots__ = ("flow", "pool")

    def __init__(self, flow: Flow[Any], pool: DaemonPool) -> None:
        self.flow = flow
        self.pool = pool

    def perform(self) -> bool:
        """Do it, blocking."""
        try:
            self.pool.submit(drive, self.flow)
        except BackendUnavailable:
            self.flow.close()
            return False
        return True

    async def aperform(self) -> bool:
        """Do it without blocking the running loop."""
        return self.perform()


class Settled(Operation[list[Write]]):
    """Wait until the writes are over, `timeout` seconds at most; the result lists those that are not.

    A blocking call does not wait for what the event loop of its own thread is to write, nor for what waits for that:
    it would never end.
    """

    __slots__ = ("timeout", "writes")

    def __init__(self, writes: Sequence[Write], timeout: float) -> None:
        self.writes = writes
        self.timeout = timeout

    def perform(self) -> list[Write]:
        """Do it, blocking."""
        here, end = running_loop(), time.monotonic() + self.timeout
        still: dict[Write, Standstill] = defaultdict(Standstill)
        waiting = [write for write in self.writes if here is None or not write.needs(here)]
        while waiting and time.monotonic() < end:
            wait([write.done for write in waiting], min(_POLL, max(0.0, end - time.monotonic())))
            waiting = [write for write in waiting if _may_end(write, still[write])]
        return self._unfinished()

    async def aperform(self) -> list[Write]:
        """Do it without blocking the running loop."""
        end = time.monotonic() + self.timeout
        still: dict[Write, Standstill] = defaultdict(Standstill)
        waiting = list(self.writes)
        while waiting and time.monotonic() < end:
            futures = [asyncio.wrap_future(write.done) for write in waiting]
            await asyncio.wait(futures, timeout=min(_POLL, max(0.0, end - time.monotonic())))
            waiting = [write for write in waiting if _may_end(write, still[write])]
        return self._unfinished()

    def _unfinished(self) -> list[Write]:
        return [write for write in self.writes if not write.done.done()]


def _may_end(write: Write, still: Standstill) -> bool:
    """Whether a write is to be waited for: it is not over, and its loop runs."""
    return not (write.done.done() or write.is_lost or still.lasts(write.owner))


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _run_here(flow: Flow[Any]) -> Future[Any]:
    future: Future[Any] = Future()
    try:
        future.set_result(drive(flow))
    except Exception as error:  # noqa: BLE001 - returned, as for those in the pool
        future.set_exception(error)
    return future
