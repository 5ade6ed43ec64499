"""One daemon thread for what a process does from time to time: no cache has to be asked for it to happen.

Whoever registers is held weakly, and a thread with nothing to do ends. What is called has to be quick: work that waits
for a store goes to a pool.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable

from . import fork
from .logs import fields

logger = logging.getLogger("tiercache")


class _Task:
    __slots__ = ("call", "due", "seconds")

    def __init__(self, call: weakref.WeakMethod[Callable[[], object]], seconds: float) -> None:
        self.call = call
        self.seconds = seconds
        self.due = time.monotonic() + seconds


class Ticker:
    """Calls methods every so many seconds, in a thread that is started when the first one is registered."""

    def __init__(self) -> None:
        self._tasks: list[_Task] = []
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """The thread stayed in the parent: the next `every` or `wake` of the child starts another one."""
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def every(self, seconds: float, method: Callable[[], object]) -> None:
        """Call a bound method again and again, as long as its object lives; what it raises is logged."""
        with self._changed:
            self._tasks.append(_Task(weakref.WeakMethod(method), seconds))
        self.wake()

    def stop(self, method: Callable[[], object]) -> None:
        """Call this bound method no more."""
        with self._changed:
            self._tasks = [task for task in self._tasks if task.call() != method]
            self._changed.notify()

    def wake(self) -> None:
        """See to it that the thread runs: after a fork it does not."""
        with self._changed:
            if self._thread is None and self._tasks:
                self._thread = threading.Thread(target=self._run, name="tiercache-ticker", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._thread is not threading.current_thread():
                    return  # forked, or another one was started
                self._tasks = [task for task in self._tasks if task.call() is not None]
                if not self._tasks:
                    self._thread = None
                    return
                now = time.monotonic()
                due = [task for task in self._tasks if task.due <= now]
                if not due:
                    self._changed.wait(min(task.due for task in self._tasks) - now)
                    continue
                for task in due:
                    task.due = now + task.seconds
            for task in due:
                self._call(task)

    def _call(self, task: _Task) -> None:
        method = task.call()
        if method is None:
            return
        try:
            method()
        except Exception as error:  # noqa: BLE001 - the others are to be called all the same
            # No traceback: what it quotes may be a key.
            kind = type(error).__name__
            logger.error("a periodic task failed: %s", kind, extra=fields("task.failed", kind=kind))  # noqa: TRY400


ticker = Ticker()
"""The one of this process."""
