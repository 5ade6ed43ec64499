"""The way of an embeddings request: each input is an entry of its own, and only the missing ones are sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import ComputeTimeout
from ...llm.collecting import AskFailed, Collecting, SentAlone
from ...llm.items import Batch, inputs_of
from ...llm.rules import Plan
from . import headers
from .endpoints import Call, Passed
from .failures import Failed, Refused, own_error
from .missing import Missing
from .reply import handed_on, response_of

if TYPE_CHECKING:
    from .exchange import Exchange, HTTPWorld

_encode = msgspec.json.Encoder().encode
_OF_ITS_BODY = re.compile(r"signature|hmac|digest|checksum|hash|md5|sha-?\d|idempotency-key")
"""Names of headers that are about the very body they came with."""
_SIGNS = re.compile(r"\S*(hmac|sha-?\d|signature|digest)\S* ", re.I)
"""Schemes of authorization that sign it."""


async def answer(exchange: Exchange, world: HTTPWorld, request: Any, call: Call, plan: Plan) -> Any:
    """Answer a request item by item; where it cannot be taken apart, it passes the cache by."""
    inputs = inputs_of(call.request)
    if isinstance(inputs, str):
        passed = Passed(inputs, call.kind)
        return await exchange.bypass(world, request, passed, only_if_cached=plan.only_if_cached)
    asked = _Asked(exchange, world, request, plan, Batch(call.request, inputs, plan.key))
    asked.missing = Missing(exchange, world, request, call)
    return await (asked.known() if plan.only_if_cached else asked.answer())


class _Asked:
    """One request."""

    missing: Missing

    def __init__(self, exchange: Exchange, world: HTTPWorld, request: Any, plan: Plan, batch: Batch) -> None:
        self._exchange = exchange
        self._world = world
        self._request = request
        self._plan = plan
        self._batch = batch

    async def known(self) -> Any:
        """Answer without asking the provider."""
        collecting = self._collecting()
        try:
            found = await collecting.find()
        except Exception:  # noqa: BLE001 - the cache's failure is a miss
            self._exchange.count_error()
            found = False
        return self._put_together(collecting) if found else self._exchange.nothing_cached(self._plan.kind, self._plan)

    async def answer(self) -> Any:
        """Answer with what is known, what others asked for, and what the provider says to the rest."""
        collecting = self._collecting()
        try:
            await collecting.collect()
        except AskFailed as failed:
            return await self._like_another(failed.error)
        except Exception as error:  # noqa: BLE001 - the provider's failure, or the cache's, which is nobody's business
            if self.missing.is_over:
                return self._own(self.missing.outcome())
            if isinstance(error, ComputeTimeout):
                raise self._exchange.http.ReadTimeout(str(error), request=self._request) from None
            if not isinstance(error, SentAlone):
                self._exchange.count_error()
            return await self._alone()
        except BaseException:
            await self.missing.leave()
            raise
        if collecting.is_own and self.missing.is_over:
            return self._own(self.missing.outcome())
        return self._put_together(collecting)

    def _collecting(self) -> Collecting:
        llm = self._exchange.llm
        return Collecting(
            self._world,
            self._batch,
            self._plan,
            self.missing,
            policy=llm.rules.policy,
            counters=llm.counters.of[self._plan.kind],
            reducible=not _is_signed(self._request.headers),
        )

    async def _like_another(self, error: Exception) -> Any:
        """Answer as an equal request was answered that failed."""
        if isinstance(error, Failed) and error.would_hit(self._world.inner, self._request):
            raise own_error(self._exchange.http, error, self._request) from None
        if not isinstance(error, Refused):
            return await self._alone()
        self._count_misses()
        return response_of(self._exchange.http, error.reply, self._status("SHARED", len(self._batch.keys)))

    async def _alone(self) -> Any:
        """Send the request past the cache."""
        return self._own(await self._world.send(self._request))

    def _own(self, response: Any) -> Any:
        self._count_misses()
        return handed_on(response, response.stream, self._status("MISS", len(self._batch.keys)))

    def _count_misses(self) -> None:
        self._exchange.llm.counters.of[self._plan.kind].misses += len(self._batch.items)

    def _put_together(self, collecting: Collecting) -> Any:
        """Return the reply that the items make up, and count it."""
        collecting.count(self._exchange.llm.cache.savings)
        asked, results = collecting.asked, collecting.results.values()
        body = _encode(collecting.answer())
        outcome = "PARTIAL" if asked else _outcome(results)
        if asked == self._batch.items.keys():
            outcome = "MISS"
        status = list(self._status(outcome, len(asked)))
        tiers = dict.fromkeys(result.tier for result in results if result.tier is not None)
        ages = [result.age for result in results if result.age is not None]
        if tiers:
            status.append((f"{headers.OURS}-tier", ", ".join(tiers)))
        if ages:
            status.append(("age", str(max(0, int(max(ages))))))
        stored = {"status": 200, "headers": self._headers(collecting), "body": body, "chunks": None}
        return response_of(self._exchange.http, stored, status)

    def _headers(self, collecting: Collecting) -> Any:
        if collecting.asked and self.missing.response is not None:
            told = self.missing.response.headers
            return headers.shared(told) + [[*pair] for pair in told.multi_items() if pair[0] == "set-cookie"]
        text = collecting.agreed("headers").get("headers")
        return msgspec.json.decode(text) if isinstance(text, str) else [["content-type", "application/json"]]

    def _status(self, outcome: str, missed: int) -> Iterable[tuple[str, str]]:
        """Yield the headers that say what the cache did; the key of an item where there is but one."""
        keys = self._batch.keys
        yield from headers.status(outcome, key=keys[0] if len(self._batch.items) == 1 else None)
        yield f"{headers.OURS}-items", f"{len(keys) - missed}/{len(keys)}"


def _is_signed(headers: Any) -> bool:
    """Whether another body would not fit these headers."""
    return _SIGNS.match(headers.get("authorization", "")) is not None or any(map(_OF_ITS_BODY.search, headers))


def _outcome(results: Iterable[Any]) -> str:
    """Return what the cache did where the provider was not asked."""
    found = list(results)
    if any(result.is_stale for result in found):
        return "STALE"
    return "HIT" if all(result.hit for result in found) else "SHARED"
