"""The flow of a request: recognised, planned, answered from the cache or by the provider."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from ...llm.cache import LLMCache
from ...llm.control import current
from ...llm.rules import Plan
from ...llm.worlds import World
from . import headers
from .endpoints import Call, Passed, endpoint, recognise
from .reply import Reply, handed_on, response_of
from .scope import Scope, Tenants
from .ways import way_of


class HTTPWorld(World, Protocol):
    """A world with a provider in it."""

    inner: Any

    async def send(self, request: Any) -> Any: ...
    async def read(self, response: Any, limit: int) -> Reply: ...
    async def close(self, response: Any) -> None: ...
    def stream(self, reply: Reply) -> Any: ...


class Exchange:
    """What all requests of a transport share.

    Attributes:
        llm: the cache, its rules and counters.
        http: the module of requests and responses.
        passed: requests that passed the cache by, by reason.
    """

    def __init__(self, llm: LLMCache, http: Any, scope: Scope) -> None:
        self.llm = llm
        self.http = http
        self.tenants = Tenants(llm.cache.chain, scope)
        self.passed: Counter[str] = Counter()

    async def answer(self, world: HTTPWorld, request: Any) -> Any:
        """Answer a request from the cache, or with the provider's reply."""
        found = endpoint(request.method, request.url.path)
        if found is None:
            return await world.send(self.forwarded(request, with_control=False))
        kind, field = found
        try:
            call = recognise(kind, field, request.url.path, self._body(request))
            plan = self.plan(request, call) if isinstance(call, Call) else None
        except self.http.RequestNotRead:
            call, plan = Passed("streamed", kind), None
        except Exception:  # no key can be made of it, or the caller's scope failed: counted, and passed by
            call, plan = Passed("no_key", kind), None
        request = self.forwarded(request, with_control=True)
        if isinstance(call, Passed) or plan is None or plan.bypasses:
            return await self.bypass(world, request, call)
        way = way_of(call)
        if way is None:
            return await self.bypass(world, request, Passed("stream", kind))
        return await way(self, world, request, call, plan)

    def plan(self, request: Any, call: Call) -> Plan:
        """Return what is to be done for a request."""
        url = request.url
        parts = ["http", url.scheme, url.host, url.port, url.path, sorted(url.params.multi_items())]
        return self.llm.rules.plan(
            call.kind,
            call.request,
            scope=self.tenants.of(request),
            parts=[*map(_plain, parts), headers.counted(request)],
            control=headers.control_of(request, current()),
        )

    def forwarded(self, request: Any, *, with_control: bool) -> Any:
        """Return the request without what is for the cache alone; the same object where there is nothing of it."""
        kept = headers.stripped(request.headers.raw, with_control=with_control)
        if kept is None:
            return request
        return self.http.Request(
            request.method, request.url, headers=kept, stream=request.stream, extensions=request.extensions
        )

    async def bypass(self, world: HTTPWorld, request: Any, call: Call | Passed) -> Any:
        """Send a request that the cache has nothing to do with."""
        if call.kind is not None:
            self.llm.counters.of[call.kind].bypassed += 1
        self.passed[call.reason if isinstance(call, Passed) else "asked"] += 1
        return self.marked(await world.send(request), "BYPASS")

    def marked(self, response: Any, outcome: str, plan: Plan | None = None) -> Any:
        """Say in the headers of a provider's response what the cache did."""
        status = headers.status(outcome, key=None if plan is None else plan.key)
        return handed_on(self.http, response, response.stream, status)

    def replay(self, value: Any, outcome: str, plan: Plan, *, tier: str | None = None, age: float | None = None) -> Any:
        """Return a stored reply as a response."""
        return response_of(self.http, value, headers.status(outcome, key=plan.key, tier=tier, age=age))

    def _body(self, request: Any) -> bytes:
        body: bytes = request.content
        return body


def _plain(part: Any) -> Any:
    return [list(pair) for pair in part] if isinstance(part, list) else part
