"""What a caller says about one request: in its headers, or around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.conftest import FakeClock
from tests.integrations.http.askers import CHAT, MESSAGES, Asker
from tests.provider import FakeProvider
from tiercache import Cache, MemoryBackend
from tiercache.integrations.http import client
from tiercache.llm.cache import LLMCache
from tiercache.llm.control import cache_control
from tiercache.llm.policy import StorePolicy
from tiercache.llm.rules import Rules

Askers = Callable[..., Asker]


def said(asker: Asker, **headers: str) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    outcome: str = asker.ask(extra_headers=named).headers["x-tiercache"]
    return outcome


def test_no_cache_asks_and_stores(provider: FakeProvider, asker: Asker) -> None:
    first = asker.ask().parse().id
    assert said(asker, cache_control="no-cache") == "MISS"
    again = asker.ask()
    assert again.headers["x-tiercache"] == "HIT"
    assert again.parse().id != first


def test_no_store_stores_nothing(provider: FakeProvider, asker: Asker) -> None:
    assert said(asker, cache_control="no-store") == "MISS"
    assert said(asker) == "MISS"


def test_no_cache_and_no_store_pass_by(asker: Asker) -> None:
    asker.ask()
    assert said(asker, cache_control="no-cache, no-store") == "BYPASS"


def test_max_age(provider: FakeProvider, askers: Askers) -> None:
    clock = FakeClock()
    with Cache(MemoryBackend(clock=clock), clock=clock) as cache:
        asker = askers(cache=cache)
        asker.ask()
        clock.advance(30)
        assert said(asker, cache_control="max-age=60") == "HIT"
        assert said(asker, cache_control="max-age=10") == "MISS"
        assert said(asker, cache_control="max-age=0") == "MISS"


@pytest.mark.parametrize("ttl", ["60", "1m", "60.0"])
def test_ttl(askers: Askers, ttl: str) -> None:
    clock = FakeClock()
    with Cache(MemoryBackend(clock=clock), clock=clock) as cache:
        asker = askers(cache=cache)
        said(asker, x_tiercache_ttl=ttl)
        clock.advance(59)
        assert said(asker) == "HIT"
        clock.advance(2)
        assert said(asker) == "MISS"


def test_tags(asker: Asker, cache: Cache) -> None:
    said(asker, x_tiercache_tags="evaluation, run-7")
    cache.invalidate_tags(["run-7"])
    assert said(asker) == "MISS"


def test_samples(provider: FakeProvider, asker: Asker) -> None:
    seen = {asker.ask(extra_headers={"x-tiercache-samples": "3"}).parse().id for _ in range(60)}
    assert 1 < len(seen) <= 3
    assert provider.calls() == len(seen)


def test_only_if_cached_answers_from_the_cache_alone(provider: FakeProvider, asker: Asker) -> None:
    with pytest.raises(openai.APIStatusError) as raised:
        said(asker, cache_control="only-if-cached")
    assert raised.value.status_code == 504
    assert raised.value.code == "cache_miss"
    assert provider.calls() == 0
    asker.ask()
    assert said(asker, cache_control="only-if-cached") == "HIT"


@pytest.mark.parametrize("stream", [False, True])
def test_only_if_cached_is_given_whichever_sample_there_is(provider: FakeProvider, asker: Asker, stream: bool) -> None:
    body = CHAT | {"stream": stream}
    for _ in range(2):  # one is stored, or two
        asker.post("/v1/chat/completions", json=body, headers={"x-tiercache-samples": "50"})
    calls = provider.calls()
    control = {"x-tiercache-samples": "50", "cache-control": "only-if-cached"}
    replies = [asker.post("/v1/chat/completions", json=body, headers=control) for _ in range(10)]
    assert {reply.headers["x-tiercache"] for reply in replies} == {"HIT"}
    assert provider.calls() == calls


def test_only_if_cached_is_not_retried(provider: FakeProvider, askers: Askers) -> None:
    asker = askers(max_retries=3)
    with pytest.raises(openai.InternalServerError):
        said(asker, cache_control="only-if-cached")
    assert provider.calls() == 0


def test_only_if_cached_holds_for_what_would_pass_by(provider: FakeProvider, asker: Asker) -> None:
    with pytest.raises(openai.InternalServerError):
        asker.ask(tools=[{"type": "web_search"}], extra_headers={"Cache-Control": "only-if-cached"})
    assert provider.calls() == 0


@pytest.mark.parametrize(
    "body", [b'{"model": "m", "model": "n"}', b" " * (8 * 2**20 + 1)], ids=["malformed", "too_large"]
)
def test_only_if_cached_holds_for_what_is_not_read(provider: FakeProvider, asker: Asker, body: bytes) -> None:
    headers = {"content-type": "application/json", "cache-control": "only-if-cached"}
    assert asker.post("/v1/chat/completions", content=body, headers=headers).status_code == 504
    assert provider.calls() == 0


def test_only_if_cached_in_the_words_of_anthropic(provider: FakeProvider, cache: Cache) -> None:
    import httpx2
    from anthropic import Anthropic, InternalServerError

    with Anthropic(base_url=provider.url, api_key="a", http_client=client(cache, http=httpx2)) as sdk:
        with pytest.raises(InternalServerError) as raised:
            sdk.messages.create(
                model="m", max_tokens=9, messages=MESSAGES, extra_headers={"Cache-Control": "only-if-cached"}
            )
        assert raised.value.body == {
            "type": "error",
            "error": {
                "type": "cache_miss",
                "message": "the cache has no answer to this request, and only-if-cached forbids to ask the provider",
            },
        }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-tiercache-ttl", "soon"),
        ("x-tiercache-ttl", "-5"),
        ("x-tiercache-samples", "many"),
        ("x-tiercache-samples", "0"),
        ("x-tiercache-tags", "_llm:kind:chat"),
        ("cache-control", "max-age=never"),
        ("cache-control", "no-cache=x, ,=,;"),
        ("x-tiercache-unknown", "1"),
    ],
)
def test_what_cannot_be_understood_is_ignored(provider: FakeProvider, asker: Asker, name: str, value: str) -> None:
    assert asker.ask(extra_headers={name: value}).headers["x-tiercache"] == "MISS"
    assert asker.ask().headers["x-tiercache"] == "HIT"


def test_what_is_said_to_the_cache_is_not_forwarded(provider: FakeProvider, asker: Asker) -> None:
    said(asker, x_tiercache_ttl="60", x_tiercache_tags="a", cache_control="max-age=9", x_mine="1")
    (request,) = provider.requests
    assert not [name for name in request.headers if name.startswith("x-tiercache") or name == "cache-control"]
    assert request.headers["x-mine"] == "1"
    assert request.json["model"] == "m"


def test_the_context_manager_holds_inside(provider: FakeProvider, cache: Cache) -> None:
    with openai.OpenAI(base_url=provider.openai, api_key="a", http_client=client(cache)) as sdk:
        for _ in range(2):
            with cache_control(no_cache=True):
                sdk.chat.completions.create(model="m", messages=MESSAGES)
        sdk.chat.completions.create(model="m", messages=MESSAGES)
    assert provider.calls() == 2


def test_a_block_says_all_that_headers_say(provider: FakeProvider, cache: Cache) -> None:
    clock = FakeClock()
    with (
        Cache(MemoryBackend(clock=clock), clock=clock) as aging,
        openai.OpenAI(base_url=provider.openai, api_key="a", http_client=client(aging), max_retries=0) as sdk,
    ):

        def outcome(**block: Any) -> str:
            with cache_control(**block):
                return sdk.chat.completions.with_raw_response.create(model="m", messages=MESSAGES).headers[
                    "x-tiercache"
                ]

        with pytest.raises(openai.InternalServerError, match="504"):
            outcome(only_if_cached=True)
        assert [outcome(no_store=True), outcome(no_store=True)] == ["MISS", "MISS"]
        assert outcome(no_store=True, no_cache=True) == "BYPASS"
        assert [outcome(ttl="1m", tags=["run-7"]), outcome(only_if_cached=True)] == ["MISS", "HIT"]
        clock.advance(30)
        assert [outcome(max_age=40), outcome(max_age=20), outcome(max_age=20)] == ["HIT", "MISS", "HIT"]
        assert outcome(no_cache=True, tags=["run-7"], ttl="1m") == "MISS"
        aging.invalidate_tags(["run-7"])
        assert outcome(ttl="1m") == "MISS"
        clock.advance(61)
        assert outcome() == "MISS"
        assert {outcome(samples=3) for _ in range(60)} == {"HIT", "MISS"}
    assert provider.calls() == 8 + 2, "two of three samples were missing"


def said_by_anthropic(sdk: Any, **fields: Any) -> str:
    reply = sdk.messages.with_raw_response.create(model="m", max_tokens=9, messages=MESSAGES, **fields)
    outcome: str = reply.headers["x-tiercache"]
    return outcome


def test_answers_are_invalidated_by_model_user_and_kind(provider: FakeProvider, cache: Cache) -> None:
    """What the transport stored is found by `LLMCache`: chats, streams, vectors and messages."""
    import httpx2
    from anthropic import Anthropic

    llm = LLMCache(cache)
    with (
        openai.OpenAI(base_url=provider.openai, api_key="a", http_client=client(llm)) as sdk,
        Anthropic(base_url=provider.url, api_key="a", http_client=client(llm, http=httpx2)) as other,
    ):

        def outcomes() -> list[str]:
            raw, user = sdk.chat.completions.with_raw_response, {"metadata": {"user_id": "ann"}}
            streamed = raw.create(model="m", messages=MESSAGES, user="ann", stream=True)
            streamed.http_response.read()
            return [
                raw.create(model="m", messages=MESSAGES, user="ann").headers["x-tiercache"],
                streamed.headers["x-tiercache"],
                sdk.embeddings.with_raw_response.create(model="m", input="a", user="ann").headers["x-tiercache"],
                said_by_anthropic(other, **user),
            ]

        assert outcomes() == ["MISS"] * 4
        llm.invalidate_model("another")
        llm.invalidate_user("bob")
        assert outcomes() == ["HIT"] * 4
        llm.invalidate_model("m")
        assert outcomes() == ["MISS"] * 4
        llm.invalidate_user("ann")
        assert outcomes() == ["MISS"] * 4
        llm.clear("message")
        assert outcomes() == ["HIT", "HIT", "HIT", "MISS"]
        llm.clear()
        assert outcomes() == ["MISS"] * 4


def test_a_header_goes_before_the_context_manager(cache: Cache, provider: FakeProvider) -> None:
    clock = FakeClock()
    with (
        Cache(MemoryBackend(clock=clock), clock=clock) as aging,
        openai.OpenAI(base_url=provider.openai, api_key="a", http_client=client(aging)) as sdk,
        cache_control(max_age=10),
    ):
        sdk.chat.completions.create(model="m", messages=MESSAGES)
        clock.advance(30)
        sdk.chat.completions.create(model="m", messages=MESSAGES, extra_headers={"Cache-Control": "max-age=60"})
        assert provider.calls() == 1


def test_answers_live_as_long_as_the_cache_was_told(askers: Askers) -> None:
    clock = FakeClock()
    with Cache(MemoryBackend(clock=clock), ttl="30d", clock=clock) as cache:
        asker = askers(cache=cache)
        asker.ask()
        clock.advance(29 * 86400)
        assert said(asker) == "HIT"
        clock.advance(2 * 86400)
        assert said(asker) == "MISS"


def test_answers_live_as_long_as_an_llm_cache_was_told(askers: Askers) -> None:
    clock = FakeClock()
    with Cache(MemoryBackend(clock=clock), ttl="30d", clock=clock) as cache:
        asker = askers(cache=LLMCache(cache, chat_ttl="1h", model_ttl={"short*": "1m"}))
        for model in ("m", "short-1"):
            asker.ask(model=model)
        clock.advance(120)
        assert [asker.ask(model=model).headers["x-tiercache"] for model in ("m", "short-1")] == ["HIT", "MISS"]


def test_the_rules_of_an_llm_cache_hold(provider: FakeProvider, askers: Askers, cache: Cache) -> None:
    llm = LLMCache(cache, rules=Rules(policy=StorePolicy(truncated=True), cache_sampled=False))
    asker = askers(cache=llm)
    provider.next(finish="length")
    outcomes = [asker.ask(temperature=0).headers["x-tiercache"] for _ in range(2)]
    assert outcomes == ["MISS", "HIT"], "truncated answers are kept"
    assert asker.ask().headers["x-tiercache"] == "BYPASS", "sampled ones are not"
    counted = llm.stats().chat
    assert (counted.misses, counted.hits, counted.stored, counted.bypassed) == (1, 1, 1, 1)


def test_requests_are_counted_by_kind(provider: FakeProvider, askers: Askers, cache: Cache) -> None:
    llm = LLMCache(cache)
    asker: Any = askers(cache=llm)
    provider.next(finish="length")
    for text in ("truncated", "good", "good"):
        asker.ask(messages=[{"role": "user", "content": text}])
    asker.ask(tools=[{"type": "web_search"}])
    counted = llm.stats().chat
    assert (counted.misses, counted.hits, counted.stored) == (2, 1, 1)
    assert counted.refused == {"truncated": 1}
    assert counted.bypassed_for == {"hosted_tool": 1}
