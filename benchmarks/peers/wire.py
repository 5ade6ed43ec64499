"""Wires that fail: a port that refuses, a server that never answers, a wire that can be cut and held."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

HOST = "127.0.0.1"


def refused_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        return int(taken.getsockname()[1])


class _Listener:
    def __init__(self) -> None:
        self._socket = socket.create_server((HOST, 0), backlog=128)
        self.url = f"redis://{HOST}:{self._socket.getsockname()[1]}/0"
        _in_thread(self._accept)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._serve(self._socket.accept()[0])

    def _serve(self, peer: socket.socket) -> None:
        raise NotImplementedError


class BlackHole(_Listener):
    """Accepts connections, reads, and never says a word."""

    def _serve(self, peer: socket.socket) -> None:
        _in_thread(lambda: _drain(peer))


class Proxy(_Listener):
    """A wire to a server: `cut` ends its connections and takes no new ones until `mend`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or HOST, parts.port or 6379)
        self._whole = True
        self._links: list[socket.socket] = []
        self._hold = False
        self.held = threading.Event()
        self._go_on = threading.Event()
        super().__init__()
        self.url = self.url.removesuffix("/0") + (parts.path or "/0")

    def cut(self) -> None:
        """End all connections, and end new ones at once."""
        self._whole = False
        links, self._links = self._links, []
        for link in links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Take connections again."""
        self._whole = True

    def hold_next_get(self) -> None:
        """Keep back the answer of the next GET; `held` is set when it is on its way."""
        self._go_on.clear()
        self.held.clear()
        self._hold = True

    def go_on(self) -> None:
        """Let the answer through."""
        self._hold = False
        self._go_on.set()

    def _serve(self, peer: socket.socket) -> None:
        if not self._whole:
            peer.close()
            return
        server = socket.create_connection(self._target, timeout=5)
        server.settimeout(None)
        self._links += [peer, server]
        waiting = threading.Event()  # this connection's next answer is kept back

        def request(data: bytes) -> None:
            if self._hold and re.search(rb"\r\nM?GET\r\n", data, re.IGNORECASE):
                self._hold = False
                waiting.set()

        def answer(data: bytes) -> None:
            if waiting.is_set():
                waiting.clear()
                self.held.set()
                self._go_on.wait(30)

        _in_thread(lambda: _pump(peer, server, request))
        _in_thread(lambda: _pump(server, peer, answer))


def _pump(source: socket.socket, target: socket.socket, look: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            look(data)
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def _drain(peer: socket.socket) -> None:
    with peer, contextlib.suppress(OSError):
        while peer.recv(65536):
            pass


def _in_thread(target: Callable[[], Any]) -> None:
    threading.Thread(target=target, daemon=True).start()
