"""npm's `@copilotkit/aimock`, a mock provider that others made, where it is installed; our own fake where not."""

from __future__ import annotations

import http
import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.provider.journal import Request
from tests.provider.server import FakeProvider
from tiercache.testing.servers import ServerUnavailable
from tiercache.testing.servers.places import in_project, on_path
from tiercache.testing.servers.ports import HOST, ask, free_ports
from tiercache.testing.servers.process import Launch, environment_without, first_of, serving

_MAIN = "node_modules/@copilotkit/aimock/dist/cli.js"
_LACKING = "no aimock runs here: get Node.js with npm, then make install-servers"
_USAGE = {"prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30, "input_tokens": 21, "output_tokens": 9}
# Embeddings need no fixture: they are made from a hash of the text.
_FIXTURES = {
    "fixtures": [
        {
            "match": {"endpoint": "chat", "userMessage": "the capital of"},
            "response": {"content": "Paris, as the mock provider says.", "usage": _USAGE},
        },
        {"match": {"endpoint": "chat"}, "response": {"content": "The mock provider's answer.", "usage": _USAGE}},
    ]
}


@dataclass(frozen=True, slots=True)
class AIMock:
    """A running aimock: the part of `FakeProvider` that counts."""

    url: str
    pid: int

    @property
    def openai(self) -> str:
        return f"{self.url}/v1"

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Its journal, as it tells it."""
        with urllib.request.urlopen(f"{self.url}/__aimock/journal?limit=1000", timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)
            return found

    def calls(self, kind: str | None = None) -> int:
        """How many requests have arrived, of that kind (in the words of `FakeProvider`)."""
        kinds = [Request(entry["method"], entry["path"], {}, b"{}").kind for entry in self.requests]
        return len(kinds) if kind is None else kinds.count(kind)


@contextmanager
def mock_provider() -> Iterator[AIMock | FakeProvider]:
    """Run aimock, else the own fake: both have `url`, `openai` and `calls(kind)`."""
    with ExitStack() as stack:
        try:
            running: AIMock | FakeProvider = stack.enter_context(aimock())
        except ServerUnavailable:
            running = stack.enter_context(FakeProvider())
        yield running


@contextmanager
def aimock() -> Iterator[AIMock]:
    """Run aimock on a free loopback port.

    Raises:
        ServerUnavailable: it or Node.js is not installed, or it does not start.
    """
    commands = [[node, main] for node in on_path("node") for main in in_project(_MAIN)]
    with first_of([serving(command[-1], partial(_launch, command)) for command in commands], _LACKING) as server:
        yield server


def _launch(command: list[str], work: Path) -> Launch[AIMock]:
    (port,) = free_ports(1)
    fixtures = work / "fixtures.json"
    fixtures.write_text(json.dumps(_FIXTURES))
    options = ["--host", HOST, "--port", str(port), "--fixtures", str(fixtures), "--log-level", "warn"]
    return Launch(
        [*command, *options], partial(_ready, port), env=environment_without("AIMOCK_", "OPENAI_", "ANTHROPIC_")
    )


def _ready(port: int, pid: int) -> AIMock | None:
    answer = ask(pid, port, "/health")
    return AIMock(f"http://{HOST}:{port}", pid) if answer.status == http.HTTPStatus.OK else None
