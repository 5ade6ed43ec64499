"""`migrate`: entries move between one object each and segments, while others read and write."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from ..backend import Backend
from ..envelope import envelope_of
from ..errors import BackendError, ConfigurationError, PartialFailure
from ..objectstore import ObjectStoreBackend
from .backend import PackedBackend
from .destinations import Taken, destination_of
from .invalidations import carry
from .origins import Item, Page, Scanned, origin_of, read_intact
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


Progress = Callable[[MigrationReport], object]


def migrate(
    source: Backend,
    target: Backend,
    *,
    prefix: str = "",
    resume: str | None = None,
    max_entries: int | None = None,
    delete: bool = False,
    progress: Progress | None = None,
) -> MigrationReport:
    """Copy entries from one backend to another, as they are: made for one object each -> `PackedBackend`, and back.

    Others may read and write meanwhile. Nothing that the target has is overwritten, and what it deleted after the
    entry was written stays deleted, as long as its tombstone is there: a day, or until it is compacted. Into segments
    that holds whichever process writes; into objects a delete in the very moment of the copy may be undone. Tags,
    attributes, times, expiry, the storage class and sealed bytes are kept. What was invalidated (`clear`,
    `invalidate_tags`) in the source is so in the target, before any entry comes there and again at the end. Both may
    have the same bucket and prefix. Changes that wait in another process' journal because the source was away are not
    known here: begin when its tier is well.

    Memory is bounded by about 8 MiB of stored entries, decompressed, and what waits in the target. From objects it
    costs a listing, a GET and its share of a segment each; from segments two GETs each, and a PUT an entry.

    Args:
        source: where the entries are.
        target: where they are to be.
        prefix: of the full keys, such as `"search:"` for one namespace.
        resume: the `resume` of an earlier report on the same source and prefix; without one, what is in the target is
            skipped.
        max_entries: to be looked at, about; the report says where it stopped. Segments are moved whole.
        delete: remove from the source what is stored in the target, as new as it is here (where the target had it
            before, that is read at both). What was written again stays, where the store has conditional deletes.
            Readers need the target in their chain by then.
        progress: called with the report so far, whenever a page of it is stored in the target for good.

    Raises:
        PartialFailure: source or target failed; `results` is the report, whose `resume` goes on from what is safe.
        ConfigurationError: one is no backend, an option has no such value, both are one, or the target would keep open
            what the source has sealed.
    """
    return Migration(source, target, prefix, max_entries, delete, progress).run(resume)


async def amigrate(
    source: Backend,
    target: Backend,
    *,
    prefix: str = "",
    resume: str | None = None,
    max_entries: int | None = None,
    delete: bool = False,
    progress: Progress | None = None,
) -> MigrationReport:
    """`migrate`, awaited; `progress` is called in a thread. Cancelled, it ends after the entries under way."""
    stop = threading.Event()
    move = Migration(source, target, prefix, max_entries, delete, progress, stop)
    try:
        return await asyncio.to_thread(move.run, resume)
    except asyncio.CancelledError:
        stop.set()
        raise


@dataclass(slots=True)
class _Moved:
    """A page that was copied: the report that holds when its batches are stored, and what may be deleted then."""

    report: MigrationReport
    batches: set[Batch]
    removable: list[Item]


class Migration:
    """One run; see `migrate` for the arguments.

    Args:
        source, target, prefix, max_entries, delete, progress: see `migrate`.
        stop: set to end the run after a page.
    """

    def __init__(
        self,
        source: Backend,
        target: Backend,
        prefix: str,
        max_entries: int | None,
        delete: bool,
        progress: Progress | None,
        stop: threading.Event | None = None,
    ) -> None:
        if max_entries is not None and (type(max_entries) is not int or max_entries < 1):
            raise ConfigurationError("max_entries must be a whole number from 1 on, or None for all")
        if not isinstance(delete, bool):
            raise ConfigurationError("delete must be True or False")
        if not isinstance(prefix, str):
            raise ConfigurationError("prefix must be text, such as 'search:'")
        _check_apart(source, target, delete)
        self._source, self._target = source, target
        self._origin, self._destination = origin_of(source, prefix), destination_of(target)
        if max_entries is not None and isinstance(self._origin, Scanned):
            raise ConfigurationError("max_entries needs a source that can be gone on with: an object store")
        self._most = max_entries
        self._delete = delete
        self._progress = progress
        self._stop = stop or threading.Event()
        self._waiting: deque[_Moved] = deque()
        self._deleted = 0
        self._report = MigrationReport()

    def run(self, resume: str | None) -> MigrationReport:
        """Move until the end, or the budget."""
        if resume is not None and not isinstance(resume, str):
            raise ConfigurationError("resume must be the `resume` of an earlier report, or None")
        self._began = time.monotonic()
        safe = self._safe = MigrationReport(resume=resume or "")
        self._report = safe
        try:
            carry(self._source, self._target)
            for page in self._origin.pages(resume, self._left):
                self._waiting.append(self._move(page))
                self._settle(wait=len(self._waiting) > MOST_WAITING)
                if page.resume is not None and (self._left() <= 0 or self._stop.is_set()):
                    break
            self._settle(wait=True)
            carry(self._source, self._target)
        except BackendError as error:
            stopped = self._safe if self._safe.resume is not None else replace(self._safe, resume="")
            raise PartialFailure({type(error).__name__: error}, self._timed(stopped)) from error
        return self._timed(self._safe)

    def _left(self) -> int:
        return 2**31 if self._most is None else self._most - self._report.examined

    def _move(self, page: Page) -> _Moved:
        items = {item.key: item for item in page.items}
        taken, gone, damaged, size = Taken(), page.expired, page.damaged, 0
        lacks = self._destination.look(page.items, taken)
        for chunk in _chunks([item for item in page.items if item.key in lacks]):
            entries, unreadable = self._origin.read(chunk)
            damaged += len(unreadable)
            gone += len(chunk) - len(entries) - len(unreadable)
            self._destination.take(entries, lacks, taken)
            size += sum(len(entry.wire or entry.payload) for key, entry in entries.items() if key in taken.copied)
        before = self._report
        self._report = replace(
            before,
            examined=before.examined + len(items) + page.expired + page.damaged,
            copied=before.copied + len(taken.copied),
            skipped_present=before.skipped_present + len(taken.present) + len(taken.buried),
            skipped_expired=before.skipped_expired + gone,
            damaged=before.damaged + damaged,
            refused=before.refused + len(taken.refused),
            bytes=before.bytes + size,
            resume=page.resume,
        )
        removable: list[Item] = []
        if self._delete:
            there = self._as_new([item for item in page.items if item.key in taken.present])
            removable = [item for item in page.items if item.key in taken.copied or item.key in there]
        return _Moved(self._report, taken.batches, removable)

    def _as_new(self, items: list[Item]) -> set[str]:
        """The keys of which the target has an intact entry that is as new as the source's: a GET each at both."""
        found: set[str] = set()
        for chunk in _chunks(items):
            mine, _ = self._origin.read(chunk)
            theirs, _ = read_intact(self._target, list(mine))
            found |= {key for key, entry in theirs.items() if entry.metadata.loaded_at >= mine[key].metadata.loaded_at}
        return found

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


