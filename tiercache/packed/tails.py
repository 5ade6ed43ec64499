"""`Tails`: the ends of segments, where the index is: those of a listing are read side by side, with one GET each.

Nothing of a look counts before all of it is known, as one segment may hide what another one holds. What was read before
a look failed is kept for the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from ..entry import Clock
from ..errors import AccessDenied, BackendError, CorruptEntry, PartialFailure, UnknownFormat
from ..objectstore import ObjectStoreBackend
from ..objectstore.parallel import for_each
from ..pool import DaemonPool
from .aside import Aside
from .names import DiscoveryCounters, Shown
from .naming import FOLDER, SegmentName
from .ranges import BYTES_PER_TIMEOUT
from .segment import Tail, read_tail

ATTEMPTS = 2
"""Times that a tail is read that seems damaged: it may have come damaged from an intact object."""


class Tails:
    """Reads tails.

    Args:
        inner: the store.
        pool: whose threads read.
        aside: where segments go that cannot be read.
        counters: where tails are counted.
        clock: Unix seconds.

    Attributes:
        read: tails, by name, that are not taken in yet.
    """

    def __init__(
        self, inner: ObjectStoreBackend, pool: DaemonPool, aside: Aside, counters: DiscoveryCounters, clock: Clock
    ) -> None:
        self._inner = inner
        self._pool = pool
        self._aside = aside
        self._counters = counters
        self._clock = clock
        self.read: dict[str, tuple[Shown, Tail]] = {}

    def of(self, name: str, parts: SegmentName, size: int, deadline: float | None) -> Tail | None:
        """Read the tail of a segment with one GET; None: it is not there, or archived.

        Raises:
            CorruptEntry: it is damaged, or of a later release.
            BackendError: the store failed.
        """
        if size < parts.tail:
            raise CorruptEntry("the segment is shorter than its name says")
        self._counters.tails += 1
        due, timeout = self._inner.due(deadline), self._inner.timeout
        if deadline is None and timeout is not None:  # a tail of megabytes has the time that it takes
            due = time.monotonic() + timeout * max(1.0, parts.tail / BYTES_PER_TIMEOUT)
        data = self._inner.objects.read_range(name, size - parts.tail, parts.tail, deadline=due)
        return None if data is None else read_tail(data, size=size, count=parts.count)

    def read_all(self, wanted: Iterable[Shown], known: Callable[[], list[Shown]]) -> set[str]:
        """Read tails, and return the names of those that are not there.

        What is damaged is set aside; what is denied as well, if another segment can be read.

        Args:
            wanted: the segments.
            known: returns others, which could be read before.

        Raises:
            BackendError: one could not be read for now.
        """
        by_name = {shown.name: shown for shown in wanted}
        damaged: dict[str, CorruptEntry] = {}

        def one(name: str) -> Tail | None:
            for _ in range(ATTEMPTS):
                try:
                    return self.of(name, by_name[name].parts, by_name[name].size, None)
                except CorruptEntry as error:
                    damaged[name] = error
                    if isinstance(error, UnknownFormat):
                        break
            return None

        failed: dict[str, BackendError] = {}
        try:
            tails = for_each(self._pool, by_name, one)
        except PartialFailure as failure:
            tails, failed = failure.results, failure.failed
        for name in tails:
            damaged.pop(name, None)
        self.read |= {name: (by_name[name], tail) for name, tail in tails.items()}
        for name, error in damaged.items():
            self._aside.put(by_name[name], error, self._clock())
        self._set_aside_what_is_denied({name: by_name[name] for name in failed}, failed, known)
        return {name for name in by_name if name not in tails and name not in damaged and name not in failed}

    def _set_aside_what_is_denied(
        self, shown: dict[str, Shown], failed: dict[str, BackendError], known: Callable[[], list[Shown]]
    ) -> None:
        """Set aside what is denied, while the same credentials may read another segment at this moment.

        Raises:
            BackendError: there was another failure, or nothing else can be read.
        """
        for error in failed.values():
            if not isinstance(error, AccessDenied):
                raise error
        if not failed:
            return
        name, error = next(iter(failed.items()))
        if not self._can_read(known):
            where = name.removeprefix(self._inner.prefix + FOLDER)
            raise AccessDenied(f"the segment {FOLDER}{where} cannot be read, nor any other: {error}") from error
        for name, error in failed.items():
            self._aside.put(shown[name], error, self._clock())

    def _can_read(self, known: Callable[[], list[Shown]]) -> bool:
        """Whether a segment can be read that could be read before; a few are tried, as they may be gone."""
        some = [shown for shown, _ in self.read.values()][-2:] + known()[-2:]
        for shown in some:
            try:
                if self.of(shown.name, shown.parts, shown.size, None) is not None:
                    return True
            except AccessDenied:
                return False
            except CorruptEntry:
                return True
        return False
