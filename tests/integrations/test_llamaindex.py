"""LlamaIndex on a tiercache `Cache`: its ingestion pipeline and its embedding models, with a counting model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document
from pydantic import PrivateAttr

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import ConfigurationError
from tiercache.integrations.llamaindex import LlamaIndexStore
from tiercache.testing import FaultyBackend, Rule

MODEL = "small"
TEXTS = ["one", "two", "three"]


class CountingEmbedding(MockEmbedding):
    """An embedding model that tells what it was asked; two sizes of it make different vectors of a text."""

    _asked: list[str] = PrivateAttr(default_factory=list)  # a field would be part of what LlamaIndex hashes

    @property
    def asked(self) -> list[str]:
        return self._asked

    def _vector(self, text: str) -> list[float]:
        self._asked.append(text)
        return [float(len(text)), 0.1, *[1e-7] * (self.embed_dim - 2)]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._vector(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._vector(query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return self._vector(text)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._vector(query)


@pytest.fixture
def cache(clock: FakeClock) -> Iterator[Cache]:
    with Cache(TierChain(MemoryBackend(clock=clock), Tier(RemoteBackend(clock)), clock=clock)) as cache:
        yield cache


@pytest.fixture
def store(cache: Cache) -> LlamaIndexStore:
    return LlamaIndexStore(cache, namespace=MODEL)


def model(store: LlamaIndexStore | None, size: int = 4, **options: Any) -> CountingEmbedding:
    return CountingEmbedding(embed_dim=size, embeddings_cache=store, **options)


# As a store of keys and values.


@pytest.mark.parametrize("key", ["k", "", "a" * 100_000, "Grüße / ✓ :%"], ids=["k", "empty", "long", "odd"])
async def test_a_value_comes_back_equal(store: LlamaIndexStore, key: str) -> None:
    store.put(key, {"v": [1, 2.5, None]})
    assert store.get(key) == await store.aget(key) == {"v": [1, 2.5, None]}
    await store.aput(key, {"w": {}})
    assert store.get(key) == {"w": {}}


def test_a_key_that_is_no_text_disturbs_nobody(store: LlamaIndexStore) -> None:
    store.put("\ud800", {})
    assert store.get("\ud800") is None
    assert not store.delete("\ud800")


async def test_what_is_not_there_is_none(store: LlamaIndexStore) -> None:
    assert store.get("k") is None
    assert await store.aget("k") is None


async def test_collections_do_not_meet(store: LlamaIndexStore) -> None:
    collections = ["a", "a:b", "a:", "", "b" * 500, "b" * 501, "data"]
    for collection in collections:
        store.put("k", {"of": collection}, collection=collection)
    for collection in collections:
        assert store.get("k", collection=collection) == {"of": collection}
        assert store.get_all(collection) == await store.aget_all(collection) == {"k": {"of": collection}}


async def test_all_values_of_a_collection_are_listed(store: LlamaIndexStore) -> None:
    pairs = {f"key {number}": {"n": number} for number in range(600)}
    store.put_all(list(pairs.items())[:300], "many", batch_size=7)
    await store.aput_all(list(pairs.items())[300:], "many")
    assert store.get_all("many") == await store.aget_all("many") == pairs
    assert store.get_all("others") == {}


async def test_a_value_is_deleted_once(store: LlamaIndexStore) -> None:
    for key in ("a", "b"):
        store.put(key, {})
    assert store.delete("a")
    assert not store.delete("a")
    assert await store.adelete("b")
    assert store.get("b") is None


def test_a_hit_is_the_callers_own(store: LlamaIndexStore) -> None:
    store.put("k", {"v": [1]})
    store.get("k")["v"].append(2)  # type: ignore[index]
    assert store.get("k") == {"v": [1]}


def test_namespaces_do_not_meet(cache: Cache) -> None:
    one, other = (LlamaIndexStore(cache, namespace=name) for name in ("a:b", "a"))
    one.put("k", {"v": 1}, collection="c")
    assert other.get("k", collection="b:c") is None
    assert other.get_all("b:c") == {}


@pytest.mark.parametrize("namespace", ["", None])
def test_there_is_no_store_without_a_namespace(cache: Cache, namespace: Any) -> None:
    with pytest.raises(ConfigurationError, match="names what the values are made with"):
        LlamaIndexStore(cache, namespace=namespace)
    with pytest.raises(TypeError):
        LlamaIndexStore(cache)  # type: ignore[call-arg]


def test_a_value_lives_as_long_as_it_is_told(cache: Cache, clock: FakeClock) -> None:
    store = LlamaIndexStore(cache, namespace="n", ttl="1m")
    store.put("k", {})
    clock.advance(59)
    assert store.get("k") == {}
    clock.advance(2)
    assert store.get("k") is None


# Embedding models.


def test_a_text_is_embedded_once(store: LlamaIndexStore) -> None:
    embedding = model(store)
    first = embedding.get_text_embedding_batch(TEXTS)
    assert model(store).get_text_embedding_batch([*TEXTS, "four"])[:3] == first
    assert embedding.asked == TEXTS
    assert embedding.get_query_embedding("one") == first[0]
    assert embedding.asked == TEXTS


async def test_a_text_is_embedded_once_by_those_that_await(store: LlamaIndexStore) -> None:
    embedding = model(store)
    first = await embedding.aget_text_embedding_batch(TEXTS)
    assert await model(store).aget_text_embedding_batch(TEXTS) == first
    assert await embedding.aget_query_embedding("two") == first[1]
    assert embedding.get_text_embedding("three") == first[2]
    assert sorted(embedding.asked) == sorted(TEXTS)


def test_two_models_never_share_vectors(cache: Cache) -> None:
    small, large = (model(LlamaIndexStore(cache, namespace=f"mock-{size}"), size) for size in (4, 8))
    for _ in range(2):
        assert len(small.get_text_embedding("one")) == 4
        assert len(large.get_text_embedding("one")) == 8
    assert small.asked == large.asked == ["one"]


# The ingestion pipeline.


def pipeline(store: LlamaIndexStore, embedding: CountingEmbedding) -> IngestionPipeline:
    splitter = SentenceSplitter(chunk_size=64, chunk_overlap=0, tokenizer=str.split)
    return IngestionPipeline(transformations=[splitter, embedding], cache=IngestionCache(cache=store))


def documents() -> list[Document]:
    return [Document(text=f"This is the text of document {name}. " * 30, id_=name) for name in "abc"]


def test_a_node_is_embedded_once(store: LlamaIndexStore) -> None:
    embedding = model(None)
    first = pipeline(store, embedding).run(documents=documents())
    asked = list(embedding.asked)
    second = pipeline(store, embedding).run(documents=documents())
    assert [node.embedding for node in second] == [node.embedding for node in first]
    assert [node.get_content() for node in second] == [node.get_content() for node in first]
    assert embedding.asked == asked
    assert len(asked) == len(first) > 3


async def test_a_node_is_embedded_once_by_arun(store: LlamaIndexStore) -> None:
    embedding = model(None)
    first = await pipeline(store, embedding).arun(documents=documents())
    second = await pipeline(store, embedding).arun(documents=documents())
    assert [node.embedding for node in second] == [node.embedding for node in first]
    assert len(embedding.asked) == len(first)


def test_a_pipeline_whose_model_has_the_cache_too_is_recognised(cache: Cache, store: LlamaIndexStore) -> None:
    vectors = LlamaIndexStore(cache, namespace="vectors")
    for _ in range(2):
        embedding = model(vectors)
        pipeline(store, embedding).run(documents=documents())
    assert embedding.asked == []


def test_the_pipelines_cache_can_be_cleared(store: LlamaIndexStore) -> None:
    embedding = model(None)
    pipe = pipeline(store, embedding)
    nodes = pipe.run(documents=documents())
    pipe.cache.clear()
    pipe.run(documents=documents())
    assert len(embedding.asked) == 2 * len(nodes)


_RUN = """
import sys, tests.integrations.test_llamaindex as here
from tiercache import Cache, DiskBackend
from tiercache.integrations.llamaindex import LlamaIndexStore
with Cache(DiskBackend(sys.argv[1])) as cache:
    embedding = here.model(LlamaIndexStore(cache, namespace="vectors"))
    here.pipeline(LlamaIndexStore(cache, namespace="nodes"), embedding).run(documents=here.documents())
    print("asked", len(embedding.asked), cache.stats().hits)
