"""`s3fifo`: a small queue in which most newcomers end, a main queue, and the names of those who left lately.

After Yang and others, "FIFO Queues are All You Need for Cache Eviction" (SOSP 2023). A hit counts, and moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .order import K, Order, R
from .queue import Queue

SMALL = 0.1
"""The small queue's share of the room."""
ENOUGH = 2
"""Uses in the small queue with which an entry goes to the main one."""
MOST = 3
"""Uses that are counted."""


class ThreeQueues(Order[K, R]):
    """Entries whose `aside` holds are in the main queue; `rank` counts the uses."""

    def __init__(self, table: dict[K, R], weigh: Callable[[K, R], int]) -> None:
        super().__init__(table, weigh)
        self._small: Queue[K] = Queue()
        self._main: Queue[K] = Queue()
        self._ghosts: Queue[int] = Queue()
        self._left: set[int] = set()
        self._is_full = False  # before, the main queue is filled, too: newcomers have no rivals
        self.mark = _count

    def add(self, key: K, entry: R, old: R | None) -> None:
        """Queue the key: in the main queue if it left the small one lately, or replaces what is there."""
        name = hash(key)
        if old is not None:
            entry.rank, entry.aside = min(MOST, old.rank + 1), old.aside
        elif name in self._left:
            self._left.remove(name)
            self._ghosts.discard(name)
            entry.rank, entry.aside = 0, True
        else:
            entry.rank, entry.aside = 0, not self._is_full and self._small_is_large()
        (self._main if entry.aside else self._small).push(key, self.weigh(key, entry))

    def discard(self, key: K, entry: R) -> None:
        """Forget the key."""
        (self._main if entry.aside else self._small).discard(key, self.weigh(key, entry))

    def evict(self) -> K:
        """Return what was stored lately and not used again, or else what was not used for longest."""
        small, main = self._small, self._main
        self._is_full = True
        while True:
            from_small = small and (self._small_is_large() or not main)
            key = self._from_small() if from_small else self._from_main()
            if key is not None:
                return key

    def _small_is_large(self) -> bool:
        return self._small.weight > SMALL * (self._small.weight + self._main.weight)

    def _from_small(self) -> K | None:
        key = self._small.pop()
        entry = self.table[key]
        weight = self.weigh(key, entry)
        self._small.weight -= weight
        if entry.rank >= ENOUGH:
            entry.rank, entry.aside = 0, True
            self._main.push(key, weight)
            return None
        name = hash(key)
        if name not in self._left:
            self._left.add(name)
            self._ghosts.push(name)
        while len(self._left) > len(self.table) * (1 - SMALL):
            self._left.discard(self._ghosts.pop())
        return key

    def _from_main(self) -> K | None:
        key = self._main.pop()
        entry = self.table[key]
        if entry.rank:
            entry.rank -= 1
            self._main.repeat(key)
            return None
        self._main.weight -= self.weigh(key, entry)
        return key

    def clear(self) -> None:
        """Forget all."""
        self._small, self._main, self._ghosts = Queue(), Queue(), Queue()
        self._left.clear()
        self._is_full = False

    def __len__(self) -> int:
        return len(self._small) + len(self._main)


def _count(entry: Any) -> None:
    if entry.rank < MOST:
        entry.rank += 1
