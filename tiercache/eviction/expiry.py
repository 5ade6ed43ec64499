"""Which keys may have expired: buckets of keys by the time of their end."""

from __future__ import annotations

import heapq


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
        sixteenth = int(gone_at - now) >> 4
        width = 1 << (sixteenth.bit_length() - 1) if sixteenth > 0 else 1
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
