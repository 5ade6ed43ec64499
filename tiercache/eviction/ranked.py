"""`lfu` and `ttl`: a heap of ranks that is corrected when it is read.

A hit stays as cheap as an addition, and the entry taken is still exactly the lowest.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar

from .order import Order, R

S = TypeVar("S")
K = TypeVar("K", bound=Hashable)

USE = 1 << 40
"""A use, above the bits of `rank` that number the entries in the order in which they were stored."""


class RankHeap(Generic[K, S]):
    """Finds the key of lowest rank in a table whose ranks grow unseen.

    Ranks may only grow while an entry lives. Each entry has at least one record here, with a rank it once had, so
    the first record whose rank is still true is the lowest of all. O(log n) a record.

    Args:
        table: the live entries.
        rank: the current rank of an entry; no two entries that were ever in the table share one.
    """

    def __init__(self, table: Mapping[K, S], rank: Callable[[S], tuple[float, int]]) -> None:
        self._table = table
        self._rank = rank
        self._records: list[tuple[float, int, K]] = []

    def __len__(self) -> int:
        return len(self._records)

    def push(self, key: K) -> None:
        """Record an entry that was just stored."""
        if len(self._records) > 2 * len(self._table) + 64:
            # Deleted and overwritten entries leave records behind; this keeps them in proportion.
            self._records = [(*self._rank(entry), key) for key, entry in self._table.items()]
            heapq.heapify(self._records)
        else:
            heapq.heappush(self._records, (*self._rank(self._table[key]), key))

    def lowest(self) -> K | None:
        """Return the key of the entry with the lowest rank; None when the table is empty."""
        while self._records:
            recorded = self._records[0]
            key = recorded[2]
            entry = self._table.get(key)
            if entry is None:
                heapq.heappop(self._records)
                continue
            current = (*self._rank(entry), key)
            if current == recorded:
                return key
            heapq.heapreplace(self._records, current)
        return None

    def first(self) -> K:
        """`lowest` of a table that is not empty."""
        key = self.lowest()
        if key is None:
            raise IndexError("the table is empty")
        return key


class Frequency(Order[K, R]):
    """`lfu`: the fewest uses first; of those, what was stored first. What replaces an entry takes its uses over."""

    def __init__(self, table: dict[K, R], weigh: Callable[[K, R], int]) -> None:
        super().__init__(table, weigh)
        self._heap: RankHeap[K, R] = RankHeap(table, lambda entry: (entry.rank, 0))
        self._stored = 0
        self.mark = _count

    def add(self, key: K, entry: R, old: R | None) -> None:
        """Number the entry."""
        self._stored += 1
        entry.rank = self._stored + (0 if old is None else old.rank // USE * USE)
        self._heap.push(key)

    def evict(self) -> K:
        """Return the key that was used least."""
        return self._heap.first()

    def __len__(self) -> int:
        return len(self._heap)


class Ending(Order[K, R]):
    """`ttl`: what would be gone first; of those that never are, what was stored first."""

    def __init__(self, table: dict[K, R], weigh: Callable[[K, R], int]) -> None:
        super().__init__(table, weigh)
        self._heap: RankHeap[K, R] = RankHeap(table, lambda entry: (entry.gone_at, entry.rank))
        self._stored = 0

    def add(self, key: K, entry: R, old: R | None) -> None:
        """Number the entry."""
        self._stored += 1
        entry.rank = self._stored
        self._heap.push(key)

    def evict(self) -> K:
        """Return the key that would be gone first."""
        return self._heap.first()

    def __len__(self) -> int:
        return len(self._heap)


def _count(entry: Any) -> None:
    entry.rank += USE
