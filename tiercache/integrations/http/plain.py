"""The way of a request whose reply is one JSON document: looked up, else asked for once for all who ask."""

from __future__ import annotations

import json
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ...llm.costs import attributes_of
from ...llm.rules import Plan
from ...options import Computed
from . import headers
from .endpoints import Call
from .failures import Failed, Unshared, own_error
from .reply import Reply, handed_on, is_reply, stored_form

if TYPE_CHECKING:
    from .exchange import Exchange, HTTPWorld


async def answer(exchange: Exchange, world: HTTPWorld, request: Any, call: Call, plan: Plan) -> Any:
    """Answer a request whose reply is one JSON document."""
    fetch = _Fetch(exchange, world, request, call, plan)
    if plan.only_if_cached:
        result = await world.lookup(plan.key)
        if not result.hit or not _is_of(plan, result) or result.is_stale:
            return exchange.replay(_none_cached(call), "MISS", plan)
    else:
        try:
            result = await world.lookup_or_set(plan.key, fetch, max_age=plan.max_age, **plan.options)
        except Unshared:
            return await fetch.outcome()
        except Exception as error:
            return await fetch.outcome(error)
    if fetch.began and not result.hit:
        return await fetch.outcome()
    if not is_reply(result.value) or not _is_of(plan, result):
        return exchange.marked(await world.send(request), "MISS", plan)
    return _hit(exchange, plan, result)


def _hit(exchange: Exchange, plan: Plan, result: Any) -> Any:
    counters = exchange.llm.counters.of[plan.kind]
    if result.value["status"] != 200:
        counters.misses += 1
        return exchange.replay(result.value, "SHARED", plan)
    counters.hits += 1
    if not result.hit:
        counters.shared += 1
    if result.metadata is not None:
        exchange.llm.cache.savings.record(result.metadata.attributes, result.tier)
    outcome = "STALE" if result.is_stale else "HIT" if result.hit else "SHARED"
    return exchange.replay(result.value, outcome, plan, tier=result.tier, age=result.age)


class _Fetch:
    """Asks the provider, as the factory of an entry."""

    def __init__(self, exchange: Exchange, world: HTTPWorld, request: Any, call: Call, plan: Plan) -> None:
        self.exchange = exchange
        self.world = world
        self.request = request
        self.call = call
        self.plan = plan
        self.began = False
        self.reply: Any = None
        self.error: BaseException | None = None

    async def __call__(self) -> Computed:
        self.began = True
        started = perf_counter()
        try:
            response = await self.world.send(self.request)
            self.reply = Reply(response, [], None)
            if not _is_worth_reading(response):
                self.reply = response
                raise Unshared
            self.reply = reply = await self.world.read(response, self.exchange.llm.rules.max_bytes)
        except Unshared:
            raise
        except Exception as error:
            self.error = error
            raise Failed(type(error).__name__, str(error)) from None
        if reply.rest is not None:
            raise Unshared
        return self._judged(reply, perf_counter() - started)

    def _judged(self, reply: Reply, seconds: float) -> Computed:
        counters = self.exchange.llm.counters.of[self.plan.kind]
        counters.misses += 1
        try:
            body = reply.body(self.exchange.http)
        except Exception:
            counters.refuse("malformed")
            raise Unshared from None
        if reply.response.status_code != 200:
            counters.refuse("error")
            return Computed(stored_form(reply.response, body, good=False), store=False)
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        reason = self.exchange.llm.rules.policy.refusal(self.plan.kind, answer)
        stores = reason is None and self.plan.stores
        if reason is not None:
            counters.refuse(reason)
        elif stores:
            counters.stored += 1
        attributes = attributes_of(self.call.model, answer, seconds=seconds) if isinstance(answer, dict) else {}
        return Computed(stored_form(reply.response, body, good=stores), attributes=attributes, store=stores)

    async def outcome(self, error: Exception | None = None) -> Any:
        """Return or raise what came of it; without a reply of our own, ask the provider past the cache."""
        if self.error is not None:
            raise self.error
        if isinstance(self.reply, Reply):
            status = headers.status("MISS", key=self.plan.key)
            return handed_on(self.exchange.http, self.reply.response, self.world.stream(self.reply), status)
        if self.reply is not None:
            return self.exchange.marked(self.reply, "MISS", self.plan)
        if isinstance(error, Failed):
            raise own_error(self.exchange.http, error, self.request)
        return self.exchange.marked(await self.world.send(self.request), "MISS", self.plan)


def _is_worth_reading(response: Any) -> bool:
    """Whether the reply is one document, or an error; what streams on for ever is handed through."""
    return response.status_code != 200 or "json" in response.headers.get("content-type", "")


def _is_of(plan: Plan, result: Any) -> bool:
    """Whether an entry is of the tenant who asks."""
    return result.metadata is None or result.metadata.attributes.get("scope") == plan.scope


def _none_cached(call: Call) -> dict[str, Any]:
    message = "the cache has no answer to this request, and only-if-cached forbids to ask the provider"
    error = {"type": "cache_miss", "message": message}
    body = (
        {"type": "error", "error": error}
        if call.kind == "message"
        else {"error": error | {"param": None, "code": "cache_miss"}}
    )
    return {"status": 504, "headers": [["content-type", "application/json"]], "body": json.dumps(body).encode()}
