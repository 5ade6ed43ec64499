"""`Rewriter`: the records of some segments that are still needed are copied, byte for byte, into a new segment.

A record that is hidden by a newer one elsewhere is left out. One that hides older ones, a tombstone or an expired
entry, stays as a tombstone with its stamp. The new segment has a later ULID than all that it is made of, so that its
copies are the newest ones from then on; it lies in the same bucket of lives, and so outlives what is hidden by it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import BackendError, BackendUnavailable, CorruptEntry
from ..objectstore.objects import Upload
from ..objectstore.sweep import IsDead
from .catalogue import Found
from .census import Holding, is_shadow
from .discovery import Segment
from .naming import SegmentName, new_ulid, object_name, ulid_time
from .round import Round
from .segment import Located, Record, build, located, read_keys, read_tail
from .sending import create
from .shadows import Shadows

ATTEMPTS, PAUSE = 3, 0.25
OLDEST_VIEW = 1800.0
"""Seconds after a look at which nothing is written any more that was chosen by it."""


class Dead(NamedTuple):
    """What was invalidated.

    Attributes:
        prefix: of the keys that can be told.
        is_dead: tells from when an entry was made, and from its tags.
    """

    prefix: str
    is_dead: IsDead


class Rewriter:
    """Copies what is needed.

    Args:
        turn: the round that this is a part of.
        may_write: asked before each attempt to write: whether nobody else compacts.
        dead: what was invalidated, beside what is expired.
        shadows: tells which tombstones and expired records can be dropped; None: none.
        without: a digest whose entries are left out, whether they are the newest or not.
    """

    def __init__(
        self,
        turn: Round,
        may_write: Callable[[], bool],
        *,
        dead: Dead | None = None,
        shadows: Shadows | None = None,
        without: bytes | None = None,
    ) -> None:
        self._round = turn
        self._may_write = may_write
        self._inner = turn.inner
        self._discovery = turn.discovery
        self._dead = dead
        self._shadows = shadows
        self._without = without

    def rewrite(self, segments: Sequence[Segment], holdings: Mapping[int, Holding]) -> bool:
        """Copy what is needed of segments of one bucket and class into one, delete them, and return whether it is done.

        What is not known to hold anything alive is not read.
        """
        read = {each.name: each for each in segments if each.number not in holdings or holdings[each.number].alive}
        copied: dict[str, list[Record]] = {
            each.name: list(self._shadows_of(each, holdings[each.number])) for each in segments if each.name not in read
        }
        self._round.count(requests=len(read), read_bytes=sum(each.size for each in read.values()))
        copied |= self._round.side_by_side(read, self._needed)
        sources = [each for each in segments if each.name in copied]
        newest: dict[bytes, Record] = {}
        for each in sources:  # by ULID
            for record in copied[each.name]:
                known = newest.get(record.digest)
                if known is None or known.stamp <= record.stamp:
                    newest[record.digest] = record
        if not sources or (newest and not self._store(sources[0], list(newest.values()))):
            return False
        self._round.count(merged=len(sources))
        return self._round.remove(sources) and len(sources) == len(segments)

    def _shadows_of(self, segment: Segment, holding: Holding) -> Iterable[Record]:
        for digest, stamp in holding.shadows():
            found = self._discovery.catalogue.find(digest)
            if found is None or (found.segment == segment.number and found.stamp == stamp):
                yield Record(digest, stamp, 0, b"", "")

    def _needed(self, segment: Segment) -> list[Record] | None:
        """The records of a segment that are needed; None: it is not there, or cannot be read."""
        objects, size = self._inner.objects, segment.size
        data = objects.read_range(segment.name, 0, size, deadline=self._round.due_of(size))
        if data is None:  # it stays known until another one is listed that may stand for it
            return None
        if len(data) != size:
            raise BackendUnavailable("a segment came in part only; try again", tier_wide=False)
        try:
            tail = read_tail(data[-segment.parts.tail :], size=size, count=segment.parts.count)
            keys = read_keys(data[tail.keys_at : tail.keys_at + tail.keys_bytes], tail)
        except CorruptEntry:
            self._round.count(damaged=1)
            return None
        now = self._inner.clock()
        records = (self._kept(segment, at, data, key, now) for at, key in zip(located(tail.index), keys, strict=True))
        kept = [record for record in records if record is not None]
        # Where it was forgotten meanwhile, its records did not count as the newest ones, though they may be.
        return kept if segment.number in self._discovery.segments else None

    def _kept(self, segment: Segment, at: Located, data: bytes, key: str, now: float) -> Record | None:
        if at.digest == self._without and at.length:
            return None
        if not self._discovery.catalogue.is_winner(segment.number, at):
            return None
        body = data[at.offset : at.offset + at.length]
        if not is_shadow(at.gone_at, at.length, now) and not self._was_invalidated(key, body):
            return Record(at.digest, at.stamp, at.gone_at, body, key)
        found = Found(at.stamp, at.gone_at, at.offset, at.length, segment.number)
        is_settled = self._shadows is not None and self._shadows.is_settled(at.digest, found)
        return None if is_settled else Record(at.digest, at.stamp, 0, b"", "")

    def _was_invalidated(self, key: str, body: bytes) -> bool:
        if self._dead is None or not key.startswith(self._dead.prefix):
            return False
        try:
            metadata = self._inner.envelope.decode(body, key, max_payload=self._inner.max_entry_bytes).metadata
        except CorruptEntry:  # or sealed with a key that is not at hand: copied as it is
            return False
        return self._dead.is_dead(metadata.loaded_at, metadata.tags)

    def _store(self, like: Segment, records: list[Record]) -> bool:
        """Write a segment, and let it be known; False: it took too long to get here, or another one compacts."""
        built = build(records)
        latest = max(ulid_time(each.parts.ulid) for each in self._discovery.known() or [like])
        ulid = new_ulid(max(self._inner.clock(), latest + 0.002, ulid_time(like.parts.ulid) + 0.002))
        name = SegmentName(like.parts.bucket, ulid, len(records), built.tail)
        storage_class = like.storage_class if like.storage_class != self._inner.storage_class else None
        # No `gone_at`: a store that deletes by it would delete the tombstones, too.
        upload = Upload(object_name(self._inner.prefix, name), built.body, {}, None, storage_class)
        if not self._write(upload):
            self._round.count(complete=False)
            return False
        self._round.backend.adopt(name, storage_class, built)
        copied = sum(bool(record.data) for record in records)
        self._round.count(written=1, entries=copied, written_bytes=len(built.body))
        return True

    def _write(self, upload: Upload) -> bool:
        """Create the object; a refusal means that an earlier attempt, whose answer was lost, has done it."""
        for attempt in range(ATTEMPTS):
            if self._round.looked_ago() > OLDEST_VIEW or not self._may_write():
                return False
            self._round.count(requests=1)
            due = self._round.due_of(len(upload.body))
            try:
                create(self._inner.objects, upload, due)
            except BackendError:
                if attempt + 1 == ATTEMPTS or time.monotonic() >= due or not self._round.affords(3):
                    raise
                threading.Event().wait(PAUSE * 2**attempt)
            else:
                return True
        return False
