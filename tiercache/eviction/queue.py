"""`Queue`: first in, first out, with deletions from the middle, at eight bytes a key."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Queue(Generic[K]):
    """Keys in the order in which they came.

    A key that is discarded stays in the line and is skipped later: of several records of a key, the earlier are the
    dead ones, so their number is all that must be known. Every operation is O(1) over time.

    Attributes:
        weight: of the keys in it, together; who pops a key takes its weight off.
    """

    def __init__(self) -> None:
        self._line: deque[K] = deque()
        self._dead: dict[K, int] = {}
        self._gone = 0
        self.weight = 0

    def __len__(self) -> int:
        """Return the number of records, dead ones included."""
        return len(self._line)

    def __bool__(self) -> bool:
        return len(self._line) > self._gone

    def push(self, key: K, weight: int = 1) -> None:
        """Append a key, which is not in the queue."""
        self._line.append(key)
        self.weight += weight

    def repeat(self, key: K) -> None:
        """Append a key that was just popped, with the weight that it had."""
        self._line.append(key)

    def discard(self, key: K, weight: int = 1) -> None:
        """Remove a key that is in the queue."""
        self.weight -= weight
        self._dead[key] = self._dead.get(key, 0) + 1
        self._gone += 1
        if self._gone * 2 > len(self._line) + 64:
            line = [key for key in self._line if not self._skips(key)]
            self._line = deque(line)

    def pop(self) -> K:
        """Remove and return the first key; raises IndexError when there is none."""
        while True:
            key = self._line.popleft()
            if not self._dead or not self._skips(key):
                return key

    def _skips(self, key: K) -> bool:
        dead = self._dead.get(key)
        if dead is None:
            return False
        if dead == 1:
            del self._dead[key]
        else:
            self._dead[key] = dead - 1
        self._gone -= 1
        return True
