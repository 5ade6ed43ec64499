"""A hit returns the type that was stored, equal to it; what would not come back so is handed through."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import sys
from collections.abc import Iterator
from typing import Any, Literal

import anthropic.types
import msgspec
import openai
import openai.types.chat
import openai.types.responses
import pydantic
import pytest

from tests.llm.llm_answers import ANSWERS, answer, chat, chat_request
from tests.llm.llm_faces import Face, Provider
from tiercache import Cache, DiskBackend, MemoryBackend, TierChain
from tiercache.errors import ConfigurationError, TypeMismatch
from tiercache.llm import LLMCache
from tiercache.llm.answers import Answers
from tiercache_redis import RedisBackend

TYPES: dict[str, Any] = {
    "chat": openai.types.chat.ChatCompletion,
    "completion": openai.types.Completion,
    "response": openai.types.responses.Response,
    "message": anthropic.types.Message,
}
UNKNOWN = {
    "chat": answer("chat", x_new={"a": [1, None]}, choices__0__message__x_reasoning="hm", choices__0__x_n=1.0),
    "completion": answer("completion", choices__0__x_new=[{}]),
    "response": answer("response", x_new=1, output__0__x_new=True, output__1__content__0__x_new="n"),
    "message": answer("message", x_new={"deep": {"er": 1}}, content__1__x_new=None, usage__x_tokens=2),
}
UNEXPECTED = {
    "chat": answer("chat", created="yesterday", choices__0__finish_reason="eos", usage__prompt_tokens=2.5),
    "completion": answer("completion", choices__0__index="0"),
    "response": answer("response", output__0={"type": "of_tomorrow", "id": "x", "data": {"a": 1}}),
    "message": answer(
        "message", content__0={"type": "of_tomorrow", "data": [1]}, container={"expires_at": "2026-01-01"}
    ),
}
REQUESTS = {
    "chat": chat_request(),
    "completion": {"model": "m", "prompt": "why?"},
    "response": {"model": "m", "input": "why?"},
    "message": {"model": "m", "messages": []},
}


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    return Face(request.param)


@pytest.fixture(params=["memory", "disk", "redis"])
def llm(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[LLMCache]:
    """A cache that answers from memory, or from a persistent tier and then from its copy in memory."""
    backends: list[Any] = [MemoryBackend()]
    if request.param == "disk":
        backends.append(DiskBackend(tmp_path / "cache"))
    elif request.param == "redis":
        backends.append(RedisBackend(request.getfixturevalue("redis_url"), prefix=f"{tmp_path.name}:"))
    with LLMCache(Cache(TierChain(*backends))) as llm:
        yield llm


def forget_memory(llm: LLMCache) -> None:
    """Leave the next hit to the tier below memory, if there is one."""
    tiers = llm.cache.chain.tiers
    if len(tiers) > 1:
        llm.cache.drain()
        tiers[0].backend.clear()


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    ("of", "made"),
    [
        (ANSWERS, "validated"),
        (ANSWERS, "constructed"),
        (UNKNOWN, "validated"),
        (UNKNOWN, "constructed"),
        (UNEXPECTED, "constructed"),
    ],
    ids=["usual-validated", "usual", "unknown-fields-validated", "unknown-fields", "unexpected-types"],
)
def test_sdk_objects_come_back_equal_and_of_their_type(
    llm: LLMCache, face: Face, kind: Any, made: str, of: dict[str, Any]
) -> None:
    data = copy.deepcopy(of[kind])
    original = TYPES[kind].construct(**data) if made == "constructed" else TYPES[kind].model_validate(data)
    provider = Provider(original)
    assert face(llm, kind, REQUESTS[kind], provider) is original
    forget_memory(llm)
    hits = [face(llm, kind, REQUESTS[kind], provider) for _ in range(2)]
    for hit in (*hits, face(llm, f"get_{kind}", REQUESTS[kind])):
        assert_same(original, hit)
    assert provider.calls == 1
    assert hits[0] is not hits[1]


def assert_same(before: Any, after: Any) -> None:
    """Compare all that a model holds, at every level: types, fields that were set, extra ones."""
    assert type(after) is type(before)
    if isinstance(before, pydantic.BaseModel):
        assert after == before
        assert after.model_fields_set == before.model_fields_set
        assert_same(vars(before), vars(after))
        assert_same(before.model_extra, after.model_extra)
    elif isinstance(before, dict):
        assert list(after) == list(before)
        for name, value in before.items():
            assert_same(value, after[name])
    elif isinstance(before, list):
        assert len(after) == len(before)
        for one, other in zip(before, after, strict=True):
            assert_same(one, other)
    else:
        assert after == before


def test_what_a_sdk_knows_from_headers_comes_back_too(llm: LLMCache) -> None:
    original = openai.types.chat.ChatCompletion.construct(**chat())
    original._request_id = "req_1"
    llm.set_chat(chat_request(), original)
    forget_memory(llm)
    hit = llm.get_chat(chat_request())
    assert hit._request_id == "req_1"
    assert "_request_id" not in hit.to_dict()
    llm.set_chat(chat_request("b"), openai.types.chat.ChatCompletion.construct(**chat()))
    assert not hasattr(llm.get_chat(chat_request("b")), "_request_id")


def test_a_reader_may_ask_for_another_type(llm: LLMCache, face: Face) -> None:
    completion = openai.types.chat.ChatCompletion
    face(llm, "chat", chat_request(), Provider(completion.construct(**chat())))
    assert face(llm, "get_chat", chat_request(), type=dict) == chat()
    assert type(face(llm, "chat", chat_request(), Provider(None), type=dict)) is dict
    face(llm, "chat", chat_request("b"), Provider(chat()))
    assert type(face(llm, "get_chat", chat_request("b"), type=completion)) is completion
    assert type(face(llm, "get_chat", chat_request("b"))) is dict


def test_the_first_caller_gets_the_type_that_later_ones_get(llm: LLMCache, face: Face) -> None:
    completion = openai.types.chat.ChatCompletion
    provider = Provider(chat())
    assert [type(face(llm, "chat", chat_request(), provider, type=completion)) for _ in range(2)] == [completion] * 2


class Reply(pydantic.BaseModel):
    """An answer in a model of the caller's own."""

    model_config = pydantic.ConfigDict(extra="allow")
    id: str
    choices: list[dict[str, Any]]


