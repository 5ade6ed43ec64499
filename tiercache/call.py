"""`Call`: one operation on a tier's backend, timed, counted and bounded; and what a backend may answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, TypeVar

from .coherence.guard import Seen
from .entry import Entry, Metadata
from .errors import BackendUnavailable, CircuitOpen, CorruptEntry, PartialFailure, TiercacheError
from .flow import Operation
from .health import this_call
from .health.bounded import in_time, is_derived
from .health.breaker import Probe, Verdict, judge
from .health.retries import READS, REPEATABLE, backoff

if TYPE_CHECKING:
    from .tier import Tier

T = TypeVar("T")


class Call(Operation[T]):
    """One operation on a tier's backend, timed, counted and bounded by the tier's deadline.

    It is not sent while the tier's breaker is open, nor when the tier has failed earlier in the same call of the
    cache. An operation that may be repeated is tried once more where the error says that this is worth it
    (`retry_after`), as far as the tier's budget and the deadline allow.

    Raises:
        CircuitOpen: it was not sent.
    """

    __slots__ = ("args", "method", "options", "probe", "tier", "timeout")

    def __init__(
        self,
        tier: Tier,
        method: str,
        args: tuple[Any, ...],
        timeout: float | None,
        *,
        probe: Probe | None = None,
        **options: Any,
    ) -> None:
        self.tier = tier
        self.method = method
        self.args = args
        self.timeout = timeout
        self.probe: Probe | None = probe
        self.options = options

    def __await__(self) -> Generator[Operation[T], T, T]:
        if self.tier.local:  # memory answers at once, under any driver
            return self.perform()
        return (yield self)

    def perform(self) -> T:
        """Do it, blocking."""
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        try:
            return self._attempt(deadline)
        except TiercacheError as error:
            first, wait = error, self._given_up(error, deadline)
            if wait is None:
                raise
        time.sleep(wait)
        try:
            return self._attempt(deadline)
        except TiercacheError as error:
            self._failed(first if isinstance(error, CircuitOpen) else error)
            raise

    async def aperform(self) -> T:
        """Do it without blocking the running loop."""
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        try:
            return await self._aattempt(deadline)
        except TiercacheError as error:
            first, wait = error, self._given_up(error, deadline)
            if wait is None:
                raise
        await asyncio.sleep(wait)
        try:
            return await self._aattempt(deadline)
        except TiercacheError as error:
            self._failed(first if isinstance(error, CircuitOpen) else error)
            raise

    def _attempt(self, deadline: float | None) -> T:
        tier, start = self.tier, perf_counter_ns()
        breaker = tier.breaker
        ticket = tier.healer.enter(self.probe) if breaker.wary else breaker.generation
        try:
            operation = getattr(tier.backend, self.method)
            if tier.bound is None or deadline is None:
                answer = operation(*self.args, deadline=deadline, **self.options)
            else:
                answer = tier.bound.run(operation, deadline, *self.args, deadline=deadline, **self.options)
            result: T = _CHECKS[self.method](self.args, answer)
        except BaseException as error:  # sorted by `_sorted`
            failure = self._sorted(error, ticket)
            if failure is None:
                raise
            raise failure from failure.__cause__
        if breaker.wary:
            breaker.settle(ticket, Verdict.ANSWERED)
        tier.timed(self.method, perf_counter_ns() - start)
        return result

    async def _aattempt(self, deadline: float | None) -> T:
        tier, start = self.tier, perf_counter_ns()
        breaker = tier.breaker
        ticket = tier.healer.enter(self.probe) if breaker.wary else breaker.generation
        try:
            operation = getattr(tier.backend, "a" + self.method)
            if tier.bound is None or deadline is None:
                answer = await operation(*self.args, deadline=deadline, **self.options)
            elif is_derived(tier.backend, self.method):
                operation = getattr(tier.backend, self.method)
                answer = await tier.bound.arun(operation, deadline, *self.args, deadline=deadline, **self.options)
            else:
                answer = await in_time(operation, deadline, *self.args, deadline=deadline, **self.options)
            result: T = _CHECKS[self.method](self.args, answer)
        except BaseException as error:  # sorted by `_sorted`
            failure = self._sorted(error, ticket)
            if failure is None:
                raise
            raise failure from failure.__cause__
        if breaker.wary:
            breaker.settle(ticket, Verdict.ANSWERED)
        tier.timed(self.method, perf_counter_ns() - start)
        return result

    def _sorted(self, error: BaseException, ticket: int) -> TiercacheError | None:
        """Tell the breaker what the backend raised, and map it; None: it is an interrupt or a cancellation."""
        breaker = self.tier.breaker
        if not isinstance(error, Exception):
            breaker.settle(ticket, Verdict.NOTHING)
            return None
        failure = self.tier.mapped(error)
        breaker.settle(ticket, judge(failure, self._asked()), failure)
        return failure

    def _given_up(self, error: TiercacheError, deadline: float | None) -> float | None:
        """Return the seconds after which to try again; None: do not, it has failed."""
        if isinstance(error, BackendUnavailable) and error.retry_after is not None and self._is_repeatable():
            wait = backoff(error.retry_after, None if deadline is None else deadline - time.monotonic())
            if wait is not None and self.tier.breaker.allows_retry(write=self.method not in READS):
                self.tier.counters.retries += 1
                if self.method in ("put", "put_many"):  # the first attempt may land after later writes
                    key, *entry = self.args
                    self.tier.journal.given_up({key: entry[0]} if entry else key)
                return wait
        self._failed(error)
        return None

    def _failed(self, error: TiercacheError) -> None:
        """Count it and, if the store is in trouble, ask it no more in this call."""
        if isinstance(error, CircuitOpen):
            return  # nothing was sent
        self.tier.count(error)
        if judge(error, self._asked()) in (Verdict.FAILED, Verdict.SPENT):
            this_call.failed(self.tier)

    def _is_repeatable(self) -> bool:
        conditions = [value for name, value in self.options.items() if name != "letter"]
        return self.method in REPEATABLE and not any(conditions)

    def _asked(self) -> int | None:
        """How many keys a batch has; None: it is none."""
        return None if not self.args or isinstance(self.args[0], str) else len(self.args[0])


# What a backend may answer. A store that another person wrote is not believed blindly: what does not fit is a failure
# of the tier, and an entry of another key is never served.


def _entry(args: tuple[Any, ...], answer: Any) -> Entry | None:
    if answer is None:
        return None
    if not isinstance(answer, Entry):
        raise TypeError(f"get returned a {type(answer).__name__}")
    if answer.metadata.key != args[0]:
        raise CorruptEntry("the store returned the entry of another key")
    return answer


def _metadata(args: tuple[Any, ...], answer: Any) -> Metadata | None:
    if answer is None or (isinstance(answer, Metadata) and answer.key == args[0]):
        return answer
    raise CorruptEntry("the store returned no metadata, or those of another key")


def _entries(args: tuple[Any, ...], answer: Any) -> dict[str, Entry]:
    if not isinstance(answer, dict):
        raise TypeError(f"get_many returned a {type(answer).__name__}")
    asked = set(args[0])
    good = {
        key: entry
        for key, entry in answer.items()
        if key in asked and isinstance(entry, Entry) and entry.metadata.key == key
    }
    if len(good) < len(answer):
        wrong = {key: CorruptEntry("the store returned another key's entry") for key in answer if key not in good}
        raise PartialFailure(wrong, good)
    return good


def _truth(args: tuple[Any, ...], answer: Any) -> bool:
    if not isinstance(answer, int):
        raise TypeError(f"the store answered with a {type(answer).__name__}, not a bool")
    return bool(answer)


def _number(args: tuple[Any, ...], answer: Any) -> int:
    if not isinstance(answer, int):
        raise TypeError(f"the store answered with a {type(answer).__name__}, not a number")
    return answer


def _seen(args: tuple[Any, ...], answer: Any) -> Seen:
    if not isinstance(answer, Seen):
        raise TypeError(f"get_seen returned a {type(answer).__name__}")
    _entry(args, answer.entry)
    return answer


def _many_seen(args: tuple[Any, ...], answer: Any) -> dict[str, Seen]:
    if not isinstance(answer, dict) or not all(isinstance(seen, Seen) for seen in answer.values()):
        raise TypeError("get_many_seen returned no dict of what was seen")
    asked = set(args[0])
    good = {
        key: seen
        for key, seen in answer.items()
        if key in asked and (seen.entry is None or seen.entry.metadata.key == key)
    }
    if len(good) < len(answer):
        wrong = {key: CorruptEntry("the store returned another key's entry") for key in answer if key not in good}
        raise PartialFailure(wrong, good)
    return good


def _keys(args: tuple[Any, ...], answer: Any) -> set[str]:
    if not isinstance(answer, set):
        raise TypeError(f"the store answered with a {type(answer).__name__}, not a set of keys")
    return answer


def _anything(args: tuple[Any, ...], answer: Any) -> None:
    return None


_CHECKS: dict[str, Callable[[tuple[Any, ...], Any], Any]] = {
    "get": _entry,
    "head": _metadata,
    "put": _truth,
    "delete": _truth,
    "get_many": _entries,
    "put_many": _anything,
    "delete_many": _number,
    "clear": _number,
    "ping": _anything,
    "announce": _anything,
    "lease": _truth,
    "end_lease": _truth,
    "get_seen": _seen,
    "get_many_seen": _many_seen,
    "put_seen": _truth,
    "put_many_seen": _keys,
    "bury": _keys,
    "displace": _keys,
    "close_tombs": _number,
    "overtaken": _keys,
}
