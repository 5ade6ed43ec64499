"""`Breaker`: whether a tier is asked. It opens when the store fails, and closes when a probe finds that it answers.

It is pure state with a clock: who asks the store (`tiercache.call`) tells it how that went, and who probes a store
that nobody asks (`tiercache.health.healing`) learns here when. What counts is what the backend raised, before anything
else has seen it.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

from .. import fork
from ..errors import (
    AccessDenied,
    BackendTimeout,
    BackendUnavailable,
    CircuitOpen,
    ConfigurationError,
    CorruptEntry,
    InvalidKey,
    MisconfiguredTier,
    PartialFailure,
)
from .retries import RetryBudget

State = Literal["closed", "open", "half-open"]
Probe = Literal["due", "asked"]
ASKED = 0
"""The ticket of whoever asks the store whatever the breaker says (`health`, `check`)."""
LOST_AFTER = 30.0
"""Seconds after which a probe that did not come back no longer keeps others from probing."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, and for how long.

    Attributes:
        failures: quick failures in a row that open it. One spent deadline always does.
        share: of the last `window` calls that open it when they failed, 0 to 1.
        window: calls that are remembered.
        open_seconds: how long it stays open the first time; each probe that fails doubles that, give or take a tenth.
        longest: seconds beyond which that does not grow.
        rebuild_after: seconds open after which the backend is told to drop its connections and to look up names and
            credentials anew.

    Raises:
        ConfigurationError: a figure that is none, or out of its range.
    """

    failures: int = 5
    share: float = 0.5
    window: int = 20
    open_seconds: float = 2.0
    longest: float = 30.0
    rebuild_after: float = 120.0

    def __post_init__(self) -> None:
        for name in ("failures", "window"):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ConfigurationError(f"{name} of a BreakerPolicy must be a whole number from 1 on")
        if not _is_number(self.share) or not 0 < self.share <= 1:
            raise ConfigurationError("share of a BreakerPolicy must be a number above 0 and up to 1, such as 0.5")
        for name in ("open_seconds", "longest", "rebuild_after"):
            seconds = getattr(self, name)
            if not _is_number(seconds) or not 0 <= seconds < math.inf:
                raise ConfigurationError(f"{name} of a BreakerPolicy must be a finite number of seconds from 0 on")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Verdict(Enum):
    """What the outcome of a call says about the store."""

    ANSWERED = "it works, even if it refused this"
    NOTHING = "nothing: only this process, this entry or a part of a batch was concerned"
    FAILED = "it could not be reached, or refused work"
    SPENT = "the deadline passed"


class _Why(NamedTuple):
    """What is kept of an error: the error itself would keep the stack that it went through."""

    kind: str
    text: str
    misconfigured: bool

    @classmethod
    def of(cls, error: Exception) -> _Why:
        return cls(type(error).__name__, str(error), isinstance(error, ConfigurationError))


class Breaker:
    """The breaker of one tier, shared by all threads and event loops.

    Args:
        policy: when it opens; None: never.
        grace: seconds for which a breaker that could be probed leaves that to `probe="due"`.
        clock: monotonic seconds.
        jitter: returns a number from 0 to 1.
        on_open: called after it opened, with the failure and the seconds that it stays open at first.
        on_close: called after it closed, with the seconds that it was open.

    Attributes:
        wary: False while there is nothing to ask and nothing to tell: no call of the last `window` failed, and the
            retries that were spent have been earned again.
        generation: the ticket of the calls that begin now.
    """

    def __init__(
        self,
        policy: BreakerPolicy | None,
        *,
        grace: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        on_open: Callable[[Exception, float], object] = lambda error, seconds: None,
        on_close: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        self.policy = policy
        self.wary = False
        self.generation = 1
        self._grace = grace
        self._clock = clock
        self._jitter = jitter
        self._on_open = on_open
        self._on_close = on_close
        self._recent: deque[bool] = deque(maxlen=20 if policy is None else policy.window)  # True: failed
        self._streak = 0
        self._opened: float | None = None
        self._closed = -math.inf
        self._rebuilt = 0.0
        self._seconds = 0.0
        self._until = 0.0
        self._why: _Why | None = None
        self._budget = RetryBudget()
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """Make the lock anew; a probe that is under way stayed in the parent."""
        self._lock = threading.Lock()
        self._probe = -1
        self._probe_ends = -math.inf

    @property
    def state(self) -> State | None:
        """`half-open` is a breaker with a probe under way; None: it never opens."""
        if self.policy is None:
            return None
        if self._opened is None:
            return "closed"
        return "half-open" if self._probe > 0 else "open"

    @property
    def open_for(self) -> float | None:
        """Seconds since it opened; None while it is closed."""
        opened = self._opened
        return None if opened is None else self._clock() - opened

    @property
    def is_due(self) -> bool:
        """Whether it is open, and time for a probe."""
        return self._opened is not None and self._clock() >= self._until

    def enter(self, probe: Probe | None = None) -> int:
        """Return the ticket of a call that begins now.

        Args:
            probe: `due`: this is a probe that nobody waits for; `asked`: somebody wants to know now.

        Raises:
            CircuitOpen: the tier is not asked.
        """
        with self._lock:
            if self._opened is None:
                return self.generation
            now = self._clock()
            free = self._probe < 0 or now >= self._probe_ends
            time_is_up = now >= self._until + (0.0 if probe else self._grace)
            if free and (time_is_up or probe == "asked"):
                self.generation += 1
                self._probe, self._probe_ends = self.generation, now + LOST_AFTER
                return self.generation
            if probe == "asked":
                return ASKED
            raise self._refusal(now)

    def allows_retry(self, *, write: bool) -> bool:
        """Whether a call may be tried again; that spends a token of the tier's budget."""
        with self._lock:
            return self.policy is not None and self._opened is None and self._budget.spend(write=write)

    def wants_rebuild(self) -> bool:
        """Whether it has been open for so long that the client is to be made anew before the probe; True once each
        `rebuild_after` seconds."""
        with self._lock:
            if self._opened is None or self.policy is None:
                return False
            now = self._clock()
            if now - max(self._opened, self._rebuilt) < self.policy.rebuild_after:
                return False
            self._rebuilt = now
            return True

    def settle(self, ticket: int, verdict: Verdict, error: Exception | None = None) -> None:
        """Take note of how a call went. Late news, of calls that began before it last opened, count for nothing."""
        opened = closed = None
        with self._lock:
            if self._opened is not None:
                if ticket == self._probe or (ticket == ASKED and verdict is Verdict.ANSWERED):
                    closed = self._probed(verdict, error)
            elif ticket == self.generation and verdict is not Verdict.NOTHING:
                opened = self._counted(verdict, error)
        if opened is not None and error is not None:
            self._on_open(error, opened)
        if closed is not None:
            self._on_close(closed)

    def _counted(self, verdict: Verdict, error: Exception | None) -> float | None:
        """Return the seconds for which the breaker opens by this; None: it does not."""
        failed = verdict is not Verdict.ANSWERED
        self._streak = self._streak + 1 if failed else 0
        self._recent.append(failed)
        failures = sum(self._recent)
        if not failed:
            self._budget.earn()
        self.wary = failures > 0 or not self._budget.is_full
        policy = self.policy
        if policy is None or not failed:
            return None
        if (
            verdict is Verdict.SPENT
            or self._streak >= policy.failures
            or failures >= max(1, policy.share * policy.window)
        ):
            now = self._clock()
            # One that opens again soon after it closed goes on where it was.
            again = now - self._closed < self._seconds
            self._opened = now
            self.generation += 1
            return self._stay_open(policy, self._seconds * 2 if again else policy.open_seconds, error)
        return None

    def _probed(self, verdict: Verdict, error: Exception | None) -> float | None:
        """Return the seconds that the breaker was open, when it closes by this."""
        self._probe = -1
        if verdict is Verdict.ANSWERED and self._opened is not None:
            self._closed, opened, self._opened, self._why = self._clock(), self._opened, None, None
            self._streak = 0
            self._recent.clear()
            self.wary = not self._budget.is_full
            self.generation += 1
            return self._closed - opened
        if verdict is not Verdict.NOTHING and self.policy is not None:
            self._stay_open(self.policy, self._seconds * 2, error)
        return None

    def _stay_open(self, policy: BreakerPolicy, seconds: float, error: Exception | None) -> float:
        asked_for = getattr(error, "retry_after", None) or 0.0
        self._seconds = min(seconds, policy.longest)
        lasts = max(self._seconds * (0.9 + 0.2 * self._jitter()), asked_for)
        lasts = min(lasts, policy.longest)
        self._until = self._clock() + lasts
        self._why = None if error is None else _Why.of(error)
        return lasts

    def _refusal(self, now: float) -> CircuitOpen:
        left, why = self._until - now, self._why
        when = f"it is asked again in {left:.1f} s" if left > 0 else "it is being asked whether it works again"
        since = f"the tier has failed for {now - (self._opened or now):.1f} s and is not asked: {when}"
        if why is None:
            return CircuitOpen(since)
        text = f"{since}; the last error was {why.kind}: {why.text}"
        return MisconfiguredTier(text) if why.misconfigured else CircuitOpen(text)


