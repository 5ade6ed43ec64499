"""A connection of an event loop, with one timer that ends whatever takes too long on it.

`asyncio.timeout` for each exchange costs a tenth of a GET. Here a timer outlives the exchanges: when it fires it looks
at the exchange under way, if any, and aborts the transport or is set again.
"""

from __future__ import annotations

import asyncio
import math
from time import monotonic
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from .errors import LEADS_ELSEWHERE, mapped
from .layout import Command, Reply, pack

_EARLY = 0.001
"""Seconds by which a loop's timer may fire early."""


class Link:
    """A connection; used by one exchange at a time, in one loop.

    Args:
        connection: redis-py's, connected, without timeouts of its own.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._ends: float | None = None  # of the exchange under way
        self._timer: asyncio.TimerHandle | None = None
        self._fires = math.inf
        self._overdue = False

    async def talk(self, commands: list[Command], ends: float | None) -> list[Reply]:
        """Send the commands together and return their replies; error replies are returned as errors.

        After an exception the connection may only be closed.

        Raises:
            TimeoutError: `ends` (monotonic seconds) came first.
        """
        connection = self._connection
        if ends is not None:
            self._ends = ends
            if ends < self._fires:
                self._arm(ends)
        try:
            await connection.send_packed_command([pack(commands)], check_health=False)
            replies = [await self._read() for _ in commands]
        except RedisConnectionError:
            if not self._overdue:
                raise
        else:
            self._ends = None
            if not self._overdue:
                return replies
        raise TimeoutError

    async def is_alive(self) -> bool:
        """Whether the idle connection is open and silent, as far as this side knows."""
        connection = self._connection
        probe = getattr(connection, "can_read", None) or connection.can_read_destructive  # before redis-py 8
        try:
            return not await probe()
        except (RedisConnectionError, OSError):
            return False

    async def close(self) -> None:
        """Close the connection without waiting for the peer."""
        if self._timer is not None:
            self._timer.cancel()
        await self._connection.disconnect(nowait=True)

    async def _read(self) -> Reply:
        try:
            return await self._connection.read_response()
        except LEADS_ELSEWHERE:
            raise
        except ResponseError as error:
            return mapped(error)

    def _arm(self, ends: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires = ends
        self._timer = self._loop.call_later(ends - monotonic(), self._fire)

    def _fire(self) -> None:
        self._timer, self._fires = None, math.inf
        if self._ends is None:
            return
        if self._ends - monotonic() > _EARLY:
            self._arm(self._ends)
        else:
            self._overdue = True
            self._connection._writer.transport.abort()  # wakes the reader with a broken connection
