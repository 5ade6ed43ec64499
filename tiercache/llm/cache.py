"""`LLMCache`: answers of language models, kept by request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..cache import Cache
from ..options import Computed
from .control import current
from .counters import LLMCounters, LLMStats
from .kinds import Kind
from .rules import Plan, Rules
from .worlds import Awaiting, Blocking, World, run


class LLMCache:
    """Answers of language models in a `Cache`.

    Args:
        cache: where the answers are kept.
        rules: how requests become entries.
    """

    def __init__(self, cache: Cache, *, rules: Rules | None = None) -> None:
        self.cache = cache
        self.rules = rules or Rules()
        self.counters = LLMCounters()
        self._blocking = Blocking(cache)
        self._awaiting = Awaiting(cache)

    def chat(self, request: Mapping[str, Any], call: Callable[[], Any]) -> Any:
        """Return the answer to a chat request: the one that is kept, else that of `call`, which is stored if it may."""
        return run(self._answer(self._blocking, "chat", request, call))

    async def achat(self, request: Mapping[str, Any], call: Callable[[], Any]) -> Any:
        """`chat`, awaited."""
        return await self._answer(self._awaiting, "chat", request, call)

    def stats(self) -> LLMStats:
        """Return what was asked and answered, by kind."""
        return self.counters.snapshot()

    async def _answer(self, world: World, kind: Kind, request: Mapping[str, Any], call: Callable[[], Any]) -> Any:
        plan = self.rules.plan(kind, request, control=current())
        called = False

        async def factory() -> Computed:
            nonlocal called
            called = True
            answer = await world.call(call)
            return Computed(answer, store=self._may_store(plan, answer))

        result = await world.lookup_or_set(plan.key, factory, max_age=plan.max_age, **plan.options)
        counters = self.counters.of[kind]
        if called:
            counters.misses += 1
        else:
            counters.hits += 1
            if result.metadata is not None:
                self.cache.savings.record(result.metadata.attributes, result.tier)
        return result.value

    def _may_store(self, plan: Plan, answer: Any) -> bool:
        counters = self.counters.of[plan.kind]
        reason = self.rules.policy.refusal(plan.kind, answer)
        if reason is not None:
            counters.refuse(reason)
        elif plan.stores:
            counters.stored += 1
        return reason is None and plan.stores
