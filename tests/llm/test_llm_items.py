"""`LLMCache.embedding`: an entry an input, calls for the missing ones alone, dicts or the SDK's own objects."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse

from tests.llm.llm_faces import Face
from tests.provider.embeddings import embeddings, vector_for
from tiercache import Cache, MemoryBackend
from tiercache.errors import NotCached
from tiercache.llm import LLMCache

PATIENCE = 60.0


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    return Face(request.param)


@pytest.fixture
def llm() -> LLMCache:
    return LLMCache(Cache(MemoryBackend()))


class Model:
    """Answers requests as a provider does; `asked` holds their inputs."""

    def __init__(self, kind: Any = dict) -> None:
        self.kind = kind
        self.asked: list[Any] = []
        self.spoil: Any = None

    def __call__(self, request: Any) -> Any:
        self.asked.append(request["input"])
        answer = embeddings(request, model="m-1", dimensions=4)
        if self.spoil is not None:
            spoil, self.spoil = self.spoil, None
            answer = spoil(answer)
        return answer if self.kind is dict else self.kind.construct(**answer)


def request(*inputs: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "input": list(inputs), **fields}


def rows(answer: Any) -> list[Any]:
    return [row["embedding"] for row in answer["data"]]


def vectors(*inputs: Any) -> list[Any]:
    return [vector_for(item, model="m-1", dimensions=4) for item in inputs]


def test_only_the_missing_inputs_are_asked_for(face: Face, llm: LLMCache) -> None:
    model = Model()
    assert rows(face(llm, "embedding", request("a", "b"), model)) == vectors("a", "b")
    assert rows(face(llm, "embedding", request("c", "b", "d", "c"), model)) == vectors("c", "b", "d", "c")
    assert model.asked == [["a", "b"], ["c", "d"]]
    stats = llm.stats().embedding
    assert (stats.hits, stats.misses, stats.stored) == (2, 4, 4)


def test_a_hit_is_equal_to_the_answer(face: Face, llm: LLMCache) -> None:
    model = Model()
    first, second = (face(llm, "embedding", request("a", "b"), model) for _ in range(2))
    assert first == second
    assert len(model.asked) == 1


def test_vectors_of_equal_inputs_are_lists_of_their_own(face: Face, llm: LLMCache) -> None:
    for _ in range(2):  # a miss, a hit
        one, other = rows(face(llm, "embedding", request("a", "a"), Model()))
        one[0] = 7.0
        assert [other] == vectors("a")


def test_the_sdks_own_object_comes_back(face: Face, llm: LLMCache) -> None:
    model = Model(CreateEmbeddingResponse)
    first = face(llm, "embedding", request("a", "b"), model)
    second = face(llm, "embedding", request("b", "c"), model)
    third = face(llm, "embedding", request("a", "b"), model)
    assert {type(answer) for answer in (first, second, third)} == {CreateEmbeddingResponse}
    assert third == first
    assert [row.embedding for row in second.data] == vectors("b", "c")
    assert model.asked == [["a", "b"], ["c"]]


def test_a_dict_may_be_asked_for_in_its_place(face: Face, llm: LLMCache) -> None:
    face(llm, "embedding", request("a"), Model(CreateEmbeddingResponse))
    assert rows(face(llm, "get_embedding", request("a"), type=dict)) == vectors("a")


def test_base64_and_numbers_share_entries(face: Face, llm: LLMCache) -> None:
    model = Model()
    face(llm, "embedding", request("a", encoding_format="base64"), model)
    assert rows(face(llm, "embedding", request("a"), model)) == vectors("a")
    assert len(model.asked) == 1


def test_a_call_without_a_parameter_is_for_the_whole_request(face: Face, llm: LLMCache) -> None:
    model = Model()
    face(llm, "embedding", request("a"), model)
    asked = request("a", "b")
    if face.world == "sync":
        answer = llm.embedding(asked, lambda: model(asked))
    else:
        import asyncio

        answer = asyncio.run(llm.aembedding(asked, lambda: model(asked)))
    assert rows(answer) == vectors("a", "b")
    assert model.asked == [["a"], ["a", "b"]]


def test_what_the_call_raises_is_raised(face: Face, llm: LLMCache) -> None:
    def fail(answer: Any) -> Any:
        raise RuntimeError("429")

    model = Model()
    face(llm, "embedding", request("a"), model)
    model.spoil = fail
    with pytest.raises(RuntimeError, match="429"):
        face(llm, "embedding", request("a", "b"), model)
    assert rows(face(llm, "embedding", request("a", "b"), model)) == vectors("a", "b")


def test_an_answer_that_does_not_fit_is_handed_through(face: Face, llm: LLMCache) -> None:
    model = Model()
    model.spoil = lambda answer: answer | {"data": answer["data"][:1]}
    assert len(rows(face(llm, "embedding", request("a", "b"), model))) == 1
    assert llm.stats().embedding.refused == {"incomplete": 1}
    assert rows(face(llm, "embedding", request("a", "b"), model)) == vectors("a", "b")


def test_an_answer_to_a_part_that_does_not_fit_is_asked_for_as_a_whole(face: Face, llm: LLMCache) -> None:
    model = Model()
    face(llm, "embedding", request("a"), model)
    model.spoil = lambda answer: answer | {"data": []}
    assert rows(face(llm, "embedding", request("a", "b"), model)) == vectors("a", "b")
    assert model.asked == [["a"], ["b"], ["a", "b"]]


def test_what_cannot_be_taken_apart_passes_by(face: Face, llm: LLMCache) -> None:
    model = Model()
    for _ in range(2):
        face(llm, "embedding", request("a", late_chunking=True), model)
    assert len(model.asked) == 2
    assert llm.stats().embedding.bypassed == 2


def test_tenants_share_nothing(face: Face, llm: LLMCache) -> None:
    model = Model()
    for tenant in ("a", "b", "a"):
        face(llm, "embedding", request("x"), model, tenant=tenant)
    assert len(model.asked) == 2


def test_only_if_cached_needs_all_items(face: Face, llm: LLMCache) -> None:
    face(llm, "embedding", request("a", "b"), Model())
    assert rows(face(llm, "embedding", request("b", "a"), Model(), only_if_cached=True)) == vectors("b", "a")
    with pytest.raises(NotCached):
        face(llm, "embedding", request("b", "c"), Model(), only_if_cached=True)


def test_no_cache_asks_for_everything(face: Face, llm: LLMCache) -> None:
    model = Model()
    for _ in range(2):
        face(llm, "embedding", request("a", "b"), model, no_cache=True)
    assert model.asked == [["a", "b"], ["a", "b"]]


def test_set_and_invalidate_are_for_items(face: Face, llm: LLMCache) -> None:
    answer = embeddings(request("a", "b"), model="m-1", dimensions=4)
    assert face(llm, "set_embedding", request("a", "b"), answer)
    assert rows(face(llm, "get_embedding", request("b"))) == vectors("b")
    assert face(llm, "invalidate_embedding", request("a"))
    assert face(llm, "get_embedding", request("a", "b")) is None
    assert not face(llm, "set_embedding", request("a", "b"), answer | {"data": []})


def test_what_is_set_does_not_wait_for_a_call_and_is_not_overwritten_by_it(llm: LLMCache) -> None:
    reached, go = threading.Event(), threading.Event()

    def slow(asked: Any) -> Any:
        reached.set()
        assert go.wait(PATIENCE)
        return embeddings(asked, model="old", dimensions=4)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(llm.embedding, request("a", "bc"), slow, no_cache=True)
        assert reached.wait(PATIENCE)
        assert llm.set_embedding(request("a", "bc"), embeddings(request("a", "bc"), model="new", dimensions=4))
        go.set()
        asking.result(PATIENCE)
    assert rows(llm.get_embedding(request("bc", "a"))) == [
        vector_for(item, model="new", dimensions=4) for item in ("bc", "a")
    ]


def test_a_lookup_tells_where_the_items_come_from(face: Face, llm: LLMCache) -> None:
    model = Model()
    face(llm, "embedding", request("a", "b"), model)
    result = face(llm, "lookup_embedding", request("b", "a"))
    assert (result.hit, result.tier) == (True, "memory")
    assert rows(result.value) == vectors("b", "a")
    assert not face(llm, "lookup_embedding", request("c")).hit


def test_savings_are_the_shares_of_the_items(face: Face, llm: LLMCache) -> None:
    model = Model()
    face(llm, "embedding", request("one", "two words", model="text-embedding-3-small"), model)
    face(llm, "embedding", request("one", model="text-embedding-3-small"), model)
    total = llm.cache.stats().savings.total
    assert (total.calls, total.unpriced) == (0.5, 0)
    assert 0 < total.input_tokens < 3
    assert 0 < total.usd < 3 * 0.02e-6


def test_overlapping_calls_ask_for_each_item_once(llm: LLMCache) -> None:
    model, began, go_on = Model(), threading.Event(), threading.Event()

    def slow(asked: Any) -> Any:
        began.set()
        assert go_on.wait(PATIENCE)
        return model(asked)

    def quick(asked: Any) -> Any:
        answer = model(asked)
        go_on.set()
        return answer

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(llm.embedding, request("a", "b"), slow)
        assert began.wait(PATIENCE)
        second = pool.submit(llm.embedding, request("b", "c"), quick)
        assert rows(second.result(PATIENCE)) == vectors("b", "c")
        assert rows(first.result(PATIENCE)) == vectors("a", "b")
    assert sorted(model.asked) == [["a", "b"], ["c"]]
    assert llm.stats().embedding.shared == 1
