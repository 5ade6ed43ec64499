"""redis-py's connections on sockets whose every wait ends at a deadline.

A socket's own timeout starts again with each byte that arrives; a peer that drips can hold a caller for ever.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - connecting imports it in a thread; a fork at that moment left the child without it
import select
from time import monotonic
from typing import Any

import redis


class TimedSocket:
    """A socket whose every wait ends at `ends`, even if the peer sends a byte now and then.

    Args:
        sock: the socket that does the work.
        ends: monotonic seconds; None: no end. Set it before each exchange.
    """

    def __init__(self, sock: Any, ends: float | None) -> None:
        self._sock = sock
        self._timeout: float | None = sock.gettimeout()
        self.ends = ends

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def settimeout(self, timeout: float | None) -> None:
        """Set the timeout of one wait, in seconds."""
        self._timeout = timeout
        self._sock.settimeout(timeout)

    def recv(self, *args: Any) -> bytes:
        """Receive what is there, waiting until `ends` at most."""
        self._arm()
        return self._sock.recv(*args)  # type: ignore[no-any-return]

    def recv_into(self, *args: Any) -> int:
        """Receive into a buffer, waiting until `ends` at most (hiredis reads this way)."""
        self._arm()
        return self._sock.recv_into(*args)  # type: ignore[no-any-return]

    def sendall(self, data: Any) -> None:
        """Send all of the data, until `ends` at most."""
        self._arm()
        self._sock.sendall(data)

    def _arm(self) -> None:
        left = None if self.ends is None else self.ends - monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        # Setting it is a system call: a timeout that is right within a tenth is left alone.
        if left is None or self._timeout is None or not 0.9 * self._timeout <= left <= 1.1 * self._timeout:
            self.settimeout(left)


def is_silent(sock: Any) -> bool:
    """Whether an idle socket is open, as far as this side knows, and nothing has arrived on it."""
    try:
        if hasattr(select, "poll"):  # not on Windows; select() takes no descriptors over 1,023 elsewhere
            poller = select.poll()
            poller.register(sock, select.POLLIN)
            return not poller.poll(0)
        return not select.select([sock], [], [], 0)[0]
    except (OSError, ValueError):  # it is closed
        return False


class _Timed:
    ends: float | None = None
    wire: TimedSocket

    def _connect(self) -> Any:  # where redis-py makes the socket, in all its releases
        self.wire = TimedSocket(super()._connect(), self.ends)  # type: ignore[misc]
        return self.wire


class TcpConnection(_Timed, redis.Connection):
    """`redis://`."""


class TlsConnection(_Timed, redis.SSLConnection):
    """`rediss://`."""


class UnixConnection(_Timed, redis.UnixDomainSocketConnection):
    """`unix://`."""
