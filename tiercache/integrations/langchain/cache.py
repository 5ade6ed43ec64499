"""`LangChainCache`: LangChain's cache of models' answers, on a `Cache`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.caches import BaseCache
from langchain_core.outputs import ChatGeneration, Generation

from ...cache import Cache
from ...entry import AttributeValue
from ...errors import TiercacheError
from ...llm.control import current
from ...llm.costs import attributes_of
from ...options import OWN, checked_attributes, given
from ...result import Result
from ...units import Duration
from ..counted import AdapterStats, Counters
from .answers import read, write
from .refusals import refusal
from .requests import key_material

_Entry = tuple[str, str, dict[str, Any]]
"""Key, text, and the options that it is stored with."""


class LangChainCache(BaseCache):
    """Answers of chat models and LLMs: `ChatOpenAI(cache=LangChainCache(cache))`, or `set_llm_cache(…)` for all.

    What LangChain says of a request makes its key: the messages, the model and its parameters, but no API key and,
    for some models, no address of the server. `scope` sets apart what must not be shared. LangChain asks no cache for
    `stream()`; a cache in the HTTP client serves that, too.

    An answer comes back equal, with its usage, and is then the caller's own. One that would not is not stored, nor is
    one that was cut off, filtered or empty. What the store holds and is no answer is a miss. Of what
    `tiercache.llm.control.cache_control` says, `max_age`, `no_cache`, `no_store`, `ttl` and `tags` hold here.

    Nothing is raised into a model's call, also where a chain is strict, or closed; `clear` raises as `Cache` does.

    Args:
        cache: where the answers are kept.
        ttl: how long an answer is fresh; left out: as the cache was told; None: for ever.
        scope: a tenant, say, or the address of a server; part of every key. A callable is asked at each request; where
            it raises, or returns something else than text, the request passes the cache by.
        store_truncated: whether answers are stored that ended early: at a limit of length, by a filter, or empty.
        prefix: what the keys begin with; `clear` is about the answers that were stored with this prefix.

    Attributes:
        errors: what was not raised, by the name of the error.

    Raises:
        ConfigurationError: the ttl is none.
    """

    def __init__(
        self,
        cache: Cache,
        *,
        ttl: Duration | None = OWN,
        scope: str | Callable[[], str] = "",
        store_truncated: bool = False,
        prefix: str = "langchain",
    ) -> None:
        self.cache = cache
        self.prefix = prefix
        self.store_truncated = store_truncated
        self._scope = scope
        self._ttl: float | None = given(ttl, OWN, "ttl")
        self.errors: Counter[str] = Counter()
        self._counters = Counters()

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """Return the answer to a request, or None."""
        key = self._key(prompt, llm_string)
        if key is None:
            return None
        try:
            return self._answer(self.cache.lookup(key))
        except TiercacheError as error:
            self._missed(error)
            return None

    async def alookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """`lookup`, awaited."""
        key = self._key(prompt, llm_string)
        if key is None:
            return None
        try:
            return self._answer(await self.cache.alookup(key))
        except TiercacheError as error:
            self._missed(error)
            return None

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Store the answer to a request, if it is one to keep."""
        entry = self._entry(prompt, llm_string, return_val)
        if entry is not None:
            key, text, options = entry
            try:
                self.cache.set(key, text, **options)
            except TiercacheError as error:
                self._failed(error)
            else:
                self._counters.stored += 1

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """`update`, awaited."""
        entry = self._entry(prompt, llm_string, return_val)
        if entry is not None:
            key, text, options = entry
            try:
                await self.cache.aset(key, text, **options)
            except TiercacheError as error:
                self._failed(error)
            else:
                self._counters.stored += 1

    def clear(self, **kwargs: Any) -> None:
        """Make all answers that were stored with this prefix misses, in a few requests, however many they are."""
        self.cache.invalidate_tags([self.prefix])

    async def aclear(self, **kwargs: Any) -> None:
        """`clear`, awaited."""
        await self.cache.ainvalidate_tags([self.prefix])

    def stats(self) -> AdapterStats:
        """Return what was served, stored, and refused for which reason."""
        return self._counters.snapshot()

    def _key(self, prompt: str, llm_string: str) -> str | None:
        scope = self._tenant()
        material = None if scope is None else key_material(prompt, llm_string, scope)
        if material is None:
            self._counters.bypassed += 1
            return None
        return f"{self.prefix}:{material}"

    def _tenant(self) -> str | None:
        """Return whose request it is; None: the caller's function does not say, and nobody else's answer will do."""
        if isinstance(self._scope, str):
            return self._scope
        try:
            scope = self._scope()
        except Exception:  # noqa: BLE001 - the caller's own code; counted as bypassed
            return None
        return scope if isinstance(scope, str) else None

    def _missed(self, error: TiercacheError) -> None:
        self._counters.misses += 1
        self._failed(error)

    def _failed(self, error: TiercacheError) -> None:
        self.errors[type(error).__name__] += 1

    def _answer(self, result: Result) -> list[Generation] | None:
        counters = self._counters
        oldest = current().oldest
        if not result.hit or result.is_stale or (oldest is not None and (result.age or 0.0) >= oldest):
            counters.misses += 1
            return None
        try:
            generations = read(result.value)
        except Exception:  # noqa: BLE001 - whatever another hand's bytes lead LangChain to raise
            counters.misses += 1
            counters.unreadable += 1
            return None
        counters.hits += 1
        if result.metadata is not None:
            self.cache.savings.record(result.metadata.attributes, result.tier)
        return generations

    def _entry(self, prompt: str, llm_string: str, generations: Sequence[Generation]) -> _Entry | None:
        """Return what is to be stored; None: nothing is, and why is counted."""
        reason: str | None = None
        if current().no_store:
            reason = "no_store"
        elif not self.store_truncated:
            reason = refusal(generations)
        if reason is None:
            try:
                text, attributes = write(generations), checked_attributes(_attributes(generations))
            except Exception:  # noqa: BLE001 - an answer that cannot be written is handed through
                reason = "uncacheable"
            else:
                key = self._key(prompt, llm_string)
                return None if key is None else (key, text, self._options(attributes))
        self._counters.refused[reason] += 1
        return None

    def _options(self, attributes: Mapping[str, AttributeValue]) -> dict[str, Any]:
        control = current()
        ttl = self._ttl if control.ttl is OWN else control.ttl
        return {"ttl": ttl, "tags": [self.prefix, *control.tags], "attributes": attributes}


def _attributes(generations: Sequence[Generation]) -> dict[str, AttributeValue]:
    """Return the model, its tokens and their price, as far as the answer tells."""
    first = generations[0] if generations else None
    if not isinstance(first, ChatGeneration):
        return {}
    stated = first.message.response_metadata
    model = stated.get("model_name") or stated.get("model")
    usage = getattr(first.message, "usage_metadata", None)
    if not isinstance(model, str) or not usage:
        return {}
    details = usage.get("input_token_details") or {}
    counted = {**usage, "input_tokens_details": {"cached_tokens": details.get("cache_read")}}
    return {"model": model, **attributes_of(model, {"model": model, "usage": counted})}
