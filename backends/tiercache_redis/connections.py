"""The connections of the synchronous face: a free list of redis-py's connections, last in, first out.

A connection on the list has no reply pending: whatever interrupts an exchange ends its connection, so nobody can read
another's answer. New connections are opened by a few daemon threads, because a name lookup knows no deadline; a caller
waits for them as long as it may, and the connection of a caller that left goes to the list.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from typing import Any

from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.retry import Retry

from tiercache.errors import CacheClosed
from tiercache.pool import DaemonPool

from .address import Address
from .errors import LEADS_ELSEWHERE, VENDOR_ERRORS, NotSent, all_busy, answered, mapped
from .layout import Command, Reply, pack
from .timed import TcpConnection, TlsConnection, UnixConnection, is_silent

CONNECT_SECONDS = 2.0
"""Seconds that opening a connection may go on in the background, if the backend's timeout is shorter (TLS takes
several round trips)."""
OPENERS = 8
"""Threads at most that open connections."""

CLASSES: dict[str, Any] = {"redis": TcpConnection, "rediss": TlsConnection, "unix": UnixConnection}
"""redis-py's connections, by the scheme of the URL."""


def connection_arguments(address: Address) -> dict[str, Any]:
    """Return what both faces give to redis-py's connection classes (replies stay bytes)."""
    # RESP2 needs no HELLO, which is a round trip less and serves proxies, too.
    arguments: dict[str, Any] = {"protocol": 2, **address.connection, "decode_responses": False}
    if address.scheme != "unix":
        arguments.setdefault("socket_keepalive", True)
    return arguments


def connecting_ends(timeout: float | None) -> float | None:
    """Return when a connection that is opened from now on must be there, in monotonic seconds; None: at any time."""
    return None if timeout is None else monotonic() + max(timeout, CONNECT_SECONDS)


def connected(kind: Any, arguments: Mapping[str, Any], ends: float | None) -> Any:
    """Return a connection of redis-py's class `kind`, connected before `ends`."""
    seconds = _left(ends)
    connection = kind(**arguments, socket_timeout=seconds, socket_connect_timeout=seconds)
    connection.ends = ends
    connection.connect()
    return connection


class Connections:
    """The connections of one process.

    Args:
        address: where they lead.
        limit: how many there are at most.
        timeout: returns the seconds that an exchange may take; None: as long as it likes.
    """

    def __init__(self, address: Address, limit: int, timeout: Callable[[], float | None]) -> None:
        self._class = CLASSES[address.scheme]
        self._arguments = {**connection_arguments(address), "retry": Retry(NoBackoff(), 0)}
        self._class(**self._arguments)  # an option that redis-py refuses should be refused now
        self._limit = limit
        self._timeout = timeout
        self._openers = DaemonPool(OPENERS, "tiercache-redis")
        self._closed = False
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._idle: list[Any] = []
        self._changed = threading.Condition()
        self._open = 0  # connections that exist or are being opened
        self._waiting = 0

    def exchange(self, commands: list[Command], ends: float | None, *, repeatable: bool) -> list[Reply]:
        """Send the commands together and return their replies, in order; error replies are returned as errors.

        When the connection breaks, or time is up, after the first reply, the missing replies are that error.

        Args:
            commands: what to send.
            ends: monotonic seconds at which to give up.
            repeatable: whether it does no harm to send them twice. Then an idle connection that turns out to be dead
                is replaced; otherwise it is looked at first.

        Raises:
            TiercacheError: no replies came, see `errors.mapped`; the commands may still take effect.
        """
        replies: list[Reply] = []
        try:
            self._exchange(commands, ends, repeatable, replies)
            return replies
        except VENDOR_ERRORS as error:
            failure = mapped(error)
        if replies:
            return replies + [failure] * (len(commands) - len(replies))
        raise failure  # outside of `except`: what redis-py raised may quote a password

    def open_apart(self) -> Any:
        """Return a new connection that counts for nothing here, in RESP2; whoever asked for it closes it."""
        return self._connect(protocol=2)

    def close(self) -> None:
        """Close the idle connections now, and those in use when they are given back."""
        self._closed = True
        self.drop_idle()
        self._openers.close()

    def _exchange(self, commands: list[Command], ends: float | None, repeatable: bool, replies: list[Reply]) -> None:
        connection = self._take(ends)
        try:
            if connection is not None:
                try:
                    talk(connection, commands, ends, replies, probe=not repeatable)
                except RedisConnectionError as error:
                    if replies or not (repeatable or isinstance(error, NotSent)):
                        raise
                    connection.disconnect()
                    connection = None
                    self.drop_idle()  # the server restarted, most likely
            if connection is None:
                connection = self._open_one(ends)
                talk(connection, commands, ends, replies)
        except BaseException:
            # An exchange that was interrupted leaves a reply in the socket: nobody may find it there.
            if connection is not None:
                connection.disconnect()
            self._forget(1)
            raise
        self._give(connection)

    def _take(self, ends: float | None) -> Any | None:
        """Return an idle connection, or None with the right to open one; wait while neither is to be had."""
        with suppress(IndexError):
            return self._idle.pop()
        with self._changed:
            self._waiting += 1
            try:
                while True:
                    if self._closed:
                        raise CacheClosed("this RedisBackend")
                    with suppress(IndexError):
                        return self._idle.pop()
                    if self._open < self._limit:
                        self._open += 1
                        return None
                    if not self._changed.wait(_left(ends)):
                        raise all_busy(self._limit)
            finally:
                self._waiting -= 1

    def _give(self, connection: Any) -> None:
        self._idle.append(connection)
        if self._waiting:
            with self._changed:
                self._changed.notify()
        if self._closed:
            self.drop_idle()

    def _forget(self, count: int) -> None:
        with self._changed:
            self._open -= count
            self._changed.notify(count)

    def drop_idle(self) -> None:
        """Close the connections that nobody uses."""
        with suppress(IndexError):
            while True:
                self._idle.pop().disconnect()
                self._forget(1)

    def _open_one(self, ends: float | None) -> Any:
        opening = self._openers.submit(self._connect)
        try:
            return opening.result(_left(ends))
        except BaseException:
            if not opening.cancel():
                with self._changed:
                    self._open += 1  # it goes on in the background, beside the caller's next attempt
                opening.add_done_callback(self._adopt)
            raise

    def _connect(self, **options: Any) -> Any:
        return connected(self._class, {**self._arguments, **options}, connecting_ends(self._timeout()))

    def _adopt(self, opening: Future[Any]) -> None:
        if opening.exception() is None:
            self._give(opening.result())
        else:
            self._forget(1)


def talk(
    connection: Any, commands: list[Command], ends: float | None, replies: list[Reply], *, probe: bool = False
) -> None:
    """Send the commands together and append their replies; after an exception the connection may only be closed."""
    connection.wire.ends = ends
    if probe and not is_silent(connection.wire):
        raise NotSent
    connection.send_packed_command([pack(commands)], check_health=False)
    for _ in commands:
        replies.append(_read(connection))


def _read(connection: Any) -> Reply:
    try:
        return connection.read_response()
    except LEADS_ELSEWHERE:
        raise
    except ResponseError as error:
        return answered(error)


def _left(ends: float | None) -> float | None:
    return None if ends is None else max(0.0, ends - monotonic())


_all: weakref.WeakSet[Connections] = weakref.WeakSet()


def _after_fork() -> None:
    for connections in list(_all):  # the sockets are the parent's; in the child they are only closed
        connections._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
