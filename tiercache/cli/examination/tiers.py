"""One tier, examined: whether it answers, what it lets this user do, how quickly, by which clock, and what it costs."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

from ...backend import Backend
from ...cache import Cache
from ...entry import CLOCK_SKEW
from ...errors import AccessDenied, TiercacheError
from ...findings import Examines, Finding, TellsTime
from ...objectstore import ObjectStoreBackend
from ...packed import PackedBackend
from ...tier import Tier
from ..output import duration
from ..source import missing_file
from .buckets import Contents, look_at
from .local import of_machine
from .trials import State, refuses_credentials, tried
from .unmade import tried_elsewhere

PINGS = 15
LEAST_PINGS = 5
PINGING = 1.0
"""Seconds after which the least are enough."""
PATIENCE = 5.0
"""Seconds that an operation may take here, whatever the tier's own timeout: to tell slow from dead."""
SKEW = 3.0
"""Seconds that clocks may differ unmentioned: the stores tell theirs in whole seconds."""
_NTP = "set this machine's clock by NTP: timedatectl set-ntp true (chrony, ntpd or systemd-timesyncd)"


@dataclass(slots=True)
class TierReport:
    """What was found about one tier.

    Attributes:
        name: the tier's.
        backend: its kind, as its URL's scheme says it.
        usable: whether it can do what the chain asks of it.
        operations: whether each is allowed and works.
        best, median, worst: seconds of a ping; None: it did not answer.
        skew: seconds that the store's clock is ahead of this machine's; None: unknown, or they are one.
        contents: what is in a bucket, and what that costs; None: not looked at.
        findings: what to know and to do, faults first.
    """

    name: str
    backend: str
    usable: bool = True
    operations: dict[str, State] = field(default_factory=dict)
    best: float | None = None
    median: float | None = None
    worst: float | None = None
    skew: float | None = None
    contents: Contents | None = None
    findings: list[Finding] = field(default_factory=list)


def examine(cache: Cache, tier: Tier, *, objects: int) -> TierReport:
    """Examine a tier; the findings say what is wrong, nothing is raised for it.

    Args:
        cache: whose ttl the entries have.
        tier: one of its chain.
        objects: of a bucket that are looked at, to say what it costs; 0: none.
    """
    report = TierReport(tier.label, tier.backend.scheme)
    path = missing_file(tier)
    if path is None:
        report.findings = _looked_at(report, cache, tier, objects)
    else:
        report.findings = tried_elsewhere(tier, path, lambda stand_in: _looked_at(report, cache, stand_in, objects))
    order = ("fault", "warning", "note")
    report.findings.sort(key=lambda finding: order.index(finding.level))
    report.usable = not any(finding.level == "fault" for finding in report.findings)
    return report


def _looked_at(report: TierReport, cache: Cache, tier: Tier, objects: int) -> list[Finding]:
    store = tier.backend.inner if isinstance(tier.backend, PackedBackend) else tier.backend
    before = store.timeout
    store.timeout = max(PATIENCE, before or 0.0)
    try:
        if _answers(report, tier, store):
            _try_out(report, cache, tier, store)
            _measure(report, tier, store)
            _compare_clocks(report, store)
            _hear(report, store)
            report.findings += of_machine(tier.backend)
            if isinstance(store, ObjectStoreBackend):
                report.contents, found = look_at(cache, tier, store, objects=objects)
                report.findings += found
    finally:
        store.timeout = before
    return report.findings


def _due() -> float:
    return time.monotonic() + PATIENCE


def _answers(report: TierReport, tier: Tier, store: Backend) -> bool:
    """Whether it can be reached at all: a listing that is denied is an answer, too."""
    try:
        store.ping(deadline=_due())
    except Exception as raised:  # noqa: BLE001 - whatever a backend raises, the tier sorts it as in every call
        error = tier.mapped(raised)
        denied = refuses_credentials(error)
        if isinstance(error, AccessDenied) and not denied:
            return True
        report.findings.append(
            Finding(
                level="fault",
                about="credentials" if denied else "reach",
                text=str(error),
                fix="" if denied else _start(store),
            )
        )
        return False
    return True


def _start(store: Backend) -> str:
    if store.scheme == "redis":
        return "start the server, or correct host, port and database in the URL; a firewall may stand between"
    return ""


def _try_out(report: TierReport, cache: Cache, tier: Tier, store: Backend) -> None:
    trials = tried(tier, store, _due, carries=cache.chain.teller.carrier is tier)
    report.operations = trials.states
    report.findings += trials.findings


def _measure(report: TierReport, tier: Tier, store: Backend) -> None:
    took: list[float] = []
    began = time.perf_counter()
    for number in range(PINGS):
        if number >= LEAST_PINGS and time.perf_counter() - began > PINGING:
            break
        start = time.perf_counter()
        try:
            store.ping(deadline=_due())
        except TiercacheError as error:
            if not isinstance(error, AccessDenied):
                report.findings.append(
                    Finding(level="warning", about="latency", text=f"it answers only now and then: {error}")
                )
            return
        took.append(time.perf_counter() - start)
    report.best, report.median, report.worst = min(took), statistics.median(took), max(took)
    limit = tier.timeout
    if limit is not None and report.worst > limit / 2:
        late = report.worst > limit
        report.findings.append(
            Finding(
                level="warning",
                about="latency",
                text=f"a request took {duration(report.worst)}, where the tier's timeout is {duration(limit)}: "
                f"{'operations are given up, and the tier is skipped' if late else 'there is little room'}",
                fix=f"use a store nearer to this machine (the same region), or timeout={report.worst * 4:.2g}",
            )
        )


def _compare_clocks(report: TierReport, store: Backend) -> None:
    if not isinstance(store, TellsTime):
        return
    start = time.time()
    try:
        theirs = store.server_time(deadline=_due())
    except TiercacheError:
        return  # what keeps it from answering has been found by the trials
    if theirs is None:
        return
    end = time.time()
    theirs += 0.5 if theirs == int(theirs) else 0.0  # whole seconds are cut
    report.skew = round(theirs - (start + end) / 2, 3)
    if abs(report.skew) - (end - start) / 2 <= SKEW:
        return
    side = "behind" if report.skew > 0 else "ahead of"
    unbelieved = abs(report.skew) > CLOCK_SKEW
    report.findings.append(
        Finding(
            level="fault" if unbelieved else "warning",
            about="clock",
            text=f"this machine's clock is {duration(abs(report.skew))} {side} the store's: "
            + (
                "entries of other machines are not believed"
                if unbelieved
                else "entries expire that much early or late, and what is invalidated may be served for that long"
            ),
            fix=_NTP,
        )
    )


def _hear(report: TierReport, store: Backend) -> None:
    if isinstance(store, Examines):
        try:
            report.findings += store.examine(deadline=_due())
        except TiercacheError as error:
            text = f"the store was not asked about itself: {error}"
            report.findings.append(Finding(level="note", about="server", text=text))
