"""Embeddings by item: only what is new reaches the model, in order, once, and never another model's vector."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import ConfigurationError
from tiercache.llm import EmbeddingCache


class Model:
    """Deterministic vectors, and a record of what it was asked."""

    def __init__(self, dim: int = 8, offset: float = 0.0) -> None:
        self.dim = dim
        self.offset = offset
        self.batches: list[list[Any]] = []

    def __call__(self, inputs: list[Any]) -> np.ndarray[Any, Any]:
        self.batches.append(inputs)
        return np.array([self.vector(item) for item in inputs])

    def vector(self, item: Any) -> list[float]:
        seed = sum(str(item).encode()) + len(str(item))
        return [float(seed + position) + self.offset for position in range(self.dim)]

    @property
    def asked(self) -> list[Any]:
        return [item for batch in self.batches for item in batch]


@pytest.fixture
def cache(clock: FakeClock) -> Cache:
    return Cache(TierChain(MemoryBackend(clock=clock), Tier(RemoteBackend(clock)), clock=clock))


@pytest.fixture
def embeddings(cache: Cache) -> EmbeddingCache:
    return EmbeddingCache(cache, model="m", batch_size=4)


def expected(model: Model, inputs: Sequence[Any]) -> np.ndarray[Any, Any]:
    return np.array([model.vector(item) for item in inputs], dtype=np.float32)


def test_the_order_is_that_of_the_inputs(embeddings: EmbeddingCache) -> None:
    model = Model()
    texts = ["one", "two", "three", "four", "five", "six"]
    vectors = embeddings.embed(texts, model)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, expected(model, texts))


def test_only_what_is_missing_is_asked_for(embeddings: EmbeddingCache) -> None:
    embeddings.embed(["a", "b"], Model())
    model = Model()
    np.testing.assert_array_equal(embeddings.embed(["c", "a", "d", "b"], model), expected(model, ["c", "a", "d", "b"]))
    assert model.asked == ["c", "d"]


def test_duplicates_are_asked_once(embeddings: EmbeddingCache) -> None:
    model = Model()
    vectors = embeddings.embed(["a", "b", "a", "a"], model)
    assert model.asked == ["a", "b"]
    assert vectors.shape == (4, 8)
    np.testing.assert_array_equal(vectors[0], vectors[2])


def test_compute_gets_batch_size_items_at_most(embeddings: EmbeddingCache) -> None:
    model = Model()
    embeddings.embed([str(number) for number in range(10)], model)
    assert [len(batch) for batch in model.batches] == [4, 4, 2]


def test_no_inputs_ask_nobody(embeddings: EmbeddingCache, cache: Cache) -> None:
    model = Model()
    assert embeddings.embed([], model).shape == (0, 0)
    assert EmbeddingCache(cache, model="m", dimensions=8).embed([], model).shape == (0, 8)
    assert model.batches == []


def test_a_failure_keeps_the_chunks_before_it(embeddings: EmbeddingCache) -> None:
    texts = [f"text {number}" for number in range(200)]
    model = Model()

    def fails_at_chunk_50(inputs: list[Any]) -> np.ndarray[Any, Any]:
        if len(model.batches) == 49:
            raise ConnectionError("rate limit")
        return model(inputs)

    with pytest.raises(ConnectionError):
        embeddings.embed(texts, fails_at_chunk_50)
    rest = Model()
    embeddings.embed(texts, rest)
    assert rest.asked == texts[49 * 4 :]


@pytest.mark.parametrize(
    "answer",
    [
        np.zeros((3, 8)),
        np.zeros((1, 8)),
        np.zeros(2),
        np.zeros((2, 0)),
        np.zeros((2, 2, 2)),
        [[1.0, 2.0], [1.0]],
        None,
        [["a", "b"], ["c", "d"]],
        [None, None],
    ],
    ids=["too many", "too few", "flat", "empty", "cube", "ragged", "None", "text", "Nones"],
)
def test_a_wrong_shape_is_an_error_and_nothing_of_the_chunk_is_stored(embeddings: EmbeddingCache, answer: Any) -> None:
    with pytest.raises(ValueError, match="compute gave"):
        embeddings.embed(["a", "b"], lambda inputs: answer)
    assert embeddings.get_many(["a", "b"]) == [None, None]


def test_lists_of_floats_are_fine(embeddings: EmbeddingCache) -> None:
    assert embeddings.embed(["a"], lambda inputs: [[0.5, 1.5]]).tolist() == [[0.5, 1.5]]


def test_vectors_that_are_not_finite_are_handed_through_and_not_stored(embeddings: EmbeddingCache) -> None:
    vectors = embeddings.embed(["bad", "good"], lambda inputs: [[float("nan"), 1.0], [1.0, 2.0]])
    assert np.isnan(vectors[0, 0])
    first, second = embeddings.get_many(["bad", "good"])
    assert first is None
    assert second is not None


@pytest.mark.parametrize(
    "other",
    [
        {"model": "m2"},
        {"model": "m", "dimensions": 8},
        {"model": "m", "params": {"task": "query"}},
        {"model": "m", "params": {"task": 1}},
    ],
    ids=["model", "dimensions", "params", "params' type"],
)
def test_what_changes_the_vectors_changes_the_key(cache: Cache, other: dict[str, Any]) -> None:
    EmbeddingCache(cache, model="m").embed(["a"], Model())
    model = Model()
    EmbeddingCache(cache, **other).embed(["a"], model)
    assert model.asked == ["a"]


def test_params_in_another_order_are_the_same(cache: Cache) -> None:
    one = EmbeddingCache(cache, model="m", params={"a": 1, "b": 2})
    two = EmbeddingCache(cache, model="m", params={"b": 2, "a": 1})
    assert one.key("x") == two.key("x")


def test_token_arrays(embeddings: EmbeddingCache) -> None:
    model = Model()
    embeddings.embed([[1, 2], (1, 2), np.array([1, 2]), [12], "[1, 2]", [1, 2, 3]], model)
    assert len(model.asked) == 4, "three forms of the tokens 1, 2 are one input; a text is another"


@pytest.mark.parametrize("bad", [[1.5], [True], ["a"], b"bytes", 5, None, {"a": 1}])
def test_an_input_that_is_none_is_refused(embeddings: EmbeddingCache, bad: Any) -> None:
    with pytest.raises(TypeError, match="an input must be"):
        embeddings.embed(["good", bad], Model())


def test_one_text_in_place_of_a_list_is_refused(embeddings: EmbeddingCache) -> None:
    with pytest.raises(TypeError, match=r"\[text\]"):
        embeddings.embed("a text", Model())


def test_a_model_that_changed_its_dimension_is_noticed(cache: Cache) -> None:
    EmbeddingCache(cache, model="m").embed(["a"], Model(dim=8))
    with pytest.raises(ValueError, match="another model"):
        EmbeddingCache(cache, model="m").embed(["a", "b"], Model(dim=4))


def test_declared_dimensions_are_checked(cache: Cache) -> None:
    with pytest.raises(ValueError, match="4 numbers where 8"):
        EmbeddingCache(cache, model="m", dimensions=8).embed(["a"], Model(dim=4))


@pytest.mark.parametrize(
    "options", [{"model": ""}, {"dimensions": 0}, {"dimensions": True}, {"batch_size": 0}, {"batch_size": 1.5}]
)
def test_options_are_checked(cache: Cache, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        EmbeddingCache(cache, **({"model": "m"} | options))


def test_the_result_belongs_to_the_caller(embeddings: EmbeddingCache) -> None:
    first = embeddings.embed(["a"], Model())
    first[:] = 0
    np.testing.assert_array_equal(embeddings.embed(["a"], Model()), expected(Model(), ["a"]))


def test_what_compute_returned_can_change_afterwards(embeddings: EmbeddingCache) -> None:
    made = np.ones((1, 4), dtype=np.float32)
    embeddings.embed(["a"], lambda inputs: made)
    made[:] = 7
    assert embeddings.embed(["a"], Model()).tolist() == [[1, 1, 1, 1]]


def test_a_float32_vector_costs_its_raw_bytes(embeddings: EmbeddingCache, cache: Cache) -> None:
    embeddings.embed(["a"], Model(dim=384))
    metadata = cache.metadata(embeddings.key("a"))
    assert metadata is not None
    assert (metadata.codec, metadata.size, metadata.encoding) == ("ndarray;<f4;384", 384 * 4, "")
    assert metadata.attributes["model"] == "m"


def test_async_with_an_async_and_a_sync_model(embeddings: EmbeddingCache) -> None:
    model = Model()

    async def ask(inputs: list[Any]) -> np.ndarray[Any, Any]:
        await asyncio.sleep(0)
        return model(inputs)

    async def main() -> tuple[Any, Any]:
        return await embeddings.aembed(["a", "b"], ask), await embeddings.aembed(["b", "c"], model)

    first, second = asyncio.run(main())
    np.testing.assert_array_equal(first, expected(model, ["a", "b"]))
    np.testing.assert_array_equal(second, expected(model, ["b", "c"]))
    assert model.asked == ["a", "b", "c"]


def test_an_async_model_given_to_the_blocking_call_is_told_so(embeddings: EmbeddingCache) -> None:
    async def ask(inputs: list[Any]) -> list[list[float]]:
        return [[1.0]]

    with pytest.raises(TypeError, match="aembed"):
        embeddings.embed(["a"], ask)


def test_put_many_and_get_many(embeddings: EmbeddingCache) -> None:
    embeddings.put_many(["a", "b"], [[1.0, 2.0], [3.0, 4.0]])
    found = embeddings.get_many(["b", "none", "a"])
    assert [None if vector is None else vector.tolist() for vector in found] == [[3.0, 4.0], None, [1.0, 2.0]]
    with pytest.raises(ValueError, match="put_many gave"):
        embeddings.put_many(["a"], [[1.0], [2.0]])


def test_a_foreign_value_under_the_key_is_a_miss(embeddings: EmbeddingCache, cache: Cache) -> None:
    cache.set(embeddings.key("a"), {"not": "a vector"})
    model = Model()
    embeddings.embed(["a"], model)
    assert model.asked == ["a"]


def test_stats_say_what_was_saved(embeddings: EmbeddingCache) -> None:
    embeddings.embed(["a", "b"], Model())
    embeddings.embed(["a", "b", "c", "a"], Model())
    stats = embeddings.stats()
    assert (stats.inputs, stats.hits, stats.computed, stats.calls) == (6, 3, 3, 2)
    assert 0 < stats.seconds_saved < stats.seconds


def test_a_store_that_is_down_costs_only_the_cache(clock: FakeClock) -> None:
    remote = RemoteBackend(clock)
    remote.break_down()
    embeddings = EmbeddingCache(Cache(TierChain(remote, clock=clock)), model="m")
    model = Model()
    np.testing.assert_array_equal(embeddings.embed(["a"], model), expected(model, ["a"]))


def test_what_hits_saved_is_in_the_caches_savings(cache: Cache) -> None:
    embeddings = EmbeddingCache(cache, model="m", batch_size=4)
    embeddings.embed(["a", "b", "c", "d"], Model())
    assert cache.savings.snapshot("").rows == {}
    embeddings.embed(["a", "b", "e"], Model())
    row = cache.savings.snapshot("").rows["m", "memory"]
    assert row.calls == pytest.approx(0.5)
    assert row.seconds > 0
    assert row.seconds == pytest.approx(embeddings.stats().seconds_saved)


def test_savings_tell_the_tier(clock: FakeClock) -> None:
    remote = RemoteBackend(clock)
    for memory in (MemoryBackend(clock=clock), MemoryBackend(clock=clock)):
        cache = Cache(TierChain(memory, Tier(remote), clock=clock))
        EmbeddingCache(cache, model="m").embed(["a"], Model())
    assert list(cache.savings.snapshot("").rows) == [("m", "remote")]


def test_something_else_under_a_key_is_a_miss(cache: Cache, embeddings: EmbeddingCache) -> None:
    cache.set(embeddings.key("a"), "no vector")
    cache.set(embeddings.key("b"), np.ones((2, 4), np.float32))
    cache.set(embeddings.key("c"), np.ones(8))
    model = Model()
    np.testing.assert_array_equal(embeddings.embed(["a", "b", "c"], model), expected(model, ["a", "b", "c"]))
    assert model.asked == ["a", "b", "c"]
    assert cache.stats().hits == 3  # they were there, and are what was found
