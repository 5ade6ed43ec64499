"""How a stream ends: stored as it came, if it came to its end and may be; else counted, by reason."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from ...llm.cache import LLMCache
from ...llm.costs import attributes_of
from ...llm.rules import Plan
from .endpoints import Call
from .live import Live
from .table import Table
from .tee import Lost

Judged = tuple[dict[str, Any], dict[str, Any]]


class Landing:
    """Of one stream.

    Args:
        llm: the cache, and where it is counted.
        call, plan: of the one who asked the provider.
        live: the stream.
        table: told when it is stored.
    """

    def __init__(self, llm: LLMCache, call: Call, plan: Plan, live: Live, table: Table) -> None:
        self._llm = llm
        self._url = call.url
        self._plan = plan
        self._live = live
        self._table = table
        self._counters = llm.counters.of[plan.kind]
        self._began = perf_counter()

    def land(self) -> None:
        """Store the stream, or count why it is not."""
        try:
            made = self._judged()
            if made is not None:
                value, options = made
                self._count(self._live.pending.store(value, **options))
        except Exception:  # noqa: BLE001 - counted: the cache is not to be in the way of a stream
            self._llm.counters.cache_errors += 1
        finally:
            self._over()

    async def aland(self) -> None:
        """`land`, awaited."""
        try:
            made = self._judged()
            if made is not None:
                value, options = made
                self._count(await self._live.pending.astore(value, **options))
        except Exception:  # noqa: BLE001 - as above
            self._llm.counters.cache_errors += 1
        finally:
            self._over()

    def _judged(self) -> Judged | None:
        """Return what is stored, and its options; None, and counted: it is not."""
        live, plan = self._live, self._plan
        if not live.recorded:
            return self._refused("too_large")
        if live.ended_at is None and live.error is not None:
            return self._refused("abandoned" if isinstance(live.error, Lost) else "incomplete")
        seconds = perf_counter() - self._began
        verdict = live.judge.verdict()
        if verdict.reason is not None or verdict.answer is None:
            return self._refused(verdict.reason or "malformed")
        prices = self._llm.rules.prices
        costs = attributes_of(plan.model, verdict.answer, seconds=seconds, url=self._url, prices=prices)
        attributes = {**plan.options["attributes"], **costs}
        live.attributes = attributes
        if not plan.stores:
            return None
        parts = live.parts()
        headers = live.opening.headers if live.opening is not None else None
        value = {"status": 200, "headers": headers or [], "body": b"".join(parts), "chunks": [*map(len, parts)]}
        return value, {**plan.options, "attributes": attributes}

    def _refused(self, reason: str) -> Judged | None:
        self._counters.refuse(reason)
        return None

    def _count(self, stored: bool) -> None:
        if stored:
            self._counters.stored += 1
            self._table.landed += 1
        else:
            self._counters.refuse("overtaken")

    def _over(self) -> None:
        live = self._live
        live.drop()
        live.pending.release()
        live.landed.set_result(None)
