"""Streams through the transport: handed on as they arrive, stored at their end, replayed in the same pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

from tests.integrations.http.streaming import ASK, MESSAGES, aask, aopened, aread, ask, opened, read
from tests.provider import FakeProvider
from tiercache import Cache, MemoryBackend
from tiercache.integrations.http import async_client, async_transport, client, transport
from tiercache.llm.cache import LLMCache
from tiercache.llm.policy import StorePolicy
from tiercache.llm.rules import Rules

KINDS = ["chat", "completion", "response", "message"]
MODULES = [pytest.param(httpx, id="httpx"), pytest.param(httpx2, id="httpx2")]


@pytest.fixture
def cache() -> LLMCache:
    return LLMCache(Cache(MemoryBackend()))


def heard(kind: str, cache: LLMCache, provider: FakeProvider, awaited: bool, **more: Any) -> tuple[str, list[Any]]:
    """Ask with the SDK, blocking or awaiting."""
    return asyncio.run(aask(kind, cache, provider, **more)) if awaited else ask(kind, cache, provider, **more)


def chunks(cache: Any, provider: FakeProvider, awaited: bool, **more: Any) -> tuple[str, list[bytes]]:
    """Ask for a chat stream with a bare client, blocking or awaiting."""
    return asyncio.run(aread(cache, provider, **more)) if awaited else read(cache, provider, **more)


worlds = pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "awaiting"])


@worlds
@pytest.mark.parametrize("kind", KINDS)
def test_the_second_of_two_equal_streams_does_not_reach_the_provider(
    cache: LLMCache, provider: FakeProvider, kind: str, awaited: bool
) -> None:
    first = heard(kind, cache, provider, awaited)
    second = heard(kind, cache, provider, awaited)
    assert (first[0], second[0]) == ("MISS", "HIT")
    assert first[1] == second[1]
    assert provider.calls() == 1
    assert cache.stats().combined.stored == 1


@worlds
@pytest.mark.parametrize("http", MODULES)
def test_openai_takes_streams_of_either_module(
    cache: LLMCache, provider: FakeProvider, http: Any, awaited: bool
) -> None:
    assert heard("chat", cache, provider, awaited, http=http)[0] == "MISS"
    assert heard("chat", cache, provider, not awaited, http=httpx)[0] == "HIT"
    assert heard("chat", cache, provider, not awaited, http=httpx2)[0] == "HIT"


@worlds
@pytest.mark.parametrize("script", [{}, {"chunks": 7}, {"chunks": [1, 200, 3]}, {"crlf": True, "comments": True}])
def test_a_hit_comes_in_the_pieces_in_which_the_stream_came(
    cache: LLMCache, provider: FakeProvider, awaited: bool, script: dict[str, Any]
) -> None:
    provider.next(**script)
    _, first = chunks(cache, provider, awaited)
    status, second = chunks(cache, provider, awaited)
    assert status == "HIT"
    assert len(second) > 3
    assert second == first


def test_the_first_chunk_is_there_while_the_provider_holds_the_second(cache: LLMCache, provider: FakeProvider) -> None:
    gate = provider.hold(after=1)
    with opened(cache, provider) as response:
        arriving = response.iter_raw()
        assert b"assistant" in next(arriving)
        assert gate.reached.wait(30)
        gate.open()
        assert b"[DONE]" in list(arriving)[-1]


def test_the_first_chunk_is_there_for_those_who_await(cache: LLMCache, provider: FakeProvider) -> None:
    async def main() -> None:
        gate = provider.hold(after=1)
        async with aopened(cache, provider) as response:
            arriving = response.aiter_raw()
            assert b"assistant" in await anext(arriving)
            assert await asyncio.to_thread(gate.reached.wait, 30)
            gate.open()
            assert b"[DONE]" in [chunk async for chunk in arriving][-1]

    asyncio.run(main())


def test_the_headers_are_there_before_anything_is_read(cache: LLMCache, provider: FakeProvider) -> None:
    gate = provider.hold(after=1)
    with opened(cache, provider) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-tiercache"] == "MISS"
        gate.open()
        response.read()


def test_a_client_that_stops_at_the_end_marker_has_the_stream_stored(cache: LLMCache, provider: FakeProvider) -> None:
    with opened(cache, provider) as response:
        for chunk in response.iter_raw():
            if b"[DONE]" in chunk:
                break
    assert cache.stats().chat.stored == 1


def test_a_client_that_never_reads_on_has_the_stream_stored(cache: LLMCache, provider: FakeProvider) -> None:
    with opened(cache, provider) as response:
        for chunk in response.iter_raw():
            if b"[DONE]" in chunk:
                break
        assert chunks(cache, provider, False)[0] in ("HIT", "SHARED")
    assert provider.calls() == 1


@worlds
def test_helpers_of_the_sdks_take_replayed_streams(cache: LLMCache, provider: FakeProvider, awaited: bool) -> None:
    def blocking() -> list[str]:
        with client(cache, http=httpx2) as below:
            openai = OpenAI(base_url=provider.openai, api_key="k", http_client=below)
            with openai.chat.completions.stream(model="m", messages=MESSAGES) as chat:
                said = chat.get_final_completion().choices[0].message.content
            anthropic = Anthropic(base_url=provider.url, api_key="k", http_client=below)
            with anthropic.messages.stream(model="m", messages=MESSAGES, max_tokens=9) as message:
                return [said or "", message.get_final_text()]

    async def awaiting() -> list[str]:
        async with async_client(cache, http=httpx2) as below:
            openai = AsyncOpenAI(base_url=provider.openai, api_key="k", http_client=below)
            async with openai.chat.completions.stream(model="m", messages=MESSAGES) as chat:
                said = (await chat.get_final_completion()).choices[0].message.content
            anthropic = AsyncAnthropic(base_url=provider.url, api_key="k", http_client=below)
            async with anthropic.messages.stream(model="m", messages=MESSAGES, max_tokens=9) as message:
                return [said or "", await message.get_final_text()]

    first, second = (asyncio.run(awaiting()) if awaited else blocking() for _ in range(2))
    assert first == second
    assert all("the answer to" in text for text in first)
    assert provider.calls() == 2


@worlds
def test_a_hit_can_be_read_in_part_or_in_one(cache: LLMCache, provider: FakeProvider, awaited: bool) -> None:
    _, pieces = chunks(cache, provider, awaited)

    async def awaiting() -> bytes:
        async with aopened(cache, provider) as response:
            assert await anext(response.aiter_raw()) == pieces[0]
        async with aopened(cache, provider) as response:
            body: bytes = await response.aread()
            return body

    def blocking() -> bytes:
        with opened(cache, provider) as response:
            assert next(response.iter_raw()) == pieces[0]
        with opened(cache, provider) as response:
            body: bytes = response.read()
            return body

    assert (asyncio.run(awaiting()) if awaited else blocking()) == b"".join(pieces)
    assert provider.calls() == 1


@worlds
def test_headers_of_a_hit(cache: LLMCache, provider: FakeProvider, awaited: bool) -> None:
    chunks(cache, provider, awaited)
    with opened(cache, provider) as response:
        shown = response.headers
    assert shown["x-tiercache"] == "HIT"
    assert shown["x-tiercache-tier"] == "memory"
    assert shown["content-type"].startswith("text/event-stream")
    assert shown["openai-organization"] == "org-fake"
    assert shown["x-tiercache-origin-request-id"].startswith("req_")
    assert not {"set-cookie", "x-ratelimit-limit-requests", "date", "content-encoding", "cache-control"} & set(shown)


@worlds
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("pieces", [None, 5])
def test_compressed_streams_are_undone_once(
    cache: LLMCache, provider: FakeProvider, awaited: bool, encoding: str, pieces: int | None
) -> None:
    provider.next(encoding=encoding, chunks=pieces)
    first = heard("chat", cache, provider, awaited)
    second = heard("chat", cache, provider, awaited)
    assert (first[0], second[0]) == ("MISS", "HIT")
    assert first[1] == second[1]


@worlds
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ({"no_end": True}, "incomplete"),
        ({"finish": "length"}, "truncated"),
        ({"finish": "content_filter"}, "filtered"),
    ],
)
def test_what_must_not_be_stored_is_handed_through_and_counted(
    cache: LLMCache, provider: FakeProvider, kind: str, awaited: bool, script: dict[str, Any], reason: str
) -> None:
    provider.next(**script)
    assert heard(kind, cache, provider, awaited)[0] == "MISS"
    assert cache.stats().combined.refused == {reason: 1}
    assert heard(kind, cache, provider, awaited)[0] == "MISS"
    assert provider.calls() == 2


@worlds
@pytest.mark.parametrize(
    "script", [{"error": True}, {"error": True, "then_end": True}, {"empty": True}, {"malformed": True}]
)
def test_streams_that_go_wrong_are_the_same_with_and_without_the_cache(
    cache: LLMCache, provider: FakeProvider, awaited: bool, script: dict[str, Any]
) -> None:
    provider.always(**script)
    plain = httpx.post(f"{provider.openai}/chat/completions", json={"model": "m", "messages": MESSAGES, "stream": True})
    status, pieces = chunks(cache, provider, awaited)
    assert status == "MISS"
    assert len(b"".join(pieces)) == len(plain.content)
    assert chunks(cache, provider, awaited)[0] == "MISS"
    assert cache.stats().chat.stored == 0


@worlds
def test_a_policy_that_takes_truncated_answers_stores_truncated_streams(provider: FakeProvider, awaited: bool) -> None:
    cache = LLMCache(Cache(MemoryBackend()), rules=Rules(policy=StorePolicy(truncated=True)))
    provider.next(finish="length")
    assert heard("chat", cache, provider, awaited)[0] == "MISS"
    assert heard("chat", cache, provider, awaited)[0] == "HIT"


@worlds
def test_a_stream_beyond_the_size_to_keep_is_handed_through(provider: FakeProvider, awaited: bool) -> None:
    cache = LLMCache(Cache(MemoryBackend()), rules=Rules(policy=StorePolicy(max_bytes=2_000)))
    provider.always(padding=20_000)
    status, pieces = chunks(cache, provider, awaited)
    assert status == "MISS"
    assert len(b"".join(pieces)) > 20_000
    assert cache.stats().chat.refused == {"too_large": 1}
    assert chunks(cache, provider, awaited)[0] == "MISS"


class Piece(bytes):
    """A chunk of a stream that knows how many of them there are."""

    alive = 0

    def __new__(cls, data: bytes) -> Piece:
        cls.alive += 1
        return super().__new__(cls, data)

    def __del__(self) -> None:
        Piece.alive -= 1


class Endless(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A whole answer, and comments for as long as anybody listens."""

    answer = b'data: {"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":"stop"}]}\n\n'

    def __iter__(self) -> Iterator[bytes]:
        yield self.answer + b"data: [DONE]\n\n"
        while True:
            yield Piece(b": still here " + b"." * 1_000 + b"\n\n")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


