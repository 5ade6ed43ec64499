"""Caches that know LLM requests: keys, answers, and embeddings an item at a time."""

from .builder import CacheKeyBuilder
from .cache import LLMCache
from .control import CacheControl, cache_control
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
    "LLMCache",
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
