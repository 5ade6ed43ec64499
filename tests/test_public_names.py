"""The names that programs of others import are there and take what was promised; importing them needs no extra."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tiercache.llm import LLMCache
from tiercache.llm.faces import Named

ROOT = Path(__file__).parent.parent
NAMES = {
    "tiercache": "Cache TierChain Tier Backend MemoryBackend DiskBackend EvictionPolicy",
    "tiercache_redis": "RedisBackend",
    "tiercache_s3": "S3Backend S3StorageClass",
    "tiercache_gcs": "GCSBackend GCSStorageClass",
    "tiercache_azure": "AzureBlobBackend AzureAccessTier",
    "tiercache.llm": "EmbeddingCache LLMCache CacheKeyBuilder chat_key completion_key embedding_key key_from_json "
    "key_from_content key_from_parts CHAT_KEY_PREFIX COMPLETION_KEY_PREFIX EMBEDDING_KEY_PREFIX",
    "tiercache.integrations.http": "client async_client transport async_transport",
}
# What is called, with which arguments: positional ones as `_`, keywords by name.
CALLS = {
    "tiercache.Cache": "_ namespace ttl",
    "tiercache.Cache.set": "_ _ _ ttl tags attributes",
    "tiercache.Cache.get": "_ _ default type",
    "tiercache.Cache.lookup": "_ _",
    "tiercache.Cache.get_or_set": "_ _ _ ttl stale_for tags attributes",
    "tiercache.Cache.get_many": "_ _",
    "tiercache.Cache.set_many": "_ _",
    "tiercache.Cache.delete": "_ _",
    "tiercache.Cache.delete_many": "_ _",
    "tiercache.Cache.contains": "_ _",
    "tiercache.Cache.metadata": "_ _",
    "tiercache.Cache.touch": "_ _ ttl",
    "tiercache.Cache.clear": "_ purge",
    "tiercache.Cache.invalidate_tags": "_ _",
    "tiercache.Cache.keys": "_ prefix",
    "tiercache.Cache.warm": "_ _",
    "tiercache.Cache.warm_with": "_ _",
    "tiercache.Cache.cached": "_ ttl",
    "tiercache.TierChain.from_urls": "_ _ _",
    "tiercache.Tier": "_ name timeout promote write max_ttl",
    "tiercache.MemoryBackend": "max_bytes max_entries eviction clock",
    "tiercache.DiskBackend": "_ max_bytes",
    "tiercache_redis.RedisBackend": "_ prefix",
    "tiercache_s3.S3Backend": "_ prefix region endpoint_url storage_class",
    "tiercache_gcs.GCSBackend": "_ prefix storage_class project credentials",
    "tiercache_azure.AzureBlobBackend": "_ prefix access_tier connection_string account_url credential",
    "tiercache.llm.EmbeddingCache": "_ model dimensions params ttl batch_size",
    "tiercache.llm.EmbeddingCache.embed": "_ _ _",
    "tiercache.llm.EmbeddingCache.get_many": "_ _",
    "tiercache.llm.EmbeddingCache.put_many": "_ _ _",
    "tiercache.llm.LLMCache": "_ chat_ttl embedding_ttl completion_ttl user_specific",
    "tiercache.llm.LLMCache.memory_only": "",
    **{f"tiercache.llm.LLMCache.get_{kind}": "_" for kind in ("chat", "completion", "embedding")},
    **{f"tiercache.llm.LLMCache.set_{kind}": "_ _" for kind in ("chat", "completion", "embedding")},
    **{f"tiercache.llm.LLMCache.invalidate_{kind}": "_" for kind in ("chat", "completion", "embedding")},
    "tiercache.llm.LLMCache.chat": "_ _",
    "tiercache.llm.chat_key": "_ user",
    "tiercache.llm.completion_key": "_ user",
    "tiercache.llm.embedding_key": "_ user",
    "tiercache.llm.CacheKeyBuilder": "_",
    "tiercache.llm.CacheKeyBuilder.with_part": "_ _",
    "tiercache.llm.CacheKeyBuilder.add_optional": "_ _",
    "tiercache.llm.CacheKeyBuilder.add_num": "_ _",
    "tiercache.llm.CacheKeyBuilder.build": "_",
    "tiercache.llm.CacheKeyBuilder.build_explicit": "_",
    "tiercache.integrations.http.client": "_ http scope timeout",
    "tiercache.integrations.http.async_client": "_ http scope timeout",
    "tiercache.integrations.http.transport": "_ _ http scope",
    "tiercache.integrations.http.async_transport": "_ _ http scope",
}
OF_A_CACHE = [path.rpartition(".")[2] for path in CALLS if path.startswith("tiercache.Cache.") and "cached" not in path]
OPTIONAL = {
    *("openai", "anthropic", "httpx", "httpx2", "numpy", "genai_prices", "langchain_core", "langgraph", "litellm"),
    *("llama_index", "key_value", "fastmcp", "redis", "boto3", "botocore", "google", "azure", "cryptography"),
    *("pydantic", "pytest"),
}


@pytest.mark.parametrize("module", NAMES)
def test_the_names_are_there(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []
    assert set(NAMES[module].split()) <= set(found.__all__)


def found_at(path: str) -> Any:
    module = next(name for name in sorted(NAMES, key=len, reverse=True) if path.startswith(f"{name}."))
    found: Any = importlib.import_module(module)
    for name in path.removeprefix(f"{module}.").split("."):
        found = getattr(found, name)
        if isinstance(found, Named):  # an operation of LLMCache
            found = getattr(LLMCache.memory_only(), name)
    return found


@pytest.mark.parametrize("path", CALLS)
def test_they_take_what_was_promised(path: str) -> None:
    words = CALLS[path].split()
    inspect.signature(found_at(path)).bind(*[0 for word in words if word == "_"], **{w: 0 for w in words if w != "_"})


@pytest.mark.parametrize("operation", [*OF_A_CACHE, "health", "check", "close"])
def test_every_operation_has_a_twin_to_await(operation: str) -> None:
    blocking, awaited = found_at(f"tiercache.Cache.{operation}"), found_at(f"tiercache.Cache.a{operation}")
    assert list(inspect.signature(blocking).parameters) == list(inspect.signature(awaited).parameters)


@pytest.mark.parametrize("module", [*NAMES, "tiercache.integrations"])
def test_importing_imports_no_library_that_may_be_absent(module: str) -> None:
    script = f"import sys, {module}; print(sorted({OPTIONAL!r} & set(sys.modules)))"
    path = os.pathsep.join([str(ROOT), str(ROOT / "backends")])
    env = {**os.environ, "PYTHONPATH": path}
    said = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
