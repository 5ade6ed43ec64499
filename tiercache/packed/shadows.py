"""`Shadows`: which tombstones and expired records hide nothing any more, and nothing that may still come."""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING

from .catalogue import Found
from .census import is_shadow
from .discovery import Segment
from .naming import ulid_time
from .segment import ENTRY_BYTES

if TYPE_CHECKING:
    from .round import Round

SETTLED_AFTER = 86_400.0
"""Seconds after which no record older than a tombstone is still on its way: twice the hour for which one may wait
(`writer.MAX_HOLD`), and the rest for clocks that are off."""
STORED_FOR = 3600.0
"""Seconds for which a tombstone was in the store, however old its stamp: a compaction that did not see it has ended
(`rewriting.OLDEST_VIEW`), which copies what it hides."""
DIGEST_BYTES = 16


class Shadows:
    """The shadows of some segments, at one moment.

    Args:
        turn: the round that wants to drop them.
        numbers: of the segments.
        now: the moment, in Unix seconds. What expired since is not known to hide nothing.
    """

    def __init__(self, turn: Round, numbers: Set[int], now: float) -> None:
        self._find = turn.discovery.catalogue.find
        self._numbers = numbers
        self._now = now
        self._before = (now - SETTLED_AFTER) * 1000
        ages = {each.number: now - ulid_time(each.parts.ulid) for each in turn.discovery.known()}
        self._lately = {number for number, age in ages.items() if 0 <= age < STORED_FOR}  # below 0 a clock is off
        self._hiding: Set[bytes] | None = self._read(turn)

    def is_settled(self, digest: bytes, at: Found) -> bool:
        """Whether a newest record can be dropped; one that is no shadow cannot."""
        return self._hiding is not None and self._is_old(at) and digest not in self._hiding

    def must_stay(self, digest: bytes, at: Found) -> bool:
        """Whether a shadow of these segments must be kept."""
        return at.segment in self._numbers and not self.is_settled(digest, at)

    def _is_old(self, at: Found) -> bool:
        return (
            at.stamp < self._before
            and is_shadow(at.gone_at, at.length, self._now)
            and at.segment in self._numbers
            and at.segment not in self._lately
        )

    def _read(self, turn: Round) -> Set[bytes] | None:
        """Read which old shadows hide anything; None: that cannot be told.

        The indices of segments with records that are not the newest of their key are read for it: only there can older
        ones be. Where the budget does not allow that, none is settled.
        """
        catalogue = turn.discovery.catalogue
        if turn.discovery.unreadable or not any(self._is_old(at) for _, at in catalogue.digests()):
            return None
        holders = [each for each in turn.discovery.known() if catalogue.winners(each.number) < each.parts.count]
        # Twice: what is left must be enough to go on with, or no call would ever come further.
        if not turn.affords(2 * len(holders), 2 * sum(each.parts.tail for each in holders)):
            return None
        found = turn.in_indices(holders, self._hidden)
        return set[bytes]().union(*found.values()) if len(found) == len(holders) else None

    def _hidden(self, segment: Segment, index: bytes) -> set[bytes]:
        """The keys of which a segment has a record that an old shadow in another segment hides."""
        hidden: set[bytes] = set()
        for start in range(0, len(index), ENTRY_BYTES):
            digest = index[start : start + DIGEST_BYTES]
            at = self._find(digest)
            if at is not None and at.segment != segment.number and self._is_old(at):
                hidden.add(digest)
        return hidden
