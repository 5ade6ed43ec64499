"""The connections of the awaited face: one free list an event loop, under the same rules as `connections`.

A loop's connections are closed when it shuts down: a primed asynchronous generator is what a loop finalises
(`shutdown_asyncgens`, part of `asyncio.run`), and it asks for nothing else of whoever owns the loop.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from redis import asyncio as aredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from .address import Address
from .connections import CONNECT_SECONDS, OPENERS, connection_arguments
from .errors import LEADS_ELSEWHERE, VENDOR_ERRORS, all_busy, mapped
from .layout import Command, Reply

_CLASSES: dict[str, Any] = {
    "redis": aredis.Connection,
    "rediss": aredis.SSLConnection,
    "unix": aredis.UnixDomainSocketConnection,
}


class Loops:
    """The connections of every event loop that used the backend.

    Args:
        address: where they lead.
        limit: how many there are at most in each loop.
        timeout: returns the seconds that an exchange may take; None: as long as it likes.
    """

    def __init__(self, address: Address, limit: int, timeout: Callable[[], float | None]) -> None:
        self._class = _CLASSES[address.scheme]
        self._arguments = {**connection_arguments(address), "retry": Retry(NoBackoff(), 0)}
        self._class(**self._arguments)  # an option that redis-py refuses should be refused now
        self._limit = limit
        self._timeout = timeout
        self._known: dict[asyncio.AbstractEventLoop, LoopConnections] = {}
        _all.add(self)

    async def exchange(self, commands: list[Command], ends: float | None, *, repeatable: bool) -> list[Reply]:
        """`Connections.exchange`, awaited, on the running loop's own connections."""
        loop = asyncio.get_running_loop()
        connections = self._known.get(loop)
        if connections is None:
            connections = await self._join(loop)
        try:
            async with asyncio.timeout(None if ends is None else ends - monotonic()):
                return await connections.exchange(commands, repeatable=repeatable)
        except VENDOR_ERRORS as error:
            waited_in_vain = isinstance(error, TimeoutError) and connections.all_busy
            failure = all_busy(self._limit) if waited_in_vain else mapped(error)
        raise failure  # outside of `except`: what redis-py raised may quote a password

    async def aclose(self) -> None:
        """Close the running loop's connections, and have the other loops close theirs."""
        connections = self._known.pop(asyncio.get_running_loop(), None)
        if connections is not None:
            await connections.aclose()
        self.close()

    def close(self) -> None:
        """Have each loop close its connections when it runs next."""
        while self._known:
            loop, connections = self._known.popitem()
            with suppress(RuntimeError):  # a loop that is closed has closed them
                loop.call_soon_threadsafe(connections.close_soon)

    async def _join(self, loop: asyncio.AbstractEventLoop) -> LoopConnections:
        for other in [other for other in list(self._known) if other.is_closed()]:
            self._known.pop(other, None)
        connections = self._known[loop] = LoopConnections(self._open, self._limit)
        await connections.outlive_no_loop()
        return connections

    async def _open(self) -> Any:
        timeout = self._timeout()
        connection = self._class(**self._arguments, socket_timeout=None, socket_connect_timeout=None)
        try:
            async with asyncio.timeout(None if timeout is None else max(timeout, CONNECT_SECONDS)):
                await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection


class LoopConnections:
    """The connections of one event loop; used in that loop only.

    Args:
        open_connection: makes one that is connected.
        limit: how many there are at most.
    """

    def __init__(self, open_connection: Callable[[], Any], limit: int) -> None:
        self._open = open_connection
        self._limit = limit
        self._idle: list[Any] = []
        self._slots = asyncio.Semaphore(limit)
        self._openers = asyncio.Semaphore(OPENERS)
        self._background: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._finalizer = self._close_with_loop()

    @property
    def all_busy(self) -> bool:
        """Whether the next exchange has to wait for one that is under way."""
        return self._slots.locked()

    async def outlive_no_loop(self) -> None:
        """Have the running loop close the connections when it shuts down."""
        await anext(self._finalizer)

    async def exchange(self, commands: list[Command], *, repeatable: bool) -> list[Reply]:
        """Send the commands and return their replies; redis-py's exceptions pass through."""
        await self._slots.acquire()
        connection = None
        try:
            replies = None
            if self._idle:
                connection = self._idle.pop()
                if repeatable or await _is_alive(connection):
                    try:
                        replies = await _talk(connection, commands)
                    except RedisConnectionError:
                        if not repeatable:
                            raise
            if replies is None:
                if connection is not None:
                    await connection.disconnect(nowait=True)
                    connection = None
                    await self._drop_idle()  # the server restarted, most likely
                connection = await self._open_one()
                replies = await _talk(connection, commands)
        except BaseException:
            # A cancelled exchange leaves its reply in the socket: nobody may find it there.
            if connection is not None:
                await connection.disconnect(nowait=True)
            self._slots.release()
            raise
        self._idle.append(connection)
        self._slots.release()
        if self._closed:
            await self._drop_idle()
        return replies

    def close_soon(self) -> None:
        """Close from a callback of the loop."""
        self._keep(asyncio.get_running_loop().create_task(self.aclose()))

    async def aclose(self) -> None:
        """Close what is idle now, and what is in use when it is given back."""
        self._closed = True
        await self._finalizer.aclose()
        await self._drop_idle()

    async def _close_with_loop(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self._drop_idle()

    async def _drop_idle(self) -> None:
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)

    async def _open_one(self) -> Any:
        await self._openers.acquire()
        opening = self._keep(asyncio.get_running_loop().create_task(self._open()))
        opening.add_done_callback(lambda _: self._openers.release())
        try:
            return await asyncio.shield(opening)
        except BaseException:
            opening.add_done_callback(self._adopt)  # the caller left; its connection may serve the next one
            raise

    def _adopt(self, opening: asyncio.Task[Any]) -> None:
        if opening.cancelled() or opening.exception() is not None:
            return
        self._idle.append(opening.result())
        if self._closed or len(self._idle) > self._limit:
            self._keep(asyncio.get_running_loop().create_task(self._drop_idle()))

    def _keep(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        self._background.add(task)  # a loop holds its tasks weakly
        task.add_done_callback(self._background.discard)
        return task


async def _talk(connection: Any, commands: list[Command]) -> list[Reply]:
    packed = connection.pack_command(*commands[0]) if len(commands) == 1 else connection.pack_commands(commands)
    await connection.send_packed_command(packed, check_health=False)
    return [await _read(connection) for _ in commands]


async def _read(connection: Any) -> Reply:
    try:
        return await connection.read_response()
    except LEADS_ELSEWHERE:
        raise
    except ResponseError as error:
        return mapped(error)


async def _is_alive(connection: Any) -> bool:
    """Whether the idle connection is open and silent, as far as this side knows."""
    probe = getattr(connection, "can_read", None) or connection.can_read_destructive  # before redis-py 8
    try:
        return not await probe()
    except (RedisConnectionError, OSError):
        return False


_all: weakref.WeakSet[Loops] = weakref.WeakSet()
_inherited: list[dict[asyncio.AbstractEventLoop, LoopConnections]] = []


def _after_fork() -> None:
    # Kept, not closed: closing a transport would take its socket out of the poll set that the parent's loop uses.
    for loops in list(_all):
        _inherited.append(loops._known)
        loops._known = {}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
