"""The headers of replies: what the cache did, what of a provider's reply is replayed, and what is not."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import httpx2

from tests.conftest import FakeClock
from tests.integrations.http.askers import CHAT, Asker
from tests.provider import FakeProvider
from tiercache import Cache, MemoryBackend, TierChain
from tiercache.integrations.http import transport

ANSWER = {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "a"}}]}


def answered(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, json=ANSWER)


def test_a_miss_keeps_what_the_provider_sent(asker: Asker) -> None:
    headers = asker.ask().headers
    assert headers["x-tiercache"] == "MISS"
    assert headers["x-request-id"] == "req_00000001"
    assert headers["x-ratelimit-remaining-requests"] == "9999"
    assert "x-tiercache-tier" not in headers
    assert "age" not in headers


def test_a_hit_says_so_and_where_it_was(asker: Asker) -> None:
    key = asker.ask().headers["x-tiercache-key"]
    headers = asker.ask().headers
    assert (headers["x-tiercache"], headers["x-tiercache-tier"]) == ("HIT", "memory")
    assert headers["x-tiercache-key"] == key
    assert len(key) == 64, "the digest alone"


def test_a_hit_replays_what_describes_the_answer_and_nothing_of_that_moment(asker: Asker) -> None:
    asker.ask()
    headers = asker.ask().headers
    assert headers["content-type"] == "application/json"
    assert headers["openai-organization"] == "org-fake"
    assert headers["openai-version"] == "2020-10-01"
    assert headers["x-tiercache-origin-request-id"] == "req_00000001"
    gone = ("x-request-id", "x-ratelimit-remaining-requests", "set-cookie", "date", "server", "alt-svc")
    assert not [name for name in gone if name in headers]


def test_a_hit_tells_its_age(provider: FakeProvider, askers: Callable[..., Asker]) -> None:
    clock = FakeClock()
    with Cache(MemoryBackend(clock=clock), clock=clock) as cache:
        asker = askers(cache=cache)
        asker.ask()
        clock.advance(90)
        assert asker.ask().headers["age"] == "90"


def test_a_stale_hit_says_so(provider: FakeProvider, askers: Callable[..., Asker]) -> None:
    clock = FakeClock()
    chain = TierChain(MemoryBackend(clock=clock), clock=clock)
    with Cache(chain, ttl=60, stale_for=600, clock=clock) as cache:
        asker = askers(cache=cache)
        asker.ask()
        clock.advance(61)
        assert asker.ask().headers["x-tiercache"] == "STALE"
        provider.wait_for(2)


def test_what_passes_the_cache_by_says_so(asker: Asker) -> None:
    headers = asker.ask(tools=[{"type": "web_search"}]).headers
    assert headers["x-tiercache"] == "BYPASS"
    assert "x-tiercache-key" not in headers


def test_a_call_under_way_is_shared(provider: FakeProvider, asker: Asker) -> None:
    gate = provider.hold()
    started = [asker.start() for _ in range(4)]
    assert gate.reached.wait(60)
    gate.open()
    replies = [each.result(60) for each in started]
    said = sorted(reply.headers["x-tiercache"] for reply in replies)
    assert said[0] in ("HIT", "MISS")
    assert said.count("MISS") == 1
    assert provider.calls() == 1
    assert len({reply.http_response.content for reply in replies}) == 1


def test_a_compressed_reply_reaches_the_one_who_asked_as_it_came(provider: FakeProvider, asker: Asker) -> None:
    provider.next(encoding="gzip", chunks=7, chunked=True)
    first, second = asker.ask(), asker.ask()
    assert first.headers["content-encoding"] == "gzip"
    assert first.headers["transfer-encoding"] == "chunked"
    assert "content-encoding" not in second.headers
    assert "transfer-encoding" not in second.headers
    assert first.http_response.content == second.http_response.content
    assert int(second.headers["content-length"]) == len(second.http_response.content)


def test_the_bytes_of_a_compressed_miss_are_not_touched(provider: FakeProvider, asker: Asker) -> None:
    provider.next(encoding="gzip")
    request = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    reply = asker.post("/v1/chat/completions", json=request)
    assert reply.num_bytes_downloaded == int(reply.headers["content-length"])
    assert len(gzip.compress(reply.content)) < len(reply.content)


def test_headers_beyond_ascii_are_given_back_as_they_were(cache: Cache, http: Any) -> None:
    value = "Müller ✓".encode() + b"\xff"

    class Inner(http.BaseTransport):  # type: ignore[misc, name-defined]
        def handle_request(self, request: Any) -> Any:
            body = b'{"choices": [{"finish_reason": "stop", "message": {"content": "a"}}]}'
            headers = [(b"Content-Type", b"application/json"), (b"OpenAI-Organization", value)]
            return http.Response(200, headers=headers, stream=http.ByteStream(body))

    below = transport(cache, Inner())
    request = http.Request("POST", "http://a/v1/chat/completions", json=CHAT)
    for outcome in ("MISS", "HIT"):
        headers = below.handle_request(request).headers
        assert headers["x-tiercache"] == outcome
        assert value in {name.lower(): text for name, text in headers.raw}[b"openai-organization"]


def test_what_is_said_to_the_cache_is_forwarded_nowhere(provider: FakeProvider, asker: Asker) -> None:
    headers = {"x-tiercache-ttl": "60", "x-mine": "1", "cache-control": "no-cache"}
    asker.post("/v1/files", files={"file": ("a.txt", b"content")}, headers=headers)
    (request,) = provider.requests
    assert "x-tiercache-ttl" not in request.headers
    assert request.headers["cache-control"] == "no-cache", "that one is not for us there"
    assert b"content" in request.body


def test_ids_of_requests_do_not_count(provider: FakeProvider, asker: Asker) -> None:
    names = ("idempotency-key", "x-request-id", "traceparent", "x-client-request-id", "user-agent", "x-stainless-os")
    for number in range(2):
        asker.ask(extra_headers=dict.fromkeys(names, f"n-{number}"))
    assert provider.calls() == 1


def test_the_order_of_values_under_one_name_counts_and_that_of_names_does_not(cache: Cache) -> None:
    def outcome(query: str, *headers: tuple[str, str]) -> str:
        request = httpx2.Request("POST", f"http://a/v1/chat/completions?{query}", json=CHAT, headers=headers)
        said: str = transport(cache, httpx2.MockTransport(answered)).handle_request(request).headers["x-tiercache"]
        return said

    assert [outcome(query) for query in ("x=1&y=2", "y=2&x=1", "x=1&x=2", "x=2&x=1")] == ["MISS", "HIT", "MISS", "MISS"]
    one, two, other = ("x-a", "1"), ("x-a", "2"), ("x-b", "3")
    assert [outcome("", *pairs) for pairs in ((one, two, other), (other, one, two), (two, one, other))] == [
        "MISS",
        "HIT",
        "MISS",
    ]


def test_an_escaped_slash_is_another_path(cache: Cache) -> None:
    below = transport(cache, httpx2.MockTransport(answered))
    said = [
        below.handle_request(httpx2.Request("POST", f"http://a/{path}/chat/completions", json=CHAT)).headers
        for path in ("a/b", "a%2Fb", "a/b")
    ]
    assert [headers["x-tiercache"] for headers in said] == ["MISS", "MISS", "HIT"]


def test_another_host_than_that_of_the_url_counts(cache: Cache) -> None:
    below = transport(cache, httpx2.MockTransport(answered))
    said = [
        below.handle_request(httpx2.Request("POST", "http://a/v1/chat/completions", json=CHAT, headers=headers)).headers
        for headers in ({}, {"host": "other"}, {"host": "a"})
    ]
    assert [headers["x-tiercache"] for headers in said] == ["MISS", "MISS", "HIT"]


def test_the_inner_transport_finds_the_body_of_a_request_that_said_something_to_the_cache(
    cache: Cache, http: Any
) -> None:
    class Inner(http.BaseTransport):  # type: ignore[misc, name-defined]
        def handle_request(self, request: Any) -> Any:
            assert b"messages" in request.content
            return http.Response(200, json=ANSWER)

    request = http.Request("POST", "http://a/v1/chat/completions", json=CHAT, headers={"cache-control": "no-cache"})
    assert transport(cache, Inner()).handle_request(request).headers["x-tiercache"] == "MISS"


def test_what_may_change_the_answer_counts(provider: FakeProvider, asker: Asker) -> None:
    for name in ("OpenAI-Beta", "anthropic-version", "anthropic-beta", "x-unknown-to-us"):
        for value in ("1", "2"):
            assert asker.ask(extra_headers={name: value}).headers["x-tiercache"] == "MISS"
    assert provider.calls() == 8


def test_a_header_that_counts_can_be_ignored(
    provider: FakeProvider, askers: Callable[..., Asker], cache: Cache
) -> None:
    from tiercache.llm.cache import LLMCache
    from tiercache.llm.rules import Rules

    llm = LLMCache(cache, rules=Rules(ignored=("headers.anthropic-version",)))
    asker = askers(cache=llm)
    for value in ("1", "2"):
        asker.ask(extra_headers={"anthropic-version": value})
    assert provider.calls() == 1


def test_the_order_of_the_query_does_not_count_and_its_values_do(provider: FakeProvider, asker: Asker) -> None:
    body: Any = {"model": "m", "messages": []}
    said = [
        asker.post(f"/v1/chat/completions?{query}", json=body).headers["x-tiercache"]
        for query in ("a=1&b=2", "b=2&a=1", "a=1&b=3")
    ]
    assert said == ["MISS", "HIT", "MISS"]
