"""The LLM layer: what it adds to a call that misses, and what a hit costs, beside LiteLLM's cache for the same call.

The provider is a transport in this process that answers at once, so that what is timed is the clients' own work.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any

import l1
from harness import Row, Samples, Scale, at_most, compare, faster, interleave

from tiercache import Cache, MemoryBackend
from tiercache.llm import EmbeddingCache, LLMCache, chat_key

AREA = "llm"
VECTORS = 1000
DIMENSIONS = 1536
_LITELLM = "LiteLLM, caching=True"
_KEY = "LiteLLM get_cache_key"
_CALLS = 50
"""Calls that are timed together."""


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    missing = [name for name in ("openai", "httpx", "numpy") if find_spec(name) is None]
    if missing:
        yield Row(AREA, "the LLM layer", note=f"not installed: {', '.join(missing)}")
        return
    yield from _misses(scale)
    yield _first_chunk()
    yield from _hits(scale)
    yield from _keys(scale)
    yield _vectors(scale)


def question(turns: int = 1) -> dict[str, Any]:
    """Return a chat request."""
    talk = [
        {
            "role": "assistant" if turn % 2 else "user",
            "content": f"turn {turn}: why does a cache keep {turn} tiers? " * 6,
        }
        for turn in range(turns)
    ]
    return {"model": "gpt-4o", "temperature": 0, "messages": [{"role": "system", "content": "Be brief."}, *talk]}


# A miss.


def _misses(scale: Scale) -> Iterator[Row]:
    import httpx

    from tiercache.integrations.http import transport

    for module in filter(None, (httpx, _httpx2())):
        with _cache() as cache:
            provider = _provider(module)
            clients = {
                "without": _openai(module, provider),
                "with": _openai(module, transport(cache, provider, http=module)),
            }
            asked = itertools.count()
            samples = interleave(
                {name: partial(_timed, partial(_ask_anew, client, asked)) for name, client in clients.items()},
                scale.rounds(31),
            )
        added = [ours - bare for ours, bare in zip(samples["with"], samples["without"], strict=True)]
        name = f"a chat completion that misses, OpenAI SDK on {module.__name__}, CPU: "
        yield compare(AREA, name + "with the transport", samples, "with", "without")
        yield Row(AREA, name + "what the transport adds", "ms", median(added) / 1e6, bound=at_most(1))


def _ask_anew(client: Any, asked: Iterator[int]) -> None:
    request = question()
    request["messages"].append({"role": "user", "content": f"question {next(asked)}"})
    client.chat.completions.create(**request)


def _first_chunk() -> Row:
    """Tell how much of a stream the provider has sent when its first chunk arrives: with a buffer, it is all of it."""
    import httpx

    from tiercache.integrations.http import transport

    sent: list[bytes] = []

    class Stream(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for number in range(100):
                sent.append(_event(number))
                yield sent[-1]
            yield b"data: [DONE]\n\n"

    def answer(_: Any) -> Any:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Stream())

    with _cache() as cache:
        client = _openai(httpx, transport(cache, httpx.MockTransport(answer), http=httpx))
        stream = iter(client.chat.completions.create(**question(), stream=True))
        next(stream)
        first = len(sent)
        for _ in stream:
            pass
    return Row(AREA, "a stream that misses: chunks sent when the first arrives", "chunks", first, bound=at_most(1))


def _event(number: int) -> bytes:
    delta = {"index": 0, "delta": {"content": f"word {number} "}, "finish_reason": "stop" if number == 99 else None}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o", "choices": [delta]}
    return f"data: {json.dumps(chunk)}\n\n".encode()


# A hit.


def _hits(scale: Scale) -> Iterator[Row]:
    import httpx

    from tiercache.integrations.http import transport

    request, provider = question(), _provider(httpx)
    bare = _openai(httpx, provider)
    answer = bare.chat.completions.create(**request)
    with _cache() as cache, _cache() as dicts, _cache() as objects:
        below = transport(cache, provider, http=httpx)
        client = _openai(httpx, below)
        of_dicts, of_objects = LLMCache(dicts), LLMCache(objects)
        sent = _as_sent(request)
        calls: dict[str, Callable[[], Any]] = {
            "the transport": lambda: below.handle_request(sent).read(),
            "OpenAI(http_client=client(cache))": lambda: client.chat.completions.create(**request),
            "OpenAI, answered at once": lambda: bare.chat.completions.create(**request),
            "LLMCache.chat, of a dict": lambda: of_dicts.chat(request, l1.chat_response),
            "LLMCache.chat, of the SDK's object": lambda: of_objects.chat(request, lambda: answer),
            **_litellm(provider, request),
        }
        for call in calls.values():  # the first one misses
            call()
        samples = interleave({name: partial(_timed, call) for name, call in calls.items()}, scale.rounds(21))
    yield from _hit_rows(samples)


def _hit_rows(samples: Samples) -> Iterator[Row]:
    name = "a chat completion from L1, CPU: {}"
    for ours in ("the transport", "LLMCache.chat, of a dict", "LLMCache.chat, of the SDK's object"):
        yield compare(AREA, name.format(ours), samples, ours, _LITELLM, bound=faster(3))
    ours, floor = "OpenAI(http_client=client(cache))", "OpenAI, answered at once"
    yield compare(AREA, name.format(ours), samples, ours, _LITELLM, note="the SDK's own work is nearly all of it")
    yield compare(AREA, name.format(ours), samples, ours, floor, note="as if the provider took no time")


def _as_sent(request: dict[str, Any]) -> Any:
    import httpx

    headers = {"authorization": "Bearer key", "user-agent": "OpenAI/Python", "accept": "application/json"}
    return httpx.Request("POST", "http://provider/v1/chat/completions", headers=headers, json=request)


def _litellm(provider: Any, request: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """Return LiteLLM's own call with its cache of memory, if it serves hits here."""
    litellm = _import_litellm()
    if litellm is None:
        return {}
    import httpx

    litellm.cache = litellm.Cache()
    options = {**request, "model": "openai/gpt-4o", "caching": True, "api_key": "key"}
    call = partial(litellm.completion, **options, client=_openai(httpx, provider))
    try:
        with warnings.catch_warnings():  # it imports its proxy at its first hit
            warnings.simplefilter("ignore")
            served = _serves_hits(call)
    except Exception as error:
        print(f"LiteLLM is left out: {type(error).__name__}: {error}")
        return {}
    return {_LITELLM: call} if served else {}


