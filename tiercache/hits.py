"""The function that answers hits in memory, for each way in which a policy notes them.

Closures, each written out: looking up attributes of an object, or calling one function more, would be a fifth of the
some 200 ns that a hit takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .entry import Clock
from .eviction import EvictionPolicy, Order
from .eviction.ranked import USE
from .eviction.s3fifo import MOST
from .slots import Slot

Reader = Callable[[str], Slot | None]


def reader_of(policy: EvictionPolicy, order: Order[str, Any], clock: Clock) -> Reader:
    """Return the function that finds the slot of a fresh entry and counts its use; None: there is none."""
    find = order.table.get
    if order.touch is not None:
        return _touching(find, clock, order.touch)
    if policy is EvictionPolicy.LFU:
        return _counting(find, clock)
    if policy is EvictionPolicy.SIEVE:
        return _visiting(find, clock)
    if policy is EvictionPolicy.S3FIFO:
        return _counting_few(find, clock)
    return _finding(find, clock)


def _touching(find: Callable[[str], Any], clock: Clock, touch: Callable[[str], object]) -> Reader:
    never = math.inf

    def fresh(key: str) -> Slot | None:
        slot: Slot | None = find(key)
        if slot is None:
            return None
        fresh_until = slot.fresh_until
        if fresh_until != never and fresh_until <= clock():  # the clock is the dearest part of a hit
            return None
        try:  # noqa: SIM105 - contextlib.suppress would double the cost of a hit
            touch(key)
        except KeyError:
            pass  # evicted by another thread since it was found; what was found is still good
        return slot

    return fresh


def _counting(find: Callable[[str], Any], clock: Clock) -> Reader:
    never, use = math.inf, USE

    def fresh(key: str) -> Slot | None:
        slot: Any = find(key)
        if slot is None:
            return None
        fresh_until = slot.fresh_until
        if fresh_until != never and fresh_until <= clock():
            return None
        slot.rank += use
        return slot  # type: ignore[no-any-return]

    return fresh


def _visiting(find: Callable[[str], Any], clock: Clock) -> Reader:
    never = math.inf

    def fresh(key: str) -> Slot | None:
        slot: Any = find(key)
        if slot is None:
            return None
        fresh_until = slot.fresh_until
        if fresh_until != never and fresh_until <= clock():
            return None
        slot.rank = 1
        return slot  # type: ignore[no-any-return]

    return fresh


def _counting_few(find: Callable[[str], Any], clock: Clock) -> Reader:
    never, most = math.inf, MOST

    def fresh(key: str) -> Slot | None:
        slot: Any = find(key)
        if slot is None:
            return None
        fresh_until = slot.fresh_until
        if fresh_until != never and fresh_until <= clock():
            return None
        if slot.rank < most:
            slot.rank += 1
        return slot  # type: ignore[no-any-return]

    return fresh


def _finding(find: Callable[[str], Any], clock: Clock) -> Reader:
    never = math.inf

    def fresh(key: str) -> Slot | None:
        slot: Slot | None = find(key)
        if slot is None:
            return None
        fresh_until = slot.fresh_until
        if fresh_until != never and fresh_until <= clock():
            return None
        return slot

    return fresh
