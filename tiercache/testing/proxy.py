"""`FaultProxy`: a TCP proxy that makes a real server slow, broken or absent, and mends it again.

    with redis_server() as redis, FaultProxy(redis.url) as proxy:
        backend = RedisBackend(f"redis://{proxy.address}/0")
        with proxy.broken("black_hole"):
            ...

It runs in a daemon thread of its own, for sync and async code alike. TLS passes through as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from ..units import Duration, parse_duration

T = TypeVar("T")

_PIECE = 65536
_HOST = "127.0.0.1"


class NetworkFault(StrEnum):
    """What the network does. All but `REFUSE` and `RESET` take open connections as they find them.

    `LATENCY` holds each piece of the server's answer for `seconds` (0.1). `DRIP` sends it a byte every `seconds`
    (0.02). `RESET` answers a request with a reset (RST), `HALF_CLOSE` with the end of the stream (FIN) alone.
    `TRUNCATE` ends the stream after `size` bytes of each connection's answers (0), `CORRUPT` flips a bit of the byte
    `size` bytes before the end of each piece (1: the last). `BLACK_HOLE` accepts, takes every byte and passes none
    on. `STALL` does so until it is healed, and then passes on what it took, as a network does. `REFUSE` resets open
    connections and refuses new ones.
    """

    LATENCY = "latency"
    DRIP = "drip"
    RESET = "reset"
    HALF_CLOSE = "half_close"
    TRUNCATE = "truncate"
    CORRUPT = "corrupt"
    BLACK_HOLE = "black_hole"
    STALL = "stall"
    REFUSE = "refuse"


_SECONDS = {NetworkFault.LATENCY: 0.1, NetworkFault.DRIP: 0.02}
_SIZES = {NetworkFault.TRUNCATE: 0, NetworkFault.CORRUPT: 1}


class FaultProxy:
    """A proxy in front of one server, on a free port of this machine.

    Args:
        target: the server: `host:port`, or a URL with both.

    Attributes:
        address: `host:port` to connect to.
        host, port: its parts.
        connections: connections accepted so far.

    Use it as a context manager; at its end all sockets and its thread are gone. A target that does not answer is as
    a server that closes each connection.

    Raises:
        ConfigurationError: the target has no host or port.
    """

    def __init__(self, target: str) -> None:
        try:
            parts = urlsplit(target if "://" in target else f"//{target}")
            self._target = (parts.hostname, parts.port)
        except ValueError:
            self._target = (None, None)
        if None in self._target:
            raise ConfigurationError("the target must be 'host:port', or a URL that has both")
        self.host, self.port = _HOST, 0
        self.connections = 0
        self._fault: NetworkFault | None = None
        self._seconds = 0.0
        self._size = 0
        self._links: set[_Link] = set()

    @property
    def address(self) -> str:
        """`host:port` to connect to."""
        return f"{self.host}:{self.port}"

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return len(self._links)

    def inject(self, fault: NetworkFault | str, *, seconds: Duration | None = None, size: int | None = None) -> None:
        """Let the network do this from now on, in place of what it did before.

        Args:
            fault: a `NetworkFault` or its name.
            seconds: for `LATENCY` and `DRIP`.
            size: bytes, for `TRUNCATE` and `CORRUPT`.

        Raises:
            ConfigurationError: there is no such fault, or it takes no such option.
        """
        if fault not in set(NetworkFault):
            raise ConfigurationError(f"fault={str(fault)!r} must be one of {', '.join(NetworkFault)}")
        fault = NetworkFault(fault)
        if (seconds is not None and fault not in _SECONDS) or (size is not None and fault not in _SIZES):
            raise ConfigurationError(f"{fault} takes no such option; seconds: latency, drip; size: truncate, corrupt")
        wait = _SECONDS.get(fault, 0.0) if seconds is None else parse_duration(seconds, "seconds")
        self._run(self._become(fault, wait, _SIZES.get(fault, 0) if size is None else size))

    def heal(self) -> None:
        """Pass on every byte again. What `STALL` held arrives now."""
        self._run(self._become(None, 0.0, 0))

    @contextlib.contextmanager
    def broken(
        self, fault: NetworkFault | str, *, seconds: Duration | None = None, size: int | None = None
    ) -> Iterator[None]:
        """Let the network do this within the block."""
        self.inject(fault, seconds=seconds, size=size)
        try:
            yield
        finally:
            self.heal()

    def drop(self) -> None:
        """Reset all open connections, as a restart of the server does."""
        self._run(self._drop())

    def __enter__(self) -> FaultProxy:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tiercache-fault-proxy", daemon=True)
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *error: object) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __repr__(self) -> str:
        return f"<FaultProxy {self._fault or 'healthy'}>"

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _start(self) -> None:
        self._changed = asyncio.Event()
        self._bound = _bound(0)
        self.port = self._bound.getsockname()[1]
        await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=self._bound)

    async def _become(self, fault: NetworkFault | None, seconds: float, size: int) -> None:
        before, self._fault, self._seconds, self._size = self._fault, fault, seconds, size
        for link in self._links:
            link.answered = 0
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if fault is NetworkFault.REFUSE and before is not NetworkFault.REFUSE:
            self._server.close()
            self._bound = _bound(self.port)  # bound and not listening: the port stays ours, and refuses
            await self._drop()
        elif before is NetworkFault.REFUSE and fault is not NetworkFault.REFUSE:
            await self._listen()

    async def _drop(self) -> None:
        for link in list(self._links):
            link.reset()
        await asyncio.sleep(0)

    async def _end(self) -> None:
        self._server.close()
        self._bound.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # closed transports release their sockets in the loop's next rounds

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = _Link(writer)
        self._links.add(link)
        try:
            await self._pass_on(link, reader)
        except (OSError, asyncio.CancelledError):
            pass  # one end is gone, or the proxy ends
        finally:
            self._links.discard(link)
            link.close()

    async def _pass_on(self, link: _Link, reader: asyncio.StreamReader) -> None:
        await self._held()
        answers, link.server = await asyncio.open_connection(*self._target)
        asking = asyncio.create_task(self._ask(link, reader))
        try:
            while piece := await answers.read(_PIECE):
                await self._answer(link, piece)
        finally:
            asking.cancel()

    async def _ask(self, link: _Link, reader: asyncio.StreamReader) -> None:
        assert link.server is not None
        try:
            while piece := await reader.read(_PIECE):
                if await self._held():
                    link.server.write(piece)
                    await link.server.drain()
            await self._held()
            link.server.write_eof()
        except OSError:  # who goes with answers unread resets the connection: the server is to know
            link.reset()

    async def _held(self) -> bool:
        """Wait while nothing may pass, and return whether the piece at hand may."""
        lost = False
        while self._fault in (NetworkFault.STALL, NetworkFault.BLACK_HOLE):
            lost = lost or self._fault is NetworkFault.BLACK_HOLE
            await self._changed.wait()
        return not lost

    async def _answer(self, link: _Link, piece: bytes) -> None:
        if not await self._held():
            return
        match self._fault:
            case NetworkFault.LATENCY:
                await self._unless_changed(self._seconds)
            case NetworkFault.RESET:
                link.reset()
                return
            case NetworkFault.HALF_CLOSE:
                link.end()
                return
            case NetworkFault.TRUNCATE:
                left = max(0, self._size - link.answered)
                link.answered += len(piece)
                await link.send(piece[:left])
                if len(piece) > left or not left:
                    link.end()
                return
            case NetworkFault.CORRUPT:
                at = max(0, len(piece) - max(1, self._size))
                piece = piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]
            case NetworkFault.DRIP:
                piece = await self._drip(link, piece)
        await link.send(piece)

    async def _drip(self, link: _Link, piece: bytes) -> bytes:
        """Send a byte at a time while that is the fault; return the rest."""
        for sent in range(len(piece)):
            if self._fault is not NetworkFault.DRIP:
                return piece[sent:]
            await link.send(piece[sent : sent + 1])
            await self._unless_changed(self._seconds)
        return b""

    async def _unless_changed(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)


class _Link:
    """A client's connection and the one that was made to the server for it."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.answered = 0
        self.ended = False

    async def send(self, piece: bytes) -> None:
        if piece and not self.ended:
            self.client.write(piece)
            await self.client.drain()

    def end(self) -> None:
        """Say that nothing follows, and go on reading."""
        if not self.ended:
            self.ended = True
            self.client.write_eof()

    def reset(self) -> None:
        self.ended = True
        sock = self.client.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        for writer in (self.client, self.server):
            if writer is not None:
                writer.transport.abort()


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((_HOST, port))
    sock.setblocking(False)
    return sock
