"""LiteLLM with a tiercache `Cache` behind it, through `litellm.completion` and its kin, against a counting provider."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openai import OpenAI

from tests.provider import FakeProvider
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import ConfigurationError, MissingExtra
from tiercache.testing import FakeClock, FaultyBackend, Rule

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it is fetched when LiteLLM is imported
litellm = pytest.importorskip("litellm")
pytest.importorskip("soundfile")  # without it LiteLLM cannot serve a hit

from tiercache.integrations.litellm import LiteLLMStore, install, uninstall  # noqa: E402

MODEL = "openai/gpt-4o-mini"
EMBEDDER = "openai/text-embedding-3-small"


@pytest.fixture(autouse=True)
def _a_loop_to_find(request: pytest.FixtureRequest) -> Iterator[None]:
    """LiteLLM asks for the loop of a thread that has none, and leaves the one open that it is given then."""
    if inspect.iscoroutinefunction(request.function):
        yield
        return
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def cache() -> Iterator[Cache]:
    with Cache(MemoryBackend()) as cache:
        yield cache


@pytest.fixture
def store(cache: Cache) -> Iterator[LiteLLMStore]:
    yield install(cache)
    uninstall()


@pytest.fixture
def ask(provider: FakeProvider) -> Callable[..., Any]:
    def ask(prompt: str = "hello", **options: Any) -> Any:
        messages = options.pop("messages", None) or [{"role": "user", "content": prompt}]
        call = {"model": MODEL, "api_base": provider.openai, "api_key": "sk-one", **options}
        return litellm.completion(messages=messages, **call)

    return ask


@pytest.fixture
def aask(provider: FakeProvider) -> Callable[..., Any]:
    async def aask(prompt: str = "hello", **options: Any) -> Any:
        call = {"model": MODEL, "api_base": provider.openai, "api_key": "sk-one", **options}
        answer = await litellm.acompletion(messages=[{"role": "user", "content": prompt}], **call)
        return await stored(answer)

    return aask


def said(answer: Any) -> str:
    """The text of an answer of whichever kind."""
    if hasattr(answer, "output"):
        return str(answer.output[0].content[0].text)
    choice = answer.choices[0]
    return str(choice.message.content if hasattr(choice, "message") else choice.text)


async def until(done: Callable[[], bool]) -> None:
    """Wait for what LiteLLM does in tasks of its own."""
    for _ in range(3000):
        if done():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("LiteLLM's task never came to it")


async def stored(answer: Any) -> Any:
    """Wait until LiteLLM has stored what it was about to."""
    from litellm.caching.caching_handler import _PENDING_CACHE_WRITES

    await asyncio.gather(*_PENDING_CACHE_WRITES)
    return answer


def vector(provider: FakeProvider, text: str) -> list[float]:
    return provider.vector(text, model="text-embedding-3-small")


def number(answer: Any) -> int:
    """Which of the provider's answers it is."""
    return int(answer.id.removeprefix("chatcmpl-"))


def streamed(chunks: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


async def astreamed(chunks: Any) -> str:
    return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])


# The same call twice.


@pytest.mark.usefixtures("store")
def test_a_completion_is_asked_once_and_comes_back_equal(ask: Any, provider: FakeProvider) -> None:
    first, second = ask(), ask()
    assert provider.calls() == 1
    assert second.model_dump() == first.model_dump()
    assert second.usage.total_tokens == first.usage.total_tokens > 0, "a hit replays usage unchanged"


@pytest.mark.usefixtures("store")
async def test_an_acompletion_is_asked_once_and_comes_back_equal(aask: Any, provider: FakeProvider) -> None:
    first, second = await aask(), await aask()
    assert provider.calls() == 1
    assert second.model_dump() == first.model_dump()


@pytest.mark.usefixtures("store")
async def test_sync_and_async_share_their_answers(ask: Any, aask: Any, provider: FakeProvider) -> None:
    first = await aask()
    second = await asyncio.to_thread(ask)
    assert (provider.calls(), number(second)) == (1, number(first))


