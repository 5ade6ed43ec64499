"""Telling other processes of missed changes, and asking what they missed (see `tiercache.journal.missed`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from functools import partial

from .. import fork
from ..errors import BackendUnavailable, CacheClosed, CorruptEntry, UnknownFormat
from ..flow import Gather, Settled, drive, running_loop
from ..pool import DaemonPool
from ..ticker import ticker
from ..tier import FAILURES, Tier
from ..turns import Write
from .missed import KEY, Missed, Report, entry_of, report_in

EVERY = 30.0
"""Seconds between two askings of tiers that are believed."""
OFTEN = 1.0
"""Seconds between two while one is not, and between attempts to tell."""
ATTEMPTS = 10
"""Times that a report is changed anew when other processes change it at the same moment."""
ASK_TIMEOUT = 30.0
"""Seconds for which others wait for the asking (tiers that keep deadlines end sooner)."""


async def tell(missed: Missed, pool: DaemonPool) -> bool:
    """Say which tiers miss changes of ours, if that was not said yet, and of which no longer; whether that is news.

    Of several callers one says it; the others wait for that, unless it was only to be said again.
    """
    news = False
    for tier in missed.unsaid:
        write = Write(running_loop())
        before = missed.begin_telling(tier, write)
        if before is not None:
            if tier not in missed.said:
                await Settled([before], ASK_TIMEOUT)
            continue
        try:
            if await _in_others(missed, pool, tier, partial(_say, tier.label, missed.process, missed.clock())):
                news = news or tier not in missed.said
                missed.note_said(tier)
        finally:
            missed.end_telling(tier, write)
    for tier in missed.outdated:
        if await _in_others(missed, pool, tier, partial(_say, tier.label, missed.process, None)):
            missed.said.pop(tier, None)
    return news


def _say(tier: str, process: str, now: float | None, report: Report) -> bool:
    return report.say(tier, process, now)


async def ask(missed: Missed, pool: DaemonPool, tier: Tier, failed: Collection[Tier] = ()) -> None:
    """Ask the others, but for those that `failed` just now, what a tier missed; once for all who need to know."""
    write = Write(running_loop())
    before = missed.begin_asking(tier, write)
    if before is not None:
        await Settled([before], ASK_TIMEOUT)
        return
    reports: list[Report] = []
    doubts, dead = missed.doubts, False
    others = [other for other in missed.tiers if other is not tier]
    try:
        answers = await Gather([_read(other) for other in others if other not in failed], pool)
        for answer in answers:
            if isinstance(answer, tuple):
                reports.append(answer[0])
            elif isinstance(answer, BaseException) and not isinstance(answer, FAILURES):
                raise answer
    finally:
        dead = missed.end_asking(tier, write, reports, doubts, complete=len(reports) == len(others))
    if dead:
        await _bury(missed, pool, tier)


async def _bury(missed: Missed, pool: DaemonPool, tier: Tier) -> None:
    """Nothing that the tier holds is believed, as whoever knew its old keys is gone."""
    floor = missed.clock()

    def bury(report: Report) -> bool:
        gone = [name for name in report.missing.get(tier.label, {}) if missed.is_dead(tier, name)]
        for name in gone:
            report.say(tier.label, name, None)
        return bool(gone) and report.raise_floor(tier.label, floor)

    if await _in_others(missed, pool, tier, bury):
        tier.journal.floor = max(tier.journal.floor, floor)


async def _in_others(missed: Missed, pool: DaemonPool, tier: Tier, change: Callable[[Report], bool]) -> bool:
    """Change the reports that the other tiers hold; whether one of them has it."""
    results = await Gather([_change(other, change) for other in missed.others(tier)], pool)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, FAILURES):
            raise result
    return any(result is True for result in results)


async def _change(tier: Tier, change: Callable[[Report], bool]) -> bool:
    for _ in range(ATTEMPTS):
        report, etag = await _read(tier)
        if not change(report):
            return True
        entry = entry_of(report)
        if await (tier.put(KEY, entry, if_absent=True) if etag is None else tier.put(KEY, entry, if_match=etag)):
            return True
    return False


async def _read(tier: Tier) -> tuple[Report, str | None]:
    """Return the report that a tier holds, and its version; what cannot be read is as none, and replaced."""
    try:
        entry = await tier.get(KEY)
    except UnknownFormat:
        raise
    except CorruptEntry:  # counted
        return Report(), None
    etag = None if entry is None else entry.metadata.etag
    try:
        return report_in(entry), etag
    except CorruptEntry as error:
        tier.failed(error)
        return Report(), etag


class Hearsay:
    """Asks and tells in the background, from time to time and when a tier is back.

    Args:
        missed: what this process said and heard.
        pool: in which several tiers are asked side by side.
    """

    def __init__(self, missed: Missed, pool: DaemonPool) -> None:
        self._missed = missed
        self._side_by_side = pool
        self._pool = DaemonPool(1, "tiercache-hearsay")
        self._begun = self._closed = False
        for tier in missed.tiers:
            tier.on_absence = missed.doubt
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """What was under way stayed in the parent."""
        self._lock = threading.Lock()
        self._running: Future[None] | None = None
        self._asked = time.monotonic()

    def begin(self) -> None:
        """Ask from now on; called at the first use."""
        with self._lock:
            begun, self._begun = self._begun, True
        if not begun and not self._closed:
            ticker.every(OFTEN, self.tick)

    def tick(self) -> None:
        """Start a round if there is something to tell, or it is time to ask."""
        missed = self._missed
        due = missed.distrusted | missed.unsure if time.monotonic() - self._asked < EVERY else missed.tiers
        if due or missed.unsaid or missed.outdated:
            with self._lock:
                if self._closed or (self._running is not None and not self._running.done()):
                    return
                try:
                    self._running = self._pool.submit(self._round, tuple(due))
                except BackendUnavailable:  # no thread to be had: at the next tick
                    return

    def close(self) -> None:
        """End; what is pending is nobody's any more, and after a while the others take this process for dead."""
        closed, self._closed = self._closed, True
        ticker.stop(self.tick)
        if self._missed.outdated or (self._missed.unsaid and not closed):
            self._round(())
        self._pool.close()

    def _round(self, due: Sequence[Tier]) -> None:
        try:
            drive(tell(self._missed, self._side_by_side))
            if len(due) == len(self._missed.tiers):
                self._asked = time.monotonic()
            for tier in due:
                drive(ask(self._missed, self._side_by_side, tier))
        except CacheClosed:
            return
