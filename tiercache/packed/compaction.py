"""`compact`: small and mostly dead segments are merged, dead ones deleted, within a budget and under a lease."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ..errors import BackendError, ConfigurationError
from .census import Holding, census
from .discovery import Segment
from .lease import GIVE_BACK_REQUESTS, KEEP_REQUESTS, TAKE_REQUESTS, Lease
from .naming import DAY, ulid_time
from .report import CompactionReport, Progress
from .rewriting import ATTEMPTS, Dead, Rewriter
from .round import Round
from .shadows import Shadows

if TYPE_CHECKING:
    from .upkeep import SegmentUpkeep

LEAST_REQUESTS = 20
"""Requests that make any progress possible: the lease, a listing, two segments to read, one to write, a delete."""
MOST_SOURCES = 500
MOST_READ = 8
"""Times `segment_bytes` that are read for one new segment."""
SEGMENT_OVERHEAD = 256
"""Bytes that a segment takes beside its records, about."""
LOOK_AGAIN = 900.0
"""Seconds after which segments are listed again in a long run."""
MOST_FAILURES = 3
_AFTER_READING = ATTEMPTS + 3 + KEEP_REQUESTS
"""The write, whether it is listed (and two for a segment that came meanwhile), the delete, the lease."""


class Compaction:
    """One run (see `PackedBackend.compact`).

    Args:
        backend: whose segments.
        turn: the budget, and what is done.
        early: whether segments are touched whose class bills them for longer.
        dead: what was invalidated.
    """

    def __init__(self, backend: SegmentUpkeep, turn: Round, *, early: bool, dead: Dead | None) -> None:
        self._backend = backend
        self._turn = turn
        self._early = early
        self._dead = dead
        self._lease = Lease(backend.inner)

    def run(self, progress: Progress) -> CompactionReport:
        """Compact until all is done, or the budget or the deadline ends."""
        turn = self._turn
        turn.count(requests=TAKE_REQUESTS)
        if not self._lease.take(self._backend.inner.due(turn.deadline)):
            turn.count(busy=True, complete=False)
            return turn.report
        try:
            turn.look(least=LEAST_REQUESTS)
            segments = self._backend.discovery.known()
            turn.check_catalogue()  # of all of these
            mature = [segment for segment in segments if self._early or not is_young(self._backend, segment)]
            turn.count(segments=len(segments), young=len(segments) - len(mature))
            turn.remove(turn.worthless(mature))
            progress(turn.report)
            self._merge([segment for segment in mature if self._is_known(segment)], progress)
        finally:
            self._lease.give_back()
        turn.count(requests=GIVE_BACK_REQUESTS)
        return turn.finished()

    def _merge(self, segments: list[Segment], progress: Progress) -> None:
        turn, backend = self._turn, self._backend
        now, digests, most = backend.inner.clock(), backend.discovery.catalogue.digests, backend.segment_bytes
        holdings = census(digests(), now)
        candidates = [each for each in segments if is_wasteful(each.size, holdings[each.number].alive_bytes, most)]
        shadows = Shadows(turn, {each.number for each in candidates}, now)
        holdings = census(digests(), now, shadows.must_stay)
        rewriter = Rewriter(turn, self._holds_lease, dead=self._dead, shadows=shadows)
        failures = 0
        for whole_group in groups(candidates, holdings, most, backend.inner.storage_class or ""):
            group = self._affordable(whole_group)
            if not group:  # others may be smaller
                turn.count(complete=False)
                continue
            if not self._may_go_on():
                turn.count(complete=False)
                return
            try:
                if not rewriter.rewrite(group, holdings) or len(group) < len(whole_group):
                    turn.count(complete=False)
                failures = 0
            except BackendError as error:
                turn.fail([error])
                failures += 1
            progress(turn.report)
            if failures == MOST_FAILURES:
                turn.count(complete=False)
                return

    def _affordable(self, group: list[Segment]) -> list[Segment]:
        """As much of a group as the budget allows; nothing where that is no gain."""
        turn = self._turn
        group = [each for each in group if self._is_known(each)]
        some = group[: max(0, turn.affordable(len(group) + _AFTER_READING) - _AFTER_READING)]
        while some and not turn.affords(0, 2 * sum(each.size for each in some)):
            some.pop()
        return some if len(some) >= min(2, len(group)) else []

    def _may_go_on(self) -> bool:
        """Whether the lease is held still, and the segments are known as they were lately."""
        turn = self._turn
        if turn.looked_ago() > LOOK_AGAIN:
            turn.look()
        return self._holds_lease()

    def _holds_lease(self) -> bool:
        turn = self._turn
        if not self._lease.is_old():
            return True
        turn.count(requests=KEEP_REQUESTS)
        if self._lease.keep(self._backend.inner.due(turn.deadline)):
            return True
        turn.count(busy=True)
        return False

    def _is_known(self, segment: Segment) -> bool:
        return segment.number in self._backend.discovery.segments


def check_budget(max_requests: int | None, max_bytes: int | None = None, segment_bytes: int = 0) -> None:
    """Refuse a budget that allows nothing, or is none."""
    if max_requests is not None and (type(max_requests) is not int or max_requests < LEAST_REQUESTS):
        raise ConfigurationError(f"max_requests must be {LEAST_REQUESTS} at least, or None for no bound")
    if max_bytes is not None and max_bytes < 2 * MOST_READ * segment_bytes:
        raise ConfigurationError(
            f"max_bytes must be {2 * MOST_READ * segment_bytes} at least ({2 * MOST_READ} times segment_bytes), which"
            " one new segment may take to read and write, or None for no bound"
        )


def is_wasteful(size: int, useful: int, segment_bytes: int) -> bool:
    """Whether a segment is small, or less than half of it is of use."""
    return 2 * size < segment_bytes or 2 * useful < size


def groups(
    candidates: Iterable[Segment],
    holdings: Mapping[int, Holding],
    segment_bytes: int,
    own_class: str = "",
) -> Iterator[list[Segment]]:
    """Yield what is worth merging into one segment each: of one bucket and class, neighbours in time.

    One segment alone is rewritten only where half of it is of no use.
    """
    kinds: dict[tuple[str, str], list[tuple[Segment, int]]] = defaultdict(list)
    for each in candidates:  # by ULID
        useful = holdings[each.number].useful_bytes
        if is_wasteful(each.size, useful, segment_bytes):
            kinds[each.parts.bucket, each.storage_class or own_class].append((each, useful))
    for sources in kinds.values():
        group: list[tuple[Segment, int]] = []
        for each, useful in sources:
            full = sum(more for _, more in group) + useful > segment_bytes
            large = sum(one.size for one, _ in group) + each.size > MOST_READ * segment_bytes
            if group and (full or large or len(group) == MOST_SOURCES):
                yield from _worthwhile(group)
                group = []
            group.append((each, useful))
        yield from _worthwhile(group)


def _worthwhile(group: list[tuple[Segment, int]]) -> Iterator[list[Segment]]:
    if not group:
        return
    first, useful = group[0]
    if len(group) > 1 or not useful or 2 * (useful + SEGMENT_OVERHEAD) < first.size:
        yield [each for each, _ in group]


def is_young(backend: SegmentUpkeep, segment: Segment) -> bool:
    """Whether the storage class of a segment bills it for longer than it has been there."""
    rules = backend.inner.rules.get(segment.storage_class or backend.inner.storage_class or "")
    days = 0 if rules is None else rules.min_days
    return days > 0 and backend.inner.clock() - ulid_time(segment.parts.ulid) < days * DAY
