"""Servers for development: `make servers` runs Valkey, SeaweedFS, fake-gcs-server and Azurite until Ctrl-C.

Each holds an empty bucket, in memory or in files that go with it. What to export, so that the backends' `from_env` find
them, is printed and written to `.servers/env`, as long as they run:

    source .servers/env

With Docker instead: `docker compose -f infra/local/compose.yaml up --detach`, then this program with
`--at infra/local/compose.env` makes the buckets there.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from buckets import FAULTS, make_buckets
from rich import box
from rich.console import Console
from rich.table import Table

from tiercache.testing import servers

INSTALLED = Path(__file__).parent.parent.parent / ".servers"
ENV_FILE = INSTALLED / "env"
BUCKET = "tiercache"
LOOK_SECONDS = 1.0
PREPARE_SECONDS = 30.0
STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@dataclass(frozen=True)
class Running:
    """A server, and what to export to use it."""

    protocol: str
    kind: str
    address: str
    pid: int
    variables: Mapping[str, str]


def start_redis(stack: ExitStack) -> Running:
    """Run Valkey or Redis."""
    server = stack.enter_context(servers.redis_server())
    return Running("Redis", server.kind, server.url, server.pid, {"TIERCACHE_REDIS_URL": server.url})


def start_s3(stack: ExitStack) -> Running:
    """Run SeaweedFS, else moto's server."""
    server = stack.enter_context(servers.s3_server())
    variables = {
        "TIERCACHE_S3_BUCKET": BUCKET,
        "AWS_ENDPOINT_URL_S3": server.endpoint_url,
        "AWS_REGION": server.region,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_SESSION_TOKEN": "",  # one of the user's own does not go with these keys
    }
    return Running("S3", server.kind, server.endpoint_url, server.pid, variables)


def start_gcs(stack: ExitStack) -> Running:
    """Run fake-gcs-server, else gcp-storage-emulator."""
    server = stack.enter_context(servers.gcs_server())
    variables = {
        "TIERCACHE_GCS_BUCKET": BUCKET,
        "STORAGE_EMULATOR_HOST": server.endpoint_url,
        "GOOGLE_CLOUD_PROJECT": server.project,
    }
    return Running("GCS", server.kind, server.endpoint_url, server.pid, variables)


def start_azure(stack: ExitStack) -> Running:
    """Run Azurite."""
    server = stack.enter_context(servers.azurite_server())
    variables = {
        "TIERCACHE_AZURE_CONTAINER": BUCKET,
        "AZURE_STORAGE_CONNECTION_STRING": server.connection_string,
    }
    return Running("Azure Blob", server.kind, server.account_url, server.pid, variables)


START: Sequence[Callable[[ExitStack], Running]] = (start_redis, start_s3, start_gcs, start_azure)


def main(arguments: Sequence[str]) -> int:
    """Run the servers until a signal comes; return 1 when none runs."""
    parser = argparse.ArgumentParser(prog="make servers", description="servers for development, until Ctrl-C")
    parser.add_argument("--env-file", type=Path, default=ENV_FILE, help="where to write what to export")
    parser.add_argument("--at", type=Path, metavar="FILE", help="start nothing: make the buckets that FILE names")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TIERCACHE_SERVERS_DIR", str(INSTALLED))
    os.environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    console = Console(highlight=False, soft_wrap=True, markup=False)
    if options.at:
        return prepare(console, options.at)
    for number in STOPPING:
        signal.signal(number, interrupt)
    try:
        with ExitStack() as stack:
            running = start_all(console, stack)
            variables = {name: value for server in running for name, value in server.variables.items()}
            make_buckets(variables)
            exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
            if running:
                write_environment(options.env_file, exports)
                stack.callback(remove_environment, options.env_file, exports)
                show(console, running, exports, options.env_file)
            watch(console, running)
            console.print("no server runs; make install-servers gets what is missing", style="red")
            return 1
    except KeyboardInterrupt:
        console.print("\nthe servers are stopped")
        return 0


def interrupt(_number: int, _frame: object) -> NoReturn:
    """Leave the block that holds the servers; further signals must not disturb that they are stopped."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def start_all(console: Console, stack: ExitStack) -> list[Running]:
    """Start what can be started; say why the rest cannot."""
    running: list[Running] = []
    for start in START:
        try:
            with console.status("starting servers"):
                running.append(start(stack))
        except servers.ServerUnavailable as reason:
            console.print(str(reason), style="yellow")
    return running


def show(console: Console, running: Sequence[Running], exports: str, env_file: Path) -> None:
    """Print a row for each server, and what to export."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("for", "server", "address"):
        table.add_column(heading, overflow="fold")
    for server in running:
        table.add_row(server.protocol, server.kind, server.address)
    console.print(table)
    console.print(exports)
    console.print(f"In another shell: source {env_file}")
    console.print(f"Each object store has an empty bucket, {BUCKET!r}. Ctrl-C stops them all; nothing is kept.")


def watch(console: Console, running: Sequence[Running]) -> None:
    """Return when the last server has ended; say so of each."""
    alive = list(running)
    while alive:
        time.sleep(LOOK_SECONDS)
        for server in [server for server in alive if not runs(server.pid)]:
            alive.remove(server)
            console.print(f"{server.kind} has ended", style="red")


def prepare(console: Console, path: Path) -> int:
    """Make the buckets that the file names; return 1 when their servers do not answer for half a minute."""
    variables, deadline = read_environment(path), time.monotonic() + PREPARE_SECONDS
    while True:
        try:
            make_buckets(variables)
        except FAULTS as fault:
            if time.monotonic() > deadline:
                kind = type(fault).__name__
                console.print(f"a server of {path} does not answer ({kind}): start them first, or look at their logs")
                return 1
            time.sleep(LOOK_SECONDS)
        else:
            console.print(f"the buckets are there; to use them: set -a; source {path}; set +a")
            return 0


def runs(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def read_environment(path: Path) -> dict[str, str]:
    """Return the variables of a file of `NAME=value` lines."""
    words = [word for line in path.read_text("utf-8").splitlines() for word in shlex.split(line, comments=True)]
    return dict(word.split("=", 1) for word in words if "=" in word)


def write_environment(path: Path, text: str) -> None:
    """Write the file in one step, readable by its owner alone: there are keys in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        part.unlink()
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)


def remove_environment(path: Path, text: str) -> None:
    """Remove the file, if no other `make servers` has written it anew."""
    with suppress(FileNotFoundError):
        if path.read_text("utf-8") == text:
            path.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
