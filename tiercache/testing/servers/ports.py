"""Loopback ports: free ones, who listens on one, and what it answers."""

from __future__ import annotations

import http.client
import socket
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import NamedTuple

HOST = "127.0.0.1"
_LISTEN = "0A"


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


def ask(pid: int, port: int, path: str) -> Answer | None:
    """Return the answer of the process `pid` to `GET path`; None when another process has the port.

    Raises:
        OSError, http.client.HTTPException: it does not answer (yet).
    """
    with closing(http.client.HTTPConnection(HOST, port, timeout=1)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        answer = Answer(response.status, response.getheader("Server", ""), response.read(65_536))
    return answer if listens(pid, port) else None


def listens(pid: int, port: int) -> bool:
    """Whether the process listens on the loopback port; True also where the system does not tell."""
    try:
        table = Path("/proc/net/tcp").read_text().splitlines()[1:]
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return True
    rows = [line.split() for line in table]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == _LISTEN}
    for descriptor in descriptors:
        with suppress(OSError):  # closed meanwhile
            if str(descriptor.readlink()) in inodes:
                return True
    return False
