"""`Fault` and `Rule`: what `FaultyBackend` does wrong, and in which calls.

A rule counts the calls that it matches, from the moment it is given to a backend. Whether it strikes in the n-th of
them depends on the backend's seed, the rule's place among its rules and n alone: the same in every run, whichever
threads call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ..errors import ConfigurationError
from ..units import Duration, parse_duration

WRITES = frozenset({"put", "put_many", "delete", "delete_many", "clear"})
OPERATIONS = frozenset({"get", "get_many", "head", "scan", "ping"}) | WRITES
_LOOKS = frozenset({"get", "get_many"})
LIKE = {
    "get_seen": "get",
    "get_many_seen": "get_many",
    "put_seen": "put",
    "put_many_seen": "put_many",
    "bury": "delete_many",
    "close_tombs": "delete_many",
    "overtaken": "head",
}
"""What a guard (`tiercache.coherence.guard`) is asked in place of these operations, which is what rules call them."""


class Fault(StrEnum):
    """What goes wrong in a call.

    Errors, in place of the operation: `UNAVAILABLE`, `THROTTLED` (both raise `BackendUnavailable`), `TIMEOUT`,
    `DENIED`. Time: `DELAY` waits and then performs the operation, or raises `BackendTimeout` at the deadline;
    `HANG` waits whatever the deadline says. Writes: `LOSE` answers that it was done and does nothing; `LOST_ANSWER`
    does it and raises `BackendTimeout`; `LATE` raises `BackendTimeout` at once and does it at `land()`. Reads:
    `CORRUPT` flips a bit of the stored bytes and `TRUNCATE` cuts them in half, before the same check as every store's;
    `FOREIGN` returns another key's entry unchecked; `STALE` returns what the key held before its last change through
    this wrapper. `PARTIAL` fails some keys of a batch, at least one, and performs the others.
    """

    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    DENIED = "denied"
    THROTTLED = "throttled"
    DELAY = "delay"
    HANG = "hang"
    LOSE = "lose"
    LOST_ANSWER = "lost_answer"
    LATE = "late"
    CORRUPT = "corrupt"
    TRUNCATE = "truncate"
    FOREIGN = "foreign"
    STALE = "stale"
    PARTIAL = "partial"


APPLIES: dict[Fault, frozenset[str]] = (
    dict.fromkeys(Fault, OPERATIONS)
    | dict.fromkeys((Fault.LOSE, Fault.LOST_ANSWER, Fault.LATE), WRITES)
    | dict.fromkeys((Fault.CORRUPT, Fault.TRUNCATE, Fault.FOREIGN, Fault.STALE), _LOOKS)
    | {Fault.PARTIAL: frozenset({"get_many", "put_many", "delete_many"})}
)
"""The operations that each fault can strike."""


@dataclass(frozen=True)
class Rule:
    """When something goes wrong.

    Args:
        fault: what; a `Fault` or its name.
        operations: the operations that it can strike (`"get"`, `["put", "put_many"]`; an a-twin counts as its twin);
            left out: all to which the fault applies.
        probability: of each matching call, 0 to 1. Left out, with no `calls`: every one.
        calls: the numbers of the matching calls, the first is 1. Not together with `probability`.
        seconds: how long `DELAY` and `HANG` wait, and after how long a `LATE` write lands by itself; None: until the
            rule is healed (`DELAY`: or until the deadline), and until `land()`.

    Raises:
        ConfigurationError: there is no such fault or operation, or they do not go together.
    """

    fault: Fault | str
    operations: str | Iterable[str] | None = None
    probability: float | None = None
    calls: int | Iterable[int] | None = None
    seconds: Duration | None = None

    def __post_init__(self) -> None:
        if self.fault not in set(Fault):
            raise ConfigurationError(f"fault={str(self.fault)!r} must be one of {', '.join(Fault)}")
        fault = Fault(self.fault)
        named = (self.operations,) if isinstance(self.operations, str) else self.operations
        operations = APPLIES[fault] if named is None else frozenset(named)
        if not operations or not operations <= APPLIES[fault]:
            raise ConfigurationError(f"operations for {fault} must be of {', '.join(sorted(APPLIES[fault]))}")
        if self.probability is not None and (self.calls is not None or not 0 <= self.probability <= 1):
            raise ConfigurationError("probability must be from 0 to 1, and stands in place of calls")
        numbers = (self.calls,) if isinstance(self.calls, int) else self.calls
        if numbers is not None:
            numbers = frozenset(numbers)
            if not all(isinstance(number, int) and number >= 1 for number in numbers):
                raise ConfigurationError("calls must be numbers of calls; the first is 1")
        seconds = None if self.seconds is None else parse_duration(self.seconds, "seconds")
        for name, value in (
            ("fault", fault),
            ("operations", operations),
            ("calls", numbers),
            ("seconds", seconds),
        ):
            object.__setattr__(self, name, value)

    def matches(self, operation: str) -> bool:
        """Whether this operation can be struck."""
        return operation in self.operations  # type: ignore[operator]  # a frozenset since __post_init__

    def strikes(self, seed: int, place: int, number: int) -> bool:
        """Whether the matching call of this number is struck, the first is 1; `place` tells two equal rules apart."""
        if self.calls is not None:
            return number in self.calls  # type: ignore[operator]
        return self.probability is None or draw(seed, place, number, "strikes") < self.probability


def draw(*parts: object) -> float:
    """Return a number from 0 to 1 (excluded) that depends on the text of the parts alone."""
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=7).digest()
    return (int.from_bytes(digest, "big") >> 3) / (1 << 53)
