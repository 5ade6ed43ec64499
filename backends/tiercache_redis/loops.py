"""The connections of the awaited face: one free list an event loop, under the same rules as `connections`.

A loop's connections are closed when it shuts down: a primed asynchronous generator is what a loop finalises
(`shutdown_asyncgens`, part of `asyncio.run`), and it asks for nothing else of whoever owns the loop.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from redis import asyncio as aredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from .address import Address
from .connections import OPENERS, connecting_ends, connection_arguments
from .errors import VENDOR_ERRORS, NotSent, all_busy, mapped
from .layout import Command, Reply
from .link import Link

CLASSES: dict[str, Any] = {
    "redis": aredis.Connection,
    "rediss": aredis.SSLConnection,
    "unix": aredis.UnixDomainSocketConnection,
}
"""redis-py's connections, by the scheme of the URL."""


async def linked(kind: Any, arguments: Mapping[str, Any], ends: float | None) -> Link:
    """Return a connection of redis-py's class `kind`, connected before `ends`."""
    # Link watches the time: redis-py would make a task for each write and a timer for each read.
    connection = kind(**arguments, socket_timeout=None, socket_connect_timeout=None)
    try:
        async with asyncio.timeout(None if ends is None else ends - monotonic()):
            await connection.connect()
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return Link(connection)


class Loops:
    """The connections of every event loop that used the backend.

    Args:
        address: where they lead.
        limit: how many there are at most in each loop.
        timeout: returns the seconds that an exchange may take; None: as long as it likes.
    """

    def __init__(self, address: Address, limit: int, timeout: Callable[[], float | None]) -> None:
        self._class = CLASSES[address.scheme]
        self._kind = LoopConnections
        self._arguments = {**connection_arguments(address), "retry": Retry(NoBackoff(), 0)}
        self._class(**self._arguments)  # an option that redis-py refuses should be refused now
        self._limit = limit
        self._timeout = timeout
        self._known: dict[asyncio.AbstractEventLoop, LoopConnections] = {}
        _all.add(self)

    async def here(self) -> LoopConnections:
        """Return the connections of the running loop."""
        loop = asyncio.get_running_loop()
        known = self._known.get(loop)
        if known is None:
            for other in [other for other in list(self._known) if other.is_closed()]:
                self._known.pop(other, None)
            known = self._known[loop] = self._kind(self._open, self._limit)
            await known.end_with_loop()
        return known

    async def aclose(self) -> None:
        """Close the running loop's connections, and have the other loops close theirs."""
        known = self._known.pop(asyncio.get_running_loop(), None)
        if known is not None:
            await known.aclose()
        self.close()

    def drop_idle(self) -> None:
        """Have each loop close the connections that nobody uses when it runs next."""
        for loop, connections in list(self._known.items()):
            with suppress(RuntimeError):  # a loop that is closed has closed them
                loop.call_soon_threadsafe(connections.drop_idle_soon)

    def close(self) -> None:
        """Have each loop close its connections when it runs next."""
        while self._known:
            loop, connections = self._known.popitem()
            with suppress(RuntimeError):  # a loop that is closed has closed them
                loop.call_soon_threadsafe(connections.close_soon)

    async def _open(self) -> Link:
        return await linked(self._class, self._arguments, connecting_ends(self._timeout()))


