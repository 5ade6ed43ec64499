"""What `LLMCache` does with embeddings: an entry for each input, and calls for the missing ones alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..entry import AttributeValue
from ..errors import TypeMismatch, UncacheableValue
from ..result import Result
from .answering import MISS, Answering
from .asked import Asked
from .calling import arguments, takes_request
from .collecting import AskFailed, Collecting, Reply, SentAlone
from .costs import attributes_of
from .items import Batch, in_common, inputs_of
from .parts import Part, Unfit, taken_apart
from .rules import Plan
from .worlds import World

_OF_AN_OBJECT = ("type", "request_id", "workspace_id")


class AnsweringItems(Answering):
    """The flows of embeddings."""

    def plan(self, asked: Asked) -> Plan | None:
        """Decide what is done for a request; None: nothing, it has no key, or cannot be taken apart."""
        if asked.plain is None or isinstance(inputs_of(asked.plain), str):
            return None
        request = in_common(asked.plain)
        try:
            return self.rules.plan(self.kind, request, user=asked.user, scope=asked.tenant, control=asked.control)
        except UncacheableValue:
            return None

    async def compute(self, world: World, asked: Asked, plan: Plan, call: Callable[..., Any]) -> Any:
        """Return the answer that the items make up; those that nobody knows or asks for, one call asks for."""
        batch, own = _batch(asked, plan), []

        async def ask(fields: Mapping[str, Any] | None) -> Reply:
            request = asked.request if fields is None else {**asked.request, "input": fields["input"]}
            began = time.perf_counter()
            answer = await world.call(call, *arguments(call, request))
            reply, shown = self._described(asked, plan, answer, time.perf_counter() - began)
            if fields is None:
                own.append(shown)
            return reply

        reducible = isinstance(asked.request, Mapping) and takes_request(call)
        collecting = self._collecting(world, batch, plan, ask, reducible=reducible)
        try:
            await collecting.collect()
        except AskFailed as failed:
            self.counters.misses += len(batch.items)
            raise failed.error from None
        except SentAlone:
            return await self.bypass(world, asked, call)
        if collecting.is_own and own:
            collecting.count(self.cache.savings)
            return own[-1]
        try:
            answer = self._built(asked, collecting)
        except TypeMismatch:
            return await self.bypass(world, asked, call)
        collecting.count(self.cache.savings)
        return answer

    async def find(self, world: World, asked: Asked, plan: Plan, *, stale: bool = False) -> Result:
        """Return what is kept of all items, as the caller may have it; count it."""
        batch = _batch(asked, plan)
        collecting = self._collecting(world, batch, plan, _nobody)
        if await collecting.find(stale=stale):
            try:
                answer = self._built(asked, collecting)
            except TypeMismatch:
                pass
            else:
                collecting.count(self.cache.savings)
                return _one_result(answer, list(collecting.results.values()))
        self.counters.misses += len(batch.items)
        return MISS

    async def store(self, world: World, asked: Asked, answer: Any) -> bool:
        """Store an answer item by item, if it may be; return whether it was."""
        plan = self.plan(asked)
        if plan is None or not plan.stores:
            self.counters.bypassed += 1
            return False
        batch = _batch(asked, plan)
        reply, _ = self._described(asked, plan, answer, None)
        refusal = reply.refusal or self.rules.policy.refusal(self.kind, reply.answer)
        parts: dict[str, Part] = {}
        try:
            parts = taken_apart(reply.answer, batch, batch.keys, reply.whole, **reply.more)
        except Unfit as reason:
            refusal = refusal or str(reason)
        if refusal is not None:
            self.counters.refuse(refusal)
            return False

        for attributes, arrays in _alike(parts):
            own = {**plan.options["attributes"], **attributes}
            await world.set_many(arrays, **{**plan.options, "attributes": own})
        self.counters.stored += len(parts)
        return True

    def keys(self, asked: Asked) -> list[str]:
        """Return the keys of all items of a request."""
        plan = self.plan(asked)
        return [] if plan is None else list(_batch(asked, plan).items)

    def _collecting(self, world: World, batch: Batch, plan: Plan, ask: Any, *, reducible: bool = True) -> Collecting:
        return Collecting(
            world, batch, plan, ask, policy=self.rules.policy, counters=self.counters, reducible=reducible
        )

    def _described(self, asked: Asked, plan: Plan, answer: Any, seconds: float | None) -> tuple[Reply, Any]:
        """Return an answer as it is taken apart, and as the one who asked gets it."""
        described = self.answers.describe(answer, asked.type)
        if described is None:
            return Reply(None, refusal="uncacheable"), answer
        whole = attributes_of(plan.model, described.plain, seconds=seconds, prices=self.rules.prices)
        shown = self._as_asked(asked, described.plain, described.attributes, answer)
        return Reply(described.plain, whole, described.attributes), shown

    def _built(self, asked: Asked, collecting: Collecting) -> Any:
        attributes = collecting.agreed(*_OF_AN_OBJECT) | collecting.fresh("type")
        return self.answers.build(collecting.answer(), attributes, asked.type)


def _alike(parts: Mapping[str, Part]) -> Iterable[tuple[Mapping[str, AttributeValue], dict[str, Any]]]:
    """Return the vectors with their keys, those that say the same of themselves together."""
    groups: dict[Any, tuple[Mapping[str, AttributeValue], dict[str, Any]]] = {}
    for key, part in parts.items():
        told = tuple(sorted(part.attributes.items()))
        groups.setdefault(told, (part.attributes, {}))[1][key] = part.vector.array
    return groups.values()


def _batch(asked: Asked, plan: Plan) -> Batch:
    request = asked.plain or {}
    inputs = inputs_of(request)
    if isinstance(inputs, str):
        raise UncacheableValue("the request cannot be taken apart")  # `plan` has looked
    return Batch(request, inputs, plan.key)


async def _nobody(fields: Mapping[str, Any] | None) -> Reply:
    raise SentAlone


def _one_result(answer: Any, results: Sequence[Result]) -> Result:
    """Return where an answer came from: its oldest item, and the one that ends first, count."""
    lives = [result.ttl for result in results if result.ttl is not None]
    return Result(
        answer,
        hit=True,
        tier=", ".join(dict.fromkeys(str(result.tier) for result in results)),
        age=max(result.age or 0.0 for result in results),
        ttl=min(lives, default=None),
        is_stale=any(result.is_stale for result in results),
        metadata=results[0].metadata if len(results) == 1 else None,
    )
