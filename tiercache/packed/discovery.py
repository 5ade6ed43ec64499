"""`Discovery`: which segments there are. Many writers, no manifest: names are listed, and the tails of new ones read.

A listing goes on from where the last one ended, for each TTL bucket, less a margin for clocks that are behind and for
writes that took long; all names are listed from time to time, and whenever that is no dearer. Other processes may tell
of a segment when they have stored it: that is only faster.

A segment that was listed and is not there when its tail is read was merged into another one meanwhile, which may hide
what older segments hold: names are listed again, and nothing of a look counts before all of it is known.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass

from .. import fork
from ..entry import Clock
from ..errors import BackendError, BackendTimeout, CacheClosed, ConfigurationError, CorruptEntry, PartialFailure
from ..logs import fields
from ..objectstore import ObjectStoreBackend
from ..objectstore.listing import page_of
from ..objectstore.parallel import for_each
from ..pool import DaemonPool
from .catalogue import Catalogue
from .naming import BUCKETS, FOLDER, KEEP, SegmentName, first_ulid, object_name, parse, ulid_time
from .ranges import BYTES_PER_TIMEOUT
from .segment import Built, Tail, read_tail

logger = logging.getLogger("tiercache")

MARGIN = 600.0
"""Seconds that a listing begins before its last name: what a clock may be behind and a write may take."""
WHOLE_EVERY = 3600.0
"""Seconds after which all names are listed again, whatever it costs."""
FAILED_PAUSE = 5.0
"""Seconds at most from one look to the next, where the first failed and nobody waits for the second."""
PAGE = 1000
"""Names that a page of a listing has."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment that is known.

    Attributes:
        number: that the catalogue gave it.
        name: of its object.
        parts: what its name says.
        size: bytes of the object.
        storage_class: that it is in; None: the store's own.
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


@dataclass(slots=True)
class DiscoveryCounters:
    """What finding segments took.

    Attributes:
        listings: pages that were listed.
        tails: that were read.
        told: segments that other processes told of.
        gone: segments that were forgotten because they are no longer there.
        unreadable: segments that are damaged, or of a later release.
    """

    listings: int = 0
    tails: int = 0
    told: int = 0
    gone: int = 0
    unreadable: int = 0


