"""`Known`: the segments that a process knows, and the catalogue of what they hold."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from .catalogue import Catalogue
from .names import MARGIN, DiscoveryCounters, Shown
from .naming import SegmentName, ulid_time
from .segment import Tail


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment that is known.

    Attributes:
        number: that the catalogue gave it.
        name: of its object.
        parts: what its name says.
        size: bytes of the object.
        storage_class: that it is in, as the last listing showed it; None: the store's own.
        tail: where its block of keys is, and its checksum.
        since: when this process learned of it, in monotonic seconds.
    """

    number: int
    name: str
    parts: SegmentName
    size: int
    storage_class: str | None
    tail: Tail
    since: float


class Known:
    """Segments, and where the newest record of each key lies.

    Args:
        max_entries: of the catalogue.
        counters: where those are counted that are gone.

    Attributes:
        catalogue: the newest record of each key.
        segments: by their number in the catalogue.
        is_changing: whether a change is under way, so that a child that is forked now cannot go on with it.
    """

    def __init__(self, max_entries: int, counters: DiscoveryCounters) -> None:
        self.catalogue = Catalogue(max_entries)
        self.segments: dict[int, Segment] = {}
        self.is_changing = False
        self._by_ulid: dict[str, Segment] = {}
        self._counters = counters
        self.after_fork()

    def after_fork(self) -> None:
        """Nobody else is here."""
        self._lock = threading.Lock()

    def __contains__(self, ulid: str) -> bool:
        return ulid in self._by_ulid

    def add(self, shown: Shown, tail: Tail) -> Segment:
        """Take in a segment, unless it is known, and return it."""
        with self._lock:
            known = self._by_ulid.get(shown.parts.ulid)
            if known is not None:
                return known
            self.is_changing = True
            number = self.catalogue.add(shown.parts.ulid, tail.index)
            tail, (name, parts, size, storage_class, _) = tail._replace(index=b""), shown
            segment = Segment(number, name, parts, size, storage_class, tail, time.monotonic())
            self.segments[number] = self._by_ulid[parts.ulid] = segment
            self.is_changing = False
            return segment

    def forget(self, segment: Segment) -> None:
        """The segment is no longer there."""
        with self._lock:
            if self.segments.pop(segment.number, None) is None:
                return
            self._by_ulid.pop(segment.parts.ulid, None)
            self._counters.gone += 1
            self.is_changing = True
            self.catalogue.forget(segment.number)
            self.is_changing = False

    def all(self) -> list[Segment]:
        """Return the segments of the moment, the oldest first."""
        with self._lock:
            return sorted(self.segments.values(), key=lambda segment: segment.parts.ulid)

    def update(self, shown: Iterable[Shown]) -> None:
        """Go by the classes that a listing shows: others told of theirs, and a store's rules change them."""
        for each in shown:
            known = self._by_ulid.get(each.parts.ulid)
            if known is None or each.storage_class in (None, known.storage_class):
                continue
            with self._lock:
                if known.number in self.segments:
                    segment = replace(known, storage_class=each.storage_class)
                    self.segments[known.number] = self._by_ulid[each.parts.ulid] = segment

    def keep(self, seen: frozenset[str], *, began: float, now: float) -> None:
        """Forget what a listing of all names no longer shows; what is young may be too new for one that lags.

        A name is as old as the clock of its writer says, which may be behind: so this process must have known it for
        long, too.

        Args:
            seen: the ULIDs that it showed.
            began: when it began, in monotonic seconds.
            now: Unix seconds.
        """
        for segment in self.all():
            is_old = ulid_time(segment.parts.ulid) < now - MARGIN and segment.since < began - MARGIN
            if is_old and segment.parts.ulid not in seen:
                self.forget(segment)
