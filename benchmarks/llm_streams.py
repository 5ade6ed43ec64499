"""Streams of the LLM layer: what the HTTP transport adds to one that misses, and what a hit costs, by its length.

The provider is a transport in this process whose chunks are all there: what is timed is the CPU of all threads.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any

from harness import Row, Scale, at_most, interleave

from tiercache import Cache, MemoryBackend

AREA = "streams"
LENGTHS = (3, 420)
_CALLS = 10
"""Streams that are timed together."""


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    if find_spec("httpx") is None:
        yield Row(AREA, "streams of the LLM layer", note="not installed: httpx")
        return
    for face in (_blocking, _awaiting):
        for length in LENGTHS:
            yield from face(scale, events(length))
    yield from _awaiting(scale, events(LENGTHS[-1]), apart=True)


def events(count: int) -> list[bytes]:
    """Return a stream of this many chunks."""
    words = [_event({"content": f" word {number}"}) for number in range(count - 3)]
    return [_event({"role": "assistant", "content": ""}), *words, _event({}, "stop"), b"data: [DONE]\n\n"]


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    chunk = {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion.chunk",
        "created": 1694268190,
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
    }
    return f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n".encode()


def _blocking(scale: Scale, chunks: Sequence[bytes]) -> Iterator[Row]:
    import httpx

    from tiercache.integrations.http import transport

    class Body(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield from chunks

    class Provider(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())

    def read(below: Any, ask: Callable[[], Any]) -> None:
        response = below.handle_request(ask())
        for _ in response.stream:
            pass
        response.close()

    with _cache() as cache:
        provider = Provider()
        below = transport(cache, provider, http=httpx)
        yield from _figures(
            scale,
            f"a stream of {len(chunks)} chunks, read by blocking",
            {name: partial(_timed, partial(read, *call)) for name, call in _calls(provider, below).items()},
        )


def _awaiting(scale: Scale, chunks: Sequence[bytes], *, apart: bool = False) -> Iterator[Row]:
    import httpx

    from tiercache.integrations.http import async_transport

    class Body(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in chunks:
                if apart:
                    await asyncio.sleep(0)
                yield chunk

    class Provider(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())

    async def read(below: Any, ask: Callable[[], Any]) -> None:
        response = await below.handle_async_request(ask())
        async for _ in response.stream:
            pass
        await response.aclose()

    with asyncio.Runner() as runner, _cache() as cache:
        provider = Provider()
        below = async_transport(cache, provider, http=httpx)
        yield from _figures(
            scale,
            f"a stream of {len(chunks)} chunks, awaited{' one by one' if apart else ''}",
            {name: partial(_run, runner, partial(read, *call)) for name, call in _calls(provider, below).items()},
        )


def _calls(provider: Any, below: Any) -> dict[str, Any]:
    asked = itertools.count()
    return {
        "bare": (provider, partial(_request, 0)),
        "miss": (below, lambda: _request(next(asked) + 1)),
        "hit": (below, partial(_request, 0)),
    }


def _figures(scale: Scale, name: str, timed: dict[str, Any]) -> Iterator[Row]:
    samples = interleave(timed, scale.rounds(41))
    for what, bound in (("miss", at_most(1)), ("hit", None)):
        if what == "hit" and "one by one" in name:  # a hit does not come one by one
            continue
        added = [ours - bare for ours, bare in zip(samples[what], samples["bare"], strict=True)]
        yield Row(AREA, f"{name}: CPU that a {what} adds", "ms", median(added) / 1e6, bound=bound)


def _request(number: int) -> Any:
    import httpx

    said = {"role": "user", "content": f"question {number}"}
    body = {"model": "gpt-4o", "temperature": 0, "messages": [said], "stream": True}
    return httpx.Request(
        "POST", "http://provider/v1/chat/completions", headers={"authorization": "Bearer k"}, json=body
    )


def _timed(call: Callable[[], Any]) -> float:
    start = time.process_time_ns()
    for _ in range(_CALLS):
        call()
    return (time.process_time_ns() - start) / _CALLS


def _run(runner: asyncio.Runner, call: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    return runner.run(_atimed(call))


async def _atimed(call: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    start = time.process_time_ns()
    for _ in range(_CALLS):
        await call()
    return (time.process_time_ns() - start) / _CALLS


def _cache() -> Cache:
    return Cache(MemoryBackend("256MiB"))
