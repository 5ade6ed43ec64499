"""`Pauses`: keys whose computation failed while an older value stood in are left alone for a while.

Without it every call would ask a provider that is down again, for as long as the stale value lasts.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from .. import fork

REMEMBERED = 10_000


class Pauses:
    """Until when no new value of a key is to be computed. Times are Unix seconds."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """Make the lock anew: a thread of the parent may have held it."""
        self._lock = threading.Lock()

    def begin(self, key: str, now: float, seconds: float) -> None:
        """Leave the key alone for so long; of more than 10,000 keys the oldest is forgotten."""
        with self._lock:
            self._until[key] = (now, now + seconds)
            self._until.move_to_end(key)
            if len(self._until) > REMEMBERED:
                self._until.popitem(last=False)

    def end(self, key: str) -> None:
        """The key was computed."""
        if key in self._until:
            with self._lock:
                self._until.pop(key, None)

    def holds(self, key: str, now: float) -> bool:
        """Whether the key is to be left alone; a clock that was set back ends it."""
        begun, until = self._until.get(key, (0.0, 0.0))
        return begun <= now < until