@worlds
def test_what_follows_the_end_marker_is_not_kept(awaited: bool) -> None:
    cache = LLMCache(Cache(MemoryBackend()), rules=Rules(policy=StorePolicy(max_bytes=2_000)))
    provider = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Endless())
    )
    ask: Any = ("POST", "http://a/v1/chat/completions")
    most = 0

    def listen() -> None:
        nonlocal most
        with httpx.Client(transport=transport(cache, provider)) as below, below.stream(*ask, json=ASK) as reply:
            for _ in zip(range(2_000), reply.iter_raw(), strict=False):
                most = max(most, Piece.alive)

    async def alisten() -> None:
        nonlocal most
        inner = httpx.AsyncClient(transport=async_transport(cache, provider))
        async with inner as below, below.stream(*ask, json=ASK) as reply:
            pieces = reply.aiter_raw()
            for _ in range(2_000):
                await anext(pieces)
                most = max(most, Piece.alive)

    asyncio.run(alisten()) if awaited else listen()
    assert most < 600
    assert cache.stats().chat.stored == 1


@worlds
@pytest.mark.parametrize(
    "script", [{"body": {"id": "x"}}, {"body": b"<html>", "headers": {"content-type": "text/html"}}]
)
def test_a_reply_that_is_no_stream_is_handed_through(
    cache: LLMCache, provider: FakeProvider, awaited: bool, script: dict[str, Any]
) -> None:
    provider.always(**script)
    for _ in range(2):
        assert chunks(cache, provider, awaited)[0] == "MISS"
    assert cache.stats().chat.refused == {"malformed": 2}


