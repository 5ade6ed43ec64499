"""`Live`: the reply of a provider that is under way, recorded as it arrives, and read by all who asked for the same."""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ...pending import Pending
from .failures import Failed
from .headers import Pairs
from .sse import Judge

AHEAD = 256
"""Chunks that are read ahead of the fastest reader where a stream is too large to be kept; else all."""

Wake = Callable[[], object]


class Source(Protocol):
    """Where the chunks come from: `Pulled` or `Pumped`."""

    loop: AbstractEventLoop | None

    def advance(self) -> bool:
        """Fetch the next chunk in this thread; False: somebody else does."""
        ...

    def call_for(self) -> None:
        """See to it that somebody fetches, for those who cannot block."""

    def stop(self) -> None:
        """Nobody reads any more."""

    async def astop(self) -> None:
        """`stop`, awaited."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What the provider answered, for those who wait for it.

    Attributes:
        kind: `stream`: chunks follow. `reply`: one that is not stored, for all. `failed`: it was not reached.
            `own`: it is for the one who asked alone, all others ask for themselves. `again`: whoever asked went away.
        headers: of a stream.
        reply: a reply in its stored form.
        failed: why it was not reached.
    """

    kind: Literal["stream", "reply", "failed", "own", "again"]
    headers: Pairs | None = None
    reply: Any = None
    failed: Failed | None = None


class Seat:
    """A reader's place in a stream."""

    __slots__ = ("leads", "live", "position")

    def __init__(self, live: Live, leads: bool) -> None:
        self.live = live
        self.leads = leads
        self.position = 0


class Live:
    """One request to a provider, from the moment it is made.

    Args:
        key: of the plan.
        pending: the right to store what comes of it.
        tags: of the entry to be.
        judge: is shown the chunks.
        limit: bytes, beyond which nothing is recorded.
        loop: the event loop of the one who asks, if there is one.

    Attributes:
        opening: what the provider answered; None: not yet.
        source: where the chunks come from.
        recorded: whether all chunks are kept; if not, only those that a reader has still to read.
        ended_at: how many chunks there were when the end marker had passed.
        over: nothing more will come.
        error: why the stream broke off.
        left: whether all readers went away before it was over.
        landed: resolved when it is stored, or will not be.
        attributes: of the stored entry, for savings.
        land: stores it, or counts why not; blocks.
        drop: lets nobody join it any more.
    """

    def __init__(
        self,
        key: str,
        pending: Pending,
        tags: Iterable[str],
        judge: Judge,
        limit: int,
        loop: AbstractEventLoop | None,
    ) -> None:
        self.key = key
        self.pending = pending
        self.tags = tuple(tags)
        self.judge = judge
        self.loop = loop
        self.opening: Opening | None = None
        self.source: Source | None = None
        self.recorded = True
        self.ended_at: int | None = None
        self.over = False
        self.error: BaseException | None = None
        self.left = False
        self.landed: Future[None] = Future()
        self.landed.set_running_or_notify_cancel()
        self.attributes: dict[str, Any] | None = None
        self.land: Callable[[], object] = _nothing
        self.drop: Callable[[], object] = _nothing
        self._limit = limit
        self._size = 0
        self._lock = threading.RLock()
        self._chunks: list[bytes] = []
        self._dropped = 0
        self._seats: set[Seat] = set()
        self._wakes: list[Wake] = []
        self._landing = False

    # Readers

    def enter(self, *, leads: bool = False) -> Seat | None:
        """Return a place at the beginning; None: there is no beginning any more."""
        with self._lock:
            if self.left or not self.recorded or self.error is not None:
                return None
            seat = Seat(self, leads)
            self._seats.add(seat)
            return seat

    def leave(self, seat: Seat) -> bool:
        """Give up a place; return whether nobody reads any more, so that the source is to be stopped."""
        with self._lock:
            if seat not in self._seats:
                return False
            self._seats.discard(seat)
            self.left = not self._seats
            return self.left

    def take(self, seat: Seat) -> bytes | None:
        """Return a reader's next chunk; None: it is not there (yet)."""
        if seat.position >= len(self._chunks):
            return None
        chunk = self._chunks[seat.position]
        seat.position += 1
        return chunk

    def watch(self, position: int, wake: Wake) -> bool:
        """Have somebody woken by the next change; False: what they wait for is there, and they are not."""
        with self._lock:
            self._wakes.append(wake)
            return not (self.over or self.has(position))

    def watch_opening(self, wake: Wake) -> bool:
        """`watch` for the provider's answer."""
        with self._lock:
            self._wakes.append(wake)
            return self.opening is None

    def watch_any(self, wake: Wake) -> None:
        """Have somebody woken by the next change, if there is still to be one."""
        with self._lock:
            self._wakes.append(wake)

    def has(self, position: int) -> bool:
        """Whether the chunk of this number arrived."""
        return position < len(self._chunks)

    @property
    def is_large(self) -> bool:
        """Whether it is too large to be kept whole: what follows its end marker, or all of it."""
        return self._size > self._limit

    @property
    def is_wanted(self) -> bool:
        """Whether some reader has read nearly all that there is."""
        with self._lock:
            near = len(self._chunks) - AHEAD
            return any(seat.position >= near for seat in self._seats)

    @property
    def is_followed(self) -> bool:
        """Whether somebody reads it besides the one who asked for it."""
        with self._lock:
            return any(not seat.leads for seat in self._seats)

    def holds(self, tags: Iterable[str]) -> bool:
        """Whether somebody who asks now, for an entry of these tags, may have it: nothing invalidated it meanwhile."""
        return self.pending.holds((*self.tags, *tags))

    # The source

    def open(self, opening: Opening) -> None:
        """Tell all who wait what the provider answered; the first opening counts."""
        with self._lock:
            if self.opening is None:
                self.opening = opening
        self.wake()

    def put(self, chunk: bytes) -> None:
        """Add what arrived; `wake` is to follow."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self.is_large:
            self._drop()
        if self.recorded and self.ended_at is None and self.judge.feed(chunk):
            self.ended_at = len(self._chunks)

    def wake(self) -> bool:
        """Wake all who watch; return whether anybody did."""
        if not self._wakes:  # who comes now looks again before it waits
            return False
        with self._lock:
            wakes, self._wakes = self._wakes, []
        for wake in wakes:
            wake()
        return bool(wakes)

    def finish(self, error: BaseException | None = None) -> None:
        """Nothing more will come."""
        with self._lock:
            if self.over:
                return
            self.over = True
            self.error = error
        if error is None and self.recorded and self.judge.finish() and self.ended_at is None:
            self.ended_at = len(self._chunks)
        self.wake()

    def may_land(self) -> bool:
        """Whether it is the caller who has to see to it that the stream is stored, or counted: true once."""
        with self._lock:
            first, self._landing = not self._landing, True
            return first

    @property
    def is_landing(self) -> bool:
        """Whether somebody sees to it."""
        return self._landing

    def parts(self) -> list[bytes]:
        """Return the chunks up to the end marker."""
        return self._chunks[: self.ended_at]

    def _drop(self) -> None:
        """Keep only what some reader has still to read, and a stream that came to its end up to there.

        Nobody enters one without an end any more; who enters the other is given what will be stored of it.
        """
        with self._lock:
            self.recorded = self.ended_at is not None
            first = min((seat.position for seat in self._seats), default=len(self._chunks))
        for number in range(max(self._dropped, self.ended_at or 0), first):
            self._chunks[number] = b""
        self._dropped = max(self._dropped, first)


def _nothing() -> None:
    """Stands for what is to be done at the end until the provider has answered."""