@pytest.mark.usefixtures("store")
def test_a_stream_is_asked_once_and_replayed(ask: Any, provider: FakeProvider) -> None:
    live, replayed = streamed(ask(stream=True)), streamed(ask(stream=True))
    assert live == replayed == provider.text(provider.requests[0])
    assert provider.calls() == 1


async def test_an_async_stream_is_asked_once_and_replayed(provider: FakeProvider, store: LiteLLMStore) -> None:
    call = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "hi"}],
        "api_base": provider.openai,
        "api_key": "sk-one",
    }
    for _ in range(2):
        streamed = await astreamed(await litellm.acompletion(stream=True, **call))
        assert streamed == provider.text(provider.requests[0])
        await until(lambda: store.stats().stored == 1)
    assert provider.calls() == 1


@pytest.mark.usefixtures("store")
def test_a_stream_that_was_left_is_not_stored(ask: Any, provider: FakeProvider) -> None:
    next(iter(ask(stream=True)))
    streamed(ask(stream=True))
    assert provider.calls() == 2


@pytest.mark.usefixtures("store")
def test_an_embedding_is_asked_once(provider: FakeProvider) -> None:
    call = {"model": EMBEDDER, "input": ["a", "bb"], "api_base": provider.openai, "api_key": "sk-one"}
    first, second = litellm.embedding(**call), litellm.embedding(**call)
    assert provider.calls() == 1
    assert [item["embedding"] for item in second.data] == [vector(provider, "a"), vector(provider, "bb")]
    assert second.usage == first.usage


@pytest.mark.usefixtures("store")
async def test_aembedding_asks_only_for_the_texts_that_are_missing(provider: FakeProvider) -> None:
    async def embed(*texts: str) -> Any:
        return await stored(
            await litellm.aembedding(model=EMBEDDER, input=list(texts), api_base=provider.openai, api_key="sk-one")
        )

    await embed("a", "bb")
    answer = await embed("a", "cccc", "bb")
    assert [request.json["input"] for request in provider.requests] == [["a", "bb"], ["cccc"]]
    assert [item["embedding"] for item in answer.data] == [
        vector(provider, "a"),
        vector(provider, "cccc"),
        vector(provider, "bb"),
    ]
    assert [item["index"] for item in answer.data] == [0, 1, 2]
    assert answer.usage.prompt_tokens == 3, "a token a text"
    assert [item["embedding"] for item in (await embed("bb", "a")).data] == [
        vector(provider, "bb"),
        vector(provider, "a"),
    ]
    assert provider.calls() == 2


@pytest.mark.usefixtures("store")
async def test_a_vector_that_aembedding_stored_does_not_break_embedding(provider: FakeProvider) -> None:
    call = {"model": EMBEDDER, "input": "a", "api_base": provider.openai, "api_key": "sk-one"}
    await stored(await litellm.aembedding(**call))
    answer = await asyncio.to_thread(litellm.embedding, **call)
    assert answer.data[0]["embedding"] == vector(provider, "a")


@pytest.mark.usefixtures("store")
def test_a_long_conversation_is_cached_too(ask: Any, provider: FakeProvider) -> None:
    turns = [{"role": role, "content": f"{n}"} for n in range(4) for role in ("user", "assistant")]
    turns.append({"role": "user", "content": "and now?"})
    assert number(ask(messages=turns)) == number(ask(messages=turns))
    assert provider.calls() == 1


