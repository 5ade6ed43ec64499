"""A chat completion answered below an HTTP client: our transport, and hishel's.

They do not do the same job. hishel answers a GET and never a POST: what is not a safe method goes to the server, as
RFC 9111 says; ours answers the POSTs of language models and nothing else. hishel's figure is of a GET of the same
answer.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any

from harness import Row, Scale, interleave

from tiercache import Cache, DiskBackend, MemoryBackend

from .contenders import Calls, Contender, Place, expect, left_out, opened
from .jobs import answer
from .measured import OURS, awaited, blocking, pair

TIER = "HTTP"
REQUESTS = 50
_URL = "http://provider/v1/chat/completions"


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    for where, contenders in (("in memory", _IN_MEMORY), ("on disk", _ON_DISK)):
        with (
            asyncio.Runner() as runner,
            tempfile.TemporaryDirectory(prefix="tiercache-bench-") as directory,
            ExitStack() as stack,
        ):
            yield from _hits(where, contenders, Place(runner, stack, directory=directory), scale)


def _hits(where: str, contenders: list[Contender], place: Place, scale: Scale) -> Iterator[Row]:
    calls = opened(contenders, place)
    for face in ("sync", "async"):
        timers = {}
        for contender, one in calls.items():
            ask = one.get if face == "sync" else one.aget
            if ask is None:
                continue
            asked = cycle([(_request(number, contender.name == OURS),) for number in range(REQUESTS)])
            timer = (
                (lambda calls, ask=ask, asked=asked: blocking(ask, asked, calls))
                if face == "sync"
                else (lambda calls, ask=ask, asked=asked: awaited(place.runner, ask, asked, calls))
            )
            try:
                timer(REQUESTS)  # these miss
                sent = _Provider.asked
                timer(REQUESTS)
                expect(_Provider.asked == sent, "its second answer came from the provider")
            except Exception as error:
                if contender.name == OURS:
                    raise
                left_out(f"{TIER} {where}: {contender.name}", error)
                continue
            timers[contender] = timer
        samples = interleave(
            {one.name: lambda timer=timer: timer(REQUESTS) for one, timer in timers.items()}, scale.rounds(15)
        )
        for contender in timers:
            if contender.name != OURS:
                name = f"{TIER}: a chat completion answered {where}, {face}"
                about = {"tier": TIER, "job": "hit", "face": face, "less": contender.explanation("hit")}
                yield pair(samples, contender.name, area="beside", name=name, **about)


class _Provider:
    """Answers at once, and counts."""

    asked = 0

    @classmethod
    def transport(cls) -> Any:
        import httpx

        def answered(request: Any) -> Any:
            cls.asked += 1
            return httpx.Response(200, json=answer(), headers={"cache-control": "max-age=3600"})

        return httpx.MockTransport(answered)


def _request(number: int, post: bool) -> Any:
    import httpx

    headers = {"authorization": "Bearer key", "accept": "application/json"}
    if not post:
        return httpx.Request("GET", f"{_URL}/{number}", headers=headers)
    messages = [{"role": "user", "content": f"question {number}: why? " * 20}]
    body = {"model": "gpt-4o", "temperature": 0, "messages": messages}
    return httpx.Request("POST", _URL, headers=headers, json=body)


def _ours(cache: Cache) -> Calls:
    import httpx

    from tiercache.integrations.http import async_transport, transport

    one = transport(cache, _Provider.transport(), http=httpx)
    two = async_transport(cache, _Provider.transport(), http=httpx)

    async def aget(request: Any) -> Any:
        return await (await two.handle_async_request(request)).aread()

    return Calls(get=lambda request: one.handle_request(request).read(), aget=aget)


def tiercache_memory(place: Place) -> Calls:
    return _ours(place.stack.enter_context(Cache(MemoryBackend(), ttl="1h")))


def tiercache_disk(place: Place) -> Calls:
    backend = DiskBackend(Path(place.directory, "ours.sqlite3"))
    return _ours(place.stack.enter_context(Cache(backend, ttl="1h")))


def hishel_memory(place: Place) -> Calls:
    return _hishel(place, ":memory:")


def hishel_disk(place: Place) -> Calls:
    return _hishel(place, str(Path(place.directory, "hishel.db")))


def _hishel(place: Place, path: str) -> Calls:
    import sqlite3

    import hishel
    from hishel.httpx import CacheTransport

    storage = hishel.SqliteStorage(connection=sqlite3.connect(path, check_same_thread=False), default_ttl=3600)
    below = CacheTransport(_Provider.transport(), storage)
    place.stack.callback(below.close)
    return Calls(get=lambda request: below.handle_request(request).read())


_LESS = {
    "": "its key is the URL alone, no body is read or judged; no checksum, no look at what the answer says (errors, "
    "truncation), no account of what was saved"
}
_IN_MEMORY = [
    Contender(OURS, tiercache_memory),
    Contender("hishel, a GET, SQLite in memory", hishel_memory, _LESS),
]
_ON_DISK = [Contender(OURS, tiercache_disk), Contender("hishel, a GET, SQLite on disk", hishel_disk, _LESS)]
