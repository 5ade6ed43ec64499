"""Loopback ports: free ones, who listens on one, and what it answers."""

from __future__ import annotations

import http.client
import socket
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import NamedTuple

HOST = "127.0.0.1"
_LISTEN = "0A"


class PortTaken(Exception):
    """Another process was quicker: the server cannot have this port, even if it has not said so."""


class Answer(NamedTuple):
    """What a server says to a GET: status, `Server` header, body."""

    status: int
    server: str
    body: bytes


def free_ports(count: int, twin: int = 0) -> list[int]:
    """Return loopback ports that nobody has; the port `twin` above each is free too."""
    ports: list[int] = []
    with ExitStack() as held:  # all at once: a closed port can come again
        while len(ports) < count:
            above = held.enter_context(socket.socket())
            above.bind((HOST, 0))
            port = above.getsockname()[1] - twin
            if twin:
                try:
                    held.enter_context(socket.socket()).bind((HOST, port))
                except (OSError, OverflowError):
                    continue
            ports.append(port)
    return ports


def ask(pid: int, port: int, path: str) -> Answer:
    """Return the answer of the process `pid` to `GET path`.

    Raises:
        PortTaken: another process listens on the port.
        OSError, http.client.HTTPException: it does not answer (yet).
    """
    if listeners := _listeners(port):
        _check_owner(pid, port, listeners)
    with closing(http.client.HTTPConnection(HOST, port, timeout=1)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return Answer(response.status, response.getheader("Server", ""), response.read(65_536))


def _listeners(port: int) -> set[str]:
    """Return the sockets that listen on the port, as descriptors name them; none where the system does not tell."""
    try:
        table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return set()
    rows = [line.split() for line in table]
    return {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == _LISTEN}


def _check_owner(pid: int, port: int, listeners: set[str]) -> None:
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it ended, which its keeper will tell
        return
    for descriptor in descriptors:
        with suppress(OSError):  # closed meanwhile
            if str(descriptor.readlink()) in listeners:
                return
    raise PortTaken(f"another process listens on port {port}")
