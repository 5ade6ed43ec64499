"""`CachedEmbeddings`: any LangChain `Embeddings` behind an `EmbeddingCache`, an input at a time, without duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.embeddings import Embeddings

from ...cache import Cache
from ...llm import EmbeddingCache
from ...units import Duration
from .identity import identity_of


class CachedEmbeddings(Embeddings):
    """Embeddings of which only the missing ones are computed.

    Each input is an entry of its own, raw float32; equal inputs are computed once. Vectors come back as lists of
    floats of single precision, also those that were just computed.

    Args:
        underlying: computes what is missing.
        cache: where the vectors are kept.
        model: the model's name, part of every key: vectors of two models never meet. Left out, it is read from the
            wrapped object's `model` or `model_name`, where it is one of LangChain's (pydantic) classes.
        dimensions: numbers a vector; part of the key when given, and every vector is checked against it.
        params: what else changes the vectors, made of plain data; part of the key. Left out, these are the wrapped
            object's fields that differ from their defaults, but for those about transport (timeouts, retries, keys).
        ttl: how long a vector is fresh; None: for ever, whatever the cache's ttl.
        batch_size: inputs at most that the wrapped object receives at a time; each such batch is stored at once.
        same_for_queries: whether the model embeds a query as it embeds a document; if not (some do not), the two are
            kept apart.

    Attributes:
        documents, queries: the two caches, with their `stats()`.

    Raises:
        ConfigurationError: the model cannot be read from the wrapped object, or what one of its fields means for the
            vectors; or an option has no such value.
        MissingExtra: numpy is not installed.
    """

    def __init__(
        self,
        underlying: Embeddings,
        cache: Cache,
        *,
        model: str | None = None,
        dimensions: int | None = None,
        params: Mapping[str, Any] | None = None,
        ttl: Duration | None = None,
        batch_size: int = 256,
        same_for_queries: bool = False,
    ) -> None:
        name, read = identity_of(underlying, model, params)

        def cached(more: Mapping[str, Any]) -> EmbeddingCache:
            every = {**read, **more}
            return EmbeddingCache(cache, name, dimensions=dimensions, params=every, ttl=ttl, batch_size=batch_size)

        self.underlying = underlying
        self.documents = cached({})
        self.queries = self.documents if same_for_queries else cached({"langchain.input": "query"})

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of the texts, in their order. Raises what `EmbeddingCache.embed` raises."""
        return _lists(self.documents.embed(texts, self.underlying.embed_documents))

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """`embed_documents`, awaited."""
        return _lists(await self.documents.aembed(texts, self.underlying.aembed_documents))

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query."""
        return _lists(self.queries.embed([text], self._compute_query))[0]

    async def aembed_query(self, text: str) -> list[float]:
        """`embed_query`, awaited."""
        return _lists(await self.queries.aembed([text], self._acompute_query))[0]

    def _compute_query(self, texts: list[Any]) -> list[list[float]]:
        return [self.underlying.embed_query(text) for text in texts]

    async def _acompute_query(self, texts: list[Any]) -> list[list[float]]:
        return [await self.underlying.aembed_query(text) for text in texts]


def _lists(vectors: Any) -> list[list[float]]:
    lists: list[list[float]] = vectors.tolist()
    return lists
