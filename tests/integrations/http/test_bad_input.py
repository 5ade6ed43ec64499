"""Requests and replies that are not what they should be: never a wrong answer, never an error of ours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from tests.integrations.http.askers import CHAT, MESSAGES, Asker
from tests.provider import FakeProvider
from tiercache import Cache, MemoryBackend
from tiercache.integrations.http import client, endpoints, transport
from tiercache.llm.cache import LLMCache
from tiercache.llm.policy import StorePolicy
from tiercache.llm.rules import Rules

Askers = Callable[..., Asker]
CHAT_PATH = "/v1/chat/completions"


class Recorder(httpx2.BaseTransport):
    """An inner transport that notes the request objects it gets."""

    def __init__(self) -> None:
        self.seen: list[httpx2.Request] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request)
        return httpx2.Response(200, json={"fine": True})


# Requests that are none of ours.


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/files"),
        ("POST", "/v1/batches"),
        ("POST", "/v1/messages/batches"),
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/v1/threads/thread_1/messages"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("POST", "/v1/audio/speech"),
        ("POST", "/v1/chat/completions/chatcmpl-1"),
        ("DELETE", "/v1/responses"),
    ],
)
def test_unknown_endpoints_are_passed_through_untouched(cache: Cache, method: str, path: str) -> None:
    inner = Recorder()
    request = httpx2.Request(method, f"http://a{path}", json=CHAT | {"prompt": "p", "input": "i"})
    reply = transport(cache, inner).handle_request(request)
    assert inner.seen == [request], "the same object"
    assert "x-tiercache" not in reply.headers
    assert list(cache.keys()) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"model": "m"}',
        b'{"messages": [], "temperature": NaN}',
        b'{"messages": [], "messages": [1]}',
        b"\xff\xfe{}",
        b'\xef\xbb\xbf{"messages": []}',
        b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"messages": [], "seed": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: body[:30].decode(errors="replace"),
)
def test_bodies_that_are_no_request_are_passed_through_untouched(cache: Cache, body: bytes) -> None:
    inner = Recorder()
    request = httpx2.Request("POST", f"http://a{CHAT_PATH}", content=body, headers={"content-type": "application/json"})
    for _ in range(2):
        assert transport(cache, inner).handle_request(request).headers["x-tiercache"] == "BYPASS"
    assert inner.seen == [request, request]


@pytest.mark.parametrize(
    "headers",
    [{"content-type": "text/plain"}, {"content-type": "application/json", "content-encoding": "gzip"}, {}],
    ids=["text", "compressed", "none"],
)
def test_bodies_of_another_kind_are_passed_through_untouched(cache: Cache, headers: dict[str, str]) -> None:
    inner = Recorder()
    request = httpx2.Request("POST", f"http://a{CHAT_PATH}", content=json.dumps(CHAT).encode(), headers=headers)
    assert transport(cache, inner).handle_request(request).headers["x-tiercache"] == "BYPASS"
    assert inner.seen == [request]


def test_a_body_that_is_streamed_is_not_read(cache: Cache) -> None:
    def pieces() -> Iterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    inner = Recorder()
    request = httpx2.Request(
        "POST", f"http://a{CHAT_PATH}", content=pieces(), headers={"content-type": "application/json"}
    )
    assert transport(cache, inner).handle_request(request).headers["x-tiercache"] == "BYPASS"
    assert inner.seen == [request]


def test_a_streamed_body_arrives(provider: FakeProvider, cache: Cache, http: Any) -> None:
    def pieces() -> Iterator[bytes]:
        yield json.dumps(CHAT).encode()

    with client(cache, http=http) as below:
        for _ in range(2):
            reply = below.post(provider.url + CHAT_PATH, content=pieces(), headers={"content-type": "application/json"})
            assert reply.json()["choices"]
    assert provider.calls() == 2


def test_multipart_is_passed_through(provider: FakeProvider, asker: Asker) -> None:
    reply = asker.post("/v1/files", files={"file": ("a.txt", b"content" * 1000)}, data={"purpose": "batch"})
    assert reply.json()["bytes"] == int(provider.requests[0].headers["content-length"])
    asker.post(CHAT_PATH, files={"file": ("a.txt", b"content")})
    assert provider.calls() == 2


def test_a_websocket_is_passed_through(provider: FakeProvider, cache: Cache, http: Any) -> None:
    headers = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    with (
        client(cache, http=http) as below,
        below.stream("GET", f"{provider.url}/v1/realtime", headers=headers) as reply,
    ):
        assert reply.status_code == 101
        wire = reply.extensions["network_stream"]
        wire.write(b"hello")
        assert wire.read(100, timeout=60) == b"hello"
        wire.close()


def test_a_body_of_50_mb_is_neither_parsed_nor_stored(
    provider: FakeProvider, askers: Askers, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = LLMCache(cache)
    asker = askers(cache=llm)
    body = json.dumps(CHAT | {"messages": [{"role": "user", "content": "x" * 50_000_000}]}).encode()
    monkeypatch.setattr(endpoints, "parsed", None)
    reply = asker.post(CHAT_PATH, content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 200
    assert llm.stats().chat.bypassed_for == {"too_large": 1}
    assert hashlib.sha256(provider.requests[0].body).digest() == hashlib.sha256(body).digest()


def test_numbers_that_a_provider_would_tell_apart_are_told_apart(asker: Asker) -> None:
    texts = ["1", "1.0", "true", '"1"', str(2**63), str(2**63 + 1), "0.1", "-0.0", "0"]
    for text in texts:
        body = b'{"model": "m", "messages": [], "x": %s}' % text.encode()
        reply = asker.post(CHAT_PATH, content=body, headers={"content-type": "application/json"})
        assert reply.headers["x-tiercache"] == "MISS", text


def test_spaces_and_the_order_of_fields_do_not_count(provider: FakeProvider, asker: Asker) -> None:
    for body in (b'{"model":"m","messages":[]}', b'{ "messages" : [ ],\n"model" : "\\u006d" }'):
        asker.post(CHAT_PATH, content=body, headers={"content-type": "application/json"})
    assert provider.calls() == 1


def test_text_that_no_key_can_be_made_of_is_passed_through(provider: FakeProvider, asker: Asker) -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}'
    for _ in range(2):
        reply = asker.post(CHAT_PATH, content=body, headers={"content-type": "application/json"})
        assert reply.status_code == 200
    assert provider.requests[0].body == body


# What depends on more than it says.


@pytest.mark.parametrize(
    ("path", "fields", "reason"),
    [
        ("/v1/responses", {"input": "i", "background": True}, "background"),
        ("/v1/responses", {"input": "i", "previous_response_id": "resp_1"}, "previous_response_id"),
        ("/v1/responses", {"input": "i", "conversation": "conv_1"}, "conversation"),
        ("/v1/responses", {"prompt": {"id": "pmpt_1"}}, "stored_prompt"),
        ("/v1/responses", {"input": "i", "tools": [{"type": "web_search"}]}, "hosted_tool"),
        ("/v1/responses", {"input": "i", "tools": [{"type": "mcp", "server_url": "u"}]}, "hosted_tool"),
        ("/v1/responses", {"input": "i", "tools": [{"type": "code_interpreter"}]}, "hosted_tool"),
        ("/v1/responses", {"input": "i", "tools": [{"type": "file_search"}]}, "hosted_tool"),
        ("/v1/responses", {"input": "i", "tools": [{"type": "computer_use_preview"}]}, "hosted_tool"),
        ("/v1/chat/completions", {"messages": [], "web_search_options": {"a": 1}}, "web_search_options"),
        ("/v1/chat/completions", {"messages": [], "web_search_options": {}}, "web_search_options"),
        ("/v1/chat/completions", {"messages": [], "search_parameters": {"mode": "auto"}}, "search_parameters"),
        ("/v1/chat/completions", {"messages": [], "plugins": [{"id": "web"}]}, "plugins"),
        ("/v1/chat/completions", {"messages": [], "model": "gpt-4o-search-preview"}, "search_model"),
        ("/v1/chat/completions", {"messages": [], "model": "openai/gpt-4o:online"}, "search_model"),
        ("/v1/messages", {"messages": [], "container": "c"}, "container"),
        ("/v1/messages", {"messages": [], "mcp_servers": [{"url": "u"}]}, "mcp_servers"),
        ("/v1/messages", {"messages": [], "tools": [{"type": "web_search_20250305"}]}, "hosted_tool"),
        ("/v1/messages", {"messages": [], "tools": [{"type": "code_execution_20250522"}]}, "hosted_tool"),
    ],
)
def test_what_depends_on_more_than_it_says_passes_by(
    cache: Cache, path: str, fields: dict[str, Any], reason: str
) -> None:
    llm, inner = LLMCache(cache), Recorder()
    request = httpx2.Request("POST", f"http://a{path}", json={"model": "m"} | fields)
    for _ in range(2):
        assert transport(llm, inner).handle_request(request).headers["x-tiercache"] == "BYPASS"
    assert llm.stats().combined.bypassed_for == {reason: 2}
    assert inner.seen == [request, request]


def test_rules_may_say_that_such_requests_are_kept(askers: Askers, cache: Cache) -> None:
    asker = askers(cache=LLMCache(cache, rules=Rules(cache_stateful=True)))
    body = {"model": "m", "messages": MESSAGES, "tools": [{"type": "web_search"}]}
    assert [asker.post(CHAT_PATH, json=body).headers["x-tiercache"] for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": {"name": "f"}},
        {"type": "custom", "name": "f"},
        {"name": "f", "input_schema": {}},
        {"type": "bash_20250124", "name": "bash"},
    ],
)
def test_tools_that_the_caller_carries_out_are_no_reason(asker: Asker, tool: dict[str, Any]) -> None:
    body = {"model": "m", "messages": MESSAGES, "tools": [tool]}
    assert [asker.post(CHAT_PATH, json=body).headers["x-tiercache"] for _ in range(2)] == ["MISS", "HIT"]


# Replies.


@pytest.mark.parametrize(
    "script",
    [
        {"error": True},
        {"finish": "length"},
        {"finish": "content_filter"},
        {"empty": True},
        {"malformed": True},
        {"status": 201},
        {"body": b""},
        {"body": b"[1]"},
        {"body": b'{"a": NaN'},
    ],
    ids=str,
)
def test_replies_that_are_no_answer_are_handed_through_and_not_stored(
    provider: FakeProvider, asker: Asker, script: dict[str, Any]
) -> None:
    provider.next(**script)
    first = asker.post(CHAT_PATH, json=CHAT)
    assert first.headers["x-tiercache"] == "MISS"
    assert asker.post(CHAT_PATH, json=CHAT).headers["x-tiercache"] == "MISS"
    with httpx2.Client() as plain:
        provider.next(**script)
        same = plain.post(provider.url + CHAT_PATH, json=CHAT)
    assert first.status_code == same.status_code
    assert len(first.content) == len(same.content)


def test_a_200_with_an_error_inside_is_not_stored(provider: FakeProvider, asker: Asker) -> None:
    provider.next(error=True)
    assert asker.ask().parse().choices is None
    assert asker.ask().parse().choices


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_compressed_and_chunked_bodies(provider: FakeProvider, asker: Asker, encoding: str) -> None:
    provider.next(encoding=encoding, chunked=True, chunks=5)
    understood = encoding in asker.below.headers["accept-encoding"]
    first, second = (asker.post(CHAT_PATH, json=CHAT) for _ in range(2))
    assert (first.headers["x-tiercache"], second.headers["x-tiercache"]) == ("MISS", "HIT" if understood else "MISS")
    if understood:
        assert first.json() == second.json()


def test_a_reply_in_an_encoding_that_nobody_here_knows_is_handed_through(provider: FakeProvider, asker: Asker) -> None:
    provider.always(headers={"content-encoding": "rot13"}, body=b"\x01\x02")
    replies = [asker.post(CHAT_PATH, json=CHAT) for _ in range(2)]
    assert [reply.content for reply in replies] == [b"\x01\x02"] * 2
    assert provider.calls() == 2


def test_a_reply_that_is_not_what_its_encoding_says(provider: FakeProvider, asker: Asker) -> None:
    provider.always(headers={"content-encoding": "gzip"}, body=b"no gzip at all")
    for _ in range(2):
        with pytest.raises(httpx2.DecodingError):
            asker.post(CHAT_PATH, json=CHAT)


@pytest.mark.parametrize("chunked", [True, False])
def test_a_reply_over_the_cap_is_handed_through_whole(
    provider: FakeProvider, askers: Askers, cache: Cache, chunked: bool
) -> None:
    llm = LLMCache(cache, rules=Rules(policy=StorePolicy(max_bytes=100_000)))
    asker = askers(cache=llm)
    provider.always(padding=1_000_000, chunked=chunked, chunks=50_000)
    for _ in range(2):
        assert len(asker.ask().parse().choices[0].message.content) > 1_000_000
    assert provider.calls() == 2
    assert llm.stats().chat.refused == {"too_large": 2}
    assert list(cache.keys()) == []


def test_a_reply_of_50_mb_is_handed_through(provider: FakeProvider, asker: Asker, cache: Cache) -> None:
    provider.next(padding=50_000_000)
    assert len(asker.ask().http_response.content) > 50_000_000
    assert list(cache.keys()) == []


def test_a_bomb_is_not_unpacked_by_the_cache(provider: FakeProvider, askers: Askers, cache: Cache) -> None:
    llm = LLMCache(cache, rules=Rules(policy=StorePolicy(max_bytes=100_000)))
    provider.next(padding=20_000_000, encoding="gzip")
    reply = askers(cache=llm).post(CHAT_PATH, json=CHAT)
    assert reply.num_bytes_downloaded < 100_000
    assert llm.stats().chat.refused == {"too_large": 1}


def test_what_streams_although_nobody_asked_for_it_is_not_held_up(provider: FakeProvider, cache: Cache) -> None:
    class Endless(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"data: 1\n\n"
            raise AssertionError("it was read to its end")

    class Streaming(httpx2.BaseTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Endless())

    with (
        httpx2.Client(transport=transport(cache, Streaming())) as below,
        below.stream("POST", f"http://a{CHAT_PATH}", json=CHAT) as reply,
    ):
        assert next(reply.iter_bytes()) == b"data: 1\n\n"


def test_a_redirect_is_followed(provider: FakeProvider, asker: Asker) -> None:
    provider.next(redirect="/openai/v1/chat/completions")
    assert asker.ask().parse().choices
    assert [request.path for request in provider.requests] == ["/v1/chat/completions", "/openai/v1/chat/completions"]


def test_a_reply_that_breaks_off_is_the_clients_own_error(provider: FakeProvider, asker: Asker, cache: Cache) -> None:
    provider.next(cut=1, chunked=True, chunks=20)
    with pytest.raises(httpx2.RemoteProtocolError):
        asker.post(CHAT_PATH, json=CHAT)
    assert list(cache.keys()) == []
    assert asker.post(CHAT_PATH, json=CHAT).headers["x-tiercache"] == "MISS"


def test_what_the_cache_holds_that_is_no_reply_is_replaced(provider: FakeProvider, asker: Asker, cache: Cache) -> None:
    asker.ask()
    (key,) = cache.keys()
    for value in ("text", {"status": 200}, {"status": 200, "headers": [], "body": "text"}):
        found = cache.lookup(key).metadata
        assert found is not None
        cache.set(key, value, attributes=found.attributes)
        assert asker.ask().headers["x-tiercache"] == "MISS"
        assert asker.ask().headers["x-tiercache"] == "HIT"


def test_an_empty_chain_answers_everything_by_the_provider(provider: FakeProvider, askers: Askers) -> None:
    from tiercache import TierChain

    with Cache(TierChain()) as nothing:
        asker = askers(cache=nothing)
        assert [asker.ask().headers["x-tiercache"] for _ in range(2)] == ["MISS", "MISS"]


def test_two_caches_do_not_mix(provider: FakeProvider, askers: Askers) -> None:
    backend = MemoryBackend()
    with Cache(backend, namespace="a") as one, Cache(backend, namespace="b") as two:
        for cache in (one, two):
            assert askers(cache=cache).ask().headers["x-tiercache"] == "MISS"