"""


@pytest.mark.slow
def test_a_later_process_embeds_nothing(tmp_path: Path) -> None:
    runs = [
        subprocess.run(
            [sys.executable, "-c", _RUN, str(tmp_path / "cache.db")],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={"PYTHONPATH": ".:backends", "PATH": "", "HOME": str(tmp_path)},
        )
        .stdout.rpartition("asked")[2]
        .split()
        for _ in range(2)
    ]
    assert int(runs[0][0]) > 3
    assert runs[1] == ["0", "2"], "a hit for each of the transformations"


# Never in the way.


@pytest.mark.parametrize("strict", [False, True])
async def test_a_tier_that_fails_is_as_none(strict: bool) -> None:
    broken = FaultyBackend(MemoryBackend(), rules=[Rule("unavailable")])
    with Cache(TierChain(Tier(broken, name="broken"), strict=strict)) as cache:
        store = LlamaIndexStore(cache, namespace="n")
        embedding = model(store)
        assert embedding.get_text_embedding("one") == await embedding.aget_text_embedding("one")
        assert store.get_all() == await store.aget_all() == {}
        assert not store.delete("k")
        assert not await store.adelete("k")
    assert embedding.asked == ["one", "one"]
    assert bool(store.errors) == strict


def test_a_vector_of_numpys_numbers_comes_back_as_floats(store: LlamaIndexStore) -> None:
    numpy = pytest.importorskip("numpy")
    vector = numpy.array([0.1, -2.5], dtype=numpy.float32)
    store.put("k", {"v": list(vector)})
    assert store.get("k") == {"v": [float(number) for number in vector]}


def test_what_no_codec_takes_is_not_stored(store: LlamaIndexStore) -> None:
    store.put("k", {"v": object()})
    assert store.get("k") is None
    assert store.stats().refused == {"uncacheable": 1}


def test_what_others_stored_is_a_miss(store: LlamaIndexStore, cache: Cache) -> None:
    store.put("k", {"v": 1})
    (name,) = cache.keys()
    for other in (1, {"key": "another", "value": {}}, {"key": "k", "value": 3}):
        cache.set(name, other)
        assert store.get("k") is None
    assert store.stats().unreadable == 3


def test_it_counts(store: LlamaIndexStore) -> None:
    store.get("k")
    store.put("k", {})
    store.get("k")
    stats = store.stats()
    assert (stats.hits, stats.misses, stats.stored) == (1, 1, 1)
