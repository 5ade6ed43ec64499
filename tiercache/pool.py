"""A small, bounded pool of daemon threads for storage work.

Not `concurrent.futures.ThreadPoolExecutor`: that one joins its threads at interpreter exit, so one thread stuck
on a dead server keeps the process alive. Here an exit waits for nobody, idle threads leave, a full queue refuses.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from typing import Any, ParamSpec, TypeVar

from . import fork
from .errors import BackendUnavailable

P = ParamSpec("P")
T = TypeVar("T")

IDLE_SECONDS = 5.0
MAX_LENT = 256
"""Threads of one pool at most that wait for others and let further threads work meanwhile."""

_here = threading.local()


class _Awaited:
    """What a thread of a pool does with the future that a loop awaits, as if it was one of threads."""

    __slots__ = ("future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]) -> None:
        self.loop = loop
        self.future = future

    def set_running_or_notify_cancel(self) -> bool:
        return not self.future.cancelled()

    def set_result(self, result: Any) -> None:
        self._call(_set_result, result)

    def set_exception(self, error: BaseException) -> None:
        self._call(_set_exception, error)

    def _call(self, function: Callable[[asyncio.Future[Any], Any], None], outcome: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody awaits it any more
            self.loop.call_soon_threadsafe(function, self.future, outcome)


def _set_result(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _set_exception(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


class DaemonPool:
    """Runs functions in at most `size` daemon threads, made when needed.

    Args:
        size: threads at most.
        name: what the threads are called.
        max_queue: calls at most that wait for a thread; `submit` refuses more.
    """

    def __init__(self, size: int, name: str = "tiercache", max_queue: int = 10_000) -> None:
        self.size = size
        self._name = name
        self._max_queue = max_queue
        self._closed = False
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """Begin without threads and calls: those stayed in the parent."""
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[Future[Any] | _Awaited, Callable[[], Any]] | None] = queue.SimpleQueue()
        self._futures: set[Future[Any]] = set()
        self._threads = 0
        self._lent = 0  # threads that wait for the work of others
        self._unfinished = 0  # calls, waiting or running: as many threads have something to do, if there are so many

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the function in a thread of the pool.

        Raises:
            BackendUnavailable: the queue is full, the pool is closed, or the system has no thread for it.
        """
        future: Future[T] = Future()
        self._enqueue(future, lambda: function(*args, **kwargs))
        future.add_done_callback(self._futures.discard)
        return future

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`submit`, awaited: quicker than a future of each kind and what joins them. `drain` does not wait for it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._enqueue(_Awaited(loop, future), lambda: function(*args, **kwargs))
        return await future

    def _enqueue(self, future: Future[Any] | _Awaited, call: Callable[[], Any]) -> None:
        with self._lock:
            if self._closed or self._unfinished >= self.size + self._max_queue:
                why = "the worker pool is closed" if self._closed else "the worker pool is full"
                raise BackendUnavailable(why, tier_wide=False)
            if self._threads <= self._unfinished and self._threads < self.size + self._lent:
                self._start_thread()
            if isinstance(future, Future):
                self._futures.add(future)
            self._unfinished += 1
            self._queue.put((future, call))

    def drain(self, timeout: float) -> bool:
        """Wait until nothing is queued or running, `timeout` seconds at most; return whether that is so."""
        with self._lock:
            waiting = list(self._futures)
        return not wait(waiting, timeout).not_done

    def close(self) -> None:
        """Let the threads go after what is queued; do not wait for them."""
        with self._lock:
            self._closed = True
            for _ in range(self._threads):
                self._queue.put(None)

    def _start_thread(self) -> None:
        self._threads += 1
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError:  # the system gives no more threads; those that there are do the work
            self._threads -= 1
            if not self._threads:
                raise BackendUnavailable("no worker thread can be started", tier_wide=False) from None

    def _lend(self) -> bool:
        with self._lock:
            if self._lent >= MAX_LENT:
                return False
            self._lent += 1
            if self._threads < self._unfinished:
                self._start_thread()
            return True

    def _take_back(self) -> None:
        with self._lock:
            self._lent = max(0, self._lent - 1)  # after a fork it began at 0

    def _work(self) -> None:
        _here.pool = self
        while True:
            try:
                item = self._queue.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    # A call may have been queued for this thread while its wait ran out.
                    if not self._queue.empty():
                        continue
                    self._threads -= 1
                    return
            if item is None:
                with self._lock:
                    self._threads -= 1
                return
            self._perform(*item)
            del item  # keep no value alive while idle
            with self._lock:
                if self._threads > self.size + self._lent:
                    self._threads -= 1
                    return

    def _perform(self, future: Future[Any] | _Awaited, call: Callable[[], Any]) -> None:
        if not future.set_running_or_notify_cancel():
            self._finished()
            return
        try:
            result = call()
        except StopIteration as error:  # asyncio cannot carry one in a future: whoever awaits would wait for ever
            self._finished()
            future.set_exception(_not_stop_iteration(error))
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the future
            self._finished()
            future.set_exception(error)
        else:
            self._finished()
            future.set_result(result)

    def _finished(self) -> None:
        """Count a call as over: before its waiters know, so that they find the room that it leaves."""
        with self._lock:
            self._unfinished -= 1


@contextlib.contextmanager
def give_way() -> Iterator[bool]:
    """Around a wait for work that may need a thread of this thread's own pool: another one takes its place meanwhile.

    Yields False where too many of the pool already do so: whoever waits then may wait for ever.
    """
    pool: DaemonPool | None = getattr(_here, "pool", None)
    if pool is None:
        yield True
    elif not pool._lend():
        yield False
    else:
        try:
            yield True
        finally:
            pool._take_back()


def _not_stop_iteration(error: StopIteration) -> RuntimeError:
    """What a coroutine makes of a StopIteration, too."""
    wrapped = RuntimeError("the call raised StopIteration")
    wrapped.__cause__ = error
    return wrapped