@pytest.mark.usefixtures("store")
def test_the_order_of_the_arguments_does_not_matter(ask: Any, provider: FakeProvider) -> None:
    ask(temperature=0, seed=1)
    ask(seed=1, temperature=0)
    assert provider.calls() == 1


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("kind", ["completion", "response", "message"])
def test_other_kinds_of_calls_are_asked_once(provider: FakeProvider, kind: str) -> None:
    messages = [{"role": "user", "content": "hello"}]

    def call() -> Any:
        openai = {"api_base": provider.openai, "api_key": "sk-one"}
        if kind == "completion":
            return litellm.text_completion(model="text-completion-openai/davinci", prompt="hello", **openai)
        if kind == "response":
            return litellm.responses(model=MODEL, input="hello", **openai)
        return litellm.completion(model="anthropic/claude", messages=messages, api_base=provider.url, api_key="sk-one")

    first, second = call(), call()
    assert provider.calls() == 1
    assert (second.id, second.usage) == (first.id, first.usage)
    assert said(second) == said(first) == provider.text(provider.requests[0])


@pytest.mark.usefixtures("store")
def test_an_error_is_raised_and_not_stored(ask: Any, provider: FakeProvider) -> None:
    provider.next(status=400)
    with pytest.raises(litellm.BadRequestError):
        ask()
    assert number(ask()) == number(ask()) == 2


@pytest.mark.usefixtures("store")
def test_a_stream_that_was_cut_is_not_stored(ask: Any, provider: FakeProvider) -> None:
    provider.next(cut=3)
    with pytest.raises(litellm.exceptions.MidStreamFallbackError):
        streamed(ask(stream=True, num_retries=0, max_retries=0))
    asked = provider.calls()
    assert streamed(ask(stream=True)) == streamed(ask(stream=True)) == provider.text(provider.requests[-1])
    assert provider.calls() == asked + 1


@pytest.mark.usefixtures("store")
def test_deployments_of_a_router_share_their_answers(provider: FakeProvider) -> None:
    deployments = [
        {
            "model_name": "chat",
            "litellm_params": {"model": MODEL, "api_base": provider.openai, "api_key": key},
        }
        for key in ("sk-one", "sk-two")
    ]
    router = litellm.Router(model_list=deployments, cache_responses=True)
    for _ in range(6):
        router.completion(model="chat", messages=[{"role": "user", "content": "hello"}])
    assert provider.calls() == 1


# Never the answer to another call.


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"prompt": "hello"}, {"prompt": "hello "}),
        ({"model": MODEL}, {"model": "openai/gpt-4o"}),
        ({"temperature": 0}, {"temperature": 0.5}),
        ({"temperature": 0}, {}),
        ({"seed": 1}, {"seed": 2}),
        ({"stop": "a", "temperature": 0}, {"stop": "atemperature: 0"}),
        ({"api_key": "sk-one"}, {"api_key": "sk-two"}),
        ({"extra_headers": {"x-tenant": "a"}}, {"extra_headers": {"x-tenant": "b"}}),
        ({"extra_body": {"min_p": 0.1}}, {"extra_body": {"min_p": 0.2}}),
        ({"min_p": 0.1}, {"min_p": 0.2}),
        ({"tools": [{"type": "function", "function": {"name": "a"}}]}, {}),
    ],
    ids=lambda options: ",".join(f"{name}={value}" for name, value in options.items())[:30] or "without",
)
def test_calls_that_differ_never_meet(ask: Any, provider: FakeProvider, one: Any, other: Any) -> None:
    assert number(ask(**one)) == 1
    assert number(ask(**other)) == 2
    assert (number(ask(**one)), number(ask(**other))) == (1, 2)
    assert provider.calls() == 2


@pytest.mark.usefixtures("store")
def test_two_servers_with_a_model_of_the_same_name_never_meet(ask: Any, provider: FakeProvider) -> None:
    ask()
    with FakeProvider() as other:
        ask(api_base=other.openai)
        assert (provider.calls(), other.calls()) == (1, 1)


@pytest.mark.usefixtures("store")
def test_models_of_the_same_name_and_other_fields_never_meet(store: LiteLLMStore) -> None:
    from pydantic import create_model

    def key(kind: type) -> str:
        model = create_model("Answer", value=(kind, ...))
        return str(litellm.cache.get_cache_key(model="m", messages=[], response_format=model))

    assert key(int) != key(str)
    assert key(int) == key(int), "the same in every process"


