"""`Job`: what one caller of `get_or_set` wants computed, what it takes in its place, and how long it waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..computing.operations import Patience
from ..entry import Clock, Entry
from ..options import Freshness
from ..stats import CacheCounters

if TYPE_CHECKING:
    from ..chain import TierChain
    from .read import Found

LONGEST_PAUSE = 30.0
"""Seconds for which a key is left alone after a failure, at most; less where its value is soon too old."""


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What a factory made: its entry (None: no codec stores it), the value, and whether it is to be stored."""

    entry: Entry | None
    value: Any
    store: bool = True


Build = Callable[[str, Any, float], Made]
"""Makes the entry of a key and a value whose load began at a moment."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A computation, as one caller wants it.

    Attributes:
        chain: the tiers.
        prefix: what the caller's keys lack of the stored ones.
        factory: makes the value; for many keys, given the list of those that are missing, their values.
        build: makes the entry of a value.
        freshness: what is taken in place of a fresh value.
        counters: where it counts.
        clock: the cache's, in Unix seconds.
    """

    chain: TierChain
    prefix: str
    factory: Callable[..., Any]
    build: Build
    freshness: Freshness
    counters: CacheCounters
    clock: Clock

    @property
    def takes_stale(self) -> bool:
        """Whether a stale value would do at all."""
        return self.freshness.serves_for > 0

    def patience(self) -> Patience:
        """Return until when this caller waits, from now on."""
        soft, hard, now = self.freshness.soft_timeout, self.freshness.timeout, time.monotonic()
        return Patience(None if hard is None else now + hard, None if soft is None else now + soft)

    def at_once(self, key: str, found: Found) -> bool:
        """Whether this entry is served without waiting for a newer one."""
        overdue = self._overdue(found)
        if overdue < 0:
            return True
        if self.freshness.soft_timeout is None and overdue < (self.freshness.stale_for or 0.0):
            return True
        return overdue < self.freshness.serves_for and self.chain.pauses.holds(key, self.chain.clock())

    def may_serve(self, found: Found | None) -> bool:
        """Whether this entry is served if a newer one cannot be had."""
        return (
            found is not None
            and found.entry.metadata.is_usable(self.chain.clock())
            and self._overdue(found) < max(self.freshness.serves_for, 0.0)
        )

    def wants_newer(self, found: Found) -> bool:
        """Whether this entry is to be refreshed in the background: it is stale, or in the last part of its life."""
        metadata = found.entry.metadata
        if metadata.expires_at is None:
            return False
        window = (self.freshness.refresh_ahead or 0.0) * (metadata.expires_at - metadata.created_at)
        return metadata.expires_at - window <= self.chain.clock()

    def pause(self, found: Found) -> float:
        """Return for how long the key is left alone after a failure: a tenth of what this entry may stand in for."""
        metadata = found.entry.metadata
        life = (metadata.expires_at or metadata.created_at) - metadata.created_at
        window = max(self.freshness.serves_for, (self.freshness.refresh_ahead or 0.0) * life)
        return min(LONGEST_PAUSE, window / 10)

    def count_stale(self, found: Found) -> None:
        """Count a value that was served past its ttl."""
        if self._overdue(found) >= 0:
            self.counters.served_stale += 1

    def _overdue(self, found: Found) -> float:
        """Seconds since the entry is no longer fresh; negative while it is."""
        expires_at = found.entry.metadata.expires_at
        return -1.0 if expires_at is None else self.chain.clock() - expires_at
