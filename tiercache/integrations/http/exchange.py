"""The flow of a request: recognised, planned, answered from the cache or by the provider."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Protocol

from ...llm.cache import LLMCache
from ...llm.control import CacheControl, current
from ...llm.items import in_common
from ...llm.kinds import Kind
from ...llm.rules import Plan
from ...llm.worlds import World
from . import headers
from .endpoints import Call, Endpoint, Passed, endpoint, recognise
from .fed import Fed
from .plain import none_cached
from .reply import Reply, handed_on, response_of
from .scope import NoScope, Scope, Tenants, in_query
from .ways import way_of
from .wishes import control_of


class HTTPWorld(World, Protocol):
    """A world with a provider in it."""

    inner: Any
    fed: Fed

    async def send(self, request: Any) -> Any:
        """Send a request with the inner transport; its response is open."""

    async def read(self, response: Any, limit: int) -> Reply:
        """Read a body of at most `limit` bytes, and close the response; a larger one stays open, to be read on."""
        ...

    async def close(self, response: Any) -> None:
        """Close a response that is not handed on."""

    def stream(self, reply: Reply) -> Any:
        """Return the body of a reply as it came, the part that was not read included."""


class Exchange:
    """What all requests of a transport share.

    Attributes:
        llm: the cache, its rules and counters.
        http: the module of requests and responses.
        tenants: whose each request is.
        max_bytes: a larger reply is handed through, and neither kept nor shared.
    """

    def __init__(self, llm: LLMCache, http: Any, scope: Scope) -> None:
        self.llm = llm
        self.http = http
        self.tenants = Tenants(llm.cache.chain, scope)
        self.max_bytes = llm.rules.max_bytes

    async def answer(self, world: HTTPWorld, request: Any) -> Any:
        """Answer a request from the cache, or with the provider's reply."""
        at = endpoint(request.method, request.url.path)
        if at is None:
            return await world.send(self.forwarded(request, with_control=False))
        call = self._recognised(at, request)
        control, forwarded = current(), request
        if headers.address_us(request.headers.multi_items()):
            control = control_of(request.headers, control)
            unread = isinstance(call, Passed) and call.unread
            forwarded = self.forwarded(request, with_control=not unread)
        if isinstance(call, Passed):
            return await self.bypass(world, forwarded, call, only_if_cached=control.only_if_cached)
        plan = self.plan(request, call, control)
        if isinstance(plan, Passed):
            return await self.bypass(world, forwarded, plan, only_if_cached=control.only_if_cached)
        if plan.samples:
            plan = await self._of_a_kept_sample(world, plan)
        return await way_of(call)(self, world, forwarded, call, plan)

    def plan(self, request: Any, call: Call, control: CacheControl) -> Plan | Passed:
        """Return what is to be done for a request."""
        url, rules = request.url, self.llm.rules
        path = url.raw_path.partition(b"?")[0].decode("latin-1")  # as it is sent: an escaped slash is no slash
        query = headers.in_order([name, value] for name, value in url.params.multi_items() if not in_query(name))
        said = headers.counted(request.headers.multi_items(), rules.ignored, host=url.netloc.decode())
        parts = ["http", url.scheme, url.host, url.port, path, query, said]
        try:
            scope = self.tenants.of(request)
        except NoScope:
            return Passed("no_scope", call.kind)
        asked = in_common(call.request) if call.kind == "embedding" else call.request
        try:
            plan = rules.plan(call.kind, asked, scope=scope, parts=parts, control=control)
        except Exception:  # noqa: BLE001 - whatever keeps it from having a key, its provider may well take it
            return Passed("no_key", call.kind)
        return Passed("asked", call.kind) if plan.bypasses else plan

    def forwarded(self, request: Any, *, with_control: bool) -> Any:
        """Return the request without what is for the cache alone; the same object where there is nothing of it."""
        kept = headers.stripped(request.headers.raw, with_control=with_control)
        if kept is None:
            return request
        made = self.http.Request(
            request.method, request.url, headers=kept, stream=request.stream, extensions=request.extensions
        )
        if isinstance(made.stream, self.http.ByteStream):
            made.read()  # the body is at hand for the inner transport, as in the caller's own request
        return made

    async def bypass(self, world: HTTPWorld, request: Any, passed: Passed, *, only_if_cached: bool = False) -> Any:
        """Send a request that the cache has nothing to do with, unless it must not be sent."""
        self.llm.counters.of[passed.kind].bypass(passed.reason)
        if only_if_cached:
            return self.nothing_cached(passed.kind)
        return self.marked(await world.send(request), "BYPASS")

    def hit(self, plan: Plan, result: Any) -> Any:
        """Return what the cache holds, or what another caller got, as a response, and count it."""
        counters = self.llm.counters.of[plan.kind]
        if result.value["status"] != 200:
            counters.misses += 1
            return self.replay(result.value, "SHARED", plan)
        counters.hit(result, self.llm.cache.savings)
        outcome = "STALE" if result.is_stale else "HIT" if result.hit else "SHARED"
        return self.replay(result.value, outcome, plan, tier=result.tier, age=result.age)

    def nothing_cached(self, kind: Kind, plan: Plan | None = None) -> Any:
        """Return the answer to a request that must not be sent and is not known."""
        status = headers.status("MISS" if plan else "BYPASS", key=None if plan is None else plan.key)
        return response_of(self.http, none_cached(kind), status)

    def marked(self, response: Any, outcome: str, plan: Plan | None = None) -> Any:
        """Say in the headers of a provider's response what the cache did."""
        return handed_on(response, response.stream, headers.status(outcome, key=None if plan is None else plan.key))

    def replay(self, value: Any, outcome: str, plan: Plan, *, tier: str | None = None, age: float | None = None) -> Any:
        """Return a stored reply as a response."""
        return response_of(self.http, value, headers.status(outcome, key=plan.key, tier=tier, age=age))

    def count_error(self) -> None:
        """Count a failure of the cache, which nobody else hears of."""
        self.llm.counters.cache_errors += 1

    async def _of_a_kept_sample(self, world: HTTPWorld, plan: Plan) -> Plan:
        """Return the plan for one of the samples that are kept, young enough, if there are any."""
        try:
            found = await world.lookup_many(plan.samples)
        except Exception:  # noqa: BLE001 - the cache's failure is a miss
            self.count_error()
            return plan
        oldest = plan.max_age
        kept = [key for key, one in found.items() if oldest is None or (one.age or 0.0) <= oldest]
        return replace(plan, key=random.choice(kept)) if kept else plan  # noqa: S311 - no secret

    def _recognised(self, at: Endpoint, request: Any) -> Call | Passed:
        try:
            body = request.content
        except self.http.RequestNotRead:
            return Passed("streamed", at.kind)
        return recognise(at, request.url, request.headers, body, stateful=self.llm.rules.cache_stateful)
