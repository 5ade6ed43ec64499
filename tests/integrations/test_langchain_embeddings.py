"""`CachedEmbeddings` and the ByteStore, through LangChain's own code: vector stores, `CacheBackedEmbeddings`, RAG."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("langchain_openai")

from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field, SecretStr

from tests.conftest import FakeClock
from tests.integrations.openai_server import OpenAIServer
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import ConfigurationError
from tiercache.integrations.langchain import CachedEmbeddings, LangChainByteStore, LangChainCache


class Model(Embeddings):
    """Deterministic vectors, those of queries unlike those of documents, and a record of what was asked."""

    def __init__(self) -> None:
        self.documents: list[str] = []
        self.queries: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.documents += texts
        return [[float(len(text)), 0.1] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.queries.append(text)
        return [-float(len(text)), 0.1]


class Hosted(BaseModel, Embeddings):
    """As LangChain's packages write theirs: a pydantic model."""

    model: str = "m"
    instruction: str | None = None
    sizes: set[int] = set()
    timeout: float = 1.0
    api_key: SecretStr | None = None
    tokenizer: Any = None
    engine: Any = Field(default=None, exclude=True)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[float(len(text)), 0.5] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [float(len(text)), 0.5]


@pytest.fixture
def cache(clock: FakeClock) -> Cache:
    return Cache(TierChain(MemoryBackend(clock=clock), Tier(RemoteBackend(clock)), clock=clock))


class TestCachedEmbeddings:
    def test_only_what_is_missing_is_asked_for_and_once(self, cache: Cache) -> None:
        model = Model()
        embeddings = CachedEmbeddings(model, cache, model="m")
        embeddings.embed_documents(["a", "bb"])
        vectors = embeddings.embed_documents(["ccc", "bb", "ccc", "a"])
        assert [vector[0] for vector in vectors] == [3.0, 2.0, 3.0, 1.0]
        assert model.documents == ["a", "bb", "ccc"]

    def test_awaited(self, cache: Cache) -> None:
        model = Model()
        embeddings = CachedEmbeddings(model, cache, model="m")

        async def main() -> Any:
            await embeddings.aembed_documents(["a"])
            return await embeddings.aembed_documents(["a", "bb"]), await embeddings.aembed_query("a")

        documents, query = asyncio.run(main())
        assert ([vector[0] for vector in documents], query[0]) == ([1.0, 2.0], -1.0)
        assert (model.documents, model.queries) == (["a", "bb"], ["a"])
        assert embeddings.embed_documents(["bb"])[0] == documents[1]

    def test_vectors_are_the_same_floats_of_single_precision_computed_or_cached(self, cache: Cache) -> None:
        embeddings = CachedEmbeddings(Model(), cache, model="m")
        first = embeddings.embed_documents(["a"])
        assert first == embeddings.embed_documents(["a"]) == [[1.0, float(np.float32(0.1))]]
        assert type(first[0]) is list
        assert type(first[0][0]) is float

    def test_an_entry_costs_four_bytes_a_number(self, cache: Cache) -> None:
        CachedEmbeddings(DeterministicFakeEmbedding(size=384), cache, model="m").embed_documents(["a"])
        (key,) = cache.keys()
        metadata = cache.metadata(key)
        assert metadata is not None
        assert metadata.size == 4 * 384

    def test_queries_are_kept_apart_from_documents(self, cache: Cache) -> None:
        model = Model()
        embeddings = CachedEmbeddings(model, cache, model="m")
        assert embeddings.embed_documents(["a"])[0] != embeddings.embed_query("a")
        assert embeddings.embed_query("a") == embeddings.embed_query("a")
        assert (model.documents, model.queries) == (["a"], ["a"])

    def test_unless_they_are_the_same(self, cache: Cache) -> None:
        model = Model()
        embeddings = CachedEmbeddings(model, cache, model="m", same_for_queries=True)
        assert embeddings.embed_documents(["a"])[0] == embeddings.embed_query("a")
        assert model.queries == []

    def test_no_texts_ask_nobody(self, cache: Cache) -> None:
        assert CachedEmbeddings(Model(), cache, model="m").embed_documents([]) == []

    def test_vectors_outlive_the_ttl_of_the_cache_unless_told_otherwise(self, clock: FakeClock) -> None:
        cache = Cache(MemoryBackend(clock=clock), ttl="1h", clock=clock)
        model = Model()
        CachedEmbeddings(model, cache, model="m").embed_documents(["a"])
        CachedEmbeddings(model, cache, model="other", ttl="1d").embed_documents(["a"])
        clock.advance(86401)
        CachedEmbeddings(model, cache, model="m").embed_documents(["a"])
        assert len(model.documents) == 2
        CachedEmbeddings(model, cache, model="other", ttl="1d").embed_documents(["a"])
        assert len(model.documents) == 3

    def test_declared_dimensions_are_checked(self, cache: Cache) -> None:
        with pytest.raises(ValueError, match="2 numbers where 3"):
            CachedEmbeddings(Model(), cache, model="m", dimensions=3).embed_documents(["a"])

    def test_what_was_done_is_counted(self, cache: Cache) -> None:
        embeddings = CachedEmbeddings(Model(), cache, model="m")
        embeddings.embed_documents(["a", "a", "b"])
        embeddings.embed_query("q")
        assert (embeddings.documents.stats().hits, embeddings.documents.stats().computed) == (1, 2)
        assert embeddings.queries.stats().computed == 1


