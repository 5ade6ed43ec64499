"""Caches that know LLM requests: embeddings, an item at a time."""

from .embeddings import EMBEDDING_KEY_PREFIX, EmbeddingCache, EmbeddingStats

__all__ = ["EMBEDDING_KEY_PREFIX", "EmbeddingCache", "EmbeddingStats"]
