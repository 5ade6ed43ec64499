"""`Aside`: segments that cannot be read, and what they hide.

One that is of a later release, archived, or denied to these credentials while others can be read, may hold a newer
value, or the tombstone, of any key. All that it holds was stamped before it was written: what is stamped later is read,
what is not is a miss. So no wrong value is read, and the store serves what it can.

One that is damaged is lost, as if it had been deleted or never been written: it hides nothing.

All but those of a later release are asked for again, each time after twice as long, up to an hour: a class may be
changed back, a policy mended.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Set
from dataclasses import dataclass
from functools import reduce

from ..errors import AccessDenied, BackendError, CorruptEntry, UnknownFormat
from ..logs import fields
from .names import DiscoveryCounters, Shown
from .naming import FOLDER, longer, ulid_time

logger = logging.getLogger("tiercache")

FIRST_PAUSE, LAST_PAUSE = 60.0, 3600.0
"""Seconds after which a segment is asked for again, at first and at most."""


@dataclass(slots=True)
class _Unread:
    shown: Shown
    hides_until: int
    pause: float
    again_at: float


class Aside:
    """The segments that are set aside. Only the thread that looks for segments changes them.

    Args:
        counters: where they are counted.

    Attributes:
        until: a record is read whose stamp is higher than this; 0: all are.
        bucket: that of the longest lives among them; "": there are none.
    """

    def __init__(self, counters: DiscoveryCounters) -> None:
        self._counters = counters
        self._unread: dict[str, _Unread] = {}
        self._warned: set[str] = set()
        self.until = 0
        self.bucket = ""

    def __len__(self) -> int:
        return len(self._unread)

    def __contains__(self, name: str) -> bool:
        return name in self._unread

    def put(self, shown: Shown, why: BackendError | None, now: float) -> None:
        """Set a segment aside, or leave it there, as it could not be read once more.

        Args:
            shown: the segment.
            why: it cannot be read; None: it is listed and not there, as what is archived.
            now: Unix seconds.
        """
        known = self._unread.get(shown.name)
        pause = FIRST_PAUSE if known is None else min(2 * known.pause, LAST_PAUSE)
        if isinstance(why, UnknownFormat):  # not before this process is another one
            pause = float("inf")
        # A clock that is ahead gave a name that says nothing of what is written after it was seen.
        until = round(ulid_time(shown.parts.ulid) * 1000) if known is None else known.hides_until or round(now * 1000)
        if isinstance(why, CorruptEntry) and not isinstance(why, UnknownFormat):
            until = 0
        self._unread[shown.name] = _Unread(shown, min(until, round(now * 1000)), pause, time.monotonic() + pause)
        self.sum_up()
        if known is None:
            self._counters.unreadable += 1
            self._warn(shown, why)

    def take_back(self, name: str) -> None:
        """A segment is known by now."""
        if self._unread.pop(name, None) is not None:
            self.sum_up()

    def keep(self, seen: Set[str]) -> None:
        """Forget those that are no longer there: all that are have these ULIDs."""
        for name, unread in list(self._unread.items()):
            if unread.shown.parts.ulid not in seen:
                self.take_back(name)

    def due(self) -> list[Shown]:
        """Return those that are to be asked for again."""
        now = time.monotonic()
        found = [unread.shown for unread in self._unread.values() if unread.again_at <= now]
        self._counters.asked_again += len(found)
        return found

    def sum_up(self) -> None:
        """Find out what all of them hide; a child that was forked in between does so."""
        hiding = [each for each in self._unread.values() if each.hides_until]
        self.until = max((each.hides_until for each in hiding), default=0)
        buckets = [each.shown.parts.bucket for each in hiding]
        self.bucket = reduce(longer, buckets) if buckets else ""

    def _warn(self, shown: Shown, why: BackendError | None) -> None:
        """Tell once of each kind of trouble; the names of segments are no secret."""
        kind = _kind(why)
        advice = _ADVICE[kind]
        if kind in self._warned:
            return
        self._warned.add(kind)
        _, _, name = shown.name.rpartition(FOLDER)
        error = "" if why is None else f" ({type(why).__name__}: {why})"
        extra = fields("segment.unreadable", kind=kind)
        logger.warning("the segment %s%s is %s%s", FOLDER, name, advice, error, extra=extra)


def _kind(why: BackendError | None) -> str:
    if why is None:
        return "archived"
    if isinstance(why, AccessDenied):
        return "denied"
    return "later" if isinstance(why, UnknownFormat) else "damaged"


_HIDES = "so that entries which were written before it are not found"
_ADVICE = {
    "archived": f"archived, {_HIDES}: restore it or delete it, and let no rule archive segments",
    "denied": f"denied to these credentials, {_HIDES}: allow them to read it, or delete it",
    "later": f"of a later release, {_HIDES}: upgrade this process, or delete what the later release wrote",
    "damaged": "damaged: what it held is lost; delete it if it stays so",
}
