"""`Healer`: sees to it that a tier whose breaker is open is asked again, even if nobody uses the cache.

While a breaker is open a thread looks now and then whether it is time for a probe, and pings the store from a thread
of its own: so no caller waits for a store that is still dead. Where that fails (after a fork, or without a thread) a
caller becomes the probe, a second later.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from .. import fork
from ..errors import BackendUnavailable, CacheClosed, CircuitOpen, TiercacheError
from ..logs import fields
from ..pool import DaemonPool
from ..ticker import ticker
from . import this_call
from .breaker import Breaker, BreakerPolicy, Probe

if TYPE_CHECKING:
    from ..tier import Tier

logger = logging.getLogger("tiercache")
GRACE = 1.0
"""Seconds for which callers leave a due probe to the ping in the background."""
TICK = 0.2
"""Seconds between looks whether a probe is due, while a breaker is open."""
LOG_EVERY = 60.0

_threads = DaemonPool(16, "tiercache-probe", max_queue=0)


class Healer:
    """Holds the breaker of a tier and everything that happens when it opens and closes.

    Args:
        tier: the tier.
        policy: of its breaker; None: it never opens.

    Attributes:
        breaker: the breaker.
        on_recovery: called, quickly, when the breaker closed after it was open.
    """

    def __init__(self, tier: Tier, policy: BreakerPolicy | None) -> None:
        self._tier = tier
        self.breaker = Breaker(policy, grace=GRACE, on_open=self._opened, on_close=self._closed)
        self.on_recovery: list[Callable[[], None]] = []
        self._told: dict[str, float] = {}
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """The ping that is under way, and the thread that looks, stayed in the parent."""
        self._lock = threading.Lock()
        self._tending = False
        self._ping: Future[None] | None = None

    def enter(self, probe: Probe | None) -> int:
        """Return the ticket of a call that begins now (`Breaker.enter`).

        Raises:
            CircuitOpen: the breaker is open, or the tier has failed in this very call.
        """
        if probe is None and this_call.has_failed(self._tier):
            self._tier.counters.refused += 1
            raise CircuitOpen("the tier failed earlier in this call and is not asked again in it")
        try:
            ticket = self.breaker.enter(probe)
        except CircuitOpen:
            self._tier.counters.refused += 1
            if self.breaker.open_for is not None:
                self._tend_to_it()
            raise
        if self.breaker.wants_rebuild():
            self._rebuild()
        return ticket

    def tend(self) -> None:
        """Ping the store if that is due; called now and then while the breaker is open."""
        with self._lock:
            if self.breaker.open_for is None:
                self._tending = False
                ticker.stop(self.tend)
                return
            if self.breaker.is_due and (self._ping is None or self._ping.done()):
                try:
                    self._ping = _threads.submit(self._probe)
                except BackendUnavailable:  # no thread: next time, or a caller's probe
                    return

    def _probe(self) -> None:
        try:
            self._tier.ping(probe="due").perform()
        except CacheClosed:
            ticker.stop(self.tend)  # for good; nobody asks again
        except TiercacheError:
            return  # counted, and the breaker knows

    def _tend_to_it(self) -> None:
        if self._tending:
            return
        with self._lock:
            if not self._tending:
                try:
                    ticker.every(TICK, self.tend)
                except RuntimeError:  # the system gives no thread: a caller will be the probe
                    return
                self._tending = True

    def _opened(self, error: Exception, seconds: float) -> None:
        self._tend_to_it()
        text = "tier %s: %s: %s; it is not asked for %.1f s, and then pinged until it answers (see health)"
        kind = type(error).__name__
        extra = fields("tier.opened", tier=self._tier.label, kind=kind, seconds=round(seconds, 3))
        if self._tell(logging.WARNING, text, self._tier.label, kind, error, seconds, extra=extra):
            self._tier.said(kind)

    def _closed(self, seconds: float) -> None:
        label = self._tier.label
        extra = fields("tier.closed", tier=label, seconds=round(seconds, 3))
        self._tell(logging.INFO, "tier %s: answers again after %.1f s", label, seconds, extra=extra)
        for callback in list(self.on_recovery):
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - whoever found that the store answers is not to blame
                kind = type(error).__name__
                extra = fields("tier.recovery_failed", tier=label, kind=kind)
                logger.error("tier %s: a recovery callback failed: %s", label, kind, extra=extra)  # noqa: TRY400

    def _rebuild(self) -> None:
        rebuild = getattr(self._tier.backend, "rebuild", None)
        if rebuild is None:
            return
        try:
            rebuild()
        except Exception as error:  # noqa: BLE001 - counted as any failure of the tier; the probe goes on
            self._tier.failed(error)

    def _tell(self, level: int, text: str, *args: object, extra: dict[str, object]) -> bool:
        now = time.monotonic()
        with self._lock:
            if now - self._told.get(text, -math.inf) < LOG_EVERY:
                return False
            self._told[text] = now
        logger.log(level, text, *args, extra=extra)
        return True
