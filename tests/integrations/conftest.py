"""What the tests of integrations share: nothing of the libraries reaches out, and providers on loopback that count."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integrations.openai_server import OpenAIServer
from tests.provider import FakeProvider


@pytest.fixture(autouse=True)
def _no_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.setenv(name, "false")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_BASE", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """A provider on loopback; `tests/provider/__init__.py` says what it can do."""
    with FakeProvider() as fake:
        yield fake


@pytest.fixture
def openai_server() -> Iterator[OpenAIServer]:
    server = OpenAIServer()
    with server.web.running():
        yield server
