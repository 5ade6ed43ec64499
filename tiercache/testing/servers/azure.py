"""Azurite, the emulator of Azure Blob Storage, with an account of its own."""

from __future__ import annotations

import base64
import http
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from .places import in_project, on_path
from .ports import HOST, ask, free_ports
from .process import Launch, environment_without, first_of, serving

_OPTIONS = ["--skipApiVersionCheck", "--inMemoryPersistence", "--disableTelemetry", "--silent"]
_LACKING = "no Azurite runs here: get Node.js with npm, then npm install --prefix .servers azurite"


@dataclass(frozen=True, slots=True)
class AzureServer:
    """A running blob endpoint with one account: `kind` is "azurite 3.35.0"."""

    account_url: str
    account_name: str
    account_key: str = field(repr=False)
    connection_string: str = field(repr=False)
    kind: str
    pid: int


@contextmanager
def azurite_server() -> Iterator[AzureServer]:
    """Run Azurite, in memory, with one account of random name and key (not the well-known one).

    It is looked for in the project's `.servers/node_modules`, then as `azurite-blob` on PATH.

    Raises:
        ServerUnavailable: it or Node.js is not installed, or it does not start.
    """
    found = [serving(command[-1], partial(_azurite, command)) for command in azurite_commands()]
    with first_of(found, _LACKING) as server:
        yield server


def azurite_commands() -> list[list[str]]:
    """Return what may run, the best first."""
    local = in_project("node_modules/azurite/dist/src/blob/main.js")
    commands = [[node, main] for node in on_path("node") for main in local]
    return commands + [[binary] for binary in on_path("azurite-blob")]


def _azurite(command: list[str], work: Path) -> Launch[AzureServer]:
    (port,) = free_ports(1)
    name = f"t{secrets.token_hex(8)}"
    key = base64.b64encode(secrets.token_bytes(64)).decode()
    # AZURITE_DB would make it keep its data in a database. By variable, as `ps` shows arguments.
    env = environment_without("AZURITE_") | {"AZURITE_ACCOUNTS": f"{name}:{key}"}
    return Launch(
        [*command, "--blobHost", HOST, "--blobPort", str(port), *_OPTIONS], partial(_ready, port, name, key), env=env
    )


def _ready(port: int, name: str, key: str, pid: int) -> AzureServer | None:
    answer = ask(pid, port, "/")
    if answer.status != http.HTTPStatus.BAD_REQUEST or not answer.server.startswith("Azurite-Blob/"):
        return None
    url = f"http://{HOST}:{port}/{name}"
    connection = f"DefaultEndpointsProtocol=http;AccountName={name};AccountKey={key};BlobEndpoint={url};"
    return AzureServer(url, name, key, connection, f"azurite {answer.server.partition('/')[2]}", pid)
