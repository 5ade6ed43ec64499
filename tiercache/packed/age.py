"""`Age`: how old something is, by whichever of two clocks says that it is older.

The monotonic one stands still while a machine is suspended; the wall clock may be set back.
"""

from __future__ import annotations

import time

from ..entry import Clock


class Age:
    """The age of what begins now.

    Args:
        clock: Unix seconds.

    Attributes:
        since: when it began, in monotonic seconds.
    """

    __slots__ = ("_clock", "_wall", "since")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.since = time.monotonic()
        self._wall = clock()

    def seconds(self) -> float:
        """Return the age in seconds. A wall clock set forward makes it greater, one set back does nothing."""
        return max(time.monotonic() - self.since, self._clock() - self._wall)
