"""What is easily given in place of a `Cache`, or of a scope, is told where it is given and not in the first call."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tiercache import Cache, MemoryBackend
from tiercache.errors import ConfigurationError
from tiercache.llm import EmbeddingCache, LLMCache

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
# What takes a cache, the library that it needs, and how it is made.
TAKERS: dict[str, tuple[str, str, Callable[[Any, Any], Any]]] = {
    "LangChainCache": ("langchain", "langchain_core", lambda module, cache: module.LangChainCache(cache)),
    "LangChainByteStore": ("langchain", "langchain_core", lambda module, cache: module.LangChainByteStore(cache)),
    "LangGraphCache": ("langgraph", "langgraph", lambda module, cache: module.LangGraphCache(cache)),
    "install": ("litellm", "litellm", lambda module, cache: module.install(cache)),
    "LlamaIndexStore": (
        "llamaindex",
        "llama_index",
        lambda module, cache: module.LlamaIndexStore(cache, namespace="n"),
    ),
    "KeyValueStore": ("keyvalue", "key_value", lambda module, cache: module.KeyValueStore(cache, namespace="n")),
    "EmbeddingCache": ("http", "numpy", lambda _, cache: EmbeddingCache(cache, "m")),
    "LLMCache": ("http", "numpy", lambda _, cache: LLMCache(cache)),
}


@pytest.fixture
def llm() -> Iterator[LLMCache]:
    with LLMCache.memory_only() as llm:
        yield llm


@pytest.mark.parametrize("taker", TAKERS)
def test_what_is_no_cache_is_refused_with_the_way_to_one(taker: str, llm: LLMCache) -> None:
    name, library, make = TAKERS[taker]
    pytest.importorskip(library)
    module = importlib.import_module(f"tiercache.integrations.{name}")
    with pytest.raises(ConfigurationError, match=r"must be a Cache, not a LLMCache; give its \.cache"):
        make(module, llm)
    with pytest.raises(ConfigurationError, match=r"make one of it: Cache\(…\)"):
        make(module, MemoryBackend())


@pytest.mark.parametrize("scope", ["AUTH", "Shared", "", 5, None])
def test_a_scope_of_litellm_that_is_none_is_refused(scope: Any, llm: LLMCache) -> None:
    litellm = pytest.importorskip("litellm")
    from tiercache.integrations.litellm import install

    before = litellm.cache
    with pytest.raises(ConfigurationError, match="scope"):
        install(llm.cache, scope=scope)
    assert litellm.cache is before


@pytest.mark.parametrize("scope", ["auth", "Auth", "SHARED", 5, None])
def test_a_scope_of_langchain_that_is_none_is_refused(scope: Any) -> None:
    """LangChain's requests hold no credentials: `"auth"` would be one tenant for all callers."""
    pytest.importorskip("langchain_core")
    from tiercache.integrations.langchain import LangChainCache

    with Cache(MemoryBackend()) as cache, pytest.raises(ConfigurationError, match="scope"):
        LangChainCache(cache, scope=scope)
