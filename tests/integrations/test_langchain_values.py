"""What `LangChainCache` makes of stored values, its own and those of others; and which answers it writes at all."""

from __future__ import annotations

import datetime as dt
import json
import warnings
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("langchain_core")

from langchain_core.load import dumps
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, Generation, GenerationChunk
from langchain_core.prompts import PromptTemplate
from pydantic import BaseModel, Field

from tiercache import Cache, MemoryBackend
from tiercache.integrations.langchain import LangChainCache


@pytest.fixture
def cache() -> Cache:
    return Cache(MemoryBackend())


@pytest.fixture
def adapter(cache: Cache) -> LangChainCache:
    return LangChainCache(cache)


def chat(content: Any = "text", **fields: Any) -> ChatGeneration:
    return ChatGeneration(message=AIMessage(content=content, **fields))


GOOD: list[Generation] = [
    Generation(text="text", generation_info={"logprobs": [-0.5, 1e-9], "finish_reason": "stop"}),
    GenerationChunk(text="text"),
    chat(),
    chat(usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}, id="run-1"),
    chat([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:"}}]),
    chat("", tool_calls=[{"name": "f", "args": {"x": [1, 2.0, None, True]}, "id": "1", "type": "tool_call"}]),
    chat("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}}),
    chat(response_metadata={"lc": 1, "type": "secret", "id": ["HOME"]}),
    chat(additional_kwargs={"__lc_escaped__": {"lc": 1}}),
    chat("lone \ud800 surrogate"),
    ChatGeneration(message=ChatMessage(role="oracle", content="text")),
    # More tokens than an attribute of an entry can hold: the answer is kept, its saving is not.
    chat(
        response_metadata={"model_name": "m"},
        usage_metadata={"input_tokens": 2**70, "output_tokens": 1, "total_tokens": 1},
    ),
]


@pytest.mark.parametrize("generation", GOOD, ids=lambda one: type(one).__name__)
def test_an_answer_comes_back_equal_and_of_its_type(adapter: LangChainCache, generation: Generation) -> None:
    adapter.update("p", "m", [generation])
    found = adapter.lookup("p", "m")
    assert type(found) is list
    assert found == [generation]
    assert type(found[0]) is type(generation)


@pytest.mark.parametrize(
    "generation",
    [
        chat(response_metadata={"at": dt.datetime(2026, 1, 1)}),
        chat(response_metadata={"pair": (1, 2)}),
        chat(response_metadata={1: "an int as a key"}),
        chat(response_metadata={"score": float("nan")}),
        chat(additional_kwargs={"message": HumanMessage("a message inside")}),
        Generation(text="text", generation_info={"of": object()}),
        ChatGeneration(message=HumanMessage("text")),
    ],
    ids=["datetime", "tuple", "int key", "NaN", "message", "object", "a message of a human"],
)
def test_one_that_would_not_is_handed_through_and_counted(adapter: LangChainCache, generation: Generation) -> None:
    adapter.update("p", "m", [generation])
    assert adapter.lookup("p", "m") is None
    assert adapter.stats().refused == {"uncacheable": 1}


class Parsed(BaseModel):
    """What a model was asked to answer with."""

    at: dt.datetime
    text: str = Field(alias="said")


class Forgetful(BaseModel):
    """What is written of it is not all of it."""

    text: str
    seen: int = Field(default=0, exclude=True)


def test_a_parsed_answer_is_written_as_the_arguments_of_its_class(adapter: LangChainCache) -> None:
    parsed = Parsed(at=dt.datetime(2026, 1, 1), said="x")
    adapter.update("p", "m", [chat(additional_kwargs={"parsed": parsed})])
    found = adapter.lookup("p", "m")
    assert found is not None
    assert isinstance(found[0], ChatGeneration)
    assert Parsed(**found[0].message.additional_kwargs["parsed"]) == parsed


def test_one_that_these_do_not_give_again_is_not_stored(adapter: LangChainCache) -> None:
    adapter.update("p", "m", [chat(additional_kwargs={"parsed": Forgetful(text="x", seen=3)})])
    assert adapter.stats().refused == {"uncacheable": 1}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("finish_reason", "length", "truncated"),
        ("finish_reason", "MAX_TOKENS", "truncated"),
        ("finish_reason", "FinishReason.SAFETY", "filtered"),
        ("stop_reason", "max_tokens", "truncated"),
        ("stop_reason", "refusal", "filtered"),
        ("done_reason", "length", "truncated"),
        ("stopReason", "guardrail_intervened", "filtered"),
        ("status", "incomplete", "truncated"),
        ("status", "failed", "failed"),
    ],
)
def test_endings_in_the_words_of_the_providers(adapter: LangChainCache, name: str, value: str, reason: str) -> None:
    adapter.update("p", "m", [chat(response_metadata={name: value})])
    adapter.update("p", "m", [Generation(text="text", generation_info={name: value})])
    adapter.update("p", "m", [chat(), chat(response_metadata={name: value})])
    assert adapter.stats().refused == {reason: 3}


