"""Which entry goes first when memory is full: pure data structures, no locks, no clock.

`lru` and `fifo` need only the order of a dict. `lfu` and `ttl` keep a heap of ranks that is corrected when it is
read: a hit stays as cheap as an addition, and the entry taken is still exactly the lowest.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Generic, TypeVar

S = TypeVar("S")


class EvictionPolicy(StrEnum):
    """What leaves a full memory tier first."""

    LRU = "lru"
    """The entry whose last use is longest ago."""
    LFU = "lfu"
    """The entry with the fewest uses; of those, the one that was stored first."""
    FIFO = "fifo"
    """The entry that was stored first."""
    TTL = "ttl"
    """The entry that would expire first; those that never expire come last."""


class RankHeap(Generic[S]):
    """Finds the key of lowest rank in a table whose ranks grow unseen.

    Ranks may only grow while an entry lives. Each entry has at least one record here, with a rank it once had, so
    the first record whose rank is still true is the lowest of all. O(log n) a record.

    Args:
        table: the live entries.
        rank: the current rank of an entry; no two entries that were ever in the table share one.
    """

    def __init__(self, table: Mapping[str, S], rank: Callable[[S], tuple[float, int]]) -> None:
        self._table = table
        self._rank = rank
        self._records: list[tuple[float, int, str]] = []

    def __len__(self) -> int:
        return len(self._records)

    def push(self, key: str) -> None:
        """Record an entry that was just stored."""
        if len(self._records) > 2 * len(self._table) + 64:
            # Deleted and overwritten entries leave records behind; this keeps them in proportion.
            self._records = [(*self._rank(entry), key) for key, entry in self._table.items()]
            heapq.heapify(self._records)
        else:
            heapq.heappush(self._records, (*self._rank(self._table[key]), key))

    def lowest(self) -> str | None:
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


class ExpiryIndex:
    """Tells which keys may have expired, at about nine bytes a key.

    Keys are kept in buckets a sixteenth as wide as their remaining life, so an entry is found at most that much
    after its end. What it names must be checked: the entry may have been replaced since.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all keys."""
        self._buckets: dict[tuple[int, int], list[str]] = {}
        self._ends: list[tuple[int, int, int]] = []
        self.records = 0

    def add(self, key: str, gone_at: float, now: float) -> None:
        """Record that the key's entry ends at `gone_at`."""
        width = 1 << max(0, int(max(gone_at - now, 0.0) / 16).bit_length() - 1)
        index = int(gone_at // width)
        bucket = self._buckets.get((width, index))
        if bucket is None:
            bucket = self._buckets[width, index] = []
            heapq.heappush(self._ends, ((index + 1) * width, width, index))
        bucket.append(key)
        self.records += 1

    def is_due(self, now: float) -> bool:
        """Return whether `take_due` would find a key; for callers that hold no lock."""
        try:
            return self._ends[0][0] <= now
        except IndexError:
            return False

    def take_due(self, now: float, limit: int) -> list[str]:
        """Remove and return up to `limit` keys whose buckets have ended."""
        due: list[str] = []
        while self._ends and self._ends[0][0] <= now and len(due) < limit:
            _, width, index = self._ends[0]
            bucket = self._buckets[width, index]
            room = limit - len(due)
            due += bucket[-room:]
            del bucket[-room:]
            if not bucket:
                heapq.heappop(self._ends)
                del self._buckets[width, index]
        self.records -= len(due)
        return due

    def begun(self, now: float) -> list[str]:
        """Return the keys of the buckets in which `now` lies: some of their entries may have ended. None is removed."""
        return [key for (width, index), keys in self._buckets.items() if index * width <= now for key in keys]
