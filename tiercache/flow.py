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
from contextlib import suppress
from contextvars import copy_context
from inspect import CORO_CLOSED, CORO_CREATED, getcoroutinestate
from typing import Any, Generic, TypeVar

from .begun import Begun
from .errors import BackendUnavailable
from .health import this_call
from .pool import DaemonPool
from .turns import Standstill, Write

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
    begun = this_call.begin()
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
        if begun is not None:
            this_call.end(begun)


async def adrive(flow: Flow[T], operation: Operation[Any] | None = None) -> T:
    """Run a flow in the running loop and return its result.

    Args:
        flow: what to run.
        operation: what it has already asked for.
    """
    begun = this_call.begin()
    try:
        if operation is None:
            operation = flow.send(None)
        while True:
            try:
                result = await operation.aperform()
            except GeneratorExit:
                _close(flow)  # unless the garbage collector has done that already
                raise
            except BaseException as error:  # noqa: BLE001 - cancellation too
                operation = flow.throw(error)
            else:
                operation = flow.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        if begun is not None:
            this_call.end(begun)


async def detached(flow: Flow[T], tasks: set[asyncio.Task[Any]]) -> T:
    """Run a flow that goes on when its caller is cancelled, in a task of its own if it has to wait for anything.

    Args:
        flow: what to run.
        tasks: where the task is kept while it runs.
    """
    begun = this_call.begin()
    try:
        operation = flow.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        if begun is not None:
            this_call.end(begun)
    task = asyncio.create_task(Begun(adrive(flow, operation)))
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return await asyncio.shield(task)


class Gather(Operation[list[Any]]):
    """Run flows side by side; the result lists what each returned or the exception it raised.

    Without a loop the first flow runs in the caller's thread and the others in the pool; where the pool is full
    they run in the caller's thread as well.
    """

    __slots__ = ("flows", "pool")

    def __init__(self, flows: Sequence[Flow[Any]], pool: DaemonPool) -> None:
        self.flows = flows
        self.pool = pool

    def __await__(self) -> Generator[Operation[Any], Any, list[Any]]:
        results: list[Any] = []
        if len(self.flows) > 1:
            try:
                results = yield self
            except BaseException as error:
                _interrupt(self.flows, error)
                raise
            return results
        for flow in self.flows:  # nothing runs beside it: it goes on in the flow that asks
            results.append((yield from _settled(flow).__await__()))
        return results

    def perform(self) -> list[Any]:
        """Do it, blocking."""
        running: list[Future[Any]] = []
        try:
            for flow in self.flows[1:]:
                try:
                    running.append(self.pool.submit(copy_context().run, drive, flow))  # part of the same call
                except BackendUnavailable:
                    running.append(_run_here(flow))
            running.insert(0, _run_here(self.flows[0]))
        finally:
            wait(running)  # interrupted, too: what they still write would come after what the caller does next
        return [future.exception() or future.result() for future in running]

    async def aperform(self) -> list[Any]:
        """Do it without blocking the running loop."""
        return await asyncio.gather(*[Begun(adrive(flow)) for flow in self.flows], return_exceptions=True)


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
        ended = {write: write.ended() for write in waiting}
        while waiting and time.monotonic() < end:
            wait([ended[write] for write in waiting], min(_POLL, max(0.0, end - time.monotonic())))
            waiting = [write for write in waiting if _may_end(write, still[write])]
        return self._unfinished()

    async def aperform(self) -> list[Write]:
        """Do it without blocking the running loop."""
        end = time.monotonic() + self.timeout
        still: dict[Write, Standstill] = defaultdict(Standstill)
        waiting = list(self.writes)
        ended = {write: asyncio.wrap_future(write.ended()) for write in waiting}
        while waiting and time.monotonic() < end:
            await asyncio.wait(
                [ended[write] for write in waiting], timeout=min(_POLL, max(0.0, end - time.monotonic()))
            )
            waiting = [write for write in waiting if _may_end(write, still[write])]
        return self._unfinished()

    def _unfinished(self) -> list[Write]:
        return [write for write in self.writes if not write.is_over]


def _may_end(write: Write, still: Standstill) -> bool:
    """Whether a write is to be waited for: it is not over, and its loop runs."""
    return not (write.is_over or write.is_lost or still.lasts(write.owner))


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _settled(flow: Flow[T]) -> T | Exception:
    try:
        return await flow
    except Exception as error:  # noqa: BLE001 - returned, as for several
        return error


def _interrupt(flows: Sequence[Flow[Any]], error: BaseException) -> None:
    """Interrupt the flows that nobody has begun at what they ask for first: they note what they leave undone."""
    for flow in flows:
        if getcoroutinestate(flow) == CORO_CREATED:
            with suppress(BaseException):  # the caller raises what interrupted it
                flow.send(None)
                flow.throw(error)
            _close(flow)


def _close(flow: Flow[Any]) -> None:
    """Close a flow, also where it would have to wait for its cleaning up: what it leaves is known to be undone."""
    while getcoroutinestate(flow) != CORO_CLOSED:
        with suppress(RuntimeError):  # it waited once more: that is interrupted, too
            flow.close()


def _run_here(flow: Flow[Any]) -> Future[Any]:
    future: Future[Any] = Future()
    try:
        future.set_result(drive(flow))
    except Exception as error:  # noqa: BLE001 - returned, as for those in the pool
        future.set_exception(error)
    return future
