"""What `LLMCache` does with one kind of requests, each flow written once for both worlds."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ..cache import Cache
from ..entry import AttributeValue
from ..errors import NotCached, TypeMismatch, UncacheableValue
from ..options import Computed
from ..result import Result
from .answers import Answers, copied
from .asked import Asked
from .calling import arguments, takes_request
from .costs import attributes_of
from .counters import LLMCounters
from .kinds import Kind
from .rules import Plan, Rules
from .stateful import outer_state
from .worlds import World

MISS = Result(None)


class Answering:
    """The flows of one kind.

    Args:
        kind: the kind.
        cache, rules, counters, answers: of the `LLMCache`.
    """

    def __init__(self, kind: Kind, cache: Cache, rules: Rules, counters: LLMCounters, answers: Answers) -> None:
        self.kind: Kind = kind
        self.cache = cache
        self.rules = rules
        self.answers = answers
        self._all_counters = counters

    @property
    def counters(self) -> Any:
        """What is counted of this kind."""
        return self._all_counters.of[self.kind]

    async def ask(self, world: World, asked: Asked, call: Callable[..., Any]) -> Any:
        """Return the answer that is kept, else that of `call`, which is stored if it may be."""
        takes_request(call)  # what is no function is refused whether it is needed or not
        plan = self.plan(asked)
        if asked.control.only_if_cached:
            found = MISS if plan is None else await self.find(world, asked, plan)
            if not found.hit:
                raise NotCached
            return found.value
        if plan is None or plan.bypasses:
            return await self.bypass(world, asked, call)
        return await self.compute(world, asked, plan, call)

    async def bypass(self, world: World, asked: Asked, call: Callable[..., Any]) -> Any:
        """Return the answer of `call`; the cache has nothing to do with it."""
        self.counters.bypassed += 1
        return await world.call(call, *arguments(call, asked.request))

    def plan(self, asked: Asked) -> Plan | None:
        """Decide what is done for a request; None: nothing, it has no key, or an answer that no cache may give."""
        request = asked.plain
        if request is None or request.get("stream") or (outer_state(request) and not self.rules.cache_stateful):
            return None
        try:
            return self.rules.plan(self.kind, request, user=asked.user, scope=asked.tenant, control=asked.control)
        except UncacheableValue:
            return None

    async def compute(self, world: World, asked: Asked, plan: Plan, call: Callable[..., Any]) -> Any:
        """Return the answer that is kept; else one call asks for all callers of this moment."""
        led: list[Any] = []

        async def factory() -> Computed:
            counters = self.counters
            counters.misses += 1
            began = time.perf_counter()
            answer = await world.call(call, *arguments(call, asked.request))
            computed, shown = self._judged(asked, plan, answer, time.perf_counter() - began)
            led.append(shown)
            return computed

        max_age = plan.max_age
        while True:
            result = await world.lookup_or_set(plan.key, factory, max_age=max_age, **plan.options)
            if led and not result.hit:
                return led[0]
            try:
                answer = self._read(asked, plan, result)
            except TypeMismatch:
                if not result.hit or max_age == 0:
                    return await self.bypass(world, asked, call)
                max_age = 0.0  # what is there is not for this caller, and replaced
                continue
            except UncacheableValue:
                return await self.bypass(world, asked, call)
            self.counters.hit(result, self.cache.savings)
            return answer

    async def find(self, world: World, asked: Asked, plan: Plan, *, stale: bool = False) -> Result:
        """Return what is kept, as the caller may have it; count it."""
        if plan.max_age == 0:
            results = []
        elif (asked.control.samples or self.rules.samples) > 1:
            results = list((await world.lookup_many(self.keys(asked))).values())
            random.shuffle(results)
        else:
            results = [await world.lookup(plan.key)]
        for result in results:
            too_old = plan.max_age is not None and (result.age or 0.0) > plan.max_age
            if not result.hit or too_old or (result.is_stale and not stale):
                continue
            try:
                answer = self._read(asked, plan, result)
            except TypeMismatch:
                continue
            self.counters.hit(result, self.cache.savings)
            return msgspec.structs.replace(result, value=answer)
        self.counters.misses += 1
        return MISS

    async def lookup(self, world: World, asked: Asked, *, stale: bool) -> Result:
        """Return what is kept, without asking the provider."""
        plan = self.plan(asked)
        if plan is None:
            self.counters.bypassed += 1
            return MISS
        return await self.find(world, asked, plan, stale=stale)

    async def store(self, world: World, asked: Asked, answer: Any) -> bool:
        """Store an answer, if it may be; return whether it was."""
        plan = self.plan(asked)
        if plan is None or not plan.stores:
            self.counters.bypassed += 1
            return False
        described = self.answers.describe(answer, asked.type)
        refusal = "uncacheable" if described is None else self.rules.policy.refusal(self.kind, described.plain)
        if described is None or refusal is not None:
            self.counters.refuse(refusal or "uncacheable")
            return False
        options = dict(plan.options)
        options["attributes"] = {
            **options["attributes"],
            **described.attributes,
            **attributes_of(plan.model, described.plain, prices=self.rules.prices),
        }
        await world.set(await self._place(world, asked, plan), described.plain, **options)
        self.counters.stored += 1
        return True

    async def invalidate(self, world: World, asked: Asked) -> bool:
        """Remove all samples of a request; return whether there was one."""
        removed = [await world.delete(key) for key in self.keys(asked)]
        return any(removed)

    def keys(self, asked: Asked) -> list[str]:
        """Return the keys of all samples of a request."""
        if asked.plain is None:
            return []
        try:
            return self.rules.keys(self.kind, asked.plain, user=asked.user, scope=asked.tenant, control=asked.control)
        except UncacheableValue:
            return []

    def _judged(self, asked: Asked, plan: Plan, answer: Any, seconds: float) -> tuple[Computed, Any]:
        """Return an answer as it goes to the cache and to those who wait, and as it goes to the one who asked."""
        counters = self.counters
        described = self.answers.describe(answer, asked.type)
        if described is None:
            counters.refuse("uncacheable")
            return Computed(_Unstored(answer), store=False), answer
        refusal = self.rules.policy.refusal(self.kind, described.plain)
        if refusal is not None:
            counters.refuse(refusal)
        elif plan.stores:
            counters.stored += 1
        costs = attributes_of(plan.model, described.plain, seconds=seconds, prices=self.rules.prices)
        attributes = described.attributes | costs
        computed = Computed(described.plain, attributes=attributes, store=refusal is None and plan.stores)
        return computed, self._as_asked(asked, described.plain, attributes, answer)

    def _as_asked(
        self, asked: Asked, plain: dict[str, Any], attributes: Mapping[str, AttributeValue], answer: Any
    ) -> Any:
        """Return what a later hit will return, where the caller asks for a type."""
        if asked.type is None or asked.type is answer.__class__:
            return answer
        try:
            return self.answers.build(msgspec.msgpack.decode(msgspec.msgpack.encode(plain)), attributes, asked.type)
        except TypeMismatch:
            return answer

    def _read(self, asked: Asked, plan: Plan, result: Result) -> Any:
        """Return the answer in a result.

        Raises:
            TypeMismatch: it is not for this caller: a miss.
            UncacheableValue: it is another caller's, and cannot be shared.
        """
        if isinstance(result.value, _Unstored):
            return copied(result.value.answer)
        attributes = {} if result.metadata is None else result.metadata.attributes
        if not plan.admits(attributes):
            raise TypeMismatch("the entry was made for another tenant, or another kind of request")
        return self.answers.build(result.value, attributes, asked.type)

    async def _place(self, world: World, asked: Asked, plan: Plan) -> str:
        """Return where an answer is put: where no sample is yet, if there is such a place."""
        keys = self.keys(asked)
        if len(keys) < 2:
            return plan.key
        taken = await world.lookup_many(keys)
        return next((key for key in keys if key not in taken), plan.key)


class _Unstored:
    """Carries an answer that is not stored to those who wait for it: no codec takes this for a value."""

    __slots__ = ("answer",)

    def __init__(self, answer: Any) -> None:
        self.answer = answer