@worlds
def test_an_error_of_the_provider_is_handed_through(cache: LLMCache, provider: FakeProvider, awaited: bool) -> None:
    provider.next(status=429, retry_after=1)
    assert b"error" in b"".join(chunks(cache, provider, awaited)[1])
    assert chunks(cache, provider, awaited)[0] == "MISS"
    assert cache.stats().chat.refused == {"error": 1}


@worlds
def test_no_cache_asks_again_and_replaces(cache: LLMCache, provider: FakeProvider, awaited: bool) -> None:
    _, first = chunks(cache, provider, awaited)
    status, second = chunks(cache, provider, awaited, cache_control="no-cache")
    assert status == "MISS"
    assert second != first
    assert chunks(cache, provider, awaited) == ("HIT", second)


@worlds
def test_no_store_leaves_nothing(cache: LLMCache, provider: FakeProvider, awaited: bool) -> None:
    assert chunks(cache, provider, awaited, cache_control="no-store")[0] == "MISS"
    assert chunks(cache, provider, awaited)[0] == "MISS"
    assert chunks(cache, provider, awaited, cache_control="no-store")[0] == "HIT"


@worlds
def test_only_if_cached_never_asks(cache: LLMCache, provider: FakeProvider, awaited: bool) -> None:
    assert b"cache_miss" in b"".join(chunks(cache, provider, awaited, cache_control="only-if-cached")[1])
    assert provider.calls() == 0
    chunks(cache, provider, awaited)
    assert chunks(cache, provider, awaited, cache_control="only-if-cached")[0] == "HIT"


