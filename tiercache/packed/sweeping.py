"""`sweep`: segments in which nothing is alive are deleted. None is read for it, nor written: it needs no lease."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import PartialFailure
from ..objectstore import SweepReport
from ..objectstore.sweep import LEAST_BUDGET
from .census import census
from .report import CompactionReport
from .round import Round
from .shadows import Shadows

if TYPE_CHECKING:
    from .upkeep import SegmentUpkeep


def sweep(backend: SegmentUpkeep, turn: Round, progress: Callable[[SweepReport], None] | None) -> SweepReport:
    """Delete what holds nothing, or count it; see `PackedBackend.sweep`."""
    turn.look(least=LEAST_BUDGET)
    segments = backend.discovery.known()
    turn.count(segments=len(segments))
    if backend.discovery.catalogue.full:
        return _swept(turn.report, unknown=len(segments))
    worthless = turn.worthless(segments)
    turn.remove(worthless)
    counted = {each.number for each in worthless} if turn.dry_run else set()
    now, digests = backend.inner.clock(), backend.discovery.catalogue.digests
    holdings = census(digests(), now)
    numbers = backend.discovery.segments.keys() - counted
    dead = {each.number: each for each in segments if each.number in numbers and not holdings[each.number].alive}
    holdings = census(digests(), now, Shadows(turn, dead.keys(), now).must_stay)
    turn.remove([each for number, each in dead.items() if not holdings[number].kept])
    report = _swept(turn.report)
    if progress is not None:
        progress(report)
    if turn.errors:
        raise PartialFailure(turn.errors, report)
    return report


def _swept(report: CompactionReport, *, unknown: int = 0) -> SweepReport:
    return SweepReport(
        examined=report.segments,
        deleted=report.deleted,
        freed=report.deleted_bytes,
        unknown=unknown,
        requests=report.requests,
        failed=report.failed,
        resume=None if report.complete else "again",
    )
