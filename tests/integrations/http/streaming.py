"""Streams asked for with the real SDKs, and with bare clients of httpx and httpx2, for callers that block and await."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import httpx2
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

from tests.provider import FakeProvider
from tiercache.integrations.http import async_client, client

MESSAGES: Any = [{"role": "user", "content": "Say something"}]
ASK: dict[str, Any] = {"model": "m", "messages": MESSAGES, "stream": True}
Heard = tuple[str, list[Any]]
"""What `x-tiercache` said, and the events."""


def ask(kind: str, cache: Any, provider: FakeProvider, *, http: Any = httpx2, **more: Any) -> Heard:
    """Ask with the provider's SDK, and read all events."""
    with client(cache, http=http) as below:
        if kind == "message":
            messages = Anthropic(base_url=provider.url, api_key="k", http_client=below, max_retries=0).messages
            raw: Any = messages.with_raw_response.create(**_arguments(kind), **more)
        else:
            openai = OpenAI(base_url=provider.openai, api_key="k", http_client=below, max_retries=0)
            raw = _endpoint(openai, kind).with_raw_response.create(**_arguments(kind), **more)
        return raw.headers["x-tiercache"], [event.to_dict() for event in raw.parse()]


async def aask(kind: str, cache: Any, provider: FakeProvider, *, http: Any = httpx2, **more: Any) -> Heard:
    """`ask`, awaited."""
    async with async_client(cache, http=http) as below:
        if kind == "message":
            messages = AsyncAnthropic(base_url=provider.url, api_key="k", http_client=below, max_retries=0).messages
            raw: Any = await messages.with_raw_response.create(**_arguments(kind), **more)
            stream = await raw.parse()
        else:
            openai = AsyncOpenAI(base_url=provider.openai, api_key="k", http_client=below, max_retries=0)
            raw = await _endpoint(openai, kind).with_raw_response.create(**_arguments(kind), **more)
            stream = raw.parse()
        return raw.headers["x-tiercache"], [event.to_dict() async for event in stream]


@contextmanager
def opened(cache: Any, provider: FakeProvider, *, http: Any = httpx, **headers: str) -> Iterator[Any]:
    """A chat stream of a bare client, open."""
    with (
        client(cache, http=http) as below,
        below.stream("POST", f"{provider.openai}/chat/completions", json=ASK, headers=_dashed(headers)) as response,
    ):
        yield response


@asynccontextmanager
async def aopened(cache: Any, provider: FakeProvider, *, http: Any = httpx, **headers: str) -> AsyncIterator[Any]:
    """`opened`, awaited."""
    async with (
        async_client(cache, http=http) as below,
        below.stream("POST", f"{provider.openai}/chat/completions", json=ASK, headers=_dashed(headers)) as response,
    ):
        yield response


def read(cache: Any, provider: FakeProvider, *, http: Any = httpx, **headers: str) -> tuple[str, list[bytes]]:
    """What `x-tiercache` says, and the chunks of a chat stream."""
    with opened(cache, provider, http=http, **headers) as response:
        return response.headers["x-tiercache"], list(response.iter_raw())


async def aread(cache: Any, provider: FakeProvider, *, http: Any = httpx, **headers: str) -> tuple[str, list[bytes]]:
    """`read`, awaited."""
    async with aopened(cache, provider, http=http, **headers) as response:
        return response.headers["x-tiercache"], [chunk async for chunk in response.aiter_raw()]


def _endpoint(openai: Any, kind: str) -> Any:
    return {"chat": openai.chat.completions, "completion": openai.completions, "response": openai.responses}[kind]


def _arguments(kind: str) -> dict[str, Any]:
    said: dict[str, Any] = {
        "chat": {"messages": MESSAGES},
        "completion": {"prompt": "Say something"},
        "response": {"input": "Say something"},
        "message": {"messages": MESSAGES, "max_tokens": 64},
    }
    return {"model": "m", "stream": True, **said[kind]}


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