class LoopConnections:
    """The connections of one event loop; used in that loop only.

    Args:
        open_link: makes a connection.
        limit: how many there are at most.
    """

    def __init__(self, open_link: Callable[[], Coroutine[Any, Any, Link]], limit: int) -> None:
        self._open_link = open_link
        self._limit = limit
        self._idle: list[Link] = []
        self._open = 0  # connections that exist or are being opened
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._openers = asyncio.Semaphore(OPENERS)
        self._background: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._finalizer = self._close_with_loop()

    async def end_with_loop(self) -> None:
        """Have the running loop close the connections when it shuts down."""
        await anext(self._finalizer)

    async def exchange(self, commands: list[Command], ends: float | None, *, repeatable: bool) -> list[Reply]:
        """`Connections.exchange`, awaited."""
        replies: list[Reply] = []
        try:
            if self._idle:
                try:
                    await self._talk(self._idle.pop(), commands, ends, replies, probe=not repeatable)
                    return replies
                except RedisConnectionError as error:
                    if replies or not (repeatable or isinstance(error, NotSent)):
                        raise
                await self._drop_idle()  # the server restarted, most likely
            await self._talk(await self._take(ends), commands, ends, replies)
            return replies
        except VENDOR_ERRORS as error:
            failure = mapped(error)
        if replies:
            return replies + [failure] * (len(commands) - len(replies))
        raise failure  # outside of `except`: what redis-py raised may quote a password

    def close_soon(self) -> None:
        """Close from a callback of the loop."""
        self._keep(asyncio.get_running_loop().create_task(self.aclose()))

    def drop_idle_soon(self) -> None:
        """Close what is idle, from a callback of the loop."""
        self._keep(asyncio.get_running_loop().create_task(self._drop_idle()))

    async def aclose(self) -> None:
        """Close what is idle now, and what is in use when it is given back."""
        self._closed = True
        await self._finalizer.aclose()
        await self._drop_idle()
        await asyncio.sleep(0)  # a transport closes its socket in the loop's next turn

    async def _talk(
        self, link: Link, commands: list[Command], ends: float | None, replies: list[Reply], *, probe: bool = False
    ) -> None:
        try:
            await link.talk(commands, ends, replies, probe=probe)
        except BaseException:
            # An exchange that was cancelled leaves a reply in the socket: nobody may find it there.
            await self._discard(link)
            raise
        self._idle.append(link)
        if self._waiters:
            self._wake()
        if self._closed:
            await self._drop_idle()

    async def _take(self, ends: float | None) -> Link:
        """Return an idle connection or a new one; wait while neither is to be had."""
        waiting = False
        try:
            async with asyncio.timeout(None if ends is None else ends - monotonic()):
                while not self._idle and self._open >= self._limit:
                    waiting = True
                    await self._turn()
                waiting = False
                return self._idle.pop() if self._idle else await self._open_one()
        except TimeoutError:
            if not waiting:
                raise
        raise all_busy(self._limit)

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._wake()  # it was this one's turn: pass it on
            raise

    def _wake(self) -> None:
        while self._waiters:
            turn = self._waiters.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def _discard(self, link: Link) -> None:
        self._open -= 1
        self._wake()
        await link.close()

    async def _drop_idle(self) -> None:
        while self._idle:
            await self._discard(self._idle.pop())

    async def _open_one(self) -> Link:
        self._open += 1
        try:
            await self._openers.acquire()
        except BaseException:
            self._open -= 1
            self._wake()
            raise
        opening = self._keep(asyncio.get_running_loop().create_task(self._open_link()))
        opening.add_done_callback(lambda _: self._openers.release())
        try:
            return await asyncio.shield(opening)
        except BaseException:
            opening.add_done_callback(self._adopt)  # the caller left; its connection may serve the next one
            raise

    def _adopt(self, opening: asyncio.Task[Link]) -> None:
        if opening.cancelled() or opening.exception() is not None:
            self._open -= 1
        else:
            self._idle.append(opening.result())
            if self._closed:
                self.close_soon()
        self._wake()

    async def _close_with_loop(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self._drop_idle()

    def _keep(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        self._background.add(task)  # a loop holds its tasks weakly
        task.add_done_callback(self._background.discard)
        return task


_all: weakref.WeakSet[Loops] = weakref.WeakSet()
_inherited: list[dict[asyncio.AbstractEventLoop, LoopConnections]] = []


def _after_fork() -> None:
    # Kept, not closed: closing a transport would take its socket out of the poll set that the parent's loop uses.
    for loops in list(_all):
        _inherited.append(loops._known)
        loops._known = {}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
