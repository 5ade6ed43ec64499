"""What processes tell each other of tiers that missed changes, through the tiers that did not.

A process whose journal holds missed changes of a tier says so in one small entry in each of the other persistent tiers,
until the tier has taken them. Who reads that believes nothing that the tier holds meanwhile. A process that is heard no
more is taken for dead: what the tier held by then is never believed again, as nobody knows which of its keys are old.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from .. import fork
from ..entry import Clock, Entry, Metadata
from ..errors import CorruptEntry
from ..tier import Tier
from ..turns import Write

KEY = "_meta:missed"
RENEW = 15.0
"""Seconds after which a process says again what it said."""
DEAD = 60.0
"""Seconds without that, after which it is taken for dead."""


class Report(msgspec.Struct, omit_defaults=True):
    """The payload of the entry.

    Attributes:
        missing: by tier, which processes hold missed changes of it, and when they last said so (Unix seconds).
        floors: by tier, until when (Unix seconds) nothing that it holds is believed.
    """

    version: int = msgspec.field(name="v", default=1)
    missing: dict[str, dict[str, float]] = msgspec.field(name="m", default_factory=dict)
    floors: dict[str, float] = msgspec.field(name="f", default_factory=dict)

    def say(self, tier: str, process: str, now: float | None) -> bool:
        """Note that a process misses changes of a tier; None: no more. Whether that changes anything."""
        processes = self.missing.setdefault(tier, {})
        if now is None:
            changed = processes.pop(process, None) is not None
            if not processes:
                del self.missing[tier]
            return changed
        processes[process] = now
        return True

    def raise_floor(self, tier: str, floor: float) -> bool:
        """Believe nothing of a tier that is as old. Whether that is news."""
        if floor <= self.floors.get(tier, 0.0):
            return False
        self.floors[tier] = floor
        return True


_decode = msgspec.msgpack.Decoder(Report).decode


def report_in(entry: Entry | None) -> Report:
    """Return the report that a tier holds; an empty one if it holds none that can be read."""
    if entry is None:
        return Report()
    try:
        report = _decode(entry.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        raise CorruptEntry("what processes tell each other of missed changes cannot be read") from None
    return report


def entry_of(report: Report) -> Entry:
    """Return the entry that a tier keeps; it never expires."""
    payload = msgspec.msgpack.encode(report)
    return Entry(payload, Metadata(key=KEY, created_at=0.0, codec="msgpack", size=len(payload)))


class Missed:
    """What this process said, and what it heard.

    Args:
        tiers: all tiers of the chain.
        clock: returns Unix seconds.

    Attributes:
        tiers: those that can tell: the persistent ones. With fewer than two there is nobody to be told by.
        doubted: tiers of which it is not known whether they missed changes: the others are asked when one has an entry.
        away: those of them that failed since: they may have missed invalidations, too.
        distrusted: tiers of which another process holds missed changes.
        unsure: tiers of which not all others could be asked; what was heard of them before holds.
        lacks_marks: whether a tier has yet to hear of an invalidation; while it has, it is not said to be well.
        said: tiers of which this process has said that they miss changes, and when (monotonic seconds).
    """

    def __init__(self, tiers: Sequence[Tier], clock: Clock) -> None:
        persistent = [tier for tier in tiers if tier.persists]
        self.tiers = tuple(persistent if len(persistent) > 1 else [])
        self.clock = clock
        self.lacks_marks: Callable[[Tier], bool] = lambda tier: False
        self._heard: dict[tuple[str, str], tuple[float, float]] = {}
        self.distrusted: frozenset[Tier] = frozenset()
        self.unsure: frozenset[Tier] = frozenset()
        self.doubted: frozenset[Tier] = frozenset(self.tiers)
        self.away: frozenset[Tier] = frozenset()
        self._doubts = 0
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """Be another process, which has said nothing yet."""
        self._lock = threading.Lock()
        self.process = os.urandom(8).hex()
        self.said: dict[Tier, float] = {}
        self._asking: dict[Tier, Write] = {}
        self._telling: dict[Tier, Write] = {}

    @property
    def doubtful(self) -> frozenset[Tier]:
        """The tiers that may not be believed just so."""
        return self.doubted | self.distrusted if self.distrusted else self.doubted

    @property
    def unsaid(self) -> list[Tier]:
        """Tiers that miss changes of ours, of which the others were not told, or not lately."""
        if not self.tiers:
            return []
        now = time.monotonic()
        return [
            tier
            for tier in self.tiers
            if tier.journal.missed and (tier not in self.said or now - self.said[tier] > RENEW)
        ]

    @property
    def outdated(self) -> list[Tier]:
        """Tiers of which we said that they miss changes, and that have taken them since."""
        return [tier for tier in list(self.said) if not tier.journal.missed and not self.lacks_marks(tier)]

    def doubt(self, tier: Tier) -> None:
        """A tier was away: ask before it is believed again."""
        if tier in self.tiers:
            with self._lock:
                self._doubts += 1
                self.doubted |= {tier}
                self.away |= {tier}

    def doubt_all(self) -> None:
        """Another process may have told something: ask before any tier is believed again."""
        for tier in self.tiers:
            self.doubt(tier)

    def begin_telling(self, tier: Tier, write: Write) -> Write | None:
        """Return who tells the others of the tier already; None: the caller does."""
        return self._begin(self._telling, tier, write)

    def end_telling(self, tier: Tier, write: Write) -> None:
        """The others were told, or could not be."""
        with self._lock:
            if self._telling.get(tier) is write:
                del self._telling[tier]
        write.end()

    def note_said(self, tier: Tier) -> None:
        """The others were told that a tier misses changes of ours."""
        self.said[tier] = time.monotonic()

    def others(self, tier: Tier) -> list[Tier]:
        """The tiers that are told about one."""
        return [other for other in self.tiers if other is not tier and other.write != "never"]

    def begin_asking(self, tier: Tier, write: Write) -> Write | None:
        """Return who asks about the tier already; None: the caller does."""
        return self._begin(self._asking, tier, write)

    @property
    def doubts(self) -> int:
        """How often there was one."""
        return self._doubts

    def end_asking(
        self, tier: Tier, write: Write, reports: Sequence[Report], doubts: int, *, complete: bool = True
    ) -> bool:
        """Take over what the others told of a tier, all of them if it is `complete`.

        Returns:
            Whether a process that missed its changes is taken for dead.
        """
        with self._lock:
            floor = max((report.floors.get(tier.label, 0.0) for report in reports), default=0.0)
            tier.journal.floor = max(tier.journal.floor, floor)
            processes = {name: at for report in reports for name, at in report.missing.get(tier.label, {}).items()}
            processes.pop(self.process, None)
            well_again = tier in self.distrusted and complete and not processes
            if processes or complete:
                self.distrusted = self.distrusted | {tier} if processes else self.distrusted - {tier}
            self.unsure = self.unsure - {tier} if complete else self.unsure | {tier}
            if self._doubts == doubts:  # else one was away meanwhile
                self.doubted -= {tier}
                self.away -= {tier}
            if well_again:  # and what it missed may have been invalidations: they are read before it is believed
                self.doubted |= {tier}
                self.away |= {tier}
            if self._asking.get(tier) is write:
                del self._asking[tier]
            dead = [name for name, at in processes.items() if self._is_dead(tier.label, name, at)]
            for known in [known for known in self._heard if known[0] == tier.label and known[1] not in processes]:
                del self._heard[known]
        write.end()
        return bool(dead)

    def is_dead(self, tier: Tier, process: str) -> bool:
        """Whether a process that missed changes of a tier was not heard for long."""
        heard = self._heard.get((tier.label, process))
        return heard is not None and time.monotonic() - heard[1] > DEAD

    def _begin(self, under_way: dict[Tier, Write], tier: Tier, write: Write) -> Write | None:
        with self._lock:
            before = under_way.get(tier)
            if before is not None and not before.is_lost:
                return before
            under_way[tier] = write
            return None

    def _is_dead(self, label: str, process: str, at: float) -> bool:
        """By our own clock: how long has it said the same?"""
        now = time.monotonic()
        heard = self._heard.get((label, process))
        if heard is None or heard[0] != at:
            self._heard[label, process] = (at, now)
            return False
        return now - heard[1] > DEAD