class Discovery:
    """The segments of a store, and the catalogue of what they hold.

    Args:
        inner: the store.
        refresh: seconds after which another look is due.
        max_entries: of the catalogue.
        clock: Unix seconds.

    Attributes:
        catalogue: the newest record of each key.
        segments: by their number in the catalogue.
        listed: the ULIDs that the last listing of all names showed.
        counters: what it took.
    """

    def __init__(self, inner: ObjectStoreBackend, *, refresh: float, max_entries: int, clock: Clock) -> None:
        self._inner = inner
        self._start = inner.prefix + FOLDER
        self._every = refresh
        self._clock = clock
        self._pool = DaemonPool(max(2, inner.concurrency), "tiercache-tails")
        self._looking = DaemonPool(2, "tiercache-segments")
        self._max_entries = max_entries
        self._begin()
        self.counters = DiscoveryCounters()
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """A look that was under way stayed in the parent; what it was in the middle of changing is read anew."""
        if self._changing:
            self._begin()
        self._lock = threading.Lock()
        self._look: Future[None] | None = None

    def _begin(self) -> None:
        self.catalogue = Catalogue(self._max_entries)
        self.segments: dict[int, Segment] = {}
        self._by_ulid: dict[str, Segment] = {}
        self.listed: frozenset[str] = frozenset()
        self._unreadable: set[str] = set()
        self._read: dict[str, tuple[SegmentName, int, str | None, Tail]] = {}  # by looks that failed
        self._all_names = False
        self._cursors: dict[str, str] = {}
        self._whole_at = self._fresh_at = -float("inf")
        self._pages = 1
        self._changing = 0
        self._again_at = -float("inf")

    @property
    def is_fresh(self) -> bool:
        """Whether the catalogue is loaded, and no look is due."""
        return time.monotonic() - self._fresh_at <= self._every

    def ready(self, deadline: float | None, *, fresh: bool = True) -> None:
        """Return when the catalogue can be believed: loaded, and not older than twice `refresh` (unless not `fresh`).

        Raises:
            BackendTimeout: it is being loaded, and is not complete by the deadline.
            BackendError: the store cannot be listed, or a tail cannot be read.
        """
        age = time.monotonic() - self._fresh_at
        if age <= self._every:
            return
        if age > 2 * self._every and (fresh or self._fresh_at == -float("inf")):
            _await(self.look(), deadline)
        elif time.monotonic() >= self._again_at:
            self.look()

    def refresh(self, deadline: float | None) -> None:
        """Look for new segments now, and return when they are known."""
        running = self._look
        if running is not None and not running.done():  # it may have listed before what is looked for was there
            wait([running], None if deadline is None else max(0.0, deadline - time.monotonic()))
        _await(self.look(), deadline)

    def refresh_whole(self, deadline: float | None) -> None:
        """List all names now, whatever it costs, and return when all segments of this moment are known."""
        began = time.monotonic()
        while self._whole_at < began:
            self._all_names = True
            self.refresh(deadline)

    def look(self) -> Future[None]:
        """Begin to look for new segments, unless that is under way; the future fails as the store does."""
        with self._lock:
            if self._look is None or self._look.done():
                self._look = self._looking.submit(self._find)
            return self._look

    def adopt(self, parts: SegmentName, storage_class: str | None, built: Built) -> Segment:
        """Take note of a segment that this process has stored."""
        name = object_name(self._inner.prefix, parts)
        tail = read_tail(built.body[-built.tail :], size=len(built.body), count=parts.count)
        return self._add(name, parts, len(built.body), storage_class, tail)

    def told(self, news: Iterable[bytes]) -> None:
        """Another process stored these segments (what `news_of` returned there): they are looked at soon."""
        for item in news:
            told = _read_news(self._inner.prefix, item)
            if told is not None and told[1].ulid not in self._by_ulid:
                self.counters.told += 1
                self._pool.submit(self._read_told, *told)

    def forget(self, segment: Segment) -> None:
        """The segment is no longer there."""
        with self._lock:
            if self.segments.pop(segment.number, None) is None:
                return
            self._by_ulid.pop(segment.parts.ulid, None)
            self.counters.gone += 1
            self._changing += 1
            self.catalogue.forget(segment.number)
            self._changing -= 1

    def known(self) -> list[Segment]:
        """Return the segments of the moment, the oldest first."""
        with self._lock:
            return sorted(self.segments.values(), key=lambda segment: segment.parts.ulid)

    @property
    def unreadable(self) -> int:
        """How many segments are damaged or of a later release, so that nobody here knows what they hold."""
        return len(self._unreadable)

    def tail_of(self, name: str, parts: SegmentName, size: int, deadline: float | None) -> Tail | None:
        """Read the tail of a segment with one GET; None: it is not there, or cannot be read.

        Raises:
            CorruptEntry: it is damaged, or of a later release.
        """
        if size < parts.tail:
            raise CorruptEntry("the segment is shorter than its name says")
        self.counters.tails += 1
        due, timeout = self._inner.due(deadline), self._inner.timeout
        if deadline is None and timeout is not None:  # a tail of megabytes has the time that it takes
            due = time.monotonic() + timeout * max(1.0, parts.tail / BYTES_PER_TIMEOUT)
        data = self._inner.objects.read_range(name, size - parts.tail, parts.tail, deadline=due)
        return None if data is None else read_tail(data, size=size, count=parts.count)

    def close(self) -> None:
        """Look no more."""
        self._pool.close()
        self._looking.close()

    def _find(self) -> None:
        # Else each operation would begin another look while the store fails, though nobody waits for it.
        self._again_at = time.monotonic() + min(FAILED_PAUSE, self._every / 4)
        began, now = time.monotonic(), self._clock()
        whole = self._all_names or began - self._whole_at > WHOLE_EVERY or self._pages <= len(BUCKETS) + 1
        gone: set[str] = set()
        while True:
            seen: set[str] = set()
            ends: dict[str, str] = {}
            wanted: dict[str, tuple[SegmentName, int, str | None]] = {}
            for name, parts, size, storage_class in self._whole() if whole else self._since():
                seen.add(parts.ulid)
                ends[parts.bucket] = max(parts.ulid, ends.get(parts.bucket, ""))
                skipped = name in gone or name in self._read or name in self._unreadable
                if parts.ulid not in self._by_ulid and not skipped:
                    wanted[name] = (parts, size, storage_class)
            missing = self._read_all(wanted)
            if not missing:
                break
            gone |= missing
        # The newest first: what an older one holds may be hidden by it.
        for name, found in sorted(self._read.items(), key=lambda item: item[1][0].ulid, reverse=True):
            self._add(name, *found)
        self._read = {}
        if whole:
            self._whole_at, self._all_names, self.listed = began, False, frozenset(seen)
            self._drop_missing(seen, began)
            with self._lock:
                ulids = {name: parse(self._inner.prefix, name) for name in self._unreadable}
                self._unreadable = {name for name, parts in ulids.items() if parts is not None and parts.ulid in seen}
        # Not what was told, nor what this process stored: others may have stored before that, and be listed later. Nor
        # a clock that is ahead: behind its names those of all others would not be looked for.
        for bucket, ulid in ends.items():
            self._cursors[bucket] = max(self._cursors.get(bucket, ""), min(ulid, first_ulid(now)))
        self._fresh_at = began

    def _read_all(self, wanted: dict[str, tuple[SegmentName, int, str | None]]) -> set[str]:
        """Read these tails side by side, and return the names of those that are not there.

        Raises:
            BackendError: one could not be read; what was read is kept for the next look.
        """

        def one(name: str) -> Tail | None:
            parts, size, _ = wanted[name]
            try:
                return self.tail_of(name, parts, size, None)
            except CorruptEntry as error:
                self._is_unreadable(name, error)
                return None

        failed: BackendError | None = None
        try:
            tails = for_each(self._pool, wanted, one)
        except PartialFailure as failure:
            tails, failed = failure.results, next(iter(failure.failed.values()))
        self._read |= {name: (*wanted[name], tail) for name, tail in tails.items()}
        if failed is not None:
            raise failed
        return {name for name in wanted if name not in tails and name not in self._unreadable}

    def _read_told(self, name: str, parts: SegmentName, size: int) -> None:
        try:
            tail = self.tail_of(name, parts, size, None)
        except (BackendError, CacheClosed, ConfigurationError) as error:  # the next listing finds it
            # Nor is it unreadable if it seems damaged: whoever told may have told a wrong size.
            kind, text = type(error).__name__, "a segment that was told of could not be read: %s"
            logger.debug(text, kind, extra=fields("segment.news_unread", kind=kind))
        else:
            if tail is not None:
                self._add(name, parts, size, None, tail)

    def _add(self, name: str, parts: SegmentName, size: int, storage_class: str | None, tail: Tail) -> Segment:
        with self._lock:
            known = self._by_ulid.get(parts.ulid)
            if known is not None:
                return known
            self._changing += 1
            number = self.catalogue.add(parts.ulid, tail.index)
            segment = Segment(number, name, parts, size, storage_class, tail._replace(index=b""), time.monotonic())
            self.segments[number] = self._by_ulid[parts.ulid] = segment
            self._changing -= 1
            return segment

    def _whole(self) -> Iterator[tuple[str, SegmentName, int, str | None]]:
        pages = 0
        for name in self._pages_of(self._start, None):
            pages += name is None
            if name is not None:
                yield name
        self._pages = pages

    def _since(self) -> Iterator[tuple[str, SegmentName, int, str | None]]:
        for bucket in (*(name for name, _ in BUCKETS), KEEP):
            cursor = self._cursors.get(bucket)
            after = None if cursor is None else f"{self._start}{bucket}/{first_ulid(ulid_time(cursor) - MARGIN)}"
            yield from (found for found in self._pages_of(f"{self._start}{bucket}/", after) if found is not None)

    def _pages_of(self, start: str, after: str | None) -> Iterator[tuple[str, SegmentName, int, str | None] | None]:
        """The segments whose names begin so; None at the end of each page."""
        token: str | None = None
        while True:
            due = self._inner.due(None)
            page, token = page_of(self._inner.objects, start, token, after=after, deadline=due)
            self.counters.listings += 1
            for info in page:
                parts = parse(self._inner.prefix, info.name)
                if parts is not None and not info.archived:
                    yield info.name, parts, info.size, info.storage_class
            yield None
            if token is None:
                return

    def _drop_missing(self, seen: set[str], began: float) -> None:
        """Forget what a whole listing no longer shows; what is young may be too new for a listing that lags.

        A name is as old as the clock of its writer says, which may be behind: so this process must have known it for
        long, too.
        """
        before = self._clock() - MARGIN
        for segment in self.known():
            old = ulid_time(segment.parts.ulid) < before and segment.since < began - MARGIN
            if old and segment.parts.ulid not in seen:
                self.forget(segment)

    def _is_unreadable(self, name: str, error: CorruptEntry) -> None:
        with self._lock:
            self._unreadable.add(name)
            self.counters.unreadable += 1
            first = self.counters.unreadable == 1
        if first:
            kind, text = type(error).__name__, "a segment cannot be read and is left out: %s: %s"
            logger.warning(text, kind, error, extra=fields("segment.unreadable", kind=kind))


def news_of(segment: Segment, prefix: str) -> bytes:
    """Return what tells another process of a segment."""
    return f"{segment.name.removeprefix(prefix)} {segment.size}".encode()


def _read_news(prefix: str, item: bytes) -> tuple[str, SegmentName, int] | None:
    name, _, size = item.decode("ascii", "replace").partition(" ")
    parts = parse(prefix, prefix + name)
    if parts is None or not size.isdecimal() or len(size) > 12:
        return None
    return prefix + name, parts, int(size)


def _await(look: Future[None], deadline: float | None) -> None:
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    done, _ = wait([look], left)
    if not done:
        raise BackendTimeout("the catalogue of the segments is still being read")
    look.result()
