"""What may be tried again, and when: once, within the deadline, and only as long as most calls succeed.

Retries help with a hiccup and harm a store in trouble, so they are paid from a budget: a call that succeeds earns a
tenth of a retry (the token bucket of Finagle's `RetryBudget` and of gRPC's retry throttling). The wait is drawn
evenly from zero to its bound ("full jitter", of the AWS Architecture Blog's "Exponential Backoff and Jitter").
"""

from __future__ import annotations

import random
from collections.abc import Callable

READS = frozenset({"get", "head", "get_many", "get_seen", "get_many_seen", "overtaken"})
REPEATABLE = READS | {"put", "put_many", "delete_many"}
"""Operations that do the same when they are done twice. `delete` and `bury` say whether something was there."""
BACKOFF = 0.05
"""Seconds of the longest wait where the store asks for none."""
PER_CALL = 0.1
"""Retries that a successful call earns."""
BURST = 10.0
"""Retries that are saved at most."""


class RetryBudget:
    """The retries of one tier; whoever calls it holds a lock."""

    __slots__ = ("_tokens",)

    def __init__(self) -> None:
        self._tokens = BURST

    @property
    def is_full(self) -> bool:
        """Whether there is nothing to earn."""
        return self._tokens >= BURST

    def earn(self) -> None:
        """Take note of a call that succeeded."""
        self._tokens = min(BURST, self._tokens + PER_CALL)

    def spend(self, *, write: bool) -> bool:
        """Take a retry, if there is one; a write may not take the second half, which is kept for reads."""
        if self._tokens - 1.0 < (BURST / 2 if write else 0.0):
            return False
        self._tokens -= 1.0
        return True


def backoff(retry_after: float, left: float | None, jitter: Callable[[], float] = random.random) -> float | None:
    """Return the seconds to wait before the one retry; None where no time would be left for it.

    Args:
        retry_after: seconds that the store asked for at least.
        left: seconds until the deadline; None: no deadline, and then not more than two seconds are waited.
        jitter: returns a number from 0 to 1.
    """
    room = 2.0 if left is None else left / 2
    if retry_after > room:
        return None
    return retry_after + jitter() * min(BACKOFF, room - retry_after)
