"""The mock provider from npm answers the SDKs, and its journal counts; without it the own fake does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.provider import FakeProvider
from tests.provider.aimock import AIMock, aimock, mock_provider
from tiercache.testing.servers import ServerUnavailable

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def mock() -> Iterator[AIMock]:
    try:
        with aimock() as running:
            yield running
    except ServerUnavailable as unavailable:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have it: {unavailable}")
        pytest.skip(str(unavailable))


def test_it_answers_and_counts(mock: AIMock) -> None:
    with openai.OpenAI(base_url=mock.openai, api_key="sk-test") as client:
        chat = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
        with client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True) as stream:
            text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        response = client.responses.create(model="gpt-4o-mini", input="Anything")
        vectors = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    with anthropic.Anthropic(base_url=mock.url, api_key="sk-ant-test") as claude:
        message = claude.messages.create(model="claude-haiku-4-5", max_tokens=99, messages=MESSAGES)

    assert chat.choices[0].message.content == text == message.content[0].text == "Paris, as the mock provider says."
    assert (chat.usage.total_tokens, message.usage.output_tokens) == (30, 9)
    assert response.output_text == "The mock provider's answer."
    assert vectors.data[0].embedding != vectors.data[1].embedding
    kinds = ("chat", "response", "embedding", "message", "completion")
    assert [mock.calls(kind) for kind in kinds] == [2, 1, 1, 1, 0]
    assert mock.calls() == 5


def test_without_it_the_own_fake_takes_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("TIERCACHE_SERVERS_DIR", str(tmp_path))

    with mock_provider() as provider:
        assert isinstance(provider, FakeProvider)
