"""`Round`: one round over the segments of a store, within a budget: what is looked at, what may be deleted, and when.

A segment is deleted only when every segment that may hide what it holds, or hold what it held, is shown by listings:
whoever comes next and lists must find the newer one, or an overwritten value would be read again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import BackendError, ConfigurationError, CorruptEntry, PartialFailure
from ..objectstore.listing import page_of
from .discovery import Segment
from .report import CompactionReport
from .sending import enough_for

if TYPE_CHECKING:
    from .upkeep import SegmentUpkeep

T = TypeVar("T")

PAGE = 1000
"""Names that a request lists."""


class Round:
    """One round.

    Args:
        backend: whose segments.
        max_requests, max_bytes: the budget; None: no bound.
        deadline: seconds of `time.monotonic`, or None.
        spare: requests of the budget that are kept for the end.
        dry_run: count what would be deleted, and delete nothing.

    Attributes:
        report: what was done.
        errors: the first of each kind.
    """

    def __init__(
        self,
        backend: SegmentUpkeep,
        *,
        max_requests: int | None = None,
        max_bytes: int | None = None,
        deadline: float | None = None,
        spare: int = 0,
        dry_run: bool = False,
    ) -> None:
        self.backend = backend
        self.inner = backend.inner
        self.discovery = backend.discovery
        self.deadline = deadline
        self.report = CompactionReport()
        self.errors: dict[str, BackendError] = {}
        self.dry_run = dry_run
        self._most = max_requests
        self._requests = None if max_requests is None else max_requests - spare
        self._bytes = max_bytes
        self._listed: set[str] = set()
        self._looked = self._looked_monotonic = 0.0
        self._counting = threading.RLock()

    def affords(self, requests: int, size: int = 0) -> bool:
        """Whether the budget allows so many requests more, and so many bytes, and the deadline has not passed."""
        done = self.report
        return (
            (self._requests is None or done.requests + requests <= self._requests)
            and (self._bytes is None or done.read_bytes + done.written_bytes + size <= self._bytes)
            and (self.deadline is None or time.monotonic() < self.deadline)
        )

    def affordable(self, requests: int) -> int:
        """Return how many requests may be sent, `requests` at most."""
        return requests if self._requests is None else max(0, min(requests, self._requests - self.report.requests))

    def check_catalogue(self) -> None:
        """Refuse to go by a catalogue that does not know the newest record of every key.

        Raises:
            ConfigurationError: it is full.
        """
        if self.discovery.catalogue.full:
            raise ConfigurationError(
                "the catalogue is full (max_entries), so that nobody here knows which records are still needed; "
                "do this with a PackedBackend whose catalogue has room for all entries of the store"
            )

    def worthless(self, segments: Iterable[Segment]) -> list[Segment]:
        """Return the segments all of whose records are hidden by newer ones."""
        return [segment for segment in segments if not self.discovery.catalogue.winners(segment.number)]

    def finished(self) -> CompactionReport:
        """Return the report.

        Raises:
            PartialFailure: something failed; `results` is the report.
        """
        if self.errors:
            raise PartialFailure(self.errors, self.report)
        return self.report

    def look(self, *, least: int = 0) -> None:
        """List all segments; what is new is known afterwards, and what is gone is not.

        Args:
            least: requests that the budget must have when the listing takes one.

        Raises:
            ConfigurationError: the listing takes so many that nothing else can be done, each time.
        """
        counters = self.discovery.counters
        before = counters.listings + counters.tails
        self._looked, self._looked_monotonic = self.inner.clock(), time.monotonic()
        self.discovery.refresh_whole(self.deadline)
        self.count(requests=counters.listings + counters.tails - before)
        self._listed = set(self.discovery.listed)
        least += len(self._listed) // PAGE
        if self._most is not None and self._most < least:
            raise ConfigurationError(
                f"max_requests must be {least} at least here: listing {len(self._listed):,} segments takes its share"
            )
        self._forget_what_is_gone()

    def looked_ago(self) -> float:
        """Return the seconds since the last look began, also those for which the machine slept."""
        return max(self.inner.clock() - self._looked, time.monotonic() - self._looked_monotonic)

    def remove(self, segments: Sequence[Segment]) -> bool:
        """Delete segments, and return whether they are gone; in a dry run, count them."""
        if not segments:
            return True
        if self.dry_run:
            self.count(deleted=len(segments), deleted_bytes=sum(segment.size for segment in segments))
            return True
        if not self._shows_all():
            self.count(complete=False)
            return False
        waiting, gone = iter(segments), 0
        while some := {segment.name: segment for segment in islice(waiting, self.inner.objects.bulk_delete)}:
            if not self.affords(1):
                self.count(complete=False)
                break
            due = self.inner.due_in_bulk(self.deadline, len(some))
            self.count(requests=1)
            errors = self.inner.objects.remove_many(dict.fromkeys(some), deadline=due)
            for name, segment in some.items():
                if name not in errors:
                    self.discovery.forget(segment)
                    self.count(deleted=1, deleted_bytes=segment.size)
                    gone += 1
            self.fail(errors.values())
        return gone == len(segments)

    def in_indices(self, segments: Sequence[Segment], examine: Callable[[Segment, bytes], T]) -> dict[str, T]:
        """Return what is found in the index of each segment, by its name; not of those that went or are unreadable."""
        by_name = {segment.name: segment for segment in segments}
        self.count(requests=len(segments), read_bytes=sum(segment.parts.tail for segment in segments))

        def one(segment: Segment) -> T | None:
            try:
                due = self.due_of(segment.parts.tail)
                tail = self.discovery.tail_of(segment.name, segment.parts, segment.size, due)
            except CorruptEntry as error:
                self.fail([error])
                return None
            return None if tail is None else examine(segment, tail.index)

        return self.side_by_side(by_name, one)

    def side_by_side(self, segments: Mapping[str, Segment], operation: Callable[[Segment], T | None]) -> dict[str, T]:
        """Do something for each segment; those for which it failed are counted and left out."""
        try:
            return self.inner.side_by_side(segments, lambda name, _: operation(segments[name]), self.deadline)
        except PartialFailure as failure:
            self.fail(failure.failed.values())
            found: dict[str, T] = failure.results
            return found

    def due_of(self, size: int) -> float:
        """Return when a request for so many bytes must end."""
        due = enough_for(size)
        return due if self.deadline is None else min(due, self.deadline)

    def count(self, *, complete: bool | None = None, busy: bool | None = None, **more: int) -> None:
        """Add to the report."""
        with self._counting:
            changes: dict[str, Any] = {name: getattr(self.report, name) + number for name, number in more.items()}
            if complete is not None:
                changes["complete"] = complete
            if busy is not None:
                changes["busy"] = busy
            self.report = replace(self.report, **changes)

    def fail(self, errors: Iterable[BackendError]) -> None:
        """Count failures."""
        with self._counting:
            failed = Counter(self.report.failed)
            for error in errors:
                failed[type(error).__name__] += 1
                self.errors.setdefault(type(error).__name__, error)
            self.report = replace(self.report, failed=dict(failed))

    def _shows_all(self) -> bool:
        """Whether listings show every segment that is known: those of this process, and what others told of."""
        for segment in self.discovery.known():
            if segment.parts.ulid in self._listed:
                continue
            if not self.affords(2):
                return False
            due = self.inner.due(self.deadline)
            page, _ = page_of(self.inner.objects, segment.name, None, limit=1, deadline=due)
            self.count(requests=1)
            if any(info.name == segment.name for info in page):
                self._listed.add(segment.parts.ulid)
            elif self._is_there(segment):
                return False
            else:
                self.discovery.forget(segment)
        return True

    def _forget_what_is_gone(self) -> None:
        """A listing that lags does not show what is new; so each segment that it does not show is asked for."""
        unlisted = {each.name: each for each in self.discovery.known() if each.parts.ulid not in self._listed}
        if self.affords(2 * len(unlisted)):
            there = self.side_by_side(unlisted, self._is_there)
            for name, segment in unlisted.items():
                if there.get(name) is False:
                    self.discovery.forget(segment)

    def _is_there(self, segment: Segment) -> bool:
        self.count(requests=1)
        return self.inner.objects.stat(segment.name, deadline=self.inner.due(self.deadline)) is not None
