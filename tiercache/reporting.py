"""`Reporter`: tells other processes from time to time what this one counted, through a tier that they share.

Nobody waits for it: a thread of its own writes one small entry that replaces the one before, bounded by the tier's
deadline and its breaker. What fails is counted, and told the next time.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import astuple
from typing import Protocol, cast

from . import fork
from .entry import Clock, Entry
from .epochs.agreement import class_for_marks
from .errors import BackendUnavailable, CacheClosed, TiercacheError
from .logs import fields
from .objectstore import ObjectStoreBackend
from .objectstore.sweep import LEAST_BUDGET
from .pool import DaemonPool
from .report_places import PREFIX, Place
from .reports import (
    Breaker,
    CacheCounts,
    Counts,
    Report,
    Saved,
    TierCounts,
    TierNow,
    beneath,
    combined,
    scope_of,
    to_entry,
)
from .savings import Ledger
from .shutdown import watch
from .stats import CacheCounters
from .ticker import ticker
from .tier import FAILURES, Tier

EVERY = 10.0
"""Seconds between two reports."""
EVERY_IN_BUCKETS = 60.0
"""The same in object stores once a process is some minutes old: a PUT each 10 s would be $1.30 a month on S3."""
TTL = 60.0
"""Seconds for which a report is kept, where the next one is due sooner than in a third of that."""
FIRST = 1.0
"""Seconds until the first: short-lived processes are to be seen, too."""
CLOSE_TIMEOUT = 2.0
MOST_CACHES = 100
MOST_MODELS = 100
OTHERS = "*"
"""Stands for the namespaces, and the models, that are beyond those bounds; none can have that name."""
_LONGEST = 200
_CLEARING = 100 * LEAST_BUDGET  # requests for what processes left behind

_left: set[Reporter] = set()
"""Those whose chains are gone without having been closed: they live until their last figures are told."""
logger = logging.getLogger("tiercache")


class Counted(Protocol):
    """A cache."""

    namespace: str
    savings: Ledger
    _counters: CacheCounters


class Reporter:
    """Reports of one chain.

    Args:
        tiers: the chain's.
        clock: returns Unix seconds.

    Attributes:
        tier: where the reports go: the first that other machines see, else a disk; None: nobody sees any.
        failures: reports that could not be written.
    """

    def __init__(self, tiers: Sequence[Tier], clock: Clock) -> None:
        self.tier = shared(tiers)
        self.failures = 0
        self._tiers = tiers
        self._clock = clock
        self._pool = DaemonPool(1, "tiercache-report")
        self._caches: list[_Watched] = []
        self._gone: dict[str, CacheCounts] = {}
        self._closed = self.tier is None
        self._last_words: Future[None] | None = None
        self._begin()
        self._before = Counts()
        if self.tier is not None:
            self._in_bucket = isinstance(beneath(self.tier.backend), ObjectStoreBackend)
            fork.register(self)
            ticker.every(FIRST, self.tick)
            watch(self)

    def ends_with(self, chain: object) -> None:
        """Tell the last figures when the chain is gone, too: nobody is left to call `close`."""
        weakref.finalize(chain, self._leave).atexit = False

    def _leave(self) -> None:
        """Note that the chain is gone: garbage is collected whatever locks a thread holds, so the ticker does more."""
        if not self._closed:
            _left.add(self)

    def after_fork(self) -> None:
        """Be another process: what was counted so far, the parent tells."""
        if self in _left:
            self._closed = True
            _left.discard(self)
        self._begin()
        self._before = self._counts()

    def _begin(self) -> None:
        self.id = secrets.token_hex(8)
        if self.tier is not None:
            self._place = Place(beneath(self.tier.backend), self.id)
        self._lock = threading.Lock()
        self._running: Future[None] | None = None
        self._started_at = self._clock()
        self._pause = EVERY
        self._due = time.monotonic() + FIRST
        self._cleared = False

    def watch(self, cache: Counted) -> None:
        """Report of a cache on the chain, too; what it counted is told on when it is gone."""
        if self.tier is None:
            return
        with self._lock:
            if len(self._caches) >= 2 * MOST_CACHES:
                self._fold()
            self._caches.append(_Watched(cache))

    def tick(self) -> None:
        """Have a report written, if one is due."""
        if self in _left:
            self._say_last()
            self._pool.close()
        elif time.monotonic() >= self._due and not self._closed:
            self._submit(ended=False)

    def write(self, *, ended: bool = False) -> bool:
        """Write a report now; return whether it was written."""
        tier = self.tier
        if tier is None:
            return False
        report = self.current(ended=ended)

        def entry_at(key: str) -> Entry:
            entry = to_entry(report, key)
            return entry if tier.classes is None else entry.in_class(class_for_marks(tier))

        try:
            self._place.put(tier, entry_at, report.written_at, report.until)
        except FAILURES:
            self.failures += 1  # and counted and logged by the tier
            return False
        except CacheClosed:
            return False
        return True

    def current(self, *, ended: bool = False) -> Report:
        """Return what there is to tell."""
        from . import __version__

        now = self._clock()
        return Report(
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self._started_at,
            written_at=now,
            until=now + (TTL if ended else max(TTL, 3 * self._pause)),
            ended=ended,
            release=__version__,
            counts=combined(_since, self._counts(), self._before),
            now={tier.label: _now(tier) for tier in self._tiers},
        )

    def abandon(self) -> None:
        """Tell nothing, not even at the end: who only looks at a cache is none of those who use it."""
        self._closed = True
        ticker.stop(self.tick)

    def close(self) -> None:
        """Tell the last figures, which are kept for a minute, and nothing more."""
        running = self._running
        if running is not None and not self._closed:
            wait([running], CLOSE_TIMEOUT)
        self._say_last()
        if self._last_words is not None:
            wait([self._last_words], CLOSE_TIMEOUT)
        self._pool.close()

    def end(self) -> None:
        """The interpreter ends."""
        self.close()

    def tell(self, *, ended: bool) -> Future[None] | None:
        """Begin to tell the figures of now, out of turn; None: nobody is told any more.

        Args:
            ended: these are the last ones.
        """
        if self._closed:
            return self._last_words
        self._closed = ended
        try:
            return self._pool.submit(self._last if ended else self._now)
        except BackendUnavailable:
            return None

    def _say_last(self) -> None:
        """Begin to tell the last figures; again: nothing happens."""
        if self._closed:
            _left.discard(self)
            return
        self.abandon()
        try:
            self._last_words = self._pool.submit(self._last)
        except BackendUnavailable:  # the interpreter ends, and gives no more threads
            _left.discard(self)
            if self.tier is not None and self.tier.timeout is not None:
                self._last()

    def _now(self) -> None:
        self.write()

    def _last(self) -> None:
        try:
            self.write(ended=True)
        finally:
            _left.discard(self)

    def _submit(self, *, ended: bool) -> None:
        with self._lock:
            if self._running is not None and not self._running.done():
                return
            self._due = time.monotonic() + self._pause
            try:
                self._running = self._pool.submit(self._round)
            except BackendUnavailable:
                return  # no thread to be had: the next time

    def _round(self) -> None:
        if self._closed:
            return
        if self._in_bucket:
            self._pause = min(2 * self._pause, EVERY_IN_BUCKETS)
        self.write()
        if self._in_bucket and not self._cleared:
            self._cleared = True
            self._clear()

    def _clear(self) -> None:
        """Delete what processes left behind: buckets delete nothing by themselves."""
        store = None if self.tier is None or self.tier.write == "never" else beneath(self.tier.backend)
        if isinstance(store, ObjectStoreBackend):
            try:
                store.sweep(PREFIX, max_requests=_CLEARING)
            except TiercacheError as error:  # not for this process to mend: a lifecycle rule does the same
                kind = type(error).__name__
                logger.debug(
                    "old reports could not be deleted: %s", kind, extra=fields("reports.not_cleared", kind=kind)
                )

    def _counts(self) -> Counts:
        with self._lock:
            caches = dict(self._gone)
            for watched in self._caches:
                _add(caches, watched.namespace, watched.counts())
        return Counts(caches, {tier.label: _tier_counts(tier) for tier in self._tiers})

    def _fold(self) -> None:
        """Keep no more than sums of caches that are gone."""
        gone = [watched for watched in self._caches if watched.is_gone]
        self._caches = [watched for watched in self._caches if not watched.is_gone]
        for watched in gone:
            _add(self._gone, watched.namespace, watched.counts())


class _Watched:
    """A cache, or what it counted in its life."""

    __slots__ = ("_cache", "_counters", "_ledger", "namespace")

    def __init__(self, cache: Counted) -> None:
        self._cache = weakref.ref(cache)
        self.namespace = cache.namespace
        self._counters, self._ledger = cache._counters, cache.savings

    @property
    def is_gone(self) -> bool:
        return self._cache() is None

    def counts(self) -> CacheCounts:
        cache = self._cache()
        if cache is not None:  # a reset replaces both
            self._counters, self._ledger = cache._counters, cache.savings
        return CacheCounts(**self._counters.as_dict(), savings=_savings(self._ledger))


def shared(tiers: Sequence[Tier]) -> Tier | None:
    """Return the tier through which processes see each other: the first that all machines reach, else a disk."""
    able = [tier for tier in tiers if tier.persists and tier.write != "never"]
    return next((tier for tier in able if scope_of(tier) == "all"), able[0] if able else None)


def _savings(ledger: Ledger) -> dict[str, dict[str, Saved]]:
    found: dict[str, dict[str, Saved]] = {}
    for (model, tier), saving in ledger.snapshot("").rows.items():
        name = model if model in found or len(found) < MOST_MODELS else OTHERS
        tiers = found.setdefault(name, {})
        tiers[tier] = combined(_plus, tiers.get(tier, Saved()), Saved(*astuple(saving)))
    return found


def _add(caches: dict[str, CacheCounts], namespace: str, counts: CacheCounts) -> None:
    name = namespace if namespace in caches or len(caches) < MOST_CACHES else OTHERS
    caches[name] = combined(_plus, caches.get(name, CacheCounts()), counts)


def _tier_counts(tier: Tier) -> TierCounts:
    """Plain counters alone: this is called in a fork, too, when locks may be held by nobody."""
    own = tier.counters
    return TierCounts(
        hits=own.hits,
        misses=own.misses,
        puts=own.puts,
        deletes=own.deletes,
        promotions=own.promotions,
        skipped=own.skipped,
        refused=own.refused,
        retries=own.retries,
        dropped=tier.journal.dropped,
        shadow_equal=own.shadow_equal,
        shadow_different=own.shadow_different,
        shadow_absent=own.shadow_absent,
        errors=dict(own.errors),
        evictions=tier.evictions,
        read=own.read_latency.counts,
        write=own.write_latency.counts,
    )


def _now(tier: Tier) -> TierNow:
    stats = tier.snapshot()
    breaker = cast(Breaker | None, stats.breaker)
    switch = stats.switch[:_LONGEST]
    return TierNow(scope_of(tier), breaker, switch, stats.queued, stats.missed, stats.entries, stats.bytes)


def _plus(one: float, other: float) -> float:
    return one + other


def _since(now: float, before: float) -> float:
    """What was counted since; after a reset, no less than nothing."""
    return max(0, now - before)
