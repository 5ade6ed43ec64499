"""The way of a request whose reply is a stream of events: replayed, shared with others, or teed while it arrives."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...flow import running_loop
from ...llm.rules import Plan
from ...llm.worlds import Blocking
from . import headers
from .endpoints import Call
from .failures import Failed, own_error
from .landing import Landing
from .live import Live, Opening, Seat
from .readers import LANDING, Waking, await_, give_up_unless_fed, readers_of, wait
from .reply import Reply, handed_on, is_reply, stored_form
from .sse import Judge
from .table import Table, table_of
from .tee import Lost, Pulled, Pumped

if TYPE_CHECKING:
    from .exchange import Exchange, HTTPWorld

DECODED = frozenset(("gzip", "x-gzip", "deflate"))
"""Encodings of streams that are undone for all readers; one in any other is handed through."""
_asking: contextvars.ContextVar[frozenset[str]] = contextvars.ContextVar("tiercache_streams_asked", default=frozenset())
"""The keys of streams inside of whose requests this code runs: a transport on a transport."""


async def answer(exchange: Exchange, world: HTTPWorld, request: Any, call: Call, plan: Plan) -> Any:
    """Answer a request whose reply is a stream of events."""
    return await _Stream(exchange, world, request, call, plan).answer()


class _Stream:
    def __init__(self, exchange: Exchange, world: HTTPWorld, request: Any, call: Call, plan: Plan) -> None:
        self.exchange = exchange
        self.world = world
        self.request = request
        self.call = call
        self.plan = plan
        self.http = exchange.http
        self.blocks = isinstance(world, Blocking)
        self.counters = exchange.llm.counters.of[plan.kind]
        self.cache = exchange.llm.cache
        self.table: Table = table_of(self.cache.chain)
        self.key = f"{self.cache.namespace}:{plan.key}"

    async def answer(self) -> Any:
        while True:
            try:
                looked_at = self.table.landed
                response = await self._replayed()
                if response is not None:
                    return response
                seat = self._seat(looked_at)
            except Exception:  # noqa: BLE001 - counted; whatever the cache cannot do now, the provider can
                self.exchange.count_error()
                self.counters.misses += 1
                return self.exchange.marked(await self.world.send(self.request), "MISS", self.plan)
            if seat is None:
                continue
            if isinstance(seat, Live):
                await self._wait_for_landing(seat)
                continue
            if seat.leads:
                return await self._lead(seat)
            response = await self._follow(seat)
            if response is not None:
                return response

    # From the cache

    async def _replayed(self) -> Any:
        """Return what is stored; None: the provider has to be asked."""
        plan = self.plan
        if plan.max_age != 0:
            result = await self.world.lookup(plan.key)
            if result.hit and self._serves(result):
                self.counters.hit(result, self.cache.savings)
                value = result.value
                status = headers.status("HIT", key=plan.key, tier=result.tier, age=result.age)
                stream = readers_of(self.http).replayed(value["body"], value.get("chunks"))
                return self._response(value["status"], value["headers"], status, stream)
        return self.exchange.nothing_cached(plan.kind, plan) if plan.only_if_cached else None

    def _serves(self, result: Any) -> bool:
        plan = self.plan
        return (
            not result.is_stale
            and (plan.max_age is None or result.age <= plan.max_age)
            and is_reply(result.value)
            and (result.metadata is None or plan.admits(result.metadata.attributes))
        )

    # With others

    def _seat(self, looked_at: int) -> Seat | Live | None:
        """Return a place in a stream that is under way, or in a new one; None: look again; a stream: when it landed."""
        plan, loop = self.plan, running_loop()
        tags = plan.options["tags"]
        if plan.max_age != 0 and plan.stores and self.key not in _asking.get():
            seat = self.table.join(self.key, tags, looked_at, self._begun)
            if (
                not isinstance(seat, Seat)
                or seat.leads
                or not self.blocks
                or loop is None
                or seat.live.loop is not loop
            ):
                return seat
            # The stream can go on only in the loop that this caller blocks.
            seat.live.leave(seat)
        return self._begun().enter(leads=True)

    def _begun(self) -> Live:
        rules = self.exchange.llm.rules
        return Live(
            self.plan.key,
            self.cache.begin(self.plan.key),
            self.plan.options["tags"],
            Judge(self.plan.kind, rules.policy),
            self.exchange.max_bytes,
            None if self.blocks else running_loop(),
        )

    async def _follow(self, seat: Seat) -> Any:
        """Return a response that others asked for; None: there is none to be had of them."""
        live = seat.live
        try:
            await self._wait(live, live.watch_opening)
            opening = live.opening or Opening("again")
            if opening.kind == "stream":
                give_up_unless_fed(live)
                await self._wait_for_first(seat)
                if live.has(0) and live.recorded:
                    return self._shared(seat, opening)
        except Lost:
            self._leave(seat)
            return None
        except BaseException:
            self._leave(seat)
            raise
        self._leave(seat)
        if opening.kind == "reply":
            self.counters.misses += 1
            return self.exchange.replay(opening.reply, "SHARED", self.plan)
        failed = opening.failed
        if failed is not None and failed.would_hit(self.world.inner, self.request):
            raise own_error(self.http, failed, self.request)
        if opening.kind == "own":
            self.counters.misses += 1
            return self.exchange.marked(await self.world.send(self.request), "MISS", self.plan)
        return None

    async def _wait_for_first(self, seat: Seat) -> None:
        """Wait until something has arrived: until then, whoever follows can still ask for itself."""
        live = seat.live
        while not (live.has(0) or live.over):
            source = live.source
            if source is None or (self.blocks and source.advance()):
                continue
            if not self.blocks:
                source.call_for()
            await self._wait(live, lambda wake: live.watch(0, wake))

    def _shared(self, seat: Seat, opening: Opening) -> Any:
        self.counters.hits += 1
        self.counters.shared += 1

        def save(live: Live) -> None:
            if live.attributes is not None:
                self.cache.savings.record(live.attributes, None)

        status = headers.status("SHARED", key=self.plan.key)
        return self._response(200, opening.headers or [], status, self._reader(seat, save))

    async def _wait(self, live: Live, watch: Callable[[Callable[[], object]], bool]) -> None:
        patience = (self.request.extensions.get("timeout") or {}).get("read")
        if self.blocks:
            changed = threading.Event()
            in_time = not watch(changed.set) or wait(live, changed, patience)
        else:
            waking = Waking()
            in_time = not watch(waking) or await await_(live, waking.future, patience)
        if not in_time:
            raise self.http.ReadTimeout("The read operation timed out", request=self.request)

    async def _wait_for_landing(self, live: Live) -> None:
        with contextlib.suppress(Lost):
            if self.blocks:
                landed = threading.Event()
                live.landed.add_done_callback(lambda _: landed.set())
                wait(live, landed, LANDING)
            else:
                waking = Waking()
                live.landed.add_done_callback(lambda _: waking())
                await await_(live, waking.future, LANDING)
        live.drop()

    def _leave(self, seat: Seat) -> None:
        if seat.live.leave(seat) and seat.live.source is not None:
            seat.live.source.stop()

    # From the provider

    async def _lead(self, seat: Seat) -> Any:
        live = seat.live
        landing = Landing(self.exchange.llm, self.call, self.plan, live, self.table)
        live.land = landing.land
        try:
            return await self._led(seat, landing)
        except BaseException as error:
            if isinstance(error, Exception):
                live.open(Opening("failed", failed=Failed.of(error, self.world.inner, self.request)))
            raise
        finally:
            if live.source is None:  # no stream came of it
                live.leave(seat)
                live.open(Opening("again"))
                live.drop()
                live.pending.release()

    async def _led(self, seat: Seat, landing: Landing) -> Any:
        live = seat.live
        token = _asking.set(_asking.get() | {self.key})
        try:
            response = await self.world.send(self.request)
        finally:
            _asking.reset(token)
        self.counters.misses += 1
        if response.status_code != 200:
            return await self._refused(live, response)
        encodings = encodings_of(response)
        if "text/event-stream" not in response.headers.get("content-type", "") or not encodings <= DECODED:
            self.counters.refuse("malformed")
            live.open(Opening("own"))
            return self.exchange.marked(response, "MISS", self.plan)
        self._connect(live, response, landing, is_encoded=bool(encodings))
        live.open(Opening("stream", headers.replayed(response.headers)))
        if encodings:
            for name in ("content-encoding", "content-length"):
                response.headers.pop(name, None)
        return handed_on(response, self._reader(seat, None), headers.status("MISS", key=self.plan.key))

    async def _refused(self, live: Live, response: Any) -> Any:
        """Hand an error to all who wait."""
        self.counters.refuse("error")
        reply: Reply = await self.world.read(response, self.exchange.max_bytes)
        live.open(self._opening(response, reply))
        return handed_on(response, self.world.stream(reply), headers.status("MISS", key=self.plan.key))

    def _opening(self, response: Any, reply: Reply) -> Opening:
        try:
            body = reply.body(self.http, self.exchange.max_bytes) if reply.rest is None else None
        except self.http.DecodingError:  # whoever asked finds that out
            body = None
        if body is None:
            return Opening("own")
        return Opening("reply", reply=stored_form(response, body, good=False))

    def _connect(self, live: Live, response: Any, landing: Landing, *, is_encoded: bool) -> None:
        stream = response.stream
        if self.blocks:
            chunks = _decoded(self.http, response).iter_bytes() if is_encoded else iter(stream)
            live.source = Pulled(live, chunks, stream.close, self.cache.chain.refreshes, self.world.fed)
        else:
            chunks = _decoded(self.http, response).aiter_bytes() if is_encoded else aiter(stream)
            live.source = Pumped(live, chunks, stream.aclose, landing.aland, self.world.fed)
        self.world.fed.add(live)

    def _reader(self, seat: Seat, on_end: Callable[[Live], object] | None) -> Any:
        made = readers_of(self.http)
        make = made.blocking if self.blocks else made.awaiting
        return make(seat, self.http, self.request, on_end, self.table.orphans.append)

    def _response(self, status_code: int, pairs: Any, status: Any, stream: Any) -> Any:
        return self.http.Response(
            status_code,
            headers=headers.as_bytes([*pairs, *status]),
            stream=stream,
            extensions={"http_version": b"HTTP/1.1"},
        )


def _decoded(http: Any, response: Any) -> Any:
    return http.Response(200, headers=response.headers, stream=response.stream)


def encodings_of(response: Any) -> set[str]:
    """Return how a reply's body is encoded."""
    named = response.headers.get("content-encoding", "").lower().split(",")
    return {name.strip() for name in named} - {"", "identity"}