@worlds
def test_max_age_makes_an_old_stream_a_miss(provider: FakeProvider, awaited: bool) -> None:
    now = 1000.0
    cache = LLMCache(Cache(MemoryBackend(clock=lambda: now), clock=lambda: now))
    chunks(cache, provider, awaited)
    now += 60
    assert chunks(cache, provider, awaited, cache_control="max-age=61")[0] == "HIT"
    assert chunks(cache, provider, awaited, cache_control="max-age=59")[0] == "MISS"


@worlds
def test_what_a_hit_saves_is_counted(cache: LLMCache, provider: FakeProvider, awaited: bool) -> None:
    heard("message", cache, provider, awaited)
    heard("message", cache, provider, awaited)
    saved = cache.cache.stats().savings.total
    assert saved.calls == 1
    assert saved.input_tokens > 0
    assert saved.output_tokens > 0
    assert saved.seconds > 0


@worlds
def test_a_closed_cache_is_not_in_the_way(provider: FakeProvider, awaited: bool) -> None:
    cache = LLMCache(Cache(MemoryBackend()))
    cache.cache.close()
    assert b"[DONE]" in chunks(cache, provider, awaited)[1][-1]


@pytest.mark.slow
@worlds
@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_cut_at_any_event_is_not_stored(
    cache: LLMCache, provider: FakeProvider, kind: str, awaited: bool
) -> None:
    heard(kind, cache, provider, awaited)
    provider.requests[0].done.wait(30)
    events = provider.requests[0].chunks_sent
    cache.cache.clear()
    for cut in range(events):
        provider.next(cut=cut)
        with pytest.raises((openai.APIError, anthropic.APIError, httpx2.RemoteProtocolError)):
            heard(kind, cache, provider, awaited)
    stats = cache.stats().combined
    assert (stats.stored, stats.hits) == (1, 0)
    assert stats.refused == {"incomplete": events}
