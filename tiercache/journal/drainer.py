"""`Drainer`: has the tiers of a chain take what is pending in their journals, in threads of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from .. import fork
from ..coherence.guard import STANDS
from ..errors import BackendError, BackendUnavailable, CacheClosed, EntryTooLarge, PartialFailure
from ..flow import Flow, drive
from ..logs import fields
from ..pool import DaemonPool
from ..ticker import ticker
from ..tier import FAILURES, Tier
from .journal import Change, may_land

EVERY = 1.0
"""Seconds between looks at tiers that failed to take what is pending."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds after a failure, doubled with each further one, until a tier is tried again."""
RETRY_AT_END = 0.2
"""Seconds between the attempts of a tier while somebody waits for it."""
LAST_DELETES = 0.5
"""Seconds at the end for deleting what entries that were not written were to replace."""

logger = logging.getLogger("tiercache")


class Drainer:
    """Works the journals off. One thread at a time for each tier, so that changes arrive in their order.

    Args:
        tiers: those with journals.
        guard: the one that knows whether another process changed what is written behind.

    Attributes:
        shown: is given each flow that takes what is pending, and returns what is run in its place.
    """

    def __init__(self, tiers: Sequence[Tier], guard: Tier | None = None) -> None:
        self._guard = guard
        self._tiers = [tier for tier in tiers if not tier.local and tier.write != "never"]
        self._pool = DaemonPool(max(1, len(self._tiers)), "tiercache-writer")
        self._closed = False
        self.shown: Callable[[Flow[bool]], Flow[bool]] = _as_it_is
        self.after_fork()
        fork.register(self)
        for tier in self._tiers:
            tier.on_change = self.wake
            tier.on_recovery.append(partial(self.recovered, tier))

    def after_fork(self) -> None:
        """Begin with nothing under way: it goes on in the parent."""
        self._changed = threading.Condition()
        self._running: set[Tier] = set()
        self._pause: dict[Tier, float] = {}
        self._not_before: dict[Tier, float] = {}
        self._ticking = False

    def wake(self, tier: Tier) -> None:
        """Have the tier take what is pending, unless it is at it, or has just failed."""
        with self._changed:
            if self._closed or tier in self._running or time.monotonic() < self._not_before.get(tier, 0.0):
                return
            self._start(tier)
            begin, self._ticking = not self._ticking, True
        if begin:
            ticker.every(EVERY, self.tick)

    def recovered(self, tier: Tier) -> None:
        """The tier is known to be back: it is not kept waiting."""
        with self._changed:
            self._not_before.pop(tier, None)
            self._pause.pop(tier, None)
        if tier.journal.pending:
            self.wake(tier)

    def tick(self) -> None:
        """Try the tiers with something pending again."""
        for tier in self._tiers:
            if tier.journal.pending:
                self.wake(tier)

    def drain(self, timeout: float) -> bool:
        """Have all tiers take what is pending; False: they did not, within `timeout` seconds.

        A tier that fails is tried again only for entries that it is to store.
        """
        ends = time.monotonic() + timeout
        tried: dict[Tier, float] = {}
        with self._changed:
            while waiting := [tier for tier in self._tiers if tier.journal.pending or tier in self._running]:
                now = time.monotonic()
                for tier in waiting:
                    wanted = tier not in tried or (tier.journal.queued and now >= tried[tier] + RETRY_AT_END)
                    if wanted and tier not in self._running:
                        tried[tier] = now
                        self._start(tier)
                hopeless = not self._running and not any(tier.journal.queued for tier in waiting)
                if now >= ends or hopeless or self._closed:
                    return False
                self._changed.wait(min(ends - now, RETRY_AT_END))
        return True

    def close(self) -> None:
        """Give up what is pending; entries that were not written are counted, and said once for each tier.

        What they were to replace is deleted if the tier can do that at once.
        """
        ticker.stop(self.tick)
        losing: list[Tier] = []
        for tier in self._tiers:
            lost = tier.journal.abandon()
            if lost:
                losing.append(tier)
                text = "tier %s: %d entries were not written before the end (see stats)"
                logger.warning(text, tier.label, lost, extra=fields("entries.lost", tier=tier.label, entries=lost))
        ends = time.monotonic() + LAST_DELETES
        with self._changed:
            for tier in losing:
                if tier not in self._running and not self._closed:
                    self._start(tier)
            while not self._running.isdisjoint(losing) and (left := ends - time.monotonic()) > 0:
                self._changed.wait(left)
            self._closed = True
        self._pool.close()

    def _start(self, tier: Tier) -> None:
        try:
            self._running.add(tier)
            self._pool.submit(self._work, tier)
        except BackendUnavailable:  # closed
            self._running.discard(tier)

    def _work(self, tier: Tier) -> None:
        while True:
            try:
                done = drive(self.shown(take_pending(tier, self._guard)))
            except CacheClosed:
                done = False
            with self._changed:
                if done and tier.journal.pending:
                    continue  # something came in between
                self._running.discard(tier)
                if done:
                    self._pause.pop(tier, None)
                else:
                    pause = min(LONGEST_PAUSE, 2 * self._pause.get(tier, FIRST_PAUSE / 2))
                    self._pause[tier], self._not_before[tier] = pause, time.monotonic() + pause
                self._changed.notify_all()
                return


