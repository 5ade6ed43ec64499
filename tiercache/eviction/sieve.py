"""`sieve`: a hand goes over the entries from old to new, takes what was not used, and spares the rest once.

After Zhang and others, "SIEVE is Simpler than LRU" (NSDI 2024). A hit sets a bit and moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .order import K, Order, R
from .queue import Queue


class Sieve(Order[K, R]):
    """The list and its hand as two queues: what the hand has before it, and what it spared behind it.

    What is stored goes to the end of the first. Where that is empty the hand has passed the newest entry: it begins
    with the oldest one again, and the queues change places.
    """

    def __init__(self, table: dict[K, R], weigh: Callable[[K, R], int]) -> None:
        super().__init__(table, weigh)
        self._before: Queue[K] = Queue()
        self._behind: Queue[K] = Queue()
        self._is_turned = False  # entries whose `aside` is this are before the hand
        self.mark = _visit

    def add(self, key: K, entry: R, old: R | None) -> None:
        """Queue the key; what replaces an entry counts as used."""
        entry.rank = 0 if old is None else 1
        if not self._before:
            self._turn()
        entry.aside = self._is_turned
        self._before.push(key)

    def discard(self, key: K, entry: R) -> None:
        """Forget the key."""
        (self._before if entry.aside is self._is_turned else self._behind).discard(key)

    def evict(self) -> K:
        """Return the first unused key from the hand on."""
        while True:
            if not self._before:
                self._turn()
            key = self._before.pop()
            entry = self.table[key]
            if not entry.rank:
                return key
            entry.rank = 0
            entry.aside = not self._is_turned
            self._behind.push(key)

    def clear(self) -> None:
        """Forget all."""
        self._before, self._behind = Queue(), Queue()

    def _turn(self) -> None:
        self._before, self._behind = self._behind, self._before
        self._is_turned = not self._is_turned

    def __len__(self) -> int:
        return len(self._before) + len(self._behind)


def _visit(entry: Any) -> None:
    entry.rank = 1
