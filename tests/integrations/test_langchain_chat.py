"""LangChain's own chat models and LLMs on `LangChainCache`: what reaches a counting server, and what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("langchain_openai")

from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel, Field

from tests.conftest import FakeClock
from tests.integrations.openai_server import OpenAIServer
from tests.support import RemoteBackend
from tiercache import Cache, DiskBackend, MemoryBackend, Tier, TierChain
from tiercache.integrations.langchain import LangChainCache
from tiercache.llm.control import cache_control
from tiercache.llm.prices import usd_of
from tiercache.llm.usage import Usage

Chat = Callable[..., Any]


@pytest.fixture
def cache(clock: FakeClock) -> Cache:
    return Cache(TierChain(MemoryBackend(clock=clock), Tier(RemoteBackend(clock)), clock=clock))


@pytest.fixture
def adapter(cache: Cache) -> LangChainCache:
    return LangChainCache(cache)


@pytest.fixture
def chat(openai_server: OpenAIServer, adapter: LangChainCache) -> Chat:
    """Makes a chat model at the counting server, on the cache unless told otherwise."""

    def make(**options: Any) -> Any:
        given = {"model": "gpt-test", "api_key": "sk-test", "base_url": openai_server.url, "cache": adapter}
        return ChatOpenAI(**(given | options))

    return make


class Joke(BaseModel):
    """A schema that is given to the model as a class."""

    setup: str
    rating: int = Field(alias="stars")


class TestHits:
    def test_the_second_call_asks_nobody(self, chat: Chat, openai_server: OpenAIServer) -> None:
        first = chat().invoke("why?")
        second = chat().invoke("why?")
        assert openai_server.calls == 1
        assert (second.content, second.response_metadata) == (first.content, first.response_metadata)

    def test_awaited(self, chat: Chat, openai_server: OpenAIServer) -> None:
        async def main() -> list[str]:
            model = chat()
            return [(await model.ainvoke("why?")).content for _ in range(2)]

        assert asyncio.run(main()) == ["answer 1", "answer 1"]
        assert openai_server.calls == 1

    def test_what_blocks_and_what_awaits_share_their_answers(self, chat: Chat, openai_server: OpenAIServer) -> None:
        first = chat().invoke("why?")
        assert asyncio.run(chat().ainvoke("why?")).content == first.content
        assert openai_server.calls == 1

    def test_of_a_batch_only_what_is_new_is_asked(self, chat: Chat, openai_server: OpenAIServer) -> None:
        first = [message.content for message in chat().batch(["a", "b"])]
        second = [message.content for message in chat().batch(["b", "a", "c"])]
        assert second[:2] == first[::-1]
        assert openai_server.calls == 3

    def test_usage_comes_back_unchanged_but_for_the_cost_that_langchain_zeroes(self, chat: Chat) -> None:
        first = chat().invoke("why?")
        second = chat().invoke("why?")
        assert first.usage_metadata["input_tokens"] == 11
        assert {**second.usage_metadata} == {**first.usage_metadata, "total_cost": 0}

    def test_tool_calls_come_back(self, chat: Chat, openai_server: OpenAIServer) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "lc": 1}'}}
        openai_server.content, openai_server.finish_reason = "", "tool_calls"
        openai_server.message = {"tool_calls": [call]}
        first = chat().invoke("add")
        second = chat().invoke("add")
        assert openai_server.calls == 1
        assert second.tool_calls == first.tool_calls
        assert second.tool_calls[0]["args"] == {"a": 1, "lc": 1}

    def test_the_responses_api(self, chat: Chat, openai_server: OpenAIServer, adapter: LangChainCache) -> None:
        first = chat(use_responses_api=True).invoke("why?")
        second = chat(use_responses_api=True).invoke("why?")
        assert openai_server.web.asked[0].path.endswith("/responses")
        assert (second.content, second.response_metadata) == (first.content, first.response_metadata)
        openai_server.finish_reason = "length"
        chat(use_responses_api=True).invoke("how?")
        assert (openai_server.calls, adapter.stats().refused) == (2, {"truncated": 1})

    def test_all_choices_come_back(self, chat: Chat, openai_server: OpenAIServer) -> None:
        first = chat(n=3).generate([[HumanMessage("why?")]])
        second = chat(n=3).generate([[HumanMessage("why?")]])
        assert openai_server.calls == 1
        assert [one.text for one in second.generations[0]] == [one.text for one in first.generations[0]]
        assert len(second.generations[0]) == 3

    def test_llms_that_complete_a_text(self, openai_server: OpenAIServer, adapter: LangChainCache) -> None:
        def llm() -> Any:
            return OpenAI(model="c", api_key="sk", base_url=openai_server.url, cache=adapter)

        assert llm().invoke("once") == llm().invoke("once") == "answer 1"
        assert asyncio.run(llm().ainvoke("once")) == "answer 1"
        assert openai_server.calls == 1

    def test_the_global_cache(
        self, chat: Chat, openai_server: OpenAIServer, adapter: LangChainCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("langchain_core.globals._llm_cache", adapter)
        chat(cache=None).invoke("why?")
        chat(cache=None).invoke("why?")
        assert openai_server.calls == 1

    def test_a_hit_belongs_to_who_asked(self, chat: Chat) -> None:
        chat().invoke("why?")
        mine = chat().invoke("why?")
        mine.response_metadata.clear()
        mine.content = "changed"
        assert chat().invoke("why?").content == "answer 1"
        assert chat().invoke("why?").response_metadata["model_name"] == "gpt-test"

    def test_after_a_restart(self, chat: Chat, openai_server: OpenAIServer, tmp_path: Path) -> None:
        for _ in range(2):
            with Cache(TierChain(MemoryBackend(), DiskBackend(tmp_path / "cache.db"))) as cache:
                assert chat(cache=LangChainCache(cache)).invoke("why?").content == "answer 1"
        assert openai_server.calls == 1

    def test_what_is_streamed_passes_the_cache_by_because_langchain_does_not_ask_it(
        self, chat: Chat, openai_server: OpenAIServer
    ) -> None:
        said = ["".join(chunk.content for chunk in chat().stream("why?")) for _ in range(2)]
        assert said == ["answer 1", "answer 2"]
        assert openai_server.calls == 2

    def test_an_answer_that_was_streamed_inside_of_invoke_is_kept(
        self, chat: Chat, openai_server: OpenAIServer
    ) -> None:
        said = [chat(streaming=True).invoke("why?").content for _ in range(2)]
        assert said == ["answer 1", "answer 1"]
        assert [body.get("stream") for body in openai_server.bodies] == [True]

    def test_savings_are_counted(self, chat: Chat, cache: Cache) -> None:
        chat(model="gpt-4o-mini").invoke("why?")
        assert cache.stats().savings.total.calls == 0
        chat(model="gpt-4o-mini").invoke("why?")
        saved = cache.stats().savings.rows["gpt-4o-mini", "memory"]
        assert (saved.calls, saved.input_tokens, saved.output_tokens) == (1, 11, 5)

    def test_what_the_provider_had_in_its_own_cache_was_cheaper(self, chat: Chat, cache: Cache) -> None:
        pytest.importorskip("genai_prices")
        for _ in range(2):
            chat(model="gpt-4o-mini").invoke("why?")
        usage = Usage(input_tokens=11, output_tokens=5, cache_read_tokens=3)
        assert cache.stats().savings.total.usd == usd_of("gpt-4o-mini", usage) != usd_of("gpt-4o-mini", Usage(11, 5))


class TestKeys:
    @pytest.mark.parametrize(
        "other",
        [
            {"model": "gpt-other"},
            {"temperature": 0.5},
            {"seed": 1},
            {"max_tokens": 7},
            {"n": 2},
            {"extra_body": {"top_k": 3}},
            {"default_headers": {"OpenAI-Beta": "x"}},
            {"use_responses_api": False},
        ],
        ids=lambda other: next(iter(other)),
    )
    def test_another_request_never_meets(self, chat: Chat, openai_server: OpenAIServer, other: dict[str, Any]) -> None:
        chat().invoke("why?")
        assert chat(**other).invoke("why?").content == "answer 2"

    def test_another_server_never_meets(self, chat: Chat, openai_server: OpenAIServer) -> None:
        chat().invoke("why?")
        other = openai_server.url.replace("127.0.0.1", "localhost")
        assert chat(base_url=other).invoke("why?").content == "answer 2"

    @pytest.mark.parametrize("options", [{"stop": ["x"]}, {"temperature": 0.1}, {"tools": []}])
    def test_what_one_call_says_is_in_the_key(
        self, chat: Chat, openai_server: OpenAIServer, options: dict[str, Any]
    ) -> None:
        chat().invoke("why?")
        assert chat().invoke("why?", **options).content == "answer 2"

    def test_the_same_text_from_another_role_never_meets(self, chat: Chat) -> None:
        chat().invoke([HumanMessage("a"), AIMessage("b")])
        assert chat().invoke([HumanMessage("a"), HumanMessage("b")]).content == "answer 2"

    def test_prompt_and_parameters_do_not_run_together(self, adapter: LangChainCache) -> None:
        from langchain_core.outputs import Generation

        adapter.update("ab", "c", [Generation(text="x")])
        assert adapter.lookup("a", "bc") is None

    def test_scopes_set_tenants_apart(self, chat: Chat, cache: Cache, openai_server: OpenAIServer) -> None:
        tenant = "one"
        shared = LangChainCache(cache, scope=lambda: tenant)
        assert chat(cache=shared).invoke("why?").content == "answer 1"
        tenant = "two"
        assert chat(cache=shared).invoke("why?").content == "answer 2"
        assert chat(cache=LangChainCache(cache, scope="one")).invoke("why?").content == "answer 1"

    @pytest.mark.parametrize("unknown", [lambda: None, lambda: 1 / 0], ids=["none", "raises"])
    def test_those_without_a_scope_do_not_share_one(self, chat: Chat, cache: Cache, unknown: Callable[[], Any]) -> None:
        adapter = LangChainCache(cache, scope=unknown)
        assert chat(cache=adapter).invoke("why?").content == "answer 1"
        assert chat(cache=adapter).invoke("why?").content == "answer 2"
        assert (adapter.stats().bypassed, adapter.stats().stored) == (4, 0)

    def test_keys_hold_no_prompt(self, chat: Chat, cache: Cache) -> None:
        chat().invoke("a secret prompt")
        (key,) = cache.keys()
        assert key.startswith("langchain:")
        assert len(key) == len("langchain:") + 64

    def test_an_object_written_by_its_address_has_no_key(self, adapter: LangChainCache) -> None:
        from langchain_core.outputs import Generation

        params = "[('tools', [<function f at 0x7f0000000001>])]"
        adapter.update("p", params, [Generation(text="x")])
        assert adapter.lookup("p", params) is None
        assert (adapter.stats().bypassed, adapter.stats().stored) == (2, 0)


class TestStructuredOutput:
    @pytest.fixture
    def joke(self, chat: Chat, openai_server: OpenAIServer) -> Callable[..., Any]:
        openai_server.content = '{"setup": "knock", "stars": 3}'
        return lambda schema=Joke, **options: chat().with_structured_output(schema, **options).invoke("a joke")

    @pytest.mark.parametrize("method", ["json_schema", "json_mode"])
    def test_it_is_answered_from_the_cache(
        self, joke: Callable[..., Any], openai_server: OpenAIServer, method: str
    ) -> None:
        first = joke(method=method)
        assert joke(method=method) == first == Joke(setup="knock", stars=3)
        assert openai_server.calls == 1

    def test_a_schema_that_was_edited_gets_no_answer_of_the_old_one(
        self, joke: Callable[..., Any], openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        joke()

        class Edited(BaseModel):
            setup: str
            stars: int
            source: str = "none"

        Edited.__qualname__, Edited.__name__ = "Joke", "Joke"
        monkeypatch.setitem(globals(), "Joke", Edited)
        assert repr(Edited) == repr(Joke)
        assert joke(Edited).source == "none"
        assert openai_server.calls == 2

    def test_a_schema_that_its_name_does_not_lead_to_passes_the_cache_by(
        self, joke: Callable[..., Any], openai_server: OpenAIServer, adapter: LangChainCache
    ) -> None:
        class Local(BaseModel):
            setup: str

        assert joke(Local) == joke(Local) == Local(setup="knock")
        assert openai_server.calls == 2
        assert (adapter.stats().bypassed, adapter.stats().stored) == (4, 0)


class TestWhatIsNotStored:
    @pytest.mark.parametrize(
        ("reason", "content", "counted"),
        [
            ("length", "cut o", "truncated"),
            ("content_filter", "…", "filtered"),
            ("stop", "", "empty"),
            ("stop", "  \n", "empty"),
        ],
    )
    def test_a_bad_answer_is_handed_through(
        self,
        chat: Chat,
        openai_server: OpenAIServer,
        adapter: LangChainCache,
        reason: str,
        content: str,
        counted: str,
    ) -> None:
        openai_server.content, openai_server.finish_reason = content, reason
        assert [chat().invoke("why?").content for _ in range(2)] == [content] * 2
        assert openai_server.calls == 2
        assert adapter.stats().refused == {counted: 2}

    def test_unless_told_otherwise(self, chat: Chat, cache: Cache, openai_server: OpenAIServer) -> None:
        openai_server.content, openai_server.finish_reason = "cut o", "length"
        adapter = LangChainCache(cache, store_truncated=True)
        assert [chat(cache=adapter).invoke("why?").content for _ in range(2)] == ["cut o"] * 2
        assert openai_server.calls == 1

    def test_an_error_is_raised_and_nothing_is_stored(
        self, chat: Chat, openai_server: OpenAIServer, adapter: LangChainCache
    ) -> None:
        openai_server.web.answers.insert(0, (400, {"error": {"message": "bad", "code": "bad"}}))
        with pytest.raises(Exception, match="bad"):
            chat().invoke("why?")
        assert chat().invoke("why?").content == "answer 2"
        assert adapter.stats().stored == 1


class TestLife:
    def test_answers_expire(self, chat: Chat, cache: Cache, clock: FakeClock) -> None:
        adapter = LangChainCache(cache, ttl="1h")
        chat(cache=adapter).invoke("why?")
        clock.advance(3599)
        assert chat(cache=adapter).invoke("why?").content == "answer 1"
        clock.advance(2)
        assert chat(cache=adapter).invoke("why?").content == "answer 2"

    def test_a_stale_answer_is_a_miss(self, chat: Chat, clock: FakeClock) -> None:
        adapter = LangChainCache(Cache(MemoryBackend(clock=clock), ttl="1h", stale_for="1d", clock=clock))
        chat(cache=adapter).invoke("why?")
        clock.advance(3601)
        assert chat(cache=adapter).invoke("why?").content == "answer 2"

    def test_clear_is_about_its_own_answers_alone(self, chat: Chat, cache: Cache) -> None:
        ours, others = LangChainCache(cache), LangChainCache(cache, prefix="other")
        cache.set("mine", 1)
        chat(cache=ours).invoke("why?")
        chat(cache=others).invoke("why?")
        ours.clear()
        assert chat(cache=others).invoke("why?").content == "answer 2"
        assert chat(cache=ours).invoke("why?").content == "answer 3"
        assert cache.get("mine") == 1

    @pytest.mark.parametrize("strict", [False, True])
    def test_a_store_that_is_down_costs_only_the_cache(self, chat: Chat, clock: FakeClock, strict: bool) -> None:
        remote = RemoteBackend(clock)
        remote.break_down()
        adapter = LangChainCache(Cache(TierChain(remote, clock=clock, strict=strict)))
        assert chat(cache=adapter).invoke("why?").content == "answer 1"
        assert asyncio.run(chat(cache=adapter).ainvoke("why?")).content == "answer 2"
        assert bool(adapter.errors) == strict

    def test_a_cache_that_was_closed_is_as_none(self, chat: Chat, cache: Cache, adapter: LangChainCache) -> None:
        cache.close()
        assert chat().invoke("why?").content == "answer 1"
        assert asyncio.run(chat().ainvoke("why?")).content == "answer 2"
        assert list(adapter.errors) == ["CacheClosed"]
        assert (adapter.stats().misses, adapter.stats().stored) == (2, 0)


class TestControl:
    def test_no_cache_asks_and_stores(self, chat: Chat) -> None:
        chat().invoke("why?")
        with cache_control(no_cache=True):
            assert chat().invoke("why?").content == "answer 2"
        assert chat().invoke("why?").content == "answer 2"

    def test_max_age(self, chat: Chat, clock: FakeClock) -> None:
        chat().invoke("why?")
        clock.advance(60)
        with cache_control(max_age=61):
            assert chat().invoke("why?").content == "answer 1"
        with cache_control(max_age=59):
            assert asyncio.run(chat().ainvoke("why?")).content == "answer 2"

    def test_no_store(self, chat: Chat, adapter: LangChainCache) -> None:
        with cache_control(no_store=True):
            chat().invoke("why?")
        assert adapter.stats().refused == {"no_store": 1}
        assert chat().invoke("why?").content == "answer 2"

    def test_ttl_and_tags(self, chat: Chat, cache: Cache, clock: FakeClock) -> None:
        with cache_control(ttl="1m", tags=["doc:7"]):
            chat().invoke("a")
            chat().invoke("b")
        cache.invalidate_tags(["doc:7"])
        assert chat().invoke("a").content == "answer 3"
        with cache_control(ttl="1m"):
            chat().invoke("b")
        clock.advance(61)
        assert [chat().invoke("a").content, chat().invoke("b").content] == ["answer 3", "answer 5"]


def test_a_model_of_langchain_itself(adapter: LangChainCache) -> None:
    model = FakeListChatModel(responses=["one", "two"], cache=adapter)
    assert [model.invoke("a").content, model.invoke("a").content, model.invoke("b").content] == ["one", "one", "two"]
