"""Chat through the transport, with the real OpenAI SDK: the second of two equal calls does not reach the provider."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import httpx2
import pytest
from openai import AsyncOpenAI, OpenAI

from tiercache import Cache, MemoryBackend
from tiercache.integrations.http import async_client, client

ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}
ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


class Upstream(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_POST(self) -> None:
        self.server.calls += 1
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("http", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_the_second_of_two_equal_calls_is_a_hit(upstream: Upstream, http: Any) -> None:
    with Cache(MemoryBackend()) as cache, client(cache, http=http) as below:
        llm = OpenAI(base_url=upstream.url, api_key="a", http_client=below)
        replies = [llm.chat.completions.with_raw_response.create(**ASK) for _ in range(2)]

    assert [reply.headers["x-tiercache"] for reply in replies] == ["MISS", "HIT"]
    assert [reply.parse().choices[0].message.content for reply in replies] == ["hello", "hello"]
    assert upstream.calls == 1


@pytest.mark.parametrize("http", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_awaited_calls_under_way_are_shared(upstream: Upstream, http: Any) -> None:
    async def ask() -> list[Any]:
        async with async_client(cache, http=http) as below:
            llm = AsyncOpenAI(base_url=upstream.url, api_key="a", http_client=below)
            return await asyncio.gather(*(llm.chat.completions.with_raw_response.create(**ASK) for _ in range(4)))

    with Cache(MemoryBackend()) as cache:
        replies = asyncio.run(ask())
    assert sorted(reply.headers["x-tiercache"] for reply in replies) == ["MISS", "SHARED", "SHARED", "SHARED"]
    assert upstream.calls == 1
