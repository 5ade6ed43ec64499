"""Many callers at once, of several tenants, of a provider that fails now and then: each gets their own answer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import httpx
import httpx2
import openai
import pytest

from tests.integrations.http.askers import AwaitingAsker, BlockingAsker
from tests.provider import FakeProvider
from tiercache import Cache, MemoryBackend
from tiercache.llm.cache import LLMCache

TENANTS = ("sk-one", "sk-two", "sk-three")
TROUBLE: tuple[dict[str, Any], ...] = (
    {"status": 429},
    {"status": 500},
    {"drop": True},
    {"cut": 0},
    {"error": True},
    {"finish": "length"},
    {"encoding": "gzip", "chunked": True, "chunks": 9},
    {"malformed": True},
)


@pytest.mark.parametrize("seed", range(3))
def test_everybody_gets_the_answer_to_their_own_question(provider: FakeProvider, seed: int) -> None:
    dice = random.Random(seed)
    with Cache(MemoryBackend(max_entries=8)) as cache:
        askers = [
            (tenant, make(provider, cache, http, api_key=tenant))
            for tenant in TENANTS
            for make, http in ((BlockingAsker, httpx), (AwaitingAsker, httpx2))
        ]
        asked: list[tuple[str, dict[str, Any], Future[Any]]] = []
        for _ in range(200):
            if dice.random() < 0.2:
                provider.next(**dice.choice(TROUBLE))
            tenant, asker = dice.choice(askers)
            fields = {
                "model": dice.choice(["m", "n"]),
                "messages": [{"role": "user", "content": f"question {dice.randrange(3)}"}],
            }
            asked.append((tenant, fields, asker.start(**fields)))
        outcomes = Counter(outcome_of(provider, *each) for each in asked)
        for _, asker in askers:
            asker.close()
    assert outcomes["HIT"] + outcomes["SHARED"] > 20
    assert outcomes["MISS"] > 6
    assert outcomes["failed"] < 100


def outcome_of(provider: FakeProvider, tenant: str, fields: dict[str, Any], started: Future[Any]) -> str:
    """What the cache did for a request; fails if the answer belongs to another question or another tenant."""
    try:
        reply = started.result(60)
    except openai.APIError:
        return "failed"
    headers = reply.headers
    number = int((headers.get("x-tiercache-origin-request-id") or headers["x-request-id"]).removeprefix("req_"))
    (request,) = [request for request in provider.requests if request.number == number]
    assert request.headers["authorization"] == f"Bearer {tenant}"
    assert {name: request.json[name] for name in fields} == fields
    parsed = _parsed(reply.parse)
    if parsed is not None and getattr(parsed, "choices", None) and parsed.choices[0].finish_reason == "stop":
        assert parsed.choices[0].message.content == provider.text(fields)
    return str(headers["x-tiercache"])


def _parsed(parse: Callable[[], Any]) -> Any:
    try:
        return parse()
    except ValueError:  # half of a document
        return None


@pytest.mark.parametrize("make", [BlockingAsker, AwaitingAsker])
def test_as_many_calls_as_there_are_different_requests(provider: FakeProvider, make: Any) -> None:
    with Cache(MemoryBackend()) as cache:
        llm = LLMCache(cache)
        asker = make(provider, llm, httpx2)
        started = [
            asker.start(messages=[{"role": "user", "content": f"question {number % 5}"}]) for number in range(100)
        ]
        for each in started:
            assert each.result(60).parse().choices
        asker.close()
    counted = llm.stats().chat
    assert provider.calls() == counted.misses == counted.stored == 5
    assert counted.hits == 95