class TestWhichModelItIs:
    def keys(self, cache: Cache, underlying: Embeddings, **options: Any) -> str:
        return CachedEmbeddings(underlying, cache, **options).documents.key("a")

    def test_it_is_demanded_where_it_cannot_be_read(self, cache: Cache) -> None:
        for unknown in (Model(), DeterministicFakeEmbedding(size=3), Hosted(model="")):
            with pytest.raises(ConfigurationError, match="pass model="):
                CachedEmbeddings(unknown, cache)

    def test_an_attribute_that_is_no_field_is_not_believed(self, cache: Cache) -> None:
        model = Model()
        model.model = "m"  # type: ignore[attr-defined]
        with pytest.raises(ConfigurationError, match="pass model="):
            CachedEmbeddings(model, cache)

    @pytest.mark.parametrize(
        "other",
        [Hosted(model="other"), Hosted(instruction="query: "), Hosted(sizes={1, 2})],
        ids=["model", "text", "set"],
    )
    def test_what_may_change_the_vectors_changes_the_key(self, cache: Cache, other: Hosted) -> None:
        assert self.keys(cache, other) != self.keys(cache, Hosted())
        assert self.keys(cache, other, model="told") != self.keys(cache, Hosted(), model="told")

    def test_what_is_about_transport_does_not(self, cache: Cache) -> None:
        other = Hosted(timeout=9.0, api_key=SecretStr("sk"), engine=object())
        assert self.keys(cache, other) == self.keys(cache, Hosted())

    def test_the_order_of_a_set_does_not(self, cache: Cache) -> None:
        one, two = Hosted(sizes={0, 8}), Hosted(sizes={8, 0})
        assert list(one.sizes) != list(two.sizes)
        assert self.keys(cache, one) == self.keys(cache, two)

    def test_a_field_that_cannot_be_written_down_is_asked_about(self, cache: Cache) -> None:
        odd = Hosted(tokenizer=len)
        with pytest.raises(ConfigurationError, match="'tokenizer' of Hosted"):
            CachedEmbeddings(odd, cache)
        assert self.keys(cache, odd, params={}) != self.keys(cache, odd, params={"tokenizer": "len"})

    def test_two_classes_with_a_model_of_one_name_do_not_meet(self, cache: Cache) -> None:
        class Elsewhere(Hosted):
            pass

        assert self.keys(cache, Elsewhere()) != self.keys(cache, Hosted())

    def test_told_in_full_the_vectors_are_those_of_an_embedding_cache(self, cache: Cache) -> None:
        from tiercache.llm import EmbeddingCache

        assert self.keys(cache, Model(), model="m", params={}) == EmbeddingCache(cache, model="m").key("a")


