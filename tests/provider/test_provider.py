"""The fake provider is good enough for the real SDKs, counts, holds and misbehaves as told."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.provider import FakeProvider, Gate

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")
httpx2 = pytest.importorskip("httpx2")

ASKED: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Wie geht's?"}]}
CLAUDE: Any = {"model": "claude-sonnet-4", "max_tokens": 99, "messages": [{"role": "user", "content": "Wie geht's?"}]}


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


@pytest.fixture
def client(provider: FakeProvider) -> Iterator[Any]:
    with openai.OpenAI(base_url=provider.openai, api_key="sk-test", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(provider: FakeProvider) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=provider.url, api_key="sk-ant-test", max_retries=0) as client:
        yield client


# The real SDKs.


def test_chat(provider: FakeProvider, client: Any) -> None:
    answer = client.chat.completions.create(**ASKED, n=2)

    assert [choice.message.content for choice in answer.choices] == [provider.text(ASKED | {"n": 2})] * 2
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert provider.calls("chat") == provider.calls() == 1
    assert provider.requests[0].headers["authorization"] == "Bearer sk-test"


def test_chat_streamed(provider: FakeProvider, client: Any) -> None:
    with client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True}) as stream:
        chunks = list(stream)

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == provider.text(provider.requests[0])
    assert chunks[-1].usage.total_tokens > 0
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_completions(provider: FakeProvider, client: Any) -> None:
    body = {"model": "gpt-3.5-turbo-instruct", "prompt": "Es war"}
    whole = client.completions.create(**body)
    with client.completions.create(**body, stream=True) as stream:
        text = "".join(chunk.choices[0].text for chunk in stream)

    assert whole.choices[0].text == provider.text(body)
    assert text == provider.text(body | {"stream": True})
    assert provider.calls("completion") == 2


def test_responses(provider: FakeProvider, client: Any) -> None:
    body = {"model": "gpt-4o", "input": "Wie geht's?"}
    whole = client.responses.create(**body)
    with client.responses.create(**body, stream=True) as stream:
        events = list(stream)

    assert whole.output_text == provider.text(body)
    assert whole.status == "completed"
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == provider.text(body | {"stream": True})
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_messages(provider: FakeProvider, claude: Any) -> None:
    whole = claude.messages.create(**CLAUDE)
    with claude.messages.stream(**CLAUDE) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()

    assert whole.content[0].text == provider.text(CLAUDE)
    assert whole.stop_reason == final.stop_reason == "end_turn"
    assert text == final.content[0].text == provider.text(CLAUDE | {"stream": True})
    assert final.usage.output_tokens > 1
    assert provider.calls("message") == 2


async def test_the_asynchronous_clients(provider: FakeProvider) -> None:
    async with openai.AsyncOpenAI(base_url=provider.openai, api_key="sk-test") as client:
        whole = await client.chat.completions.create(**ASKED)
        stream = await client.chat.completions.create(**ASKED, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    async with anthropic.AsyncAnthropic(base_url=provider.url, api_key="sk-ant-test") as claude:
        message = await claude.messages.create(**CLAUDE)
        async with claude.messages.stream(**CLAUDE) as events:
            streamed = await events.get_final_text()

    assert whole.choices[0].message.content == provider.text(ASKED)
    assert text == provider.text(ASKED | {"stream": True})
    assert message.content[0].text == provider.text(CLAUDE)
    assert streamed == provider.text(CLAUDE | {"stream": True})


def test_azure(provider: FakeProvider) -> None:
    with openai.AzureOpenAI(azure_endpoint=provider.url, api_version="2024-10-21", api_key="key") as client:
        answer = client.chat.completions.create(**ASKED)
        client.embeddings.create(model="my-embeddings", input="a")

    assert answer.choices[0].message.content == provider.text(ASKED)
    chat, embedding = provider.requests
    assert (chat.kind, chat.deployment, chat.query) == ("chat", "gpt-4o", {"api-version": "2024-10-21"})
    assert (embedding.kind, embedding.deployment) == ("embedding", "my-embeddings")


def test_embeddings_in_both_encodings(provider: FakeProvider, client: Any) -> None:
    asked: Any = {"model": "text-embedding-3-small", "input": ["a", "b"]}
    base64 = client.embeddings.create(**asked)  # what the SDK asks for by itself
    floats = client.embeddings.create(**asked, encoding_format="float")
    short = client.embeddings.create(model="text-embedding-3-small", input=[[1, 2], [3]], dimensions=4)

    expected = [provider.vector(text, model="text-embedding-3-small") for text in ("a", "b")]
    assert [item.embedding for item in base64.data] == [item.embedding for item in floats.data] == expected
    assert [len(item.embedding) for item in short.data] == [4, 4]
    assert short.data[1].embedding == provider.vector([3], model="text-embedding-3-small", dimensions=4)
    assert provider.requests[0].json["encoding_format"] == "base64"
    assert provider.embedded == ["a", "b", "a", "b", [1, 2], [3]]


def test_files_and_models(provider: FakeProvider, client: Any) -> None:
    file = client.files.create(file=("a.txt", b"hello"), purpose="assistants")
    models = client.models.list()

    assert file.to_dict()["sha256"] == hashlib.sha256(provider.requests[0].body).hexdigest()
    assert provider.requests[0].headers["content-type"].startswith("multipart/form-data")
    assert [model.id for model in models] == ["fake-model"]
    assert provider.calls("other") == 2


def test_a_chunked_request_body_arrives_whole(provider: FakeProvider) -> None:
    with httpx2.Client() as http:
        echo = http.post(f"{provider.url}/elsewhere", content=iter([b"one", b"two"])).json()

    assert echo["sha256"] == hashlib.sha256(b"onetwo").hexdigest()


def test_a_websocket_is_echoed(provider: FakeProvider) -> None:
    with socket.create_connection(("127.0.0.1", provider.port)) as client:
        client.sendall(b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n")
        with client.makefile("rb") as stream:
            head = [stream.readline() for _ in range(5)]
            client.sendall(b"frames")
            assert stream.read(6) == b"frames"

    assert head[0].startswith(b"HTTP/1.1 101")


def test_answers_tell_requests_apart(provider: FakeProvider, client: Any) -> None:
    first, again = client.chat.completions.create(**ASKED), client.chat.completions.create(**ASKED)
    other = client.chat.completions.create(**ASKED, seed=1)

    text = first.choices[0].message.content
    assert again.choices[0].message.content == text != other.choices[0].message.content
    assert again.id != first.id


# Gates and chunks.


def test_a_gate_shows_that_the_first_token_arrives_before_the_last_is_sent(provider: FakeProvider, client: Any) -> None:
    gate = provider.hold(after=2)
    with client.chat.completions.create(**ASKED, stream=True) as stream:
        iterator = iter(stream)
        next(iterator)
        assert next(iterator).choices[0].delta.content == "Grüße"
        assert gate.reached.wait(60)
        assert provider.requests[0].chunks_sent == 2
        gate.open()
        assert list(iterator)[-1].choices[0].finish_reason == "stop"

    assert provider.requests[0].done.wait(60)


def test_a_gate_before_the_status_line_holds_the_whole_answer(provider: FakeProvider, client: Any) -> None:
    gate = provider.hold()
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(client.chat.completions.create(**ASKED)))
    thread.start()
    provider.wait_for(1, "chat")
    assert gate.reached.wait(60)
    assert answers == []
    gate.open()
    thread.join(60)

    assert len(answers) == 1


def chunks_of(provider: FakeProvider, **body: Any) -> list[bytes]:
    with httpx2.Client() as http, http.stream("POST", f"{provider.openai}/chat/completions", json=ASKED | body) as got:
        return list(got.iter_raw())


def test_an_event_is_a_chunk(provider: FakeProvider) -> None:
    chunks = chunks_of(provider, stream=True)

    assert all(chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") for chunk in chunks)
    assert chunks[-1] == b"data: [DONE]\n\n"


def test_chunks_of_any_length(provider: FakeProvider) -> None:
    provider.next(chunks=7)
    provider.next(chunks=[1, 2])

    sevens, listed = chunks_of(provider, stream=True), chunks_of(provider, stream=True)
    assert {len(chunk) for chunk in sevens[:-1]} == {7}
    assert [len(chunk) for chunk in listed[:2]] == [1, 2]


# Misbehaviour.


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
    ],
)
def test_errors_are_the_sdks_own(provider: FakeProvider, client: Any, claude: Any, status: int, error: str) -> None:
    provider.next(status=status, times=2, retry_after=3)

    with pytest.raises(getattr(openai, error)) as raised:
        client.chat.completions.create(**ASKED)
    with pytest.raises(getattr(anthropic, error)):
        claude.messages.create(**CLAUDE)
    assert raised.value.response.headers["retry-after"] == "3"
    assert client.chat.completions.create(**ASKED).choices


def test_an_error_inside(provider: FakeProvider, client: Any, claude: Any) -> None:
    provider.always(error=True)

    assert client.chat.completions.create(**ASKED).choices is None
    with pytest.raises(openai.APIError), client.chat.completions.create(**ASKED, stream=True) as stream:
        list(stream)
    with client.responses.create(model="m", input="a", stream=True) as stream:
        assert list(stream)[-1].type == "error"  # which the SDK hands on as an event
    with pytest.raises(anthropic.APIStatusError), claude.messages.create(**CLAUDE, stream=True) as stream:
        list(stream)


def test_truncated_filtered_and_empty_answers(provider: FakeProvider, client: Any, claude: Any) -> None:
    provider.script({"finish": "length"}, {"finish": "content_filter"}, {"finish": "length"}, {"empty": True})

    assert client.chat.completions.create(**ASKED).choices[0].finish_reason == "length"
    assert client.responses.create(model="m", input="a").incomplete_details.reason == "content_filter"
    assert claude.messages.create(**CLAUDE).stop_reason == "max_tokens"
    assert client.chat.completions.create(**ASKED).choices == []


def test_scripts_of_a_kind_wait_for_that_kind(provider: FakeProvider, client: Any) -> None:
    provider.next(kind="embedding", status=500)

    assert client.chat.completions.create(**ASKED).choices
    with pytest.raises(openai.InternalServerError):
        client.embeddings.create(model="m", input="a")


def test_a_stream_cut_and_a_stream_without_its_end(provider: FakeProvider) -> None:
    provider.next(cut=3)
    with pytest.raises(httpx2.RemoteProtocolError):
        chunks_of(provider, stream=True)
    assert provider.requests[0].chunks_sent == 3

    provider.next(no_end=True)
    assert b'"finish_reason":"stop"' in chunks_of(provider, stream=True)[-1]


def test_a_dropped_connection(provider: FakeProvider, client: Any) -> None:
    provider.next(drop=True)

    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(**ASKED)


def test_malformed_bodies(provider: FakeProvider, client: Any) -> None:
    provider.next(malformed=True, times=2)

    with httpx2.Client() as http, pytest.raises(ValueError):
        http.post(f"{provider.openai}/chat/completions", json=ASKED).json()
    with pytest.raises(ValueError), client.chat.completions.create(**ASKED, stream=True) as stream:
        list(stream)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_compressed_answers_and_streams(provider: FakeProvider, client: Any, encoding: str) -> None:
    if encoding not in httpx2.Client().headers["accept-encoding"]:
        pytest.skip(f"this httpx2 does not read {encoding}: pip install 'httpx2[{encoding}]'")
    provider.always(encoding=encoding)

    answer = client.chat.completions.with_raw_response.create(**ASKED)
    with client.chat.completions.create(**ASKED, stream=True) as stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert answer.headers["content-encoding"] == encoding
    assert answer.parse().choices[0].message.content == provider.text(ASKED)
    assert text == provider.text(ASKED | {"stream": True})


def test_crlf_comments_and_odd_chunks_together(provider: FakeProvider, client: Any, claude: Any) -> None:
    provider.always(crlf=True, comments=True, chunks=5)

    with client.chat.completions.create(**ASKED, stream=True) as stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    with claude.messages.stream(**CLAUDE) as events:
        said = events.get_final_text()
    assert text == provider.text(ASKED | {"stream": True})
    assert said == provider.text(CLAUDE | {"stream": True})


def test_a_large_chunked_answer(provider: FakeProvider, client: Any) -> None:
    provider.next(padding=5_000_000, chunked=True, chunks=100_000)

    assert len(client.chat.completions.create(**ASKED).choices[0].message.content) > 5_000_000


def test_redirects_and_headers(provider: FakeProvider) -> None:
    provider.next(redirect="/v1/models", headers={"X-Mine": "1"})
    with httpx2.Client() as http:
        answer = http.post(f"{provider.openai}/chat/completions", json=ASKED)

    assert (answer.status_code, answer.headers["location"], answer.headers["x-mine"]) == (307, "/v1/models", "1")
    assert "set-cookie" in answer.headers
    assert "x-ratelimit-remaining-requests" in answer.headers


async def test_a_client_that_leaves_is_noticed(provider: FakeProvider) -> None:
    gate = Gate(after=1)
    provider.next(hold=gate, padding=10_000_000)
    async with openai.AsyncOpenAI(base_url=provider.openai, api_key="sk-test") as client:
        stream = await client.chat.completions.create(**ASKED, stream=True)
        await stream.close()
    gate.open()

    assert await asyncio.to_thread(provider.requests[0].done.wait, 60)
    assert provider.requests[0].broken


def test_a_reset_forgets_everything(provider: FakeProvider, client: Any) -> None:
    client.chat.completions.create(**ASKED)
    provider.next(status=500)
    provider.always(status=500)
    provider.reset()

    assert provider.calls() == 0
    assert client.chat.completions.create(**ASKED).choices


def test_closing_opens_gates_and_connections() -> None:
    with FakeProvider() as provider, httpx2.Client() as http:
        provider.hold(after=1)
        with http.stream("POST", f"{provider.openai}/chat/completions", json=ASKED | {"stream": True}) as answer:
            next(answer.iter_raw())
            provider.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "fake-provider"]
