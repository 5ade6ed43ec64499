"""`install` and `uninstall`: from which moment to which LiteLLM keeps its answers in a `Cache`."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import litellm

from ...cache import Cache
from ...errors import ConfigurationError, MissingExtra
from ...llm.policy import StorePolicy
from .keys import ScopedCache
from .store import LiteLLMStore


def install(
    cache: Cache, *, scope: str = "auth", policy: StorePolicy | None = None, **litellm_cache_options: Any
) -> LiteLLMStore:
    """Let LiteLLM keep its answers in `cache`, from now on and in this whole process.

    Args:
        cache: where the answers are kept; it stays the caller's to close.
        scope: whose answers they are. `"auth"`: calls with different `api_key`, headers, or other credentials, those of
            a `client` among them, never share an answer; a function that gets tokens shares with itself alone. Keys in
            environment variables are not seen: where processes of several tenants share a store, give each a text
            of its own. `"shared"`: all share. Behind a `litellm.Router` deployments of a model share in any case.
        policy: which answers may be stored; left out: no truncated, filtered or empty ones, and no errors.
        litellm_cache_options: as for `litellm.Cache`, such as `namespace`, `ttl`, `mode`, `supported_call_types`.
            `max_messages` is None here: by its own default LiteLLM caches no conversation of more than 4 messages.

    Returns:
        The store, whose `stats()` and `errors` tell what was not cached. `uninstall` ends it.

    Raises:
        MissingExtra: what LiteLLM needs to serve a hit is not installed.
    """
    if not isinstance(cache, Cache):
        raise ConfigurationError(f"install() takes a tiercache.Cache, not a {type(cache).__name__}")
    _check_hits_can_be_served()
    store = LiteLLMStore(cache, policy=policy)
    litellm.cache = ScopedCache(scope=scope, **{"max_messages": None, **litellm_cache_options})
    litellm.cache.cache = store
    return store


def uninstall() -> None:
    """Let LiteLLM cache nothing any more, if `install` was what it cached with; the `Cache` stays open."""
    if isinstance(litellm.cache, ScopedCache):
        litellm.disable_cache()


def _check_hits_can_be_served() -> None:
    """Import now what LiteLLM imports at its first hit; there its absence would be raised into the caller."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*`ReadOnly` qualifier", UserWarning)  # pydantic's, of a type in there
            importlib.import_module("litellm.llms.anthropic.messages.native.response_cache")
    except ModuleNotFoundError as missing:
        if not (missing.name or "").startswith("litellm"):
            raise MissingExtra(f"LiteLLM's cache ({missing.name})", "litellm") from None
