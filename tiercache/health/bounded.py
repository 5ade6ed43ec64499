"""`Bound`: deadlines for stores that keep none: their operations run in threads that can be left behind.

A thread cannot be stopped from outside. One that does not come back is left to itself, and there are so few of them
that a store that hangs for good costs a handful of threads, not one for each call.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from .. import fork
from ..backend import Backend
from ..errors import BackendTimeout, BackendUnavailable
from ..pool import DaemonPool

THREADS = 8
"""Operations of one tier that run at a time, and so threads that may hang."""


class Bound:
    """Runs the operations of one tier, each until its deadline at most.

    Args:
        name: the tier's scheme, for the names of the threads.
    """

    def __init__(self, name: str) -> None:
        self._pool = DaemonPool(THREADS, f"tiercache-{name}-bounded")
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """No operation hangs in the child: its threads stayed in the parent."""
        self._lock = threading.Lock()
        self._hanging: set[Future[Any]] = set()

    def run(self, operation: Callable[..., Any], deadline: float, /, *args: Any, **options: Any) -> Any:
        """Return what the operation returns.

        Raises:
            BackendTimeout: it did not return in time, and may still take effect.
            BackendUnavailable: as many operations as there are threads have not returned.
        """
        future = self._submit(operation, *args, **options)
        try:
            future.exception(max(0.0, deadline - time.monotonic()))
        except BaseException as error:  # noqa: BLE001 - an interrupt leaves it behind as well
            if not future.done():
                late = self._left_behind(future)
                raise late if isinstance(error, TimeoutError) else error from None
        return future.result()

    async def arun(self, operation: Callable[..., Any], deadline: float, /, *args: Any, **options: Any) -> Any:
        """`run`, awaited."""
        future = self._submit(operation, *args, **options)
        waiting = asyncio.wrap_future(future)
        try:
            await asyncio.wait([waiting], timeout=max(0.0, deadline - time.monotonic()))
        except BaseException:
            self._left_behind(future)
            waiting.cancel()
            raise
        if waiting.done():
            return waiting.result()
        late = self._left_behind(future)
        waiting.cancel()
        raise late

    def _submit(self, operation: Callable[..., Any], *args: Any, **options: Any) -> Future[Any]:
        if len(self._hanging) >= THREADS:
            raise BackendUnavailable(
                f"{THREADS} operations of this store have not returned, long after their deadlines: "
                "it is not asked until one does"
            )
        return self._pool.submit(contextvars.copy_context().run, operation, *args, **options)

    def _left_behind(self, future: Future[Any]) -> BackendTimeout:
        if future.cancel():
            return BackendTimeout("no thread was free for the operation before its deadline", tier_wide=False)
        with self._lock:
            self._hanging.add(future)
        future.add_done_callback(self._came_back)
        return BackendTimeout("the store did not return before the deadline; the operation is left to itself")

    def _came_back(self, future: Future[Any]) -> None:
        with self._lock:
            self._hanging.discard(future)


async def in_time(operation: Callable[..., Any], deadline: float, /, *args: Any, **options: Any) -> Any:
    """Await an asynchronous operation of a store that may keep no deadlines; it is cancelled when its time is up.

    Raises:
        BackendTimeout: it did not end in time.
    """
    timeout = asyncio.timeout(max(0.0, deadline - time.monotonic()))
    try:
        async with timeout:
            return await operation(*args, **options)
    except TimeoutError:
        if not timeout.expired():
            raise  # the store's own
    raise BackendTimeout("the store did not return before the deadline; the operation was cancelled")


def is_derived(backend: object, method: str) -> bool:
    """Whether the a-twin of an operation is the one that `Backend` derives, by running the operation in a thread."""
    twin = "a" + method
    derived = getattr(Backend, twin, None)
    return derived is not None and getattr(type(backend), twin, None) is derived