class TestOpenAI:
    @pytest.fixture
    def openai(self, openai_server: OpenAIServer) -> Callable[..., Embeddings]:
        def make(**options: Any) -> Embeddings:
            given = {"model": "emb", "api_key": "sk", "base_url": openai_server.url}
            made: Embeddings = OpenAIEmbeddings(**(given | {"check_embedding_ctx_length": False} | options))
            return made

        return make

    def test_the_second_call_asks_nobody(
        self, openai: Callable[..., Embeddings], openai_server: OpenAIServer, cache: Cache
    ) -> None:
        plain = openai().embed_documents(["a", "b"])
        assert CachedEmbeddings(openai(), cache).embed_documents(["a", "b"]) == plain
        assert CachedEmbeddings(openai(max_retries=9), cache).embed_documents(["b", "a"]) == plain[::-1]
        assert openai_server.calls == 2

    @pytest.mark.parametrize("other", [{"model": "emb2"}, {"dimensions": 2}, {"base_url": None}])
    def test_two_models_never_meet(
        self, openai: Callable[..., Embeddings], openai_server: OpenAIServer, cache: Cache, other: dict[str, Any]
    ) -> None:
        if "base_url" in other:
            other = {"base_url": openai_server.url.replace("127.0.0.1", "localhost")}
        CachedEmbeddings(openai(), cache).embed_documents(["a"])
        CachedEmbeddings(openai(**other), cache).embed_documents(["a"])
        assert openai_server.calls == 2

    def test_rag_a_second_time_costs_nothing(
        self, openai: Callable[..., Embeddings], openai_server: OpenAIServer, cache: Cache
    ) -> None:
        def answer(question: str) -> str:
            embeddings = CachedEmbeddings(openai(), cache)
            store = InMemoryVectorStore(embeddings)
            store.add_texts(["cats purr", "dogs bark", "fish swim"])
            (found,) = store.similarity_search(question, k=1)
            chat = ChatOpenAI(model="gpt-test", api_key="sk", base_url=openai_server.url, cache=LangChainCache(cache))
            return str(chat.invoke(f"{question} {found.page_content}").content)

        first = answer("cats purr")
        assert openai_server.calls == 3, "the documents, the question, the answer"
        assert answer("cats purr") == first
        assert openai_server.calls == 3

    def test_rag_awaited(self, openai: Callable[..., Embeddings], openai_server: OpenAIServer, cache: Cache) -> None:
        async def answer() -> str:
            store = InMemoryVectorStore(CachedEmbeddings(openai(), cache))
            await store.aadd_texts(["cats purr", "dogs bark"])
            (found,) = await store.asimilarity_search("dogs bark", k=1)
            return found.page_content

        assert [asyncio.run(answer()) for _ in range(2)] == ["dogs bark"] * 2
        assert openai_server.calls == 2


class TestByteStore:
    def test_keys_are_those_that_were_set(self, cache: Cache) -> None:
        store = LangChainByteStore(cache, prefix="p:")
        keys = ["a", "p:a", "a/b", "ä €", ":", ""]
        store.mset([(key, key.encode()) for key in keys])
        assert sorted(store.yield_keys()) == sorted(keys)
        assert sorted(store.yield_keys(prefix="a")) == ["a", "a/b"]
        assert store.mget(keys) == [key.encode() for key in keys]

    def test_stores_with_different_prefixes_do_not_meet(self, cache: Cache) -> None:
        one, two = LangChainByteStore(cache, prefix="1:"), LangChainByteStore(cache, prefix="2:")
        one.mset([("k", b"one")])
        assert two.mget(["k"]) == [None]
        assert list(two.yield_keys()) == []
        two.mdelete(["k"])
        assert one.mget(["k"]) == [b"one"]

    def test_what_is_not_bytes_is_refused(self, cache: Cache) -> None:
        with pytest.raises(TypeError, match="holds bytes, not str"):
            LangChainByteStore(cache).mset([("a", b"x"), ("b", "text")])  # type: ignore[list-item]
        assert list(cache.keys()) == []

    def test_a_foreign_value_is_none(self, cache: Cache) -> None:
        cache.set("bytes:k", {"not": "bytes"})
        assert LangChainByteStore(cache).mget(["k"]) == [None]

    def test_the_last_of_two_values_counts(self, cache: Cache) -> None:
        store = LangChainByteStore(cache)
        store.mset([("k", b"1"), ("k", b"2")])
        assert store.mget(["k", "none", "k"]) == [b"2", None, b"2"]

    def test_values_expire(self, cache: Cache, clock: FakeClock) -> None:
        store = LangChainByteStore(cache, ttl="1m")
        store.mset([("k", b"1")])
        clock.advance(61)
        assert store.mget(["k"]) == [None]

    def test_a_wrong_ttl_is_refused_at_once(self, cache: Cache) -> None:
        with pytest.raises(ConfigurationError, match="ttl"):
            LangChainByteStore(cache, ttl="soon")

    def test_a_batch_is_one_request_a_tier(self, clock: FakeClock) -> None:
        remote = RemoteBackend(clock)
        store = LangChainByteStore(Cache(TierChain(remote, clock=clock)))
        store.mset([("a", b"1"), ("b", b"2")])
        store.mget(["a", "b", "c"])
        assert [call for call in remote.trace if "many" in call] == ["remote.put_many", "remote.get_many"]

    def test_cache_backed_embeddings(self, cache: Cache) -> None:
        classic = pytest.importorskip("langchain_classic.embeddings")
        model = Model()
        embeddings = classic.CacheBackedEmbeddings.from_bytes_store(
            model, LangChainByteStore(cache), namespace="m", key_encoder="sha256"
        )
        first = embeddings.embed_documents(["a", "bb"])
        assert embeddings.embed_documents(["bb", "a"]) == first[::-1]
        assert asyncio.run(embeddings.aembed_documents(["a", "bb"])) == first
        assert model.documents == ["a", "bb"]