def judge(error: Exception, asked: int | None = None) -> Verdict:
    """Return what an error says about the store.

    Args:
        error: what the backend raised.
        asked: how many keys a batch had.
    """
    if isinstance(error, PartialFailure):
        return _of_parts(error, asked)
    if isinstance(error, (BackendTimeout, BackendUnavailable)) and not error.tier_wide:
        return Verdict.NOTHING
    if isinstance(error.__cause__, (NotImplementedError, TypeError)):
        return Verdict.NOTHING  # somebody's store lacks the operation, or an option of it
    if isinstance(error, BackendTimeout):
        return Verdict.SPENT
    if isinstance(error, (AccessDenied, CorruptEntry)):
        return Verdict.ANSWERED
    if isinstance(error, InvalidKey):
        return Verdict.NOTHING
    if isinstance(error, (BackendUnavailable, ConfigurationError)):
        return Verdict.FAILED
    return Verdict.NOTHING


def _of_parts(error: PartialFailure, asked: int | None) -> Verdict:
    """A batch that got anywhere is slow, not dead; one whose keys were only refused has been answered."""
    verdicts = [judge(part) for part in error.failed.values()]
    bad = sum(verdict in (Verdict.FAILED, Verdict.SPENT) for verdict in verdicts)
    if not bad:
        return Verdict.ANSWERED if Verdict.ANSWERED in verdicts else Verdict.NOTHING
    progress = bool(error.results) if asked is None else bad < asked
    if progress:
        return Verdict.NOTHING
    return Verdict.SPENT if Verdict.SPENT in verdicts else Verdict.FAILED
