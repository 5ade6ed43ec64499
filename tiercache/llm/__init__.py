"""Caches that know LLM requests: answers by request, embeddings an item at a time."""

from .cache import LLMCache
from .control import CacheControl, cache_control
from .counters import KindStats, LLMStats
from .embeddings import EMBEDDING_KEY_PREFIX, EmbeddingCache, EmbeddingStats
from .policy import StorePolicy
from .rules import Rules

__all__ = [
    "EMBEDDING_KEY_PREFIX",
    "CacheControl",
    "EmbeddingCache",
    "EmbeddingStats",
    "KindStats",
    "LLMCache",
    "LLMStats",
    "Rules",
    "StorePolicy",
    "cache_control",
]
