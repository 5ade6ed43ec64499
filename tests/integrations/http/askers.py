"""Somebody who asks through the OpenAI SDK, blocking or awaiting, so that a test is written once for both."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from openai import AsyncOpenAI, OpenAI

from tests.provider import FakeProvider
from tiercache.integrations.http import async_client, client

PATIENCE = 60.0
MESSAGES: Any = [{"role": "user", "content": "hi"}]
CHAT: dict[str, Any] = {"model": "m", "messages": MESSAGES}


class Asker(Protocol):
    """Asks for chat completions; every reply is a raw one of the SDK, with `.headers` and `.parse()`."""

    llm: Any
    below: Any

    def ask(self, **fields: Any) -> Any:
        """One request; fields of `CHAT` may be replaced."""

    def start(self, **fields: Any) -> Future[Any]:
        """One request that goes on by itself."""
        ...

    def cancel(self, started: Future[Any]) -> None:
        """Cancel it."""

    def post(self, path: str, **options: Any) -> Any:
        """A request of the HTTP client itself, below the SDK, to the provider's URL."""

    def close(self) -> None:
        """Close the client."""


class BlockingAsker:
    def __init__(self, provider: FakeProvider, cache: Any, http: Any, *, api_key: str = "sk-a", **options: Any) -> None:
        sdk = {name: options.pop(name) for name in ("timeout", "max_retries", "default_headers") if name in options}
        self.below = client(cache, http=http, **{"verify": False, **options})  # no certificates to load: loopback
        self.llm = OpenAI(
            base_url=provider.openai, api_key=api_key, http_client=self.below, **{"max_retries": 0, **sdk}
        )
        self._url = provider.url
        self._pool = ThreadPoolExecutor(16)

    def ask(self, **fields: Any) -> Any:
        return self.llm.chat.completions.with_raw_response.create(**CHAT | fields)

    def start(self, **fields: Any) -> Future[Any]:
        return self._pool.submit(self.ask, **fields)

    def cancel(self, started: Future[Any]) -> None:
        raise NotImplementedError("a thread cannot be cancelled")

    def post(self, path: str, **options: Any) -> Any:
        return self.below.post(self._url + path, **options)

    def close(self) -> None:
        self.llm.close()
        self._pool.shutdown()


class AwaitingAsker:
    def __init__(self, provider: FakeProvider, cache: Any, http: Any, *, api_key: str = "sk-a", **options: Any) -> None:
        sdk = {name: options.pop(name) for name in ("timeout", "max_retries", "default_headers") if name in options}
        self.below = async_client(cache, http=http, **{"verify": False, **options})
        self.llm = AsyncOpenAI(
            base_url=provider.openai, api_key=api_key, http_client=self.below, **{"max_retries": 0, **sdk}
        )
        self._url = provider.url
        self._loop = asyncio.new_event_loop()
        self._thread = ThreadPoolExecutor(1)
        self._thread.submit(self._loop.run_forever)

    def _run(self, coroutine: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _ask(self, fields: dict[str, Any]) -> Any:
        return await self.llm.chat.completions.with_raw_response.create(**CHAT | fields)

    def ask(self, **fields: Any) -> Any:
        return self.start(**fields).result(PATIENCE)

    def start(self, **fields: Any) -> Future[Any]:
        return self._run(self._ask(fields))

    def cancel(self, started: Future[Any]) -> None:
        started.cancel()

    def post(self, path: str, **options: Any) -> Any:
        return self._run(self.below.post(self._url + path, **options)).result(PATIENCE)

    def close(self) -> None:
        self._run(self.llm.close()).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.shutdown()
        self._loop.close()