def test_clients_of_two_tenants_never_meet(provider: FakeProvider, store: LiteLLMStore) -> None:
    def ask(key: str, **headers: str) -> Any:
        with OpenAI(api_key=key, base_url=provider.openai, default_headers=headers) as client:
            call: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
            return litellm.completion(client=client, **call)

    asked = [ask("sk-one"), ask("sk-two"), ask("sk-one", tenant="three")]
    assert provider.calls() == 3
    assert [said(ask("sk-one")), said(ask("sk-two"))] == [said(answer) for answer in asked[:2]]
    assert provider.calls() == 3


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("azure_ad_token_provider", lambda: "token of one", lambda: "token of other"),
        ("azure_username", "one", "other"),
        ("client_secret", "one", "other"),
        ("openai_service_account_id", "one", "other"),
        ("anthropic_identity_token", "one", "other"),
    ],
)
def test_tenants_are_told_by_all_that_litellm_takes_for_credentials(
    store: LiteLLMStore, name: str, one: Any, other: Any
) -> None:
    call: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
    keys = [litellm.cache.get_cache_key(**call, **{name: value}) for value in (one, other, one)]
    assert keys[0] == keys[2] != keys[1]


def test_tenants_share_where_they_are_told_to(cache: Cache, ask: Any, provider: FakeProvider) -> None:
    install(cache, scope="shared")
    try:
        assert number(ask(api_key="sk-one")) == number(ask(api_key="sk-two"))
    finally:
        uninstall()
    assert provider.calls() == 1


def test_a_scope_of_its_own_keeps_a_tenant_apart(cache: Cache, ask: Any, provider: FakeProvider) -> None:
    for scope in ("team-a", "team-b"):
        install(cache, scope=scope)
        ask()
        ask(api_key="sk-two")  # the text goes for both
        uninstall()
    assert provider.calls() == 2


@pytest.mark.usefixtures("store")
def test_the_caller_may_change_an_answer_without_changing_the_next(ask: Any, provider: FakeProvider) -> None:
    ask().choices[0].message.content = "changed"
    ask().choices[0].message.content = "changed"
    assert ask().choices[0].message.content == provider.text(provider.requests[0])
    assert provider.calls() == 1


@pytest.mark.usefixtures("store")
def test_a_truncated_answer_is_not_stored(ask: Any, provider: FakeProvider, store: LiteLLMStore) -> None:
    provider.always(finish="length")
    ask()
    ask()
    assert provider.calls() == 2
    assert store.stats().refused["truncated"] == 2


# LiteLLM's own controls.


@pytest.mark.usefixtures("store")
def test_no_cache_asks_again_and_replaces_the_answer(ask: Any) -> None:
    assert number(ask()) == 1
    assert number(ask(cache={"no-cache": True})) == 2
    assert number(ask()) == 2


@pytest.mark.usefixtures("store")
def test_no_store_does_not_store(ask: Any) -> None:
    assert number(ask(cache={"no-store": True})) == 1
    assert number(ask()) == 2


def test_the_ttl_of_a_call_ends_its_answer(clock: FakeClock, ask: Any) -> None:
    clock.now = time.time()
    with Cache(MemoryBackend(clock=clock), ttl="1d", clock=clock) as cache:
        install(cache)
        try:
            ask(cache={"ttl": 60})
            clock.advance(59)
            assert number(ask()) == 1
            clock.advance(2)
            assert number(ask()) == 2
            clock.advance(3600)
            assert number(ask()) == 2, "the cache's own ttl"
        finally:
            uninstall()


