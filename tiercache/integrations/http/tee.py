"""Where the chunks of a live stream come from: pulled by whoever needs the next one, or pumped by a task.

A stream that blocks is read by its readers, in turns: whoever needs a chunk that nobody is fetching fetches it. Those
who cannot block (event loops) have a thread do so. A stream that is awaited can only be read in its own event loop: a
task there reads ahead, so that neither a slow reader nor one that is cancelled harms the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from ...errors import BackendUnavailable
from ...flow import running_loop
from ...pool import DaemonPool
from .fed import Fed
from .live import Live

PAUSE = 0.05
"""Seconds between looks at whether readers have caught up with a stream that is too large to be kept."""

TURN = 32
"""Chunks that are there at once and taken in one turn, before readers in the same event loop have theirs, at most."""


class Lost(Exception):
    """Whoever read the stream for all is gone."""


class Pulled:
    """A stream that blocks.

    Args:
        live: what is fed.
        chunks: the provider's.
        close: ends the stream before its end.
        pool: for what happens at the end.
        fed: told when the stream is over.
    """

    loop: asyncio.AbstractEventLoop | None = None

    def __init__(
        self, live: Live, chunks: Iterator[bytes], close: Callable[[], object], pool: DaemonPool, fed: Fed
    ) -> None:
        self._live = live
        self._chunks = chunks
        self._close = close
        self._pool = pool
        self._fed = fed
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # of whoever fetches; nobody gives it back at the end
        self._stopped = False
        self._thread: threading.Thread | None = None

    def advance(self) -> bool:
        """Fetch the next chunk in this thread; False: somebody else does."""
        return self._thread is None and self._step()

    def call_for(self) -> None:
        """Have a thread read ahead, for readers who cannot block."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._read_ahead, name="tiercache-stream", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Nobody reads any more; whoever fetches at this moment closes the stream after that."""
        self._stopped = True
        self._end_if_stopped()

    async def astop(self) -> None:
        """`stop`, awaited."""
        self.stop()

    def _step(self) -> bool:
        live, turn = self._live, self._turn
        if not turn.acquire(blocking=False):
            return False
        if live.over or self._stopped:
            turn.release()
            self._end_if_stopped()
            return True
        try:
            chunk = next(self._chunks)
        except StopIteration:
            self._end(None)
        except Exception as error:  # noqa: BLE001 - it belongs to the readers
            self._end(error)
        except BaseException as error:
            self._end(error)
            raise
        else:
            live.put(chunk)
            turn.release()
            live.wake()
            if self._stopped:
                self._end_if_stopped()
            elif live.ended_at is not None or not live.recorded:
                self._land()
        return True

    def _end_if_stopped(self) -> None:
        """Whoever gives back the turn calls this: whoever stopped the stream meanwhile could not end it."""
        if self._stopped and self._turn.acquire(blocking=False):
            self._end(Lost("all readers left"))

    def _end(self, error: BaseException | None) -> None:
        self._live.finish(error)
        with contextlib.suppress(Exception):  # what could be read was read
            self._close()
        self._land()
        close = self._fed.done(self._live)
        if close is not None:
            close()

    def _land(self) -> None:
        """Store what came of it, behind the reader's back: the end marker is not to wait for that."""
        if self._live.may_land():
            if self._live.ended_at is not None:
                with contextlib.suppress(BackendUnavailable):  # no thread is free: it is done here
                    self._pool.submit(self._live.land)
                    return
            self._live.land()

    def _read_ahead(self) -> None:
        live = self._live
        while not live.over and not self._stopped:
            if live.is_large and not live.is_wanted:
                time.sleep(PAUSE)
            elif not self._step():  # a reader fetches, who was there before this thread
                changed = threading.Event()
                live.watch_any(changed.set)
                if not self._step():
                    changed.wait()


class Pumped:
    """A stream that is awaited, in one event loop.

    Args:
        live: what is fed.
        chunks: the provider's.
        close: ends the stream before its end.
        land: stores what came of it.
        fed: told when the stream is over.
    """

    def __init__(
        self,
        live: Live,
        chunks: AsyncIterator[bytes],
        close: Callable[[], Awaitable[object]],
        land: Callable[[], Awaitable[object]],
        fed: Fed,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.loop: asyncio.AbstractEventLoop | None = self._loop
        self._live = live
        self._chunks = chunks
        self._close = close
        self._land = land
        self._fed = fed
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def advance(self) -> bool:
        """Have the task run; False: it is the task that fetches."""
        if self._task is None:
            self._in_loop(self._start)
        return False

    def call_for(self) -> None:
        """Have the task run."""
        self.advance()

    def stop(self) -> None:
        """Nobody reads any more; callable from anywhere."""
        self._in_loop(self._cancel)

    async def astop(self) -> None:
        """`stop`; in the stream's own loop it returns when the stream is closed."""
        if asyncio.get_running_loop() is not self._loop:
            self.stop()
            return
        self._cancel()
        if self._task is not None:
            await asyncio.wait({self._task})

    def _cancel(self) -> None:
        self._stopped = True
        if self._task is None:
            self._start()  # it only closes the stream
        elif not self._task.done():
            self._task.cancel()

    def _start(self) -> None:
        if self._task is None:
            self._task = self._loop.create_task(self._run(), name="tiercache-stream")

    def _in_loop(self, function: Callable[[], object]) -> None:
        try:
            if running_loop() is self._loop:
                function()
            else:
                self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed: readers find that out
            self._live.finish(Lost("the event loop of the stream is closed"))

    async def _run(self) -> None:
        live = self._live
        error: BaseException | None = Lost("all readers left") if self._stopped else None
        ahead, at_most = 0, 1
        try:
            async for chunk in _none() if self._stopped else self._chunks:
                live.put(chunk)
                ahead += 1
                if not live.wake() and (ahead >= at_most or live.ended_at is not None):
                    await asyncio.sleep(0)  # the readers are behind, where many chunks arrive at once: they go first
                    ahead, at_most = 0, min(2 * at_most, TURN)
                if live.ended_at is not None or not live.recorded:
                    await self._land_once()
                while live.is_large and not live.is_wanted:  # noqa: ASYNC110 - readers of any thread and loop
                    await asyncio.sleep(PAUSE)
        except asyncio.CancelledError:
            error = Lost("whoever read the stream for all was cancelled")
        except Exception as failure:  # noqa: BLE001 - it belongs to the readers
            error = failure
        live.finish(error)
        with contextlib.suppress(Exception, asyncio.CancelledError):  # what could be read was read
            await self._close()
        await self._land_once()
        close = self._fed.done(live)
        if close is not None:
            await close()

    async def _land_once(self) -> None:
        if self._live.may_land():
            await self._land()


async def _none() -> AsyncIterator[bytes]:
    """Stands for the chunks of a stream that nobody reads."""
    return
    yield