@dataclasses.dataclass
class Data:
    """An answer in a dataclass."""

    id: str
    choices: list[dict[str, Any]]


class Record(msgspec.Struct):
    """An answer in a Struct."""

    id: str
    choices: list[dict[str, Any]]


@pytest.mark.parametrize("own", [Reply, Data, Record])
def test_types_of_ones_own_come_back_where_they_are_registered(face: Face, own: Any) -> None:
    original = own(id="1", choices=chat()["choices"])
    provider, llm = Provider(original), LLMCache.memory_only()
    assert [face(llm, "chat", chat_request(), provider) for _ in range(2)] == [original] * 2
    assert (provider.calls, llm.stats().chat.refused) == (2, {"uncacheable": 2})
    provider, llm = Provider(original), LLMCache.memory_only(types=[own])
    answers = [face(llm, "chat", chat_request(), provider) for _ in range(2)]
    assert [type(each) for each in answers] == [own] * 2
    assert answers == [original] * 2
    assert provider.calls == 1


def test_a_type_that_is_asked_for_need_not_be_registered(face: Face) -> None:
    original = Reply(id="1", choices=chat()["choices"])
    provider, llm = Provider(original), LLMCache.memory_only()
    assert [face(llm, "chat", chat_request(), provider, type=Reply) for _ in range(2)] == [original] * 2
    assert provider.calls == 1


@pytest.mark.parametrize("types", [[dict], ["openai.types.Completion"], [3]])
def test_what_is_no_type_of_an_answer_is_told(types: Any) -> None:
    with pytest.raises(ConfigurationError, match="types must be"):
        LLMCache.memory_only(types=types)


