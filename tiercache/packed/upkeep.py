"""`SegmentUpkeep`: what keeps segments few and clean: compaction, sweeps, erasing. Part of `PackedBackend`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from .. import keys
from ..errors import ConfigurationError, PartialFailure
from ..objectstore import SweepReport
from ..objectstore.sweep import IsDead
from ..objectstore.sweep import check_budget as check_sweep_budget
from ..units import Size, parse_size
from . import compaction, erasing, sweeping
from .beneath import Beneath
from .discovery import Discovery
from .lease import GIVE_BACK_REQUESTS
from .naming import SegmentName
from .report import CompactionReport, Progress
from .rewriting import Dead
from .round import Round
from .segment import Built


class SegmentUpkeep(Beneath):
    """Operations on all segments, on top of what `PackedBackend` provides."""

    discovery: Discovery
    segment_bytes: int

    def compact(
        self,
        prefix: str = "",
        *,
        max_requests: int | None = None,
        max_bytes: Size | None = None,
        early: bool = False,
        is_dead: IsDead | None = None,
        progress: Progress | None = None,
        deadline: float | None = None,
    ) -> CompactionReport:
        """Merge small segments, and those of which less than half is alive; delete those in which nothing is.

        What is overwritten, deleted or expired loses its bytes, live entries are copied as they are. A tombstone stays
        for a day, and as long as an older record may be hidden by it. Readers find what they know in the new segments;
        writers go on. One process at a time compacts a store; another one returns at once, its report says `busy`.

        It costs the listing, a GET for each segment that is merged, a PUT and a listing of one name for each that is
        written, and bulk deletes; where tombstones are old enough to go, the index of each segment with hidden records.

        Args:
            prefix: of the keys that `is_dead` is asked about; the segments of all keys are compacted.
            max_requests: the budget, 20 at least and one more for each 1,000 segments; the listing, and the indices of
                new segments, come first.
            max_bytes: that are read and written, 16 times `segment_bytes` at least.
            early: touch segments, too, that their storage class bills for longer.
            is_dead: tells from when an entry was made and from its tags whether it was invalidated: it is as an expired
                one. It is asked about the entries of segments that are merged.
            progress: called with the report so far, after each new segment; what it raises ends the compaction.
            deadline: seconds of `time.monotonic`; None: each request has its time, the whole has no bound.

        Raises:
            PartialFailure: some segments could not be read, written or deleted; `results` is the report.
            BackendError: the lease or the listing failed.
            ConfigurationError: the budget allows nothing, or the catalogue is full.
        """
        if not isinstance(early, bool):
            raise ConfigurationError("early must be True or False")
        most = None if max_bytes is None else parse_size(max_bytes, "max_bytes")
        compaction.check_budget(max_requests, most, self.segment_bytes)
        self.begin(deadline)
        turn = Round(self, max_requests=max_requests, max_bytes=most, deadline=deadline, spare=GIVE_BACK_REQUESTS)
        dead = None if is_dead is None else Dead(prefix, is_dead)
        return compaction.Compaction(self, turn, early=early, dead=dead).run(progress or _nobody)

    def sweep(
        self,
        prefix: str = "",
        *,
        max_requests: int | None = None,
        resume: str | None = None,
        progress: Callable[[SweepReport], None] | None = None,
        is_dead: IsDead | None = None,
        dry_run: bool = False,
        deadline: float | None = None,
    ) -> SweepReport:
        """Delete the segments in which nothing is alive, in bulk; the report counts segments.

        That is the cheap part of `compact`: no entry is read or written, so several machines may sweep at the same
        time. It goes by whole segments, whose keys it does not know.

        Args:
            prefix: of no effect: what is dead is dead for all.
            max_requests: the budget, 3 at least and one more for each 1,000 segments.
            resume: of no effect: it begins anew, and what was deleted is gone.
            progress: called with the report.
            is_dead: of no effect: `compact` asks it.
            dry_run: count the segments that would be deleted, and delete none. A sweep may find a few more: those whose
                tombstones hid what the sweep itself deleted.
            deadline: seconds of `time.monotonic`; None: each request has its time, the whole has no bound.

        Raises:
            PartialFailure: some segments could not be deleted; `results` is the report.
            BackendError: the listing or a bulk delete failed; what was deleted before stays deleted.
            ConfigurationError: the budget allows nothing.
        """
        check_sweep_budget(max_requests)
        self.begin(deadline)
        return sweeping.sweep(
            self, Round(self, max_requests=max_requests, deadline=deadline, dry_run=dry_run), progress
        )

    def erase(self, key: str, *, deadline: float | None = None) -> int:
        """Remove the bytes of every value of a key from all segments, and return how many held one.

        These are rewritten without it; its other entries stay as they are. A tombstone of the key stays, which names
        its digest and not the key. It reads the index of each segment, and takes the lease of `compact`, for which it
        waits until its deadline, or ten minutes.

        What another process has put and not stored yet is not in the store: it is hidden when it comes. Erase again
        when that process has flushed. Other tiers, versions and backups of the bucket are not touched.

        Raises:
            BackendUnavailable: somebody compacts, or something changed meanwhile; erase again.
            CorruptEntry: segments cannot be read, which may hold the key; it is erased elsewhere.
            BackendError: the store failed; erase again.
            ConfigurationError: the catalogue is full, so that nobody knows which other records are needed.
        """
        if keys.check_key(key).startswith(keys.RESERVED + ":"):
            return int(self.inner.delete(key, deadline=deadline))
        self.begin(deadline)
        try:
            return erasing.erase(self, Round(self, deadline=deadline), key)
        except PartialFailure as failure:
            raise next(iter(failure.failed.values())) from failure

    async def acompact(self, prefix: str = "", **options: Any) -> CompactionReport:
        """`compact`, awaited; `progress` and `is_dead` are called in a thread of the backend."""
        return await self._offload(self.compact, prefix, **options)

    async def asweep(self, prefix: str = "", **options: Any) -> SweepReport:
        """`sweep`, awaited; `progress` is called in a thread of the backend."""
        return await self._offload(self.sweep, prefix, **options)

    async def aerase(self, key: str, *, deadline: float | None = None) -> int:
        """`erase`, awaited."""
        return await self._offload(self.erase, key, deadline=deadline)

    @abstractmethod
    def begin(self, deadline: float | None) -> float | None:
        """Return when an operation that begins now must end, when the catalogue can be believed."""

    @abstractmethod
    def adopt(self, name: SegmentName, storage_class: str | None, built: Built) -> None:
        """Take note of a segment that was stored, and tell others."""

    @abstractmethod
    def bury_for_good(self, key: str, deadline: float | None) -> None:
        """Store a tombstone of a key, and whatever of it waits or is being stored."""


def _nobody(report: CompactionReport) -> None:
    """Stands for who wants no report before the last."""
