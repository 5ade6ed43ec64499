"""LiteLLM: `install(cache)`, and from then on `litellm.completion`, `acompletion`, `embedding` … are cached.

LiteLLM decides what is asked of the cache and under which key; here its answers are kept in a `Cache`, and its keys
are made to tell apart what it does not: servers, credentials, and parameters that only one provider knows.
"""

from __future__ import annotations

import importlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ..cache import Cache
from ..errors import ConfigurationError, MissingExtra, TiercacheError
from ..llm.costs import attributes_of
from ..llm.kinds import Kind
from ..llm.policy import StorePolicy
from ..options import OWN
from ..result import Result

try:
    import litellm
    from litellm.caching.base_cache import BaseCache

    from .litellm_keys import ScopedCache
except ImportError:
    raise MissingExtra("tiercache.integrations.litellm", "litellm") from None

_KINDS: Mapping[str, Kind] = {
    "chat.completion": "chat",
    "text_completion": "completion",
    "response": "response",
    "message": "message",
}


class LiteLLMStore(BaseCache):
    """What LiteLLM calls a cache: the value of `litellm.cache.cache`. `install` makes one.

    Args:
        cache: where the answers are kept; it stays its owner's, and is not closed from here.
        policy: which answers may be stored; left out: no truncated, filtered or empty ones, and no errors.

    Attributes:
        errors: how often what went wrong, by the name of the error: nothing is raised into LiteLLM, whose call goes
            on as if there were no cache.
        refused: answers that were not stored, by the policy's reason.
    """

    def __init__(self, cache: Cache, *, policy: StorePolicy | None = None) -> None:
        super().__init__()
        self.tiers = cache
        self.policy = policy or StorePolicy()
        self.errors: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def get_cache(self, key: str, **kwargs: Any) -> Any:
        """Return `{"timestamp", "response"}` as it was stored; None on a miss, or when the cache fails."""
        try:
            found = self.tiers.lookup(key)
        except TiercacheError as error:
            return self._missed(error)
        value = self._used(found)
        # litellm.embedding takes the vector of one input, which aembedding stored, for an answer without any.
        return None if _is_vector(value) else value

    async def async_get_cache(self, key: str, **kwargs: Any) -> Any:
        """`get_cache`, awaited."""
        try:
            found = await self.tiers.alookup(key)
        except TiercacheError as error:
            return self._missed(error)
        return self._used(found)

    def set_cache(self, key: str, value: Any, **kwargs: Any) -> None:
        """Store the value for `ttl` seconds (left out: as the cache was told), if the policy allows it."""
        answer = _answer(value)
        if not self._may_store(answer):
            return
        try:
            self.tiers.set(key, value, ttl=_ttl(kwargs), attributes=_attributes(answer, kwargs))
        except TiercacheError as error:
            self.errors[type(error).__name__] += 1

    async def async_set_cache(self, key: str, value: Any, **kwargs: Any) -> None:
        """`set_cache`, awaited."""
        answer = _answer(value)
        if not self._may_store(answer):
            return
        try:
            await self.tiers.aset(key, value, ttl=_ttl(kwargs), attributes=_attributes(answer, kwargs))
        except TiercacheError as error:
            self.errors[type(error).__name__] += 1

    async def async_set_cache_pipeline(self, cache_list: Iterable[tuple[str, Any]], **kwargs: Any) -> None:
        """Store the vectors of one call, an entry an input, in one batch a tier.

        What they cost is told of each apart, so those of equal cost go together.
        """
        batches: dict[tuple[tuple[str, Any], ...], dict[str, Any]] = {}
        for key, value in cache_list:
            attributes = _attributes(_answer(value), kwargs)
            batches.setdefault(tuple(attributes.items()), {})[key] = value
        try:
            for attributes, items in batches.items():
                await self.tiers.aset_many(items, ttl=_ttl(kwargs), attributes=dict(attributes))
        except TiercacheError as error:
            self.errors[type(error).__name__] += 1

    async def batch_cache_write(self, key: str, value: Any, **kwargs: Any) -> None:
        """`async_set_cache`: a tier with a queue of its own (`write="behind"`) collects writes better."""
        await self.async_set_cache(key, value, **kwargs)

    async def delete_cache_keys(self, keys: Iterable[str]) -> None:
        """Remove these keys from all tiers."""
        await self.tiers.adelete_many(keys)

    async def ping(self) -> bool:
        """Return whether every tier serves."""
        return all(tier.ok for tier in (await self.tiers.ahealth()).values())

    async def disconnect(self) -> None:
        """Do nothing: whoever made the cache closes it."""

    async def test_connection(self) -> dict[str, Any]:
        """Ask every tier; return `status`, `message` and, where one does not serve, `error`."""
        try:
            await self.tiers.acheck()
        except TiercacheError as error:
            return {"status": "failed", "message": "a tier does not serve", "error": str(error)}
        return {"status": "success", "message": "all tiers serve"}

    def _missed(self, error: TiercacheError) -> None:
        self.errors[type(error).__name__] += 1

    def _used(self, found: Result) -> Any:
        if not found.hit or found.is_stale:
            return None
        if found.metadata is not None:
            self.tiers.savings.record(found.metadata.attributes, found.tier)
        return found.value

    def _may_store(self, answer: Any) -> bool:
        kind = _kind(answer)
        reason = None if kind is None else self.policy.refusal(kind, answer)
        if reason is not None:
            self.refused[reason] += 1
        return reason is None


