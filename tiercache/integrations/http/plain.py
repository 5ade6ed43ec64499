"""The way of a request whose reply is one JSON document: looked up, else asked for once for all who ask."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ...errors import ComputeTimeout
from ...llm.rules import Plan
from ...result import Result
from .endpoints import Call
from .failures import Failed, Refused, Unshared, own_error
from .fetch import Fetch
from .reply import is_reply

if TYPE_CHECKING:
    from .exchange import Exchange, HTTPWorld

_NOT_THE_CACHES = (Failed, Refused, Unshared, ComputeTimeout)
_TRIES = 2
"""How often a request joins others; after that it is sent past them."""


async def answer(exchange: Exchange, world: HTTPWorld, request: Any, call: Call, plan: Plan) -> Any:
    """Answer a request from the cache, with the reply to an equal one that is under way, or ask the provider."""
    if plan.only_if_cached:
        return await _without_asking(exchange, world, call, plan)
    max_age = plan.max_age
    for _ in range(_TRIES):
        fetch = Fetch(exchange, world, request, call, plan)
        try:
            options = {**plan.options, **_patience(exchange, request, plan)}
            result = await world.lookup_or_set(plan.key, fetch, max_age=max_age, **options)
        except Exception as error:  # noqa: BLE001 - the provider's failure, or the cache's, which is nobody's business
            if fetch.began and (fetch.is_over or isinstance(error, ComputeTimeout)):
                if not isinstance(error, _NOT_THE_CACHES):
                    exchange.count_error()
                return fetch.outcome()
            if isinstance(error, Refused):
                exchange.llm.counters.of[plan.kind].misses += 1
                return exchange.replay(error.reply, "SHARED", plan)
            if not _is_worth_another_try(exchange, world, request, error):
                break
            continue
        except BaseException:
            await fetch.leave()
            raise
        if not result.hit and fetch.began:
            return fetch.outcome()
        await fetch.leave()
        if _is_for(plan, result):
            return exchange.hit(plan, result)
        max_age = 0  # what is there is not for this caller, and is replaced
    exchange.llm.counters.of[plan.kind].misses += 1
    return exchange.marked(await world.send(request), "MISS", plan)


def _patience(exchange: Exchange, request: Any, plan: Plan) -> dict[str, float]:
    """Return how long a request waits for another's call; its own is bounded by the transport that makes it."""
    if not exchange.llm.cache.is_computing(plan.key):
        return {}
    timeouts = request.extensions.get("timeout") or {}
    read = timeouts.get("read")
    return {} if read is None else {"timeout": read + (timeouts.get("connect") or 0.0)}


async def _without_asking(exchange: Exchange, world: HTTPWorld, call: Call, plan: Plan) -> Any:
    try:
        result = await world.lookup(plan.key)
    except Exception:  # noqa: BLE001 - the cache's failure is a miss
        exchange.count_error()
        return exchange.nothing_cached(call.kind, plan)
    old = plan.max_age is not None and (result.age or 0.0) > plan.max_age
    if result.is_stale or old or not _is_for(plan, result):
        return exchange.nothing_cached(call.kind, plan)
    return exchange.hit(plan, result)


def _is_for(plan: Plan, result: Result) -> bool:
    """Whether this is a reply, and one to the tenant who asks."""
    return is_reply(result.value) and (result.metadata is None or plan.admits(result.metadata.attributes))


def _is_worth_another_try(exchange: Exchange, world: HTTPWorld, request: Any, error: Exception) -> bool:
    """Whether to join others once more after one of them failed; raises what would be one's own failure as well."""
    if isinstance(error, Failed):
        if error.would_hit(world.inner, request):
            raise own_error(exchange.http, error, request) from None
        return True
    if isinstance(error, ComputeTimeout):
        raise exchange.http.ReadTimeout(str(error), request=request) from None
    if not isinstance(error, Unshared):
        exchange.count_error()
    return False


def none_cached(kind: str) -> dict[str, Any]:
    """Return the reply to a request that may not be sent and is not known, in the words of its provider."""
    said = "the cache has no answer to this request, and only-if-cached forbids to ask the provider"
    if kind == "message":
        body: dict[str, Any] = {"type": "error", "error": {"type": "cache_miss", "message": said}}
    else:
        body = {"error": {"message": said, "type": "cache_miss", "param": None, "code": "cache_miss"}}
    # The SDKs retry a 504 unless they are told that it is of no use.
    headers = [["content-type", "application/json"], ["x-should-retry", "false"]]
    return {"status": 504, "headers": headers, "body": json.dumps(body).encode(), "chunks": None}
