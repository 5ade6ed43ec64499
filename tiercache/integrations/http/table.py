"""`Table`: the streams under way on one chain of tiers, which whoever asks for the same may join."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable

from ... import fork
from ...chain import TierChain
from .live import Live, Seat


class Table:
    """Keys are those of plans, with the namespace of their cache.

    Attributes:
        landed: counts streams that were stored: whoever looked before the last one looks again.
        orphans: seats of readers that were dropped without being closed.
    """

    def __init__(self) -> None:
        self.landed = 0
        self.orphans: deque[Seat] = deque()
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """Nobody here reads the streams of the parent."""
        self._lock = threading.Lock()
        self._lives: dict[str, Live] = {}
        self.orphans.clear()

    def join(self, key: str, tags: Iterable[str], looked_at: int, begin: Callable[[], Live]) -> Seat | Live | None:
        """Return a place in the stream of this key, a new one where there is none to join.

        Args:
            key: with its namespace.
            tags: those of the entry that is wanted.
            looked_at: `landed`, before the cache was asked.
            begin: makes the stream that the caller then leads.

        Returns:
            None: a stream was stored since the cache was asked: ask it again. A stream: it is being stored: when it
            has landed, ask again.
        """
        self._tidy()
        with self._lock:
            live = self._lives.get(key)
            if live is not None and live.holds(tags):
                seat = live.enter()
                if seat is not None:
                    return seat
            elif live is not None and live.is_landing:
                return live
            elif self.landed != looked_at:
                return None
            live = begin()
            self._lives[key] = live
        live.drop = lambda: self.leave(key, live)
        return live.enter(leads=True)

    def leave(self, key: str, live: Live) -> None:
        """Let nobody join a stream any more."""
        with self._lock:
            if self._lives.get(key) is live:
                del self._lives[key]

    def _tidy(self) -> None:
        while self.orphans:
            try:
                seat = self.orphans.popleft()
            except IndexError:  # another thread took it
                return
            if seat.live.leave(seat) and seat.live.source is not None:
                seat.live.source.stop()


_tables: weakref.WeakKeyDictionary[TierChain, Table] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def table_of(chain: TierChain) -> Table:
    """Return the table of a chain: that of all clients on it, whichever module they use."""
    table = _tables.get(chain)
    if table is None:
        with _lock:
            table = _tables.setdefault(chain, Table())
    return table
