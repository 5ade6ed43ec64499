"""One operation for many keys, side by side in a bounded pool, until a deadline."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from ..errors import BackendError, BackendTimeout, BackendUnavailable, CorruptEntry, PartialFailure
from ..pool import DaemonPool

T = TypeVar("T")

FEWEST_STRIKES = 5


def for_each(
    pool: DaemonPool, keys: Iterable[str], operation: Callable[[str], T | None], *, deadline: float | None = None
) -> dict[str, T]:
    """Perform the operation for each key and return what is not None, in the order of the keys.

    At most `pool.size` operations of one call are under way. What has arrived at the deadline is kept; operations
    that are still under way then are abandoned and may take effect. When as many operations in a row as run side by
    side (at least five) could not reach the store, the rest is not tried: a dead store costs one round.

    Args:
        pool: where to run them; not one whose threads call this function: they would wait for themselves.
        keys: duplicates count once.
        operation: called in a thread of the pool.
        deadline: seconds of `time.monotonic`, or None.

    Raises:
        PartialFailure: operations failed with a `BackendError`, or did not end in time (`BackendTimeout`).
        Exception: any other error of an operation, at once.
    """
    wanted = list(dict.fromkeys(keys))
    batch = _Batch(pool, wanted, operation)
    try:
        batch.run(deadline)
    finally:
        for future in batch.running.values():
            future.cancel()
    if batch.failed:
        raise PartialFailure(batch.failed, batch.results)
    return {key: batch.results[key] for key in wanted if key in batch.results}


def what_is_intact(failure: PartialFailure) -> dict[str, Any]:
    """Return the results of a batch, for a scan, which leaves out what is damaged.

    Raises:
        BackendError: something failed for another reason: this one.
    """
    for error in failure.failed.values():
        if not isinstance(error, CorruptEntry):
            raise error from failure
    return failure.results or {}


class _Batch(Generic[T]):
    def __init__(self, pool: DaemonPool, keys: Iterable[str], operation: Callable[[str], T | None]) -> None:
        self.pool = pool
        self.operation = operation
        self.waiting = deque(keys)
        self.running: dict[str, Future[T | None]] = {}
        self.answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.results: dict[str, T] = {}
        self.failed: dict[str, BackendError] = {}
        self.strikes = 0

    def run(self, deadline: float | None) -> None:
        while self.waiting or self.running:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                self._start_more()
                key = self.answers.get(timeout=left)
            except queue.Empty:
                return self._give_up(BackendTimeout("the deadline passed before the answer came"))
            except BackendUnavailable as error:  # the pool is full or closed
                return self._give_up(error)
            self._settle(key)
        return None

    def _start_more(self) -> None:
        while self.waiting and len(self.running) < self.pool.size:
            key = self.waiting[0]
            future = self.pool.submit(copy_context().run, self.operation, key)
            self.running[self.waiting.popleft()] = future
            future.add_done_callback(lambda _, key=key: self.answers.put(key))  # type: ignore[misc]

    def _settle(self, key: str) -> None:
        try:
            result = self.running.pop(key).result()
        except BackendError as error:
            self.failed[key] = error
            self.strikes = self.strikes + 1 if isinstance(error, (BackendUnavailable, BackendTimeout)) else 0
            if self.strikes >= max(self.pool.size, FEWEST_STRIKES):
                self._give_up(error)
        else:
            self.strikes = 0
            if result is not None:
                self.results[key] = result

    def _give_up(self, error: BackendError) -> None:
        self.failed |= dict.fromkeys([*self.running, *self.waiting], error)
        for future in self.running.values():
            future.cancel()
        self.running.clear()
        self.waiting.clear()
