"""Caches that know LLM requests: their keys, answers by request, embeddings an item at a time."""

from .builder import CacheKeyBuilder
from .cache import LLMCache
from .control import CacheControl, cache_control
from .counters import KindStats, LLMStats
from .embeddings import EmbeddingCache, EmbeddingStats
from .keys import (
    chat_key,
    completion_key,
    embedding_key,
    key_from_content,
    key_from_json,
    key_from_parts,
    message_key,
    response_key,
)
from .kinds import (
    CHAT_KEY_PREFIX,
    COMPLETION_KEY_PREFIX,
    EMBEDDING_KEY_PREFIX,
    MESSAGE_KEY_PREFIX,
    RESPONSE_KEY_PREFIX,
)
from .policy import StorePolicy
from .prices import Price
from .rules import Rules

__all__ = [
    "CHAT_KEY_PREFIX",
    "COMPLETION_KEY_PREFIX",
    "EMBEDDING_KEY_PREFIX",
    "MESSAGE_KEY_PREFIX",
    "RESPONSE_KEY_PREFIX",
    "CacheControl",
    "CacheKeyBuilder",
    "EmbeddingCache",
    "EmbeddingStats",
    "KindStats",
    "LLMCache",
    "LLMStats",
    "Price",
    "Rules",
    "StorePolicy",
    "cache_control",
    "chat_key",
    "completion_key",
    "embedding_key",
    "key_from_content",
    "key_from_json",
    "key_from_parts",
    "message_key",
    "response_key",
]
