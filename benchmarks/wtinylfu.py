"""W-TinyLFU, measured and not taken (docs/decisions/0025-eviction-policies.md).

A newcomer stays if it was asked for more often, lately, than what would leave for it.
After Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache Admission Policy" (2015), with the segments of
Caffeine. Hits are noted in a short line and looked at when something is stored, so that they need no lock.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

from tiercache.eviction.order import K, Order, S

WINDOW = 0.01
"""The newcomers' share of the room."""
PROTECTED = 0.8
"""What may be protected, of the rest: entries that were used since they came out of the window."""
NOTED = 1024
"""Hits between two writes that are looked at; of more, the last ones."""
_MOST = 15
_HALVES = bytes(count // 2 for count in range(256))
_MIX = 0x9E3779B97F4A7C15


class Sketch:
    """About how often each key was asked for, lately: four counters a key that others use, too."""

    def __init__(self, keys: int = 1024) -> None:
        self._mask = (1 << max(10, (keys - 1).bit_length())) - 1
        self._rows = [bytearray(self._mask + 1) for _ in range(4)]
        self._left = 10 * keys
        self.keys = keys

    def add(self, key: Hashable) -> None:
        """Count a request."""
        mixed, mask = hash(key) * _MIX & 0xFFFFFFFFFFFFFFFF, self._mask
        mixed ^= mixed >> 29
        first, second, third, fourth = self._rows
        places = (mixed & mask, (mixed >> 13) & mask, (mixed >> 26) & mask, (mixed >> 39) & mask)
        counts = (first[places[0]], second[places[1]], third[places[2]], fourth[places[3]])
        least = min(counts)
        if least < _MOST:
            for row, place, count in zip(self._rows, places, counts, strict=True):
                if count == least:
                    row[place] = count + 1
        self._left -= 1
        if not self._left:
            self._rows = [row.translate(_HALVES) for row in self._rows]
            self._left = 10 * self.keys

    def count(self, key: Hashable) -> int:
        """Return about how often the key was asked for."""
        mixed, mask = hash(key) * _MIX & 0xFFFFFFFFFFFFFFFF, self._mask
        mixed ^= mixed >> 29
        first, second, third, fourth = self._rows
        return min(
            first[mixed & mask], second[(mixed >> 13) & mask], third[(mixed >> 26) & mask], fourth[(mixed >> 39) & mask]
        )


class Segment(OrderedDict[K, int]):
    """Keys in the order of their use, with their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = 0

    def push(self, key: K, weight: int) -> None:
        """Append a key."""
        self[key] = weight
        self.weight += weight

    def take(self, key: K) -> int:
        """Remove a key and return its weight."""
        weight = self.pop(key)
        self.weight -= weight
        return weight


class Admission(Order[K, S]):
    """A window, and two segments behind it: on probation, and protected."""

    def __init__(self, table: dict[K, S], weigh: Callable[[K, S], int]) -> None:
        super().__init__(table, weigh)
        self._sketch = Sketch()
        self._window: Segment[K] = Segment()
        self._probation: Segment[K] = Segment()
        self._protected: Segment[K] = Segment()
        self._noted: deque[K] = deque(maxlen=NOTED)
        self.touch = self._noted.append

    def add(self, key: K, entry: S, old: S | None) -> None:
        """Let the key into the window; while there is room, what the window cannot hold goes on probation."""
        self._look_at_hits()
        if len(self.table) > 2 * self._sketch.keys:
            self._sketch = Sketch(2 * len(self.table))
        self._sketch.add(key)
        window, probation = self._window, self._probation
        window.push(key, self.weigh(key, entry))
        most = WINDOW * (window.weight + probation.weight + self._protected.weight)
        while window.weight > most and len(window) > 1:
            oldest = next(iter(window))
            probation.push(oldest, window.take(oldest))

    def discard(self, key: K, entry: S) -> None:
        """Forget the key."""
        for segment in (self._window, self._probation, self._protected):
            if key in segment:
                segment.take(key)

    def evict(self) -> K:
        """Return the newcomer, or what would leave for it: which was asked for less often."""
        self._look_at_hits()
        window, probation, protected = self._window, self._probation, self._protected
        rest = probation or protected
        newcomer, oldest = next(iter(window), None), next(iter(rest), None)
        if oldest is None or newcomer is None:
            segment = window or rest
            loser = next(iter(segment))
            segment.take(loser)
            return loser
        if window.weight < WINDOW * (window.weight + probation.weight + protected.weight):
            rest.take(oldest)
            return oldest
        if self._sketch.count(newcomer) <= self._sketch.count(oldest):
            window.take(newcomer)
            return newcomer
        rest.take(oldest)
        probation.push(newcomer, window.take(newcomer))
        return oldest

    def _look_at_hits(self) -> None:
        noted, window, probation, protected = self._noted, self._window, self._probation, self._protected
        while noted:
            key = noted.popleft()
            self._sketch.add(key)
            if key in protected:
                protected.move_to_end(key)
            elif key in window:
                window.move_to_end(key)
            elif key in probation:
                protected.push(key, probation.take(key))
                while protected.weight > PROTECTED * (protected.weight + probation.weight):
                    oldest = next(iter(protected))
                    probation.push(oldest, protected.take(oldest))

    def __len__(self) -> int:
        return len(self._window) + len(self._probation) + len(self._protected)