def _as_it_is(flow: Flow[bool]) -> Flow[bool]:
    """Nobody watches."""
    return flow


async def take_pending(tier: Tier, guard: Tier | None = None) -> bool:
    """Have a tier take all that is pending, a batch at a time; False: it failed, and the rest still is."""
    while batch := tier.journal.batch():
        deletes = {key: change for key, change in batch.items() if change.entry is None}
        puts = {key: change for key, change in batch.items() if change.entry is not None}
        if deletes and not await _delete(tier, deletes):
            return False
        if puts and not await _put(tier, puts):
            return False
        guarded = {key: change for key, change in puts.items() if change.token}
        if guard is not None and guarded:
            await _verify(tier, guard, guarded)
        tier.on_taken(batch)  # until now others may have read there what was older
    return True


async def _delete(tier: Tier, changes: dict[str, Change]) -> bool:
    failed: dict[str, BackendError] = {}
    try:
        await tier.remove_many(list(changes))
    except PartialFailure as partial:
        failed = partial.failed
    except FAILURES:
        return False
    for key, change in changes.items():
        if key not in failed:
            tier.journal.settle(key, change)
    return not failed


async def _put(tier: Tier, changes: dict[str, Change]) -> bool:
    entries = {key: change.entry for key, change in changes.items() if change.entry is not None}
    failed: dict[str, BackendError] = {}
    try:
        await tier.put_many(entries)
    except PartialFailure as partial:
        failed = partial.failed
    except FAILURES as error:
        if may_land(error):
            tier.journal.given_up(entries)
        return False
    done = 0
    for key, change in changes.items():
        refusal = failed.get(key)
        if refusal is None:
            done += 1
            tier.journal.settle(key, change)
        elif isinstance(refusal, EntryTooLarge):
            tier.journal.give_back(key, change)
            tier.counters.skipped += 1
        elif may_land(refusal):
            tier.journal.given_up({key: entries[key]})
    tier.counters.puts += done
    return all(isinstance(refusal, EntryTooLarge) for refusal in failed.values())


async def _verify(tier: Tier, guard: Tier, changes: dict[str, Change]) -> None:
    """What another process changed since it was queued may be older than what it wrote here: it is deleted.

    Of what has waited for so long that a tombstone may be gone, only what the guard still holds is kept.
    """
    try:
        lost = await guard.overtaken({key: change.token for key, change in changes.items()})
        late = [key for key, change in changes.items() if time.monotonic() - change.since > STANDS / 2]
        if late:
            seen = await guard.get_many_seen(late)
            lost |= {key for key in late if key not in seen or seen[key].token != changes[key].token}
    except FAILURES:
        return  # counted; it is as without a guard
    if lost:
        tier.journal.missed_change(lost, unless_pending=True)  # what waits is newer


def lost(tiers: Sequence[Tier], key: str) -> None:
    """Remember a change of the key that nothing will ever end: some of the tiers may have taken it, and others not."""
    for tier in tiers:
        if not tier.local and tier.write != "never" and key not in tier.journal.pending:
            tier.missed([key])
