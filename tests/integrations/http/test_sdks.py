"""The SDKs with our client and no other change: the second of two equal calls does not reach the provider."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

from tests.integrations.http.askers import CHAT, MESSAGES
from tests.provider import FakeProvider
from tiercache import Cache
from tiercache.integrations.http import async_client, client
from tiercache.llm import LLMCache, Price

CALLS = {
    "chat": ("chat.completions", CHAT),
    "completion": ("completions", {"model": "m", "prompt": "once upon"}),
    "response": ("responses", {"model": "m", "input": "hi"}),
}
MESSAGE: dict[str, Any] = {"model": "claude", "max_tokens": 9, "messages": MESSAGES}


def method(sdk: Any, path: str) -> Any:
    for name in (*path.split("."), "with_raw_response"):
        sdk = getattr(sdk, name)
    return sdk.create


def outcomes(replies: list[Any]) -> list[str]:
    first, last = (reply.http_response.content for reply in replies)
    assert first == last != b""
    return [reply.headers["x-tiercache"] for reply in replies]


@pytest.mark.parametrize("kind", CALLS)
def test_openai(provider: FakeProvider, cache: Cache, http: Any, kind: str) -> None:
    path, request = CALLS[kind]
    with OpenAI(base_url=provider.openai, api_key="a", http_client=client(cache, http=http)) as sdk:
        replies = [method(sdk, path)(**request) for _ in range(2)]
    assert outcomes(replies) == ["MISS", "HIT"]
    assert provider.calls() == 1


@pytest.mark.parametrize("kind", CALLS)
async def test_openai_awaited(provider: FakeProvider, cache: Cache, http: Any, kind: str) -> None:
    path, request = CALLS[kind]
    async with AsyncOpenAI(base_url=provider.openai, api_key="a", http_client=async_client(cache, http=http)) as sdk:
        replies = [await method(sdk, path)(**request) for _ in range(2)]
    assert outcomes(replies) == ["MISS", "HIT"]
    assert provider.calls() == 1


def test_anthropic(provider: FakeProvider, cache: Cache) -> None:
    import httpx2

    with Anthropic(base_url=provider.url, api_key="a", http_client=client(cache, http=httpx2)) as sdk:
        replies = [method(sdk, "messages")(**MESSAGE) for _ in range(2)]
    assert outcomes(replies) == ["MISS", "HIT"]
    assert provider.calls() == 1


async def test_anthropic_awaited(provider: FakeProvider, cache: Cache) -> None:
    import httpx2

    async with AsyncAnthropic(base_url=provider.url, api_key="a", http_client=async_client(cache, http=httpx2)) as sdk:
        replies = [await method(sdk, "messages")(**MESSAGE) for _ in range(2)]
        first, second = [await reply.parse() for reply in replies]
    assert first == second
    assert outcomes(replies) == ["MISS", "HIT"]
    assert provider.calls() == 1


def test_azure(provider: FakeProvider, cache: Cache, http: Any) -> None:
    with AzureOpenAI(
        azure_endpoint=provider.url, api_version="2024-10-21", api_key="a", http_client=client(cache, http=http)
    ) as sdk:
        replies = [method(sdk, "chat.completions")(**CHAT | {"model": "mine"}) for _ in range(2)]
        other = method(sdk, "chat.completions")(**CHAT | {"model": "another"})
    assert outcomes(replies) == ["MISS", "HIT"]
    assert other.headers["x-tiercache"] == "MISS", "another deployment is another model"
    assert provider.requests[0].deployment == "mine"


async def test_azure_awaited(provider: FakeProvider, cache: Cache, http: Any) -> None:
    async with AsyncAzureOpenAI(
        azure_endpoint=provider.url, api_version="2024-10-21", api_key="a", http_client=async_client(cache, http=http)
    ) as sdk:
        replies = [await method(sdk, "chat.completions")(**CHAT) for _ in range(2)]
    assert outcomes(replies) == ["MISS", "HIT"]


def test_another_api_version_of_azure_is_another_request(provider: FakeProvider, cache: Cache) -> None:
    for version in ("2024-10-21", "2025-01-01"):
        with AzureOpenAI(
            azure_endpoint=provider.url, api_version=version, api_key="a", http_client=client(cache)
        ) as sdk:
            assert method(sdk, "chat.completions")(**CHAT).headers["x-tiercache"] == "MISS"


def test_a_deployment_that_stands_in_the_url_alone_is_the_model(provider: FakeProvider, cache: Cache) -> None:
    url = f"{provider.url}/openai/deployments/mine/chat/completions"
    with client(cache) as below:
        for _ in range(2):
            below.post(url, json={"messages": MESSAGES}, headers={"api-key": "a"})
    assert list(cache.stats().savings.by_model) == ["mine"]


def test_httpx_and_httpx2_share_answers(provider: FakeProvider, cache: Cache) -> None:
    import httpx
    import httpx2

    for http, outcome in ((httpx, "MISS"), (httpx2, "HIT")):
        with OpenAI(base_url=provider.openai, api_key="a", http_client=client(cache, http=http)) as sdk:
            assert method(sdk, "chat.completions")(**CHAT).headers["x-tiercache"] == outcome


def test_blocking_and_awaiting_clients_share_answers(provider: FakeProvider, cache: Cache, http: Any) -> None:
    async def ask() -> Any:
        async with AsyncOpenAI(
            base_url=provider.openai, api_key="a", http_client=async_client(cache, http=http)
        ) as sdk:
            return await method(sdk, "chat.completions")(**CHAT)

    with OpenAI(base_url=provider.openai, api_key="a", http_client=client(cache, http=http)) as sdk:
        first = method(sdk, "chat.completions")(**CHAT)
    assert outcomes([first, asyncio.run(ask())]) == ["MISS", "HIT"]


def test_a_reply_read_piece_by_piece_is_the_same(provider: FakeProvider, cache: Cache, http: Any) -> None:
    with OpenAI(base_url=provider.openai, api_key="a", http_client=client(cache, http=http)) as sdk:
        bodies = []
        for _ in range(2):
            with sdk.chat.completions.with_streaming_response.create(**CHAT) as reply:
                bodies.append(b"".join(reply.iter_bytes()))
                assert reply.elapsed.total_seconds() >= 0
    assert bodies[0] == bodies[1] != b""


def test_copies_of_a_client_share_its_cache(provider: FakeProvider, cache: Cache, http: Any) -> None:
    with OpenAI(base_url=provider.openai, api_key="a", http_client=client(cache, http=http)) as sdk:
        method(sdk, "chat.completions")(**CHAT)
        copy = sdk.with_options(timeout=5, max_retries=1)
        assert method(copy, "chat.completions")(**CHAT).headers["x-tiercache"] == "HIT"


def test_two_models_with_the_same_text(provider: FakeProvider, cache: Cache) -> None:
    with OpenAI(base_url=provider.openai, api_key="a", http_client=client(cache)) as sdk:
        texts = [sdk.chat.completions.create(**CHAT | {"model": m}).choices[0].message.content for m in "abab"]
    assert texts[:2] == texts[2:]
    assert texts[0] != texts[1]
    assert provider.calls() == 2


def test_prices_of_ones_own_tell_what_a_hit_saved(provider: FakeProvider, cache: Cache) -> None:
    """A whole answer, a stream, and a vector."""
    llm = LLMCache(cache, prices={"mine": Price(input=1_000_000, output=1_000_000)})
    with OpenAI(base_url=provider.openai, api_key="a", http_client=client(llm)) as sdk:
        for _ in range(2):
            usage = [sdk.chat.completions.create(**CHAT | {"model": "mine"}).usage]
            stream = sdk.chat.completions.create(
                **CHAT | {"model": "mine"}, stream=True, stream_options={"include_usage": True}
            )
            usage += [chunk.usage for chunk in stream if chunk.usage]
            usage.append(sdk.embeddings.create(model="mine", input="a text").usage)
    saved = cache.stats().savings.by_model["mine"]
    assert (saved.calls, saved.unpriced) == (3, 0)
    assert saved.usd == sum(each.total_tokens for each in usage)


def test_what_a_hit_saved_is_told(provider: FakeProvider, cache: Cache) -> None:
    with OpenAI(base_url=provider.openai, api_key="a", http_client=client(cache)) as sdk:
        first, _ = (sdk.chat.completions.create(**CHAT | {"model": "gpt-4o"}) for _ in range(2))
    saved = cache.stats().savings.rows["gpt-4o", "memory"]
    assert (saved.calls, saved.input_tokens) == (1, first.usage.prompt_tokens)
    assert saved.usd > 0
    assert saved.seconds > 0
