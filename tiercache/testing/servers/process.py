"""Server processes: started with what they need, waited for, and gone when the block or its process ends."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from .ports import PortTaken

START_SECONDS = 30.0
_TRIES = 3

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

T = TypeVar("T")
Directory = str | os.PathLike[str] | None


class ServerUnavailable(RuntimeError):
    """No such server can run here: the message says why and what to install."""


@dataclass(frozen=True, slots=True)
class Launch(Generic[T]):
    """How to start a server; `ready` gets its pid and returns None until it answers."""

    command: Sequence[str]
    ready: Callable[[int], T | None] = field(repr=False)  # it holds the secret key
    env: Mapping[str, str] | None = field(default=None, repr=False)
    sockets: Sequence[str] = ()  # patterns of what it leaves in /tmp


@contextmanager
def first_of(servers: Sequence[AbstractContextManager[T]], otherwise: str) -> Iterator[T]:
    """Enter the first server that runs here.

    Raises:
        ServerUnavailable: none does; `otherwise` says what to install, then come the reasons of each.
    """
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
def serving(name: str, prepare: Callable[[Path], Launch[T]]) -> Iterator[T]:
    """Run the server until the block ends; one that exits early (a stolen port) gets other ports.

    Args:
        name: for the message when it does not start.
        prepare: gets a directory of the server's own, which goes with it.

    Raises:
        ServerUnavailable: it did not start; the message ends with the end of its log.
    """
    deadline = time.monotonic() + START_SECONDS
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


def data_directory(directory: Directory, work: Path) -> str:
    """Return where a server keeps its data: `directory`, or a place that goes with the server."""
    path = Path(directory).absolute() if directory else work / "data"
    path.mkdir(parents=True, exist_ok=True)
    return str(path)


def environment_without(*prefixes: str) -> dict[str, str]:
    """Return our environment without the variables that begin so."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


@contextmanager
def _kept(launch: Launch[T], log: Path) -> Iterator[subprocess.Popen[bytes]]:
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


def _wait(keeper: subprocess.Popen[bytes], ready: Callable[[int], T | None], deadline: float) -> T | None:
    assert keeper.stdout is not None
    pid = keeper.stdout.readline()
    while pid and keeper.poll() is None and time.monotonic() < deadline:
        try:
            if (server := ready(int(pid))) is not None:
                return server
        except PortTaken:  # some servers go on without it
            return None
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.02)
    return None