@pytest.mark.usefixtures("store")
def test_namespaces_of_litellm_keep_answers_apart(ask: Any) -> None:
    assert number(ask(cache={"namespace": "a"})) == 1
    assert number(ask(cache={"namespace": "b"})) == 2
    assert number(ask(cache={"namespace": "a"})) == 1


# Savings.


@pytest.mark.usefixtures("store")
async def test_hits_are_counted_as_saved(ask: Any, cache: Cache, provider: FakeProvider) -> None:
    for _ in range(3):
        await asyncio.to_thread(ask)
    for _ in range(2):
        await stored(
            await litellm.aembedding(model=EMBEDDER, input=["a", "bb"], api_base=provider.openai, api_key="sk-one")
        )
    saved = cache.stats().savings.by_model
    usage = ask().usage
    assert (saved[MODEL].calls, saved[MODEL].input_tokens) == (2, 2 * usage.prompt_tokens)
    assert (saved[MODEL].output_tokens, saved[MODEL].usd > 0) == (2 * usage.completion_tokens, True)
    assert (saved[EMBEDDER].calls, saved[EMBEDDER].input_tokens) == (2, 2)


# Never in the way.


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("fault", ["unavailable", "timeout", "denied"])
async def test_a_tier_that_fails_is_as_none(
    ask: Any, aask: Any, provider: FakeProvider, fault: str, strict: bool
) -> None:
    broken = FaultyBackend(MemoryBackend(), rules=[Rule(fault)])
    with Cache(TierChain(Tier(broken, name="broken"), strict=strict)) as cache:
        store = install(cache)
        try:
            assert number(await asyncio.to_thread(ask)) == 1
            assert number(await aask()) == 2
            await stored(await litellm.aembedding(model=EMBEDDER, input=["a"], api_base=provider.openai, api_key="k"))
        finally:
            uninstall()
    assert provider.calls() == 3
    assert bool(store.errors) == strict


async def test_a_closed_cache_is_as_none(ask: Any, aask: Any, store: LiteLLMStore, cache: Cache) -> None:
    cache.close()
    assert number(await asyncio.to_thread(ask)) == 1
    assert number(await aask()) == 2
    await until(lambda: store.errors["CacheClosed"] >= 3)


def test_what_no_codec_takes_is_not_stored(store: LiteLLMStore) -> None:
    store.set_cache("k", {"timestamp": 1.0, "response": object()})
    assert store.get_cache("k") is None
    assert store.errors == {"UncacheableValue": 1}


async def test_the_connection_can_be_tested(store: LiteLLMStore, cache: Cache) -> None:
    assert (await store.test_connection())["status"] == "success"
    assert await store.ping()
    await store.disconnect()
    cache.set("k", 1)
    await store.delete_cache_keys(["k"])
    assert cache.get("k") is None, "the cache is its owner's to close"


async def test_a_broken_connection_says_so() -> None:
    with Cache(FaultyBackend(MemoryBackend(), rules=[Rule("unavailable")])) as cache:
        answer = await LiteLLMStore(cache).test_connection()
    assert answer["status"] == "failed"


# Installing.


def test_uninstall_ends_it_and_leaves_the_cache_open(cache: Cache, ask: Any, provider: FakeProvider) -> None:
    install(cache)
    uninstall()
    assert litellm.cache is None
    ask()
    ask()
    assert provider.calls() == 2
    cache.set("k", 1)


def test_uninstall_leaves_a_cache_of_others_alone() -> None:
    litellm.cache = theirs = litellm.Cache()
    try:
        uninstall()
        assert litellm.cache is theirs
    finally:
        litellm.disable_cache()


def test_something_else_than_a_cache_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must be a Cache"):
        install("redis://localhost")  # type: ignore[arg-type]


def test_what_litellm_needs_at_its_first_hit_is_asked_for_at_once(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith(("litellm.llms.anthropic", "litellm.proxy"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingExtra, match=r"soundfile.*install tiercache\[litellm\]"):
        install(cache)
    assert litellm.cache is None