def install(
    cache: Cache, *, scope: str = "auth", policy: StorePolicy | None = None, **litellm_cache_options: Any
) -> LiteLLMStore:
    """Let LiteLLM keep its answers in `cache`, from now on and in this whole process.

    Args:
        cache: where the answers are kept; it stays the caller's to close.
        scope: whose answers they are. `"auth"`: calls with different `api_key`, or headers, never share an answer. Keys
            in environment variables are not seen: where processes of several tenants share a store, give each a text
            of its own. `"shared"`: all share. Behind a `litellm.Router` deployments of a model share in any case.
        policy: which answers may be stored; left out: no truncated, filtered or empty ones, and no errors.
        litellm_cache_options: as for `litellm.Cache`, such as `namespace`, `ttl`, `mode`, `supported_call_types`.
            `max_messages` is None here: by its own default LiteLLM caches no conversation of more than 4 messages.

    Returns:
        The store, whose `errors` and `refused` count what was not cached. `uninstall` ends it.

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
        importlib.import_module("litellm.llms.anthropic.messages.native.response_cache")
    except ModuleNotFoundError as missing:
        if not (missing.name or "").startswith("litellm"):
            raise MissingExtra(f"LiteLLM's cache ({missing.name})", "litellm") from None


def _answer(value: Any) -> Any:
    """Return the answer inside what LiteLLM stores, as plain data."""
    answer = value.get("response") if isinstance(value, dict) else None
    if not isinstance(answer, str):
        return answer
    try:
        return json.loads(answer)
    except ValueError:
        return answer


def _kind(answer: Any) -> Kind | None:
    """Return the kind of an answer; None for what the policy does not judge."""
    if not isinstance(answer, dict):
        return None
    return _KINDS.get(answer.get("object") or answer.get("type") or "")


def _is_vector(value: Any) -> bool:
    """Whether it is the embedding of one input, as `aembedding` stores it."""
    answer = value.get("response") if isinstance(value, dict) else None
    return isinstance(answer, dict) and "embedding" in answer and "format_version" in answer


def _ttl(kwargs: Mapping[str, Any]) -> Any:
    ttl = kwargs.get("ttl")
    return OWN if ttl is None else ttl


def _attributes(answer: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model and what the answer cost, so that hits tell what they saved."""
    model = kwargs.get("model")
    name = model if isinstance(model, str) else ""
    if not isinstance(answer, dict):
        return {"model": name}
    if isinstance(tokens := answer.get("prompt_tokens"), int):  # of one embedding
        answer = {"model": answer.get("model"), "usage": {"prompt_tokens": tokens}}
    return {"model": name, **attributes_of(name.rpartition("/")[2], answer, url=_url(kwargs))}


def _url(kwargs: Mapping[str, Any]) -> str | None:
    base = kwargs.get("api_base")
    return base if isinstance(base, str) else None