def _chunks(items: list[Item]) -> Iterator[list[Item]]:
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


def _check_apart(source: Backend, target: Backend, delete: bool) -> None:
    for role, one in (("source", source), ("target", target)):
        if isinstance(one, type) or not callable(getattr(one, "scan", None)):
            raise ConfigurationError(
                f"{role} must be a backend, as S3Backend(…) or PackedBackend(…) is (of a tier: its backend), "
                f"not a {type(one).__name__}"
            )
    if envelope_of(source).sealed and not envelope_of(target).sealed:
        raise ConfigurationError("the source is sealed, the target is not: give both the keys, TierChain(..., keys=…)")
    same = source is target
    if type(source) is type(target):
        here, there = (one.inner if isinstance(one, PackedBackend) else one for one in (source, target))
        if isinstance(here, ObjectStoreBackend) and isinstance(there, ObjectStoreBackend):
            same = same or (here.prefix == there.prefix and _may_be_one(here, there, delete))
    if same:
        raise ConfigurationError("source and target are the same place (or may be: then leave delete out)")


def _may_be_one(here: ObjectStoreBackend, there: ObjectStoreBackend, delete: bool) -> bool:
    """Whether two stores are one, as far as their names tell: the endpoint may differ, so it matters for deletes."""
    name = getattr(here, "bucket", None) or getattr(here, "container", None)
    other = getattr(there, "bucket", None) or getattr(there, "container", None)
    return here.objects is there.objects or (delete and name is not None and name == other)
