"""The end of a process: what waits to be written is written, within a bound, and what is lost is said."""

from __future__ import annotations

import atexit
import os
import queue
import signal
import threading
import time
import weakref
from collections.abc import Iterable
from concurrent.futures import Future, wait
from types import FrameType
from typing import Any, Protocol, runtime_checkable

from .errors import ConfigurationError
from .units import Duration, parse_duration

EXIT_SECONDS = 4.0
"""Seconds that all chains and backends together may take at the end of the interpreter."""
LAST_WORDS = 0.25
"""Seconds that recordings and reports get before a signal ends the process, where entries took all the time."""


class Ending(Protocol):
    """Something that has to know that the interpreter ends."""

    def end(self) -> object:
        """The interpreter ends: what still waits is lost, and this is said."""
        ...


@runtime_checkable
class Draining(Ending, Protocol):
    """Something in which something waits to be written: a chain, a backend that packs entries, a recording."""

    @property
    def has_pending(self) -> bool:
        """Whether anything waits."""
        ...

    def drain(self, timeout: float) -> bool:
        """Write what waits, for so many seconds at most; return whether all of it was written."""
        ...


@runtime_checkable
class Telling(Protocol):
    """Something that tells other processes of this one."""

    def tell(self, *, ended: bool) -> Future[Any] | None:
        """Begin to tell how things stand before a signal is obeyed, by which the process may end; None: nothing is."""
        ...


_watched: weakref.WeakSet[Ending] = weakref.WeakSet()
_recordings: weakref.WeakSet[Ending] = weakref.WeakSet()


def watch(thing: Ending, *, is_recording: bool = False) -> None:
    """Drain something at the end of the interpreter, if anything waits in it, and let it end."""
    (_recordings if is_recording else _watched).add(thing)


def drain_all(timeout: float) -> bool:
    """Write what waits in the whole process; return whether all of it was written within `timeout` seconds.

    Recordings come first, which take milliseconds; then chains, as what they write may then wait in backends.
    """
    return _drain(_in_order(), time.monotonic() + timeout)


def _drain(things: Iterable[Ending], ends: float) -> bool:
    done = True
    for thing in things:
        if isinstance(thing, Draining) and thing.has_pending:
            done = thing.drain(max(0.0, ends - time.monotonic())) and done
    return done


def drain_on_sigterm(timeout: Duration = 5.0) -> None:
    """On SIGTERM, write what waits in all chains and backends, for `timeout` at most; then do what was done before.

    What was recorded (`TierChain(record=…)`) is written, too, and the last figures are told (`report=True`), within
    half a second more where entries took all the time. Without it a SIGTERM ends the process at once, and all this is
    lost. Call it once, in the main thread, after frameworks have installed their own handlers: the handler that stands
    is called afterwards, and if there is none, the process ends by the signal.

    Raises:
        ConfigurationError: this is not the main thread, what stands is not Python's to call, or `timeout` is no
            duration.
    """
    seconds = parse_duration(timeout, "timeout")
    if threading.current_thread() is not threading.main_thread():
        raise ConfigurationError("drain_on_sigterm() must be called in the main thread, as all signal handlers")
    before = signal.getsignal(signal.SIGTERM)
    if before is None:
        raise ConfigurationError("the SIGTERM handler was not installed by Python; call chain.drain() in it instead")
    drainer = _Drainer(seconds, ended=before == signal.SIG_DFL)

    def handle(number: int, frame: FrameType | None) -> None:
        drainer.run()
        if callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, handle)


class _Drainer:
    """Drains in a thread of its own: the signal may have interrupted the main thread while it holds a lock of ours.

    The thread waits for the signal from the beginning, as starting one takes locks, too.
    """

    def __init__(self, timeout: float, *, ended: bool) -> None:
        self._timeout = timeout
        self._ended = ended
        self._begin()

    def run(self) -> None:
        """Drain, and return when that is done or takes too long."""
        if self._process != os.getpid():
            self._begin()  # forked: the thread stayed in the parent
        self._wanted.put(None)
        try:
            self._done.get(timeout=self._timeout + 2 * LAST_WORDS)
        except queue.Empty:
            return

    def _begin(self) -> None:
        self._process = os.getpid()
        self._wanted: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=self._wait, name="tiercache-sigterm", daemon=True).start()

    def _wait(self) -> None:
        while True:
            self._wanted.get()
            try:
                _before_the_end(self._timeout, ended=self._ended)
            finally:
                self._done.put(None)


def _before_the_end(timeout: float, *, ended: bool) -> None:
    """Write what waits, then what was recorded meanwhile, and tell other processes."""
    ends = time.monotonic() + timeout
    drain_all(timeout)
    _drain(list(_recordings), max(ends, time.monotonic() + LAST_WORDS))
    told = [thing.tell(ended=ended) for thing in _in_order() if isinstance(thing, Telling)]
    wait([future for future in told if future is not None], max(LAST_WORDS, ends - time.monotonic()))


def _at_exit() -> None:
    drain_all(EXIT_SECONDS)
    for thing in _in_order():
        thing.end()


def _in_order() -> list[Ending]:
    return [*_recordings, *sorted(_watched, key=lambda thing: hasattr(thing, "scheme"))]  # backends have one


atexit.register(_at_exit)
