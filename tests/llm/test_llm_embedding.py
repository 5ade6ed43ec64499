"""`LLMCache.embedding`: an entry an input; only what is missing is asked for, and answers keep their type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai.types
import pytest

from tests.llm.llm_faces import Face
from tiercache.errors import NotCached
from tiercache.llm import LLMCache
from tiercache.testing import FakeClock


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    return Face(request.param)


@pytest.fixture
def llm(clock: FakeClock) -> Iterator[LLMCache]:
    with LLMCache.memory_only(clock=clock) as llm:
        yield llm


def request(*texts: str, **fields: Any) -> dict[str, Any]:
    return {"model": "text-embedding-3-small", "input": list(texts), **fields}


class Model:
    """Embeds texts; `asked` lists them."""

    def __init__(self, type: Any = dict) -> None:
        self.asked: list[str] = []
        self.type = type

    def embed(self, request: Any) -> Any:
        texts = request["input"]
        self.asked += texts
        data = [
            {"object": "embedding", "index": place, "embedding": [float(len(text)), 0.5]}
            for place, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": 2 * len(texts), "total_tokens": 2 * len(texts)}
        answer = {"object": "list", "model": "text-embedding-3-small", "data": data, "usage": usage}
        return answer if self.type is dict else self.type.construct(**answer)

    async def aembed(self, request: Any) -> Any:
        return self.embed(request)

    def of(self, face: Face) -> Any:
        return self.embed if face.world == "sync" else self.aembed


def vectors(answer: Any) -> list[list[float]]:
    plain = answer if isinstance(answer, dict) else answer.to_dict()
    return [item["embedding"] for item in plain["data"]]


@pytest.mark.parametrize("type", [dict, openai.types.CreateEmbeddingResponse])
def test_only_what_is_missing_is_asked_for_and_the_answer_is_of_its_type(llm: LLMCache, face: Face, type: Any) -> None:
    model = Model(type)
    face(llm, "embedding", request("a", "bb"), model.of(face))
    answer = face(llm, "embedding", request("bb", "ccc", "a", "ccc"), model.of(face))
    assert model.asked == ["a", "bb", "ccc"]
    assert vectors(answer) == [[2.0, 0.5], [3.0, 0.5], [1.0, 0.5], [3.0, 0.5]]
    assert answer.__class__ is type
    again = face(llm, "embedding", request("a", "bb"), model.of(face))
    assert again == Model(type).embed(request("a", "bb"))


def test_get_set_and_invalidate(llm: LLMCache, face: Face) -> None:
    good = Model().embed(request("a", "bb"))
    assert face(llm, "get_embedding", request("a")) is None
    assert face(llm, "set_embedding", request("a", "bb"), good) is True
    assert vectors(face(llm, "get_embedding", request("bb"))) == [[2.0, 0.5]]
    assert face(llm, "lookup_embedding", request("bb")).hit
    assert face(llm, "get_embedding", request("bb", "ccc")) is None
    assert face(llm, "invalidate_embedding", request("a")) is True
    assert face(llm, "get_embedding", request("a")) is None
    assert face(llm, "get_embedding", request("bb")) is not None


def test_another_model_or_dimension_is_another_vector(llm: LLMCache, face: Face) -> None:
    llm.set_embedding(request("a"), Model().embed(request("a")))
    assert face(llm, "get_embedding", request("a", model="text-embedding-3-large")) is None
    assert face(llm, "get_embedding", request("a", dimensions=1)) is None


def test_a_vector_lives_for_a_day(llm: LLMCache, clock: FakeClock) -> None:
    llm.set_embedding(request("a"), Model().embed(request("a")))
    clock.advance(86_399)
    assert llm.get_embedding(request("a")) is not None
    clock.advance(1)
    assert llm.get_embedding(request("a")) is None


def test_an_answer_with_too_few_vectors_is_handed_through_and_not_stored(llm: LLMCache, face: Face) -> None:
    short = Model().embed(request("a"))

    def embed(request: Any) -> Any:
        return short

    async def aembed(request: Any) -> Any:
        return short

    call = embed if face.world == "sync" else aembed
    assert face(llm, "embedding", request("a", "bb"), call) == short
    assert face(llm, "get_embedding", request("a")) is None
    assert face(llm, "set_embedding", request("a", "bb"), short) is False
    assert llm.stats().embedding.stored == 0


def test_what_the_provider_raises_is_raised(llm: LLMCache, face: Face) -> None:
    def fail(request: Any) -> Any:
        raise TimeoutError("upstream")

    async def afail(request: Any) -> Any:
        raise TimeoutError("upstream")

    with pytest.raises(TimeoutError, match="upstream"):
        face(llm, "embedding", request("a"), fail if face.world == "sync" else afail)


def test_a_model_is_invalidated_and_a_kind_cleared(llm: LLMCache, face: Face) -> None:
    for operation, argument in (("invalidate_model", "text-embedding-3-small"), ("clear", "embedding")):
        llm.set_embedding(request("a"), Model().embed(request("a")))
        assert llm.get_embedding(request("a")) is not None
        face(llm, operation, argument)
        assert llm.get_embedding(request("a")) is None


def test_only_if_cached_and_tenants_hold_for_vectors(llm: LLMCache, face: Face) -> None:
    model = Model()
    face(llm, "embedding", request("a"), model.of(face), tenant="acme")
    with pytest.raises(NotCached):
        face(llm, "embedding", request("a"), model.of(face), tenant="evil", only_if_cached=True)
    assert face(llm, "embedding", request("a"), model.of(face), tenant="acme", only_if_cached=True) is not None
    assert model.asked == ["a"]


def test_a_function_without_a_parameter_is_asked_for_all(llm: LLMCache) -> None:
    model = Model()
    llm.embedding(request("a"), lambda: model.embed(request("a")))
    answer = llm.embedding(request("a", "bb"), lambda: model.embed(request("a", "bb")))
    assert vectors(answer) == [[1.0, 0.5], [2.0, 0.5]]
    assert model.asked == ["a", "a", "bb"]
