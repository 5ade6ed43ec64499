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

from .errors import LEADS_ELSEWHERE, NotSent, answered
from .layout import Command, Reply, pack
from .timed import is_silent

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

    async def talk(
        self, commands: list[Command], ends: float | None, replies: list[Reply], *, probe: bool = False
    ) -> None:
        """Send the commands together and append their replies; error replies are appended as errors.

        After an exception the connection may only be closed.

        Args:
            commands: what to send.
            ends: monotonic seconds at which to give up.
            replies: where they go.
            probe: look first whether the connection is still open.

        Raises:
            TimeoutError: time was up.
            NotSent: the probe failed.
        """
        connection = self._connection
        if probe and not self._is_silent():
            raise NotSent
        if ends is not None:
            self._ends = ends
            if ends < self._fires:
                self._arm(ends)
        try:
            await connection.send_packed_command([pack(commands)], check_health=False)
            for _ in commands:
                replies.append(await self._read())
        except RedisConnectionError:
            if not self._overdue:
                raise
        else:
            self._ends = None
            if not self._overdue:
                return
        raise TimeoutError

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
            return answered(error)

    def _is_silent(self) -> bool:
        reader, writer = self._connection._reader, self._connection._writer
        return not reader.at_eof() and is_silent(writer.get_extra_info("socket"))

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
