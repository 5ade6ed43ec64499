"""`Discovery`: which segments there are. Many writers, no manifest: names are listed, and the tails of new ones read.

A listing goes on from where the last one ended, for each TTL bucket, less a margin for clocks that are behind and for
writes that took long; all names are listed from time to time, and whenever that is no dearer. Other processes may tell
of a segment when they have stored it: that is only faster.
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
from ..objectstore import ObjectStoreBackend
from ..objectstore.listing import page_of
from ..objectstore.parallel import for_each
from ..pool import DaemonPool
from .catalogue import Catalogue
from .naming import BUCKETS, FOLDER, KEEP, SegmentName, first_ulid, object_name, parse, ulid_time
from .segment import Built, Tail, read_tail

logger = logging.getLogger("tiercache")

MARGIN = 600.0
"""Seconds that a listing begins before its last name: what a clock may be behind and a write may take."""
WHOLE_EVERY = 3600.0
"""Seconds after which all names are listed again, whatever it costs."""
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
        keys_at, keys_bytes, keys_hash: where its block of keys is, and its checksum.
    """

    number: int
    name: str
    parts: SegmentName
    size: int
    storage_class: str | None
    tail: Tail


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
        counters: what it took.
    """

    def __init__(self, inner: ObjectStoreBackend, *, refresh: float, max_entries: int, clock: Clock) -> None:
        self._inner = inner
        self._start = inner.prefix + FOLDER
        self._every = refresh
        self._clock = clock
        self._pool = DaemonPool(max(2, inner.concurrency), "tiercache-tails")
        self._looking = DaemonPool(2, "tiercache-segments")
        self.catalogue = Catalogue(max_entries)
        self.segments: dict[int, Segment] = {}
        self._by_ulid: dict[str, Segment] = {}
        self._unreadable: set[str] = set()
        self._cursors: dict[str, str] = {}
        self._whole_at = self._fresh_at = -float("inf")
        self._pages = 1
        self.counters = DiscoveryCounters()
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """A look that was under way stayed in the parent."""
        self._lock = threading.Lock()
        self._look: Future[None] | None = None

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
        look = self.look()
        if age > 2 * self._every and (fresh or self._fresh_at == -float("inf")):
            _await(look, deadline)

    def refresh(self, deadline: float | None) -> None:
        """Look for new segments now, and return when they are known."""
        running = self._look
        if running is not None and not running.done():  # it may have listed before what is looked for was there
            wait([running], None if deadline is None else max(0.0, deadline - time.monotonic()))
        _await(self.look(), deadline)

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
                self._looking.submit(self._read_told, *told)

    def forget(self, segment: Segment) -> None:
        """The segment is no longer there."""
        with self._lock:
            if self.segments.pop(segment.number, None) is None:
                return
            self._by_ulid.pop(segment.parts.ulid, None)
            self.counters.gone += 1
        self.catalogue.forget(segment.number)

    def known(self) -> list[Segment]:
        """Return the segments of the moment, the oldest first."""
        with self._lock:
            return sorted(self.segments.values(), key=lambda segment: segment.parts.ulid)

    def tail_of(self, name: str, parts: SegmentName, size: int, deadline: float | None) -> Tail | None:
        """Read the tail of a segment with one GET; None: it is not there, or cannot be read.

        Raises:
            CorruptEntry: it is damaged, or of a later release.
        """
        if size < parts.tail:
            raise CorruptEntry("the segment is shorter than its name says")
        self.counters.tails += 1
        data = self._inner.objects.read_range(name, size - parts.tail, parts.tail, deadline=self._inner.due(deadline))
        return None if data is None else read_tail(data, size=size, count=parts.count)

    def close(self) -> None:
        """Look no more."""
        self._pool.close()
        self._looking.close()

    def _find(self) -> None:
        began = time.monotonic()
        whole = began - self._whole_at > WHOLE_EVERY or self._pages <= len(BUCKETS) + 1
        seen: set[str] = set()
        wanted: dict[str, tuple[SegmentName, int, str | None]] = {}
        for name, parts, size, storage_class in self._whole() if whole else self._since():
            seen.add(parts.ulid)
            if parts.ulid not in self._by_ulid and name not in self._unreadable:
                wanted[name] = (parts, size, storage_class)
        failed = self._read_all(wanted)
        if failed is not None:
            raise failed
        if whole:
            self._whole_at = began
            self._drop_missing(seen)
        self._fresh_at = began

    def _read_all(self, wanted: dict[str, tuple[SegmentName, int, str | None]]) -> BackendError | None:
        """Read these tails side by side, and return what kept one from being read."""

        def one(name: str) -> Tail | None:
            parts, size, _ = wanted[name]
            try:
                return self.tail_of(name, parts, size, None)
            except CorruptEntry as error:
                self._is_unreadable(name, error)
                return None

        try:
            tails = for_each(self._pool, wanted, one)
            failed = None
        except PartialFailure as failure:
            tails, failed = failure.results, next(iter(failure.failed.values()))
        for name, tail in tails.items():
            self._add(name, *wanted[name], tail)
        return failed

    def _read_told(self, name: str, parts: SegmentName, size: int) -> None:
        try:
            tail = self.tail_of(name, parts, size, None)
        except (BackendError, CacheClosed, ConfigurationError) as error:  # the next listing finds it
            # Nor is it unreadable if it seems damaged: whoever told may have told a wrong size.
            logger.debug("a segment that was told of could not be read: %s", type(error).__name__)
        else:
            if tail is not None:
                self._add(name, parts, size, None, tail)

    def _add(self, name: str, parts: SegmentName, size: int, storage_class: str | None, tail: Tail) -> Segment:
        with self._lock:
            known = self._by_ulid.get(parts.ulid)
            if known is not None:
                return known
            number = self.catalogue.add(parts.ulid, tail.index)
            segment = Segment(number, name, parts, size, storage_class, tail._replace(index=b""))
            self.segments[number] = self._by_ulid[parts.ulid] = segment
            self._cursors[parts.bucket] = max(parts.ulid, self._cursors.get(parts.bucket, ""))
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

    def _drop_missing(self, seen: set[str]) -> None:
        """Forget what a whole listing no longer shows; what is young may be too new for a listing that lags."""
        before = self._clock() - MARGIN
        for segment in self.known():
            if segment.parts.ulid not in seen and ulid_time(segment.parts.ulid) < before:
                self.forget(segment)

    def _is_unreadable(self, name: str, error: CorruptEntry) -> None:
        with self._lock:
            self._unreadable.add(name)
            self.counters.unreadable += 1
            first = self.counters.unreadable == 1
        if first:
            logger.warning("a segment cannot be read and is left out: %s: %s", type(error).__name__, error)


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