@pytest.mark.parametrize("value", ["stop", "end_turn", "tool_calls", "completed", "STOP", "eos", 7, None, ["length"]])
def test_other_endings_are_good(adapter: LangChainCache, value: Any) -> None:
    adapter.update("p", "m", [chat(response_metadata={"finish_reason": value})])
    assert adapter.stats().stored == 1


@pytest.mark.parametrize(
    "generations",
    [[], [Generation(text="")], [chat(""), chat("text")], [chat([])], [chat([{"type": "thinking", "thinking": "…"}])]],
    ids=["none", "no text", "one of two", "no blocks", "only thoughts"],
)
def test_empty_answers(adapter: LangChainCache, generations: list[Generation]) -> None:
    adapter.update("p", "m", generations)
    assert adapter.stats().refused == {"empty": 1}


def prompt_template() -> str:
    return dumps([PromptTemplate.from_template("{x}")])


class Odd(BaseModel):
    """A class that has no JSON schema."""

    call: Callable[[], None]


@pytest.mark.parametrize("name", ["Odd", "Missing", "json", "Odd.Inner"])
def test_a_class_that_cannot_tell_its_schema_has_no_key(adapter: LangChainCache, name: str) -> None:
    params = f"[('response_format', <class '{__name__}.{name}'>)]"
    adapter.update("p", params, [Generation(text="x")])
    assert adapter.lookup("p", params) is None
    assert adapter.stats().bypassed == 2


def test_built_in_classes_have_no_schema_and_need_none(adapter: LangChainCache) -> None:
    adapter.update("p", "[('kind', <class 'int'>)]", [Generation(text="x")])
    assert adapter.lookup("p", "[('kind', <class 'int'>)]") == [Generation(text="x")]


FOREIGN: dict[str, Any] = {
    "no text": {"a": 1},
    "bytes": b"\x80\x04.",
    "None": None,
    "no JSON": "{",
    "empty": "",
    "no list": dumps(Generation(text="x")),
    "no generations": "[1]",
    "none at all": "[]",
    "a message": dumps([AIMessage("x")]),
    "a template": prompt_template(),
    "a class of the outside": json.dumps(
        [{"lc": 1, "type": "constructor", "id": ["langchain", "chat_models", "openai", "ChatOpenAI"], "kwargs": {}}]
    ),
    "an unknown class": json.dumps([{"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {"x": "true"}}]),
    "a class inside": dumps([chat(additional_kwargs={"x": PromptTemplate.from_template("{x}")})]),
    "not implemented": dumps([chat(response_metadata={"x": object()})]),
    "other fields": dumps([Generation(text="x")]).replace('"text"', '"texts"'),
    "deep": "[" * 5000 + "]" * 5000,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_answer_is_a_miss(adapter: LangChainCache, cache: Cache, name: str) -> None:
    adapter.update("p", "m", [Generation(text="x")])
    (key,) = cache.keys()
    cache.set(key, FOREIGN[name])
    assert adapter.lookup("p", "m") is None
    assert adapter.stats().unreadable == 1


def test_no_secret_is_read_from_the_environment(
    adapter: LangChainCache, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "canary")
    adapter.update("p", "m", [Generation(text="x", generation_info={"a": "marker"})])
    (key,) = cache.keys()
    cache.set(key, cache.get(key).replace('"marker"', '{"lc": 1, "type": "secret", "id": ["CANARY"]}'))
    found = adapter.lookup("p", "m")
    assert found is not None
    assert found[0].generation_info == {"a": None}


def test_langchains_warning_about_its_loader_does_not_reach_the_user(adapter: LangChainCache) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        adapter.update("p", "m", [Generation(text="x")])
        assert adapter.lookup("p", "m") == [Generation(text="x")]
    assert caught == []