def _serves_hits(call: Callable[[], Any]) -> bool:
    """Wait for the first hit: what was missed is stored in a thread."""
    call()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if call()._hidden_params.get("cache_hit"):
            return True
    print("LiteLLM is left out: it serves no hits")
    return False


def _import_litellm() -> Any:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    if "soundfile" not in sys.modules and find_spec("soundfile") is None:
        # To serve a hit it imports its proxy, and that a library of sound files, of which a hit makes no use.
        sys.modules["soundfile"] = types.ModuleType("soundfile")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import litellm
    except ImportError:
        return None
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    return litellm


# Keys and vectors.


def _keys(scale: Scale) -> Iterator[Row]:
    request = question(20)
    calls: dict[str, Callable[[], Any]] = {"chat_key": lambda: chat_key(request)}
    litellm = _import_litellm()
    if litellm is not None:
        calls[_KEY] = partial(litellm.Cache().get_cache_key, **request)
    samples = interleave({name: partial(_timed, call) for name, call in calls.items()}, scale.rounds(21))
    yield compare(AREA, "the key of a chat of 20 turns, CPU: chat_key", samples, "chat_key", _KEY)


def _vectors(scale: Scale) -> Row:
    import numpy

    texts = [f"document {number}: what it says, in the words of its author" for number in range(VECTORS)]
    made = numpy.random.default_rng(1).random((VECTORS, DIMENSIONS), dtype=numpy.float32)
    table = dict(zip(texts, made, strict=True))
    with _cache() as cache:
        embeddings = EmbeddingCache(cache, "text-embedding-3-small", dimensions=DIMENSIONS)
        embeddings.put_many(texts, made)
        calls: dict[str, Callable[[], Any]] = {
            "embed": lambda: embeddings.embed(texts, _never),
            "numpy.stack of a dict's": lambda: numpy.stack([table[text] for text in texts]),
        }
        samples = interleave({name: partial(_timed, call, 3) for name, call in calls.items()}, scale.rounds(31))
    name = f"{VECTORS:,} vectors of {DIMENSIONS:,} from L1 as one array, CPU: EmbeddingCache.embed"
    samples = {name: [took / 1e6 for took in taken] for name, taken in samples.items()}
    return compare(AREA, name, samples, "embed", "numpy.stack of a dict's", unit="ms", bound=at_most(10))


def _never(missing: list[Any]) -> Any:
    raise LookupError(f"{len(missing)} vectors are not in the cache")


def _timed(call: Callable[[], Any], calls: int = _CALLS) -> float:
    """Return the nanoseconds of CPU that one call took, in all threads of the process."""
    start = time.process_time_ns()
    for _ in range(calls):
        call()
    return (time.process_time_ns() - start) / calls


def _cache() -> Cache:
    return Cache(MemoryBackend("256MiB"))


def _provider(module: Any) -> Any:
    body = json.dumps(l1.chat_response()).encode()
    headers = {"content-type": "application/json", "x-request-id": "req_1"}
    return module.MockTransport(lambda _: module.Response(200, headers=headers, content=body))


def _openai(module: Any, transport: Any) -> Any:
    import openai

    return openai.OpenAI(
        api_key="key", base_url="http://provider/v1", max_retries=0, http_client=module.Client(transport=transport)
    )


def _httpx2() -> Any:
    try:
        import httpx2
    except ImportError:
        return None
    return httpx2
