"""`LiteLLMStore`: what LiteLLM calls a cache: the value of `litellm.cache.cache`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from litellm.caching.base_cache import BaseCache

from ...cache import Cache
from ...errors import TiercacheError
from ...llm.costs import attributes_of
from ...llm.kinds import Kind
from ...llm.policy import StorePolicy
from ...options import OWN
from ...result import Result
from ..counted import AdapterStats, Counters

_KINDS: Mapping[str, Kind] = {
    "chat.completion": "chat",
    "text_completion": "completion",
    "response": "response",
    "message": "message",
}


class LiteLLMStore(BaseCache):
    """LiteLLM's answers in a `Cache`; `install` makes one.

    Nothing is raised into LiteLLM: its call goes on as if there were no cache.

    Args:
        cache: where the answers are kept; it stays its owner's, and is not closed from here.
        policy: which answers may be stored; left out: no truncated, filtered or empty ones, and no errors.

    Attributes:
        errors: what was not raised, by the name of the error.
    """

    def __init__(self, cache: Cache, *, policy: StorePolicy | None = None) -> None:
        super().__init__()
        self.tiers = cache
        self.policy = policy or StorePolicy()
        self.errors: Counter[str] = Counter()
        self._counters = Counters()

    def get_cache(self, key: str, **kwargs: Any) -> Any:
        """Return `{"timestamp", "response"}` as it was stored; None on a miss, or when the cache fails."""
        try:
            return self._value(self.tiers.lookup(key), vectors=False)
        except TiercacheError as error:
            return self._failed(error)

    async def async_get_cache(self, key: str, **kwargs: Any) -> Any:
        """`get_cache`, awaited."""
        try:
            return self._value(await self.tiers.alookup(key))
        except TiercacheError as error:
            return self._failed(error)

    def set_cache(self, key: str, value: Any, **kwargs: Any) -> None:
        """Store the value for `ttl` seconds (left out: as the cache was told), if the policy allows it."""
        options = self._options(value, kwargs)
        if options is None:
            return
        try:
            self.tiers.set(key, value, **options)
        except TiercacheError as error:
            self._failed(error)
        else:
            self._counters.stored += 1

    async def async_set_cache(self, key: str, value: Any, **kwargs: Any) -> None:
        """`set_cache`, awaited."""
        options = self._options(value, kwargs)
        if options is None:
            return
        try:
            await self.tiers.aset(key, value, **options)
        except TiercacheError as error:
            self._failed(error)
        else:
            self._counters.stored += 1

    async def async_set_cache_pipeline(self, cache_list: Iterable[tuple[str, Any]], **kwargs: Any) -> None:
        """Store the vectors of one call, an entry an input; those that cost the same in one batch a tier."""
        batches: dict[tuple[tuple[str, Any], ...], dict[str, Any]] = {}
        for key, value in cache_list:
            attributes = _attributes(_answer(value), kwargs)
            batches.setdefault(tuple(attributes.items()), {})[key] = value
        try:
            for cost, items in batches.items():
                await self.tiers.aset_many(items, ttl=_ttl(kwargs), attributes=dict(cost))
                self._counters.stored += len(items)
        except TiercacheError as error:
            self._failed(error)

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

    def stats(self) -> AdapterStats:
        """Return what was served, stored, and refused for which reason."""
        return self._counters.snapshot()

    def _failed(self, error: TiercacheError) -> None:
        self.errors[type(error).__name__] += 1

    def _value(self, found: Result, *, vectors: bool = True) -> Any:
        """Return what is served; for `litellm.embedding` no vector of one input, which it cannot read."""
        if not found.hit or found.is_stale or (not vectors and _is_vector(found.value)):
            self._counters.misses += 1
            return None
        self._counters.hits += 1
        if found.metadata is not None:
            self.tiers.savings.record(found.metadata.attributes, found.tier)
        return found.value

    def _options(self, value: Any, kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the options of an entry; None where it must not be stored, and why is counted."""
        answer = _answer(value)
        kind = _kind(answer)
        reason = None if kind is None else self.policy.refusal(kind, answer)
        if reason is not None:
            self._counters.refused[reason] += 1
            return None
        return {"ttl": _ttl(kwargs), "attributes": _attributes(answer, kwargs)}


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
