"""`Move`: entries go from one place to another page by page, and a report tells of what is stored for good."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..entry import Entry
from ..errors import BackendError, ConfigurationError, PartialFailure
from .destinations import Destination, Taken
from .origins import Item, Origin, Page
from .pending import Batch

CHUNK_BYTES = 8 * 2**20
"""Stored bytes of entries that are in memory at a time, beside what waits for its segment."""
MOST_WAITING = 50
"""Pages whose entries may wait for their segments."""


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What a move did, so far or in all: entries that are stored in the target, for good.

    Attributes:
        examined: entries of the source that were looked at.
        copied: that are in the target now.
        skipped_present: that the target had, or had deleted after they were written.
        skipped_expired: that were expired, or went away.
        damaged: that cannot be read: damaged, of a later release, or sealed with a key that is not at hand; they stay.
        refused: that the target does not take: too large; they stay.
        deleted: that were removed from the source (`delete=True`).
        bytes: stored bytes of those that were copied.
        seconds: that it took.
        resume: what `migrate(resume=…)` goes on from; None when all was seen. It holds the name of an object.
    """

    examined: int = 0
    copied: int = 0
    skipped_present: int = 0
    skipped_expired: int = 0
    damaged: int = 0
    refused: int = 0
    deleted: int = 0
    bytes: int = 0
    seconds: float = 0.0
    resume: str | None = field(default=None, repr=False)

    @property
    def complete(self) -> bool:
        """Whether the whole source was seen."""
        return self.resume is None

    @property
    def rate(self) -> float:
        """Entries looked at in a second."""
        return self.examined / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        left = ((self.damaged, "cannot be read"), (self.refused, "too large"))
        return (
            f"{self.copied:,} of {self.examined:,} entries copied, {self.bytes:,} bytes; "
            f"{self.skipped_present:,} were there, {self.skipped_expired:,} expired"
            f"{''.join(f', {count:,} {why}' for count, why in left if count)}"
            f"{f', {self.deleted:,} deleted from the source' if self.deleted else ''}; "
            f"{self.rate:,.0f} a second{'' if self.complete else '; not complete, resume to go on'}"
        )


@dataclass(slots=True)
class _Moved:
    """A page that was copied: the report that holds when its batches are stored, and what may be deleted then."""

    report: MigrationReport
    batches: set[Batch]
    removable: list[Item]


class Move:
    """A run of pages from an origin to a destination, each reported when it is stored for good.

    Args:
        origin: where entries come from.
        destination: where they go.
        most: entries to be looked at, about; None: all.
        progress: called with the report so far.
        stop: set to end the run after a page.
        report: the report of nothing, to which the pages are added.
    """

    def __init__(
        self,
        origin: Origin,
        destination: Destination,
        most: int | None,
        progress: Callable[[Any], object] | None,
        stop: threading.Event | None = None,
        report: MigrationReport | None = None,
    ) -> None:
        self._origin, self._destination = origin, destination
        self._most = most
        self._progress = progress
        self._stop = stop or threading.Event()
        self._waiting: deque[_Moved] = deque()
        self._deleted = 0
        self._report = report or MigrationReport()

    def run(self, resume: str | None) -> MigrationReport:
        """Move until the end, or the budget.

        Raises:
            PartialFailure: source or target failed; `results` is the report.
        """
        if resume is not None and not isinstance(resume, str):
            raise ConfigurationError("resume must be the `resume` of an earlier report, or None")
        self._began = time.monotonic()
        safe = self._safe = replace(self._report, resume=resume or "")
        self._report = safe
        try:
            self._before()
            for page in self._origin.pages(resume, self._left):
                self._waiting.append(self._move(page))
                self._settle(wait=len(self._waiting) > MOST_WAITING)
                if page.resume is not None and (self._left() <= 0 or self._stop.is_set()):
                    break
            self._settle(wait=True)
            self._after()
        except BackendError as error:
            stopped = self._safe if self._safe.resume is not None else replace(self._safe, resume="")
            raise PartialFailure({type(error).__name__: error}, self._timed(stopped)) from error
        return self._timed(self._safe)

    def _before(self) -> None:
        """What comes before the first page."""

    def _after(self) -> None:
        """What comes when all pages are stored."""

    def _chosen(self, items: list[Item], taken: Taken) -> list[Item]:
        """Return the entries that are to be moved, as far as a listing tells."""
        return items

    def _reads(self, chunks: Iterator[list[Item]]) -> Iterator[tuple[list[Item], dict[str, Entry], set[str]]]:
        """Yield chunks as they are read: the entries, and the keys of those that cannot be."""
        for chunk in chunks:
            yield chunk, *self._origin.read(chunk)

    def _take(self, entries: dict[str, Entry], lacks: Mapping[str, int | None], taken: Taken) -> None:
        """Write what was read."""
        self._destination.take(entries, lacks, taken)

    def _taken(self) -> Taken:
        return Taken()

    def _removable(self, items: list[Item], taken: Taken) -> list[Item]:
        """Return what may be deleted from the source once the page is stored."""
        return []

    def _left(self) -> int:
        return 2**31 if self._most is None else self._most - self._report.examined

    def _move(self, page: Page) -> _Moved:
        taken, gone, damaged, size = self._taken(), page.expired, page.damaged, 0
        chosen = self._chosen(page.items, taken)
        lacks = self._destination.look(chosen, taken)
        for chunk, entries, unreadable in self._reads(chunks([item for item in chosen if item.key in lacks])):
            damaged += len(unreadable)
            gone += len(chunk) - len(entries) - len(unreadable)
            self._take(entries, lacks, taken)
            size += sum(len(entry.wire or entry.payload) for key, entry in entries.items() if key in taken.copied)
        self._report = self._counted(page, taken, gone, damaged, size)
        return _Moved(self._report, taken.batches, self._removable(page.items, taken))

    def _counted(self, page: Page, taken: Taken, gone: int, damaged: int, size: int) -> MigrationReport:
        """Return the report with a page added."""
        before = self._report
        return replace(
            before,
            examined=before.examined + len({item.key for item in page.items}) + page.expired + page.damaged,
            copied=before.copied + len(taken.copied),
            skipped_present=before.skipped_present + len(taken.present) + len(taken.buried),
            skipped_expired=before.skipped_expired + gone,
            damaged=before.damaged + damaged,
            refused=before.refused + len(taken.refused),
            bytes=before.bytes + size,
            resume=page.resume,
        )

    def _settle(self, *, wait: bool) -> None:
        """Report the pages that are stored, in their order; with `wait`, all of them."""
        if wait:
            self._destination.settle({batch for moved in self._waiting for batch in moved.batches})
        while self._waiting and self._destination.settled(self._waiting[0].batches):
            moved = self._waiting[0]
            if moved.removable:
                self._deleted += self._origin.remove(moved.removable)
            self._waiting.popleft()
            self._safe = self._timed(moved.report)
            if self._progress is not None:
                self._progress(self._safe)

    def _timed(self, report: MigrationReport) -> MigrationReport:
        return replace(report, seconds=time.monotonic() - self._began, deleted=self._deleted)


def chunks(items: list[Item]) -> Iterator[list[Item]]:
    """Yield the entries in parts of about `CHUNK_BYTES`."""
    chunk: list[Item] = []
    size = 0
    for item in items:
        if chunk and size + item.size > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += item.size
    if chunk:
        yield chunk
