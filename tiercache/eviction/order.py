"""`Order`: what an eviction policy is told of a table's entries, and what it answers. No locks, no clock.

`MemoryBackend` and the simulator of `tiercache plan` run the same orders.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from .queue import Queue

K = TypeVar("K", bound=Hashable)


class Ranked(Protocol):
    """What an order keeps with an entry."""

    rank: int
    """The policy's own: uses, or the number of the entry in the order in which they were stored."""
    aside: bool
    """In which of a policy's two queues the entry is."""

    @property
    def gone_at(self) -> float:
        """When the entry may be dropped; infinity: never."""
        ...


S = TypeVar("S")
R = TypeVar("R", bound=Ranked)


class Order(Generic[K, S]):
    """Says which entry of a full table goes first.

    Its owner puts an entry into the table, then calls `add`. It calls `discard` for what it takes out of the table by
    itself, and takes out what `evict` returns.

    Args:
        table: the live entries.
        weigh: returns what an entry takes of the room.

    Attributes:
        touch: to be called with the key at each hit; None: nothing. It raises KeyError for a key that is gone.
        mark: to be called with the entry at each hit; None: nothing. Neither needs a lock.
    """

    touch: Callable[[K], object] | None = None
    mark: Callable[[S], None] | None = None

    def __init__(self, table: dict[K, S], weigh: Callable[[K, S], int]) -> None:
        self.table = table
        self.weigh = weigh

    def add(self, key: K, entry: S, old: S | None) -> None:
        """An entry was stored, in the place of `old` (which was discarded)."""

    def discard(self, key: K, entry: S) -> None:
        """An entry was deleted, replaced or has expired."""

    def evict(self) -> K:
        """Return the key of the entry that goes first, and forget it. The table is not empty."""
        raise NotImplementedError

    def clear(self) -> None:
        """The table was emptied. (Records of what is not in it are dropped as they are met.)"""

    def __len__(self) -> int:
        """Return how many records are kept, those of entries that are gone included."""
        return 0


class Recency(Order[K, S]):
    """`lru`: the order of an `OrderedDict`, which is the table itself."""

    def __init__(self, table: dict[K, S], weigh: Callable[[K, S], int]) -> None:
        super().__init__(table, weigh)
        if not isinstance(table, OrderedDict):
            raise TypeError("the order of uses is that of an OrderedDict")
        self.touch = table.move_to_end

    def evict(self) -> K:
        """Return the key whose last use is longest ago."""
        while True:
            try:
                return next(iter(self.table))
            except RuntimeError:  # a reader, which takes no lock, moved an entry between the two steps
                continue


class Arrival(Order[K, S]):
    """`fifo`: a queue beside the table. (The first key of a dict is dear to find once many before it are deleted.)"""

    def __init__(self, table: dict[K, S], weigh: Callable[[K, S], int]) -> None:
        super().__init__(table, weigh)
        self._queue: Queue[K] = Queue()

    def add(self, key: K, entry: S, old: S | None) -> None:
        """Queue the key."""
        self._queue.push(key)

    def discard(self, key: K, entry: S) -> None:
        """Forget the key."""
        self._queue.discard(key)

    def evict(self) -> K:
        """Return the key that was stored first."""
        return self._queue.pop()

    def clear(self) -> None:
        """Forget all."""
        self._queue = Queue()

    def __len__(self) -> int:
        return len(self._queue)
