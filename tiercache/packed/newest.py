"""`Newest`: where the newest record of a key is: in what waits, or in a segment. The higher stamp wins."""

from __future__ import annotations

from ..entry import Clock
from .catalogue import Found
from .discovery import Discovery
from .naming import KEEP, longer
from .pending import Held, Pending

MOST_STAMP = 2**48 - 1
"""What an index has room for: the year 10889."""


class Newest:
    """What waits and what is stored, taken together.

    Args:
        pending: what waits.
        discovery: what is stored.
        clock: Unix seconds.
    """

    def __init__(self, pending: Pending, discovery: Discovery, clock: Clock) -> None:
        self._pending = pending
        self._discovery = discovery
        self._clock = clock

    def of(self, digest: bytes) -> Held | Found | None:
        """Return where the newest record of a key is; None: there is none, it is a tombstone, or it is gone.

        None as well where a newer one may lie in a segment that cannot be read (see `Aside`).
        """
        held = self._pending.get(digest)  # first: what leaves it stands in the catalogue before
        found = self._discovery.catalogue.find(digest)
        if held is not None and (found is None or held.record.stamp >= found.stamp):
            record = held.record
            return held if record.data and not self._is_gone(record.gone_at) else None
        if found is None or not found.length or self._is_gone(found.gone_at):
            return None
        return found if found.stamp > self._discovery.aside.until else None

    def stamp(self, digest: bytes) -> int:
        """Return the stamp of the newest record of a key, tombstones included; 0: there is none."""
        return self.known(digest)[0]

    def known(self, digest: bytes) -> tuple[int, Found | None]:
        """Return the stamp of the newest record of a key (0: there is none), and where the stored one is."""
        held = self._pending.get(digest)
        found = self._discovery.catalogue.find(digest)
        return max(0 if held is None else held.record.stamp, 0 if found is None else found.stamp), found

    def next_stamp(self, stamp: int) -> int:
        """Return a stamp above that of the newest record that is known: the time in ms, where that is so."""
        return min(max(int(self._clock() * 1000), stamp + 1), MOST_STAMP)

    def bucket(self, found: Found | None, bucket: str) -> str:
        """Return the bucket of a record: one whose segments live as long as the stored record of its key, at least.

        Otherwise that one would come back when the segment of the newer one is gone; to this process, or to one that
        can read what is set aside here.
        """
        aside = self._discovery.aside
        if aside.bucket and (found is None or found.stamp <= aside.until):
            bucket = longer(bucket, aside.bucket)
        if found is None:
            return bucket
        segment = self._discovery.segments.get(found.segment)
        return KEEP if segment is None else longer(bucket, segment.parts.bucket)  # None: it is just being taken in

    def hides(self, digest: bytes) -> bool:
        """Whether a segment holds a record of the key that is no tombstone, or may: not all are known."""
        found, aside = self._discovery.catalogue.find(digest), self._discovery.aside
        if found is None:
            return self._discovery.catalogue.full or aside.until > 0
        return found.length > 0 or found.stamp <= aside.until

    def _is_gone(self, gone_at: int) -> bool:
        return 0 < gone_at <= self._clock()
