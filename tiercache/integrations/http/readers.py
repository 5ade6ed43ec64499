"""The bodies of responses that come out of streams: live ones, for those who block or await, and replayed ones."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from ...flow import running_loop
from ...turns import Standstill
from .failures import Failed, own_error
from .live import Live, Seat
from .tee import Lost

LOOK = 0.25
"""Seconds between looks at whether the event loop that feeds a stream still runs."""
LANDING = 60.0
"""Seconds that a reader at the end of a stream waits for its being stored, at most; stores keep shorter deadlines."""


class Reader:
    """What both kinds of readers share.

    Args:
        seat: the place in the stream.
        http: the module of the response.
        request: the reader's own.
        on_end: called once when the reader is done, with the stream.
        orphan: takes the seats of readers that were dropped without being closed.
    """

    def __init__(
        self,
        seat: Seat,
        http: Any,
        request: Any,
        on_end: Callable[[Live], object] | None,
        orphan: Callable[[Seat], object],
    ) -> None:
        self._seat = seat
        self._http = http
        self._request = request
        self._on_end = on_end
        self._orphan = orphan
        self._closed = False
        timeout = (request.extensions.get("timeout") or {}).get("read")
        self._patience: float | None = None if seat.leads else timeout  # a leader's are those of the provider's reply

    def _end(self) -> None:
        """Nothing more comes: return, or raise why."""
        live = self._seat.live
        error = live.error
        if error is None or (live.ended_at is not None and (isinstance(error, Lost) or not self._seat.leads)):
            return
        if self._seat.leads and not isinstance(error, Lost):
            raise error
        raise broken(self._http, error, self._request)

    def _too_late(self) -> Exception:
        error: Exception = self._http.ReadTimeout("The read operation timed out", request=self._request)
        return error

    def _done(self) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self._seat.live)

    def __del__(self) -> None:
        if not self._closed:  # no locks here: this may run anywhere
            self._orphan(self._seat)


class _Blocking(Reader):
    """For readers who block."""

    def __iter__(self) -> Iterator[bytes]:
        seat, live = self._seat, self._seat.live
        while not self._closed:
            chunk = live.take(seat)
            if chunk is not None:
                yield chunk
            elif live.over:
                if live.has(seat.position):
                    continue
                self._wait_for_landing()
                self._end()
                return
            elif not live.source.advance():  # type: ignore[union-attr]
                self._wait()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        live = self._seat.live
        self._wait_for_landing()
        if live.leave(self._seat) and live.source is not None:
            live.source.stop()
        self._done()

    def _wait(self) -> None:
        live, changed = self._seat.live, threading.Event()
        if not live.watch(self._seat.position, changed.set) or live.source.advance():  # type: ignore[union-attr]
            return
        try:
            in_time = wait(live, changed, self._patience)
        except Lost as lost:
            raise broken(self._http, lost, self._request) from None
        if not in_time:
            raise self._too_late()

    def _wait_for_landing(self) -> None:
        live = self._seat.live
        if live.is_landing and not live.landed.done():
            landed = threading.Event()
            live.landed.add_done_callback(lambda _: landed.set())
            with contextlib.suppress(Lost):
                wait(live, landed, LANDING)


class _Awaiting(Reader):
    """For readers who await."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seat, live = self._seat, self._seat.live
        while not self._closed:
            chunk = live.take(seat)
            if chunk is not None:
                yield chunk
            elif live.over:
                if live.has(seat.position):
                    continue
                await self._wait_for_landing()
                self._end()
                return
            else:
                await self._wait()

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        live = self._seat.live
        try:
            await self._wait_for_landing()
        finally:
            if live.leave(self._seat) and live.source is not None:
                await live.source.astop()
            self._done()

    async def _wait(self) -> None:
        live, changed = self._seat.live, Waking()
        live.source.call_for()  # type: ignore[union-attr]
        if not live.watch(self._seat.position, changed):
            return
        if self._patience is None and live.loop is changed.loop:
            await changed.future
            return
        try:
            in_time = await await_(live, changed.future, self._patience)
        except Lost as lost:
            raise broken(self._http, lost, self._request) from None
        if not in_time:
            raise self._too_late()

    async def _wait_for_landing(self) -> None:
        live = self._seat.live
        if live.is_landing and not live.landed.done():
            landed = Waking()
            live.landed.add_done_callback(lambda _: landed())
            with contextlib.suppress(Lost):
                await await_(live, landed.future, LANDING)


class Waking:
    """Wakes a task when it is called, from whatever thread."""

    __slots__ = ("future", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future = self.loop.create_future()

    def __call__(self) -> None:
        """Wake it; again: nothing."""
        if running_loop() is self.loop:
            self._set()
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it whoever waited
            self.loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


def wait(live: Live, changed: threading.Event, patience: float | None) -> bool:
    """Wait for a change of the stream in this thread; False: patience has run out. Raises Lost."""
    if live.loop is None:
        return changed.wait(patience)
    still, until = Standstill(), None if patience is None else time.monotonic() + patience
    while not changed.wait(LOOK):
        if until is not None and time.monotonic() >= until:
            return False
        _give_up_if_lost(live, still)
    return True


async def await_(live: Live, changed: asyncio.Future[None], patience: float | None) -> bool:
    """`wait`, awaited."""
    if patience is None and (live.loop is None or live.loop is asyncio.get_running_loop()):
        await changed
        return True
    still, until = Standstill(), None if patience is None else time.monotonic() + patience
    while not changed.done():
        await asyncio.wait({changed}, timeout=LOOK)
        if changed.done():
            break
        if until is not None and time.monotonic() >= until:
            return False
        _give_up_if_lost(live, still)
    return True


def give_up_unless_fed(live: Live) -> None:
    """Do not begin to follow a stream whose event loop does not run: it might never go on. Raises Lost."""
    if live.loop is not None and not live.over and not live.loop.is_running():
        live.drop()
        raise Lost("the event loop of the stream does not run")


def _give_up_if_lost(live: Live, still: Standstill) -> None:
    """Follow no longer, and let nobody follow, if the event loop that reads for all is gone, or stands still."""
    loop = live.loop
    if loop is not None and (loop.is_closed() or still.lasts(loop)):
        live.drop()
        raise Lost("the event loop of the stream is gone")


def broken(http: Any, error: BaseException, request: Any) -> Exception:
    """Return the failure of a stream that others read, too, as an exception of the reader's own."""
    if isinstance(error, Lost):
        return own_error(http, Failed("RemoteProtocolError", "the stream that this one shares broke off"), request)
    return own_error(http, Failed(type(error).__name__, str(error)), request)


class _Replayed:
    """The body of a stored stream, in the pieces in which it came."""

    def __init__(self, body: bytes, lengths: Sequence[int] | None) -> None:
        self._body = body
        self._lengths = lengths if lengths and sum(lengths) == len(body) else [len(body)]

    def __iter__(self) -> Iterator[bytes]:
        start = 0
        for length in self._lengths:
            yield self._body[start : start + length]
            start += length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        start = 0
        for length in self._lengths:
            yield self._body[start : start + length]
            start += length


@functools.cache
def readers_of(module: Any) -> SimpleNamespace:
    """Return the bodies for a module: `blocking`, `awaiting`, `replayed`, `areplayed`."""
    make: Callable[..., Any] = type
    return SimpleNamespace(
        blocking=make("LiveStream", (_Blocking, module.SyncByteStream), {}),
        awaiting=make("AsyncLiveStream", (_Awaiting, module.AsyncByteStream), {}),
        replayed=make("Replayed", (_Replayed, module.SyncByteStream, module.AsyncByteStream), {}),
    )
