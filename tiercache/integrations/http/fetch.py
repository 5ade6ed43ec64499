"""`Fetch`: asking the provider, as the factory of an entry, and what the one who asked gets of it."""

from __future__ import annotations

import json
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

from ...llm.costs import attributes_of
from ...llm.rules import Plan
from ...options import Computed
from . import headers
from .endpoints import Call
from .failures import Failed, Refused, Unshared
from .reply import Reply, handed_on, stored_form

if TYPE_CHECKING:
    from .exchange import Exchange, HTTPWorld


class Fetch:
    """One call of the provider.

    It may go on after its caller left (cancelled, or served something older meanwhile): what is stored is for those
    who come later; a reply that can only be handed through is closed.

    Attributes:
        began: whether the provider was asked.
    """

    def __init__(self, exchange: Exchange, world: HTTPWorld, request: Any, call: Call, plan: Plan) -> None:
        self._exchange = exchange
        self._world = world
        self._request = request
        self._call = call
        self._plan = plan
        self._counters = exchange.llm.counters.of[plan.kind]
        self._left = False
        self._live = False
        self._response: Any = None
        self._stream: Any = None
        self._error: Exception | None = None
        self.began = False

    @property
    def is_over(self) -> bool:
        """Whether there is a reply or a failure."""
        return self._response is not None or self._error is not None

    async def __call__(self) -> Computed:
        """Ask, and return what is stored of the reply, or is handed to those who wait for it."""
        self.began = True
        started = perf_counter()
        try:
            response = await self._world.send(self._request)
            if not self._is_one_document(response):
                await self._hand_through(response, response.stream)
            reply = await self._world.read(response, self._exchange.max_bytes)
        except Unshared:
            raise
        except Exception as error:  # noqa: BLE001 - it is raised to the caller as it is
            self._error = error
            raise Failed.of(error, self._world.inner, self._request) from None
        if reply.rest is not None:
            self._counters.refuse("too_large")
            await self._hand_through(response, self._world.stream(reply))
        self._stream, self._response = self._world.stream(reply), response
        return self._judged(reply, perf_counter() - started)

    async def leave(self) -> None:
        """Nobody waits for the reply any more."""
        self._left = True
        if self._live:
            await self._world.close(self._response)

    def outcome(self) -> Any:
        """Return the provider's own reply; raise its failure."""
        if self._error is not None:
            raise self._error
        if self._response is None:
            raise self._exchange.http.ReadTimeout("the cache's timeout passed", request=self._request)
        self._counters.misses += 1
        return handed_on(self._response, self._stream, headers.status("MISS", key=self._plan.key))

    def _is_one_document(self, response: Any) -> bool:
        """Whether the reply is one document of a size to keep, or an error; what may stream on for ever is not."""
        size = response.headers.get("content-length", "")
        if size.isascii() and size.isdigit() and (len(size) > 15 or int(size) > self._exchange.max_bytes):
            self._counters.refuse("too_large")
            return False
        return response.status_code != 200 or "json" in response.headers.get("content-type", "")

    async def _hand_through(self, response: Any, stream: Any) -> NoReturn:
        self._stream, self._response, self._live = stream, response, True
        if self._left:
            await self._world.close(response)
        raise Unshared

    def _judged(self, reply: Reply, seconds: float) -> Computed:
        body = self._decoded(reply)
        if body is None:
            raise Unshared
        status = reply.response.status_code
        if status != 200:
            self._counters.refuse("error")
            refusal = stored_form(reply.response, body, good=False)
            if status == 429 or status >= 500:
                raise Refused(refusal)  # it failed: where something stale may be served instead, it is
            return Computed(refusal, store=False)
        answer = _parsed(body)
        rules = self._exchange.llm.rules
        reason = rules.policy.refusal(self._plan.kind, answer)
        if reason is not None:
            self._counters.refuse(reason)
        stores = reason is None and self._plan.stores
        if not stores:
            return Computed(stored_form(reply.response, body, good=False), store=False)
        self._counters.stored += 1
        attributes = attributes_of(self._call.model, answer, seconds=seconds, url=self._call.url, prices=rules.prices)
        return Computed(stored_form(reply.response, body, good=True), attributes=attributes)

    def _decoded(self, reply: Reply) -> bytes | None:
        """Return the body; None: only the one who asked can make something of it."""
        try:
            body = reply.body(self._exchange.http, self._exchange.max_bytes)
        except self._exchange.http.DecodingError:
            self._counters.refuse("malformed")
            return None
        if body is None:
            self._counters.refuse("too_large")
        return body


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
