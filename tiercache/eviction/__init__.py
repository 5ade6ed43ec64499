"""Which entry goes first when memory is full: the policies, pure data structures without locks and clocks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from .expiry import ExpiryIndex
from .order import Arrival, Order, Recency
from .policy import EvictionPolicy
from .queue import Queue
from .ranked import Ending, Frequency, RankHeap
from .s3fifo import ThreeQueues
from .sieve import Sieve

__all__ = ["EvictionPolicy", "ExpiryIndex", "Order", "Queue", "RankHeap", "order_of", "table_for"]

ORDERS: dict[EvictionPolicy, type[Order[Any, Any]]] = {
    EvictionPolicy.LRU: Recency,
    EvictionPolicy.LFU: Frequency,
    EvictionPolicy.FIFO: Arrival,
    EvictionPolicy.TTL: Ending,
    EvictionPolicy.SIEVE: Sieve,
    EvictionPolicy.S3FIFO: ThreeQueues,
}


def table_for(policy: EvictionPolicy) -> dict[Any, Any]:
    """Return an empty table for a policy's entries."""
    return OrderedDict() if policy is EvictionPolicy.LRU else {}


def order_of(policy: EvictionPolicy, table: dict[Any, Any], weigh: Callable[[Any, Any], int]) -> Order[Any, Any]:
    """Return the policy's order over a table of `table_for`; `weigh` tells what an entry takes of the room."""
    return ORDERS[policy](table, weigh)
