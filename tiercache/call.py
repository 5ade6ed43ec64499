"""`Call`: one operation on a tier's backend, timed, counted and bounded; and what a backend may answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, TypeVar

from .entry import Entry, Metadata
from .errors import CorruptEntry, PartialFailure
from .flow import Operation
from .guard import Seen

if TYPE_CHECKING:
    from .tier import Tier

T = TypeVar("T")


class Call(Operation[T]):
    """One operation on a tier's backend, timed, counted and bounded by the tier's deadline."""

    __slots__ = ("args", "method", "options", "tier", "timeout")

    def __init__(self, tier: Tier, method: str, args: tuple[Any, ...], timeout: float | None, **options: Any) -> None:
        self.tier = tier
        self.method = method
        self.args = args
        self.timeout = timeout
        self.options = options

    def perform(self) -> T:
        """Do it, blocking."""
        tier, start = self.tier, perf_counter_ns()
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        try:
            answer = getattr(tier.backend, self.method)(*self.args, deadline=deadline, **self.options)
            result: T = _CHECKS[self.method](self.args, answer)
        except Exception as error:  # noqa: BLE001 - sorted by `failed`
            failure = tier.failed(error)
            raise failure from failure.__cause__
        tier.timed(self.method, perf_counter_ns() - start)
        return result

    async def aperform(self) -> T:
        """Do it without blocking the running loop."""
        tier, start = self.tier, perf_counter_ns()
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        try:
            answer = await getattr(tier.backend, "a" + self.method)(*self.args, deadline=deadline, **self.options)
            result: T = _CHECKS[self.method](self.args, answer)
        except Exception as error:  # noqa: BLE001 - sorted by `failed`
            failure = tier.failed(error)
            raise failure from failure.__cause__
        tier.timed(self.method, perf_counter_ns() - start)
        return result


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
    _entries(args, {key: seen.entry for key, seen in answer.items() if seen.entry is not None})
    return answer


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
    "get_seen": _seen,
    "get_many_seen": _many_seen,
    "put_seen": _truth,
    "put_many_seen": _keys,
    "bury": _keys,
    "close_tombs": _number,
    "overtaken": _keys,
}
