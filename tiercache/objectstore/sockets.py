"""Deadlines that hold: sockets that wait no longer than the operation of their thread has left.

An SDK's timeouts bound each wait for a byte, so a peer that sends one byte at a time keeps a call for ever. Here each
wait is bounded by what is left of the whole operation: name lookup, connecting, TLS, sending and receiving. All three
SDKs send through urllib3; `pool_classes` makes connection pools of it that connect through these sockets.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..pool import DaemonPool

if TYPE_CHECKING:  # urllib3 comes with each of the SDKs, and not with the core
    from urllib3.connection import HTTPConnection

UNBOUNDED_WAIT = 60.0
"""Seconds without a byte after which an operation without a deadline gives up (the SDK's default)."""

_resolvers = DaemonPool(4, "tiercache-dns")  # a name lookup has no timeout: it is waited for beside itself


class _Operation(threading.local):
    deadline: float | None = None


_operation = _Operation()


@contextmanager
def until(deadline: float | None) -> Iterator[None]:
    """Bound all socket work of this thread by a deadline (seconds of `time.monotonic`), or by none."""
    before, _operation.deadline = _operation.deadline, deadline
    try:
        yield
    finally:
        _operation.deadline = before


def left() -> float:
    """Return the seconds that the operation of this thread has left; `UNBOUNDED_WAIT` where it has no deadline.

    Raises:
        TimeoutError: its deadline passed.
    """
    if _operation.deadline is None:
        return UNBOUNDED_WAIT
    seconds = _operation.deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the operation's deadline passed")
    return seconds


class DeadlineSocket(socket.socket):
    """A TCP socket whose every wait is bounded by its thread's operation."""

    def recv_into(self, *args: Any, **options: Any) -> int:
        """Receive into a buffer; `http.client` reads this way."""
        self.settimeout(left())
        return super().recv_into(*args, **options)

    def recv(self, *args: Any) -> bytes:
        """Receive bytes."""
        self.settimeout(left())
        return super().recv(*args)

    def sendall(self, *args: Any) -> None:
        """Send all of the data; the timeout counts for the whole of it."""
        self.settimeout(left())
        super().sendall(*args)


class DeadlineTLSSocket(ssl.SSLSocket):
    """The same under TLS."""

    def do_handshake(self, block: bool = False) -> None:
        """Agree on keys."""
        self.settimeout(left())
        super().do_handshake(block)

    def read(self, *args: Any, **options: Any) -> Any:
        """Receive; `recv` and `recv_into` come here."""
        self.settimeout(left())
        return super().read(*args, **options)

    def send(self, *args: Any, **options: Any) -> int:
        """Send one record; `sendall` comes here."""
        self.settimeout(left())
        return super().send(*args, **options)


def _dial(connection: HTTPConnection) -> socket.socket:
    """Connect to the first of a host's addresses that answers, and report problems as urllib3 does."""
    from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

    host = connection._dns_host.strip("[]")
    lookup = _resolvers.submit(socket.getaddrinfo, host, connection.port, 0, socket.SOCK_STREAM)
    try:
        addresses = lookup.result(left())
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: no host can have this name
        raise NameResolutionError(host, connection, socket.gaierror(str(error))) from None
    except TimeoutError:
        lookup.cancel()  # if it did not begin yet: those of others wait behind it
        raise ConnectTimeoutError(connection, "looking up the host took too long") from None
    problem: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        sock = DeadlineSocket(family, kind, protocol)
        try:
            for option in connection.socket_options or ():
                sock.setsockopt(*option)
            sock.settimeout(left())
            sock.connect(address)
        except OSError as error:
            sock.close()
            problem = error
        else:
            return sock
    if isinstance(problem, TimeoutError):
        raise ConnectTimeoutError(connection, "connecting took too long") from None
    raise NewConnectionError(connection, f"cannot connect: {problem}") from None


def _tls_context(connection: Any) -> ssl.SSLContext:
    """What urllib3 makes for a connection that was given none; the files of certificates it adds itself."""
    from urllib3.util.ssl_ import create_urllib3_context, resolve_cert_reqs

    context = create_urllib3_context(cert_reqs=resolve_cert_reqs(connection.cert_reqs))
    if not (connection.ca_certs or connection.ca_cert_dir or connection.ca_cert_data):
        context.load_default_certs()
    return context


def pool_classes(http: type[Any], https: type[Any]) -> dict[str, type[Any]]:
    """Return connection pools, by scheme, whose every wait is bounded (`until`).

    Args:
        http: urllib3's `HTTPConnectionPool`, or a class of an SDK that extends it.
        https: the same for TLS.
    """

    plain_connection: Any = http.ConnectionCls
    tls_connection: Any = https.ConnectionCls

    class Connection(plain_connection):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            return _dial(self)

    class TLSConnection(tls_connection):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            return _dial(self)

        def connect(self) -> None:
            this: Any = self
            if this.ssl_context is None:  # requests gives none: urllib3 would make one, with sockets of its own
                this.ssl_context = _tls_context(self)
            this.ssl_context.sslsocket_class = DeadlineTLSSocket
            super().connect()

    plain = type("DeadlinePool", (http,), {"ConnectionCls": Connection})
    return {"http": plain, "https": type("DeadlineTLSPool", (https,), {"ConnectionCls": TLSConnection})}
