"""What a hit costs in CPU: LiteLLM's own cache in memory, the same call on tiercache, and tiercache below the SDK.

    PYTHONPATH=. LITELLM_LOCAL_MODEL_COST_MAP=True python benchmarks/litellm_hits.py [hits]

CPU of all threads of the process: LiteLLM logs a hit in a thread of its own. The provider is asked once for each.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import httpx2
import litellm
import openai

from tests.provider import FakeProvider
from tiercache import Cache, MemoryBackend
from tiercache.integrations.http import client
from tiercache.integrations.litellm import install, uninstall
from tiercache.llm import LLMCache

logging.disable(logging.CRITICAL)
ROUNDS = 7


def main(hits: int) -> None:
    messages = [{"role": "user", "content": "What is the capital of Norway? " * 10}]
    request = {"model": "gpt-4o-mini", "messages": messages, "temperature": 0}
    with FakeProvider() as provider, Cache(MemoryBackend()) as cache:
        where = {"api_base": provider.openai, "api_key": "sk-test"}
        sdk = openai.OpenAI(base_url=provider.openai, api_key="sk-test", http_client=client(cache))
        llm = LLMCache(cache)
        answer = sdk.chat.completions.create(**request)
        # What the SDK itself takes: the floor of every transport.
        bare = openai.OpenAI(api_key="sk-test", http_client=httpx2.Client(transport=_at_once(answer.to_json())))

        def through_litellm() -> Any:
            return litellm.completion(**request | {"model": "openai/gpt-4o-mini"}, **where)

        def own() -> None:
            litellm.cache = litellm.Cache()

        contenders: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "litellm.completion, its own memory": (own, through_litellm),
            "litellm.completion, tiercache memory": (lambda: install(cache), through_litellm),
            "OpenAI SDK, tiercache transport": (lambda: None, lambda: sdk.chat.completions.create(**request)),
            "OpenAI SDK, a transport that knows one answer": (
                lambda: None,
                lambda: bare.chat.completions.create(**request),
            ),
            "LLMCache.chat": (lambda: None, lambda: llm.chat(request, lambda: answer)),
        }
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name, (prepare, call) in contenders.items():
                prepare()
                call()
                call()
                asked = provider.calls()
                taken[name].append(_cpu(call, hits))
                assert provider.calls() == asked, f"{name} was no hit"
                uninstall()
                litellm.disable_cache()
        base = taken["litellm.completion, its own memory"]
        for name, times in taken.items():
            ratio = median(theirs / ours for ours, theirs in zip(times, base, strict=True))
            print(f"{name:46} {median(times):8.1f} µs   {ratio:6.2f}x cheaper than LiteLLM's own")


def _at_once(body: str) -> httpx2.MockTransport:
    """What the SDK itself costs."""
    return httpx2.MockTransport(lambda request: httpx2.Response(200, json=json.loads(body)))


def _cpu(call: Callable[[], Any], hits: int) -> float:
    gc.collect()
    start = time.process_time()
    for _ in range(hits):
        call()
    time.sleep(0.05)  # for LiteLLM's threads
    return (time.process_time() - start) / hits * 1e6


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
