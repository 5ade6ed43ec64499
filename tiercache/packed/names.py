"""`Names`: which segments a store lists. Many writers, no manifest: whoever wants to know lists.

A listing goes on from where the last one ended, for each TTL bucket, less a margin for clocks that are behind and for
writes that took long; all names are listed from time to time, and whenever that is no dearer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..objectstore import ObjectStoreBackend
from ..objectstore.listing import page_of
from .naming import BUCKETS, FOLDER, KEEP, SegmentName, first_ulid, parse, ulid_time

MARGIN = 600.0
"""Seconds that a listing begins before its last name: what a clock may be behind and a write may take."""
WHOLE_EVERY = 3600.0
"""Seconds after which all names are listed again, whatever it costs."""


@dataclass(slots=True)
class DiscoveryCounters:
    """What finding segments took.

    Attributes:
        listings: pages that were listed.
        tails: that were read.
        told: segments that other processes told of.
        repeated: news that was not looked at: it came before, or too much of it at once.
        gone: segments that were forgotten because they are no longer there.
        unreadable: times that a segment was set aside: it cannot be read, so that what is older is not read either.
        asked_again: times that such a segment was asked for once more.
    """

    listings: int = 0
    tails: int = 0
    told: int = 0
    repeated: int = 0
    gone: int = 0
    unreadable: int = 0
    asked_again: int = 0


class Shown(NamedTuple):
    """What a listing shows of a segment.

    Attributes:
        name: of its object.
        parts: what its name says.
        size: bytes of the object.
        storage_class: that it is in; None: the store does not tell.
        archived: whether it must be restored before it can be read.
    """

    name: str
    parts: SegmentName
    size: int
    storage_class: str | None
    archived: bool = False


class Names:
    """What listings show.

    Args:
        inner: the store.
        counters: where pages are counted.

    Attributes:
        listed: the ULIDs that the last listing of all names showed.
        whole_at: when that began, in monotonic seconds.
        all_next: whether the next listing is to be one of all names, whatever it costs.
    """

    def __init__(self, inner: ObjectStoreBackend, counters: DiscoveryCounters) -> None:
        self._inner = inner
        self._start = inner.prefix + FOLDER
        self._counters = counters
        self.listed: frozenset[str] = frozenset()
        self.whole_at = -float("inf")
        self.all_next = False
        self._cursors: dict[str, str] = {}
        self._pages = 1

    def whole_is_due(self) -> bool:
        """Whether all names are to be listed, or it is no dearer than to list those that are new."""
        is_old = time.monotonic() - self.whole_at > WHOLE_EVERY
        return self.all_next or is_old or self._pages <= len(BUCKETS) + 1

    def shown(self, *, whole: bool) -> Iterator[Shown]:
        """Yield the segments that the store lists: all, or those that may be new.

        Raises:
            BackendError: a page could not be listed.
        """
        return self._whole() if whole else self._since()

    def took(self, ends: dict[str, str], began: float, now: float, *, seen: frozenset[str] | None) -> None:
        """Go on from here, as all that was listed is known.

        Not from what was told, nor what this process stored: others may have stored before that, and be listed later.
        Nor from a clock that is ahead: behind its names those of all others would not be looked for.

        Args:
            ends: the last ULID of each bucket.
            began: when the listing began, in monotonic seconds.
            now: and in Unix seconds.
            seen: the ULIDs, if all were listed.
        """
        if seen is not None:
            self.whole_at, self.all_next, self.listed = began, False, seen
        for bucket, ulid in ends.items():
            self._cursors[bucket] = max(self._cursors.get(bucket, ""), min(ulid, first_ulid(now)))

    def _whole(self) -> Iterator[Shown]:
        pages = 0
        for shown in self._pages_of(self._start, None):
            pages += shown is None
            if shown is not None:
                yield shown
        self._pages = pages

    def _since(self) -> Iterator[Shown]:
        for bucket in (*(name for name, _ in BUCKETS), KEEP):
            cursor = self._cursors.get(bucket)
            after = None if cursor is None else f"{self._start}{bucket}/{first_ulid(ulid_time(cursor) - MARGIN)}"
            yield from (shown for shown in self._pages_of(f"{self._start}{bucket}/", after) if shown is not None)

    def _pages_of(self, start: str, after: str | None) -> Iterator[Shown | None]:
        """The segments whose names begin so; None at the end of each page."""
        token: str | None = None
        while True:
            due = self._inner.due(None)
            page, token = page_of(self._inner.objects, start, token, after=after, deadline=due)
            self._counters.listings += 1
            for info in page:
                parts = parse(self._inner.prefix, info.name)
                if parts is not None:
                    yield Shown(info.name, parts, info.size, info.storage_class, info.archived)
            yield None
            if token is None:
                return