def test_a_type_that_the_reader_does_not_know_is_a_miss(face: Face) -> None:
    cache = Cache(MemoryBackend())
    writer, reader = LLMCache(cache, types=[Reply]), LLMCache(cache)
    writer.set_chat(chat_request(), Reply(id="1", choices=chat()["choices"]))
    assert face(reader, "get_chat", chat_request()) is None
    provider = Provider(chat("anew"))
    assert [face(reader, "chat", chat_request(), provider) for _ in range(2)] == [chat("anew")] * 2
    assert provider.calls == 1


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "antigravity:fly",
        "this:s",
        "openai.types:..os",
        "openai.typesquat:Evil",
        "openai.types.chat:ChatCompletion",  # not the name that the type has for itself
        "openai.types.chat.chat_completion:__import__",
        "openai.types.no_such_module:Message",
        "openai.types.chat.chat_completion:ChatCompletion.construct",
        "openai._client:OpenAI",
        "tests.llm.test_llm_answers:Reply",
        7,
        "",
    ],
)
def test_a_name_in_a_store_imports_nothing(name: Any) -> None:
    before = set(sys.modules)
    with pytest.raises(TypeMismatch, match="type that is not known here"):
        Answers().build(chat(), {"type": name})
    assert {"antigravity", "this"}.isdisjoint(set(sys.modules) - before)


class Lossy(pydantic.BaseModel):
    """A model that does not come back as it was."""

    id: str
    choices: Any
    secret: str = pydantic.Field(default="", exclude=True)


def test_what_does_not_come_back_equal_is_handed_through_and_counted(face: Face) -> None:
    original = Lossy(id="1", choices=chat()["choices"], secret="kept")
    provider, llm = Provider(original), LLMCache.memory_only(types=[Lossy])
    assert [face(llm, "chat", chat_request(), provider) for _ in range(2)] == [original] * 2
    assert (provider.calls, llm.stats().chat.refused) == (2, {"uncacheable": 2})


class Verdict(pydantic.BaseModel):
    """What a parsed completion holds."""

    is_so: bool
    of: Literal["a", "b"] = "a"


def parsed_completion() -> Any:
    completion = openai.types.chat.ParsedChatCompletion[Verdict]
    data = chat('{"is_so": true}')
    data["choices"][0]["message"]["parsed"] = Verdict(is_so=True)
    return completion.construct(**data)


def test_a_parsed_completion_is_handed_through(face: Face) -> None:
    original = parsed_completion()
    provider, llm = Provider(original), LLMCache.memory_only()
    for _ in range(2):
        assert face(llm, "chat", chat_request(), provider) is original
    assert (provider.calls, llm.stats().chat.refused) == (2, {"uncacheable": 2})


async def test_callers_at_the_same_moment_get_objects_of_their_own() -> None:
    original, llm = openai.types.chat.ChatCompletion.construct(**chat()), LLMCache.memory_only()

    async def ask() -> Any:
        await asyncio.sleep(0.05)
        return original

    answers = await asyncio.gather(*(llm.achat(chat_request(), ask) for _ in range(5)))
    assert all(each == original and type(each) is type(original) for each in answers)
    assert len({id(each) for each in answers}) == 5


async def test_what_is_not_stored_is_copied_for_those_who_wait() -> None:
    original, llm = parsed_completion(), LLMCache.memory_only()

    async def ask() -> Any:
        await asyncio.sleep(0.05)
        return original

    answers = await asyncio.gather(*(llm.achat(chat_request(), ask) for _ in range(5)))
    assert all(each == original and type(each) is type(original) for each in answers)
    assert len({id(each) for each in answers}) == 5
    assert llm.stats().chat.misses == 1


def test_requests_in_objects_of_the_sdks_have_the_keys_of_what_they_send(face: Face) -> None:
    message = openai.types.chat.ChatCompletionMessage(role="assistant", content="earlier")
    with_object = {**chat_request(), "messages": [message, {"role": "user", "content": "why?"}]}
    as_dicts = {
        **chat_request(),
        "messages": [{"role": "assistant", "content": "earlier"}, {"role": "user", "content": "why?"}],
    }
    llm = LLMCache.memory_only()
    llm.set_chat(with_object, chat())
    for request in (as_dicts, {**with_object, "seed": openai.NOT_GIVEN, "top_p": openai.omit, "timeout": 3.0}):
        assert face(llm, "get_chat", request) == chat()
    assert face(llm, "get_chat", {**with_object, "top_p": 0.5}) is None
    assert with_object["messages"][0] is message
