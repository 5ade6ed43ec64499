"""`Discovery`: which segments there are, and what they hold: names are listed, and the tails of new ones read.

Other processes may tell of a segment when they have stored it: that is only faster.

A segment that was listed and is not there when its tail is read was merged into another one meanwhile, which may hide
what older segments hold: names are listed again, and nothing of a look counts before all of it is known. One that
is listed and cannot be read is set aside (`Aside`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait

from .. import fork
from ..entry import Clock
from ..errors import BackendTimeout
from ..objectstore import ObjectStoreBackend
from ..pool import DaemonPool
from .aside import Aside
from .known import Known, Segment
from .names import DiscoveryCounters, Names, Shown
from .naming import SegmentName, object_name
from .segment import Built, Tail, read_tail
from .tails import Tails
from .told import Told

__all__ = ["Discovery", "Segment"]

FAILED_PAUSE = 5.0
"""Seconds at most from one look to the next, where the first failed and nobody waits for the second."""


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
        aside: the segments that cannot be read.
        counters: what it took.
    """

    def __init__(self, inner: ObjectStoreBackend, *, refresh: float, max_entries: int, clock: Clock) -> None:
        self._inner = inner
        self._every = refresh
        self._clock = clock
        self._pool = DaemonPool(max(2, inner.concurrency), "tiercache-tails")
        self._looking = DaemonPool(2, "tiercache-segments")
        self._max_entries = max_entries
        self.counters = DiscoveryCounters()
        self._told = Told(
            inner.prefix,
            self._pool,
            self.tail_of,
            self.counters,
            take=lambda shown, tail: self._known.add(shown, tail),
            look=self.look,
        )
        self._begin()
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """A look that was under way stayed in the parent; what it was in the middle of changing is read anew."""
        if self._known.is_changing:
            self._begin()
        self._known.after_fork()
        self.aside.sum_up()
        self._lock = threading.Lock()
        self._look: Future[None] | None = None
        self._told.after_fork()

    def _begin(self) -> None:
        self._known = Known(self._max_entries, self.counters)
        self.catalogue, self.segments = self._known.catalogue, self._known.segments
        self.aside = Aside(self.counters)
        self._names = Names(self._inner, self.counters)
        self._tails = Tails(self._inner, self._pool, self.aside, self.counters, self._clock)
        self._fresh_at = self._again_at = -float("inf")

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
        while self._names.whole_at < began:
            self._names.all_next = True
            self.refresh(deadline)

    def missed(self, segments: Sequence[Segment], deadline: float | None) -> None:
        """These segments were not there when they were read: look for others in their place, and forget them.

        In this order: where the bucket is missing each object is, for some stores, and the look fails.
        """
        self.refresh(deadline)
        for segment in segments:
            self.forget(segment)
        if any(segment.parts.ulid in self.listed for segment in segments):  # as they are there again, or archived
            self.refresh(deadline)

    def look(self) -> Future[None]:
        """Begin to look for new segments, unless that is under way; the future fails as the store does."""
        with self._lock:
            if self._look is None or self._look.done():
                self._look = self._looking.submit(self._find)
            return self._look

    def adopt(self, parts: SegmentName, storage_class: str | None, built: Built) -> Segment:
        """Take note of a segment that this process has stored."""
        name, size = object_name(self._inner.prefix, parts), len(built.body)
        tail = read_tail(built.body[-built.tail :], size=size, count=parts.count)
        return self._known.add(Shown(name, parts, size, storage_class), tail)

    def told(self, news: Iterable[bytes]) -> None:
        """Another process stored these segments (what `news_of` returned there): they are looked at soon."""
        self._told.hear(news, self._is_known)

    def forget(self, segment: Segment) -> None:
        """The segment is no longer there."""
        self._known.forget(segment)

    def known(self) -> list[Segment]:
        """Return the segments of the moment, the oldest first."""
        return self._known.all()

    @property
    def listed(self) -> frozenset[str]:
        """The ULIDs that the last listing of all names showed."""
        return self._names.listed

    @property
    def unreadable(self) -> int:
        """How many segments are set aside, so that nobody here knows what they hold."""
        return len(self.aside)

    def tail_of(self, name: str, parts: SegmentName, size: int, deadline: float | None) -> Tail | None:
        """Read the tail of a segment with one GET (see `Tails.of`)."""
        return self._tails.of(name, parts, size, deadline)

    def close(self) -> None:
        """Look no more."""
        self._pool.close()
        self._looking.close()

    def _find(self) -> None:
        # Else each operation would begin another look while the store fails, though nobody waits for it.
        self._again_at = time.monotonic() + min(FAILED_PAUSE, self._every / 4)
        began, now = time.monotonic(), self._clock()
        whole = self._names.whole_is_due()
        again = {shown.name: shown for shown in self.aside.due()}
        gone: set[str] = set()
        while True:
            shown = list(self._names.shown(whole=whole))
            wanted = {each.name: each for each in shown if self._is_wanted(each, now)}
            for name in gone & wanted.keys():  # listed a second time, after it was not there
                self.aside.put(wanted.pop(name), None, now)
            wanted.update(again)
            missing = self._tails.read_all(wanted.values(), self._readable)
            for name in missing & again.keys():
                self.aside.put(again[name], None, now)
            gone |= missing - again.keys()
            again = {}
            if not gone & wanted.keys():
                break
        seen = frozenset(each.parts.ulid for each in shown)
        self._take_in()
        if whole:
            self._known.keep(seen, began=began, now=self._clock())
            self.aside.keep(seen)
        self._known.update(shown)
        ends: dict[str, str] = {}
        for each in shown:
            ends[each.parts.bucket] = max(each.parts.ulid, ends.get(each.parts.bucket, ""))
        self._names.took(ends, began, now, seen=seen if whole else None)
        self._fresh_at = began

    def _is_wanted(self, shown: Shown, now: float) -> bool:
        """Whether the tail of a segment is to be read."""
        if self._is_known(shown) or shown.name in self._tails.read:
            return False
        if shown.archived:
            self.aside.put(shown, None, now)
        return not shown.archived

    def _is_known(self, shown: Shown) -> bool:
        return shown.parts.ulid in self._known or shown.name in self.aside

    def _take_in(self) -> None:
        """Let what was read count. The newest first: what an older one holds may be hidden by it."""
        read, self._tails.read = self._tails.read, {}
        for shown, tail in sorted(read.values(), key=lambda item: item[0].parts.ulid, reverse=True):
            self._known.add(shown, tail)
            self.aside.take_back(shown.name)

    def _readable(self) -> list[Shown]:
        """The segments that could be read, the newest last."""
        return [Shown(each.name, each.parts, each.size, each.storage_class) for each in self.known()]


def _await(look: Future[None], deadline: float | None) -> None:
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    done, _ = wait([look], left)
    if not done:
        raise BackendTimeout("the catalogue of the segments is still being read")
    look.result()
