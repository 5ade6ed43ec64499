"""The catalogue: where the newest record of each key lies, of all segments that are known. Exact and compact.

It holds nothing but the newest record of each key. Forgetting a segment therefore uncovers nothing: a key whose newest
record lay there is unknown, a miss, even if an older record of it lies in another segment; never an older value.
"""

from __future__ import annotations

import logging
import struct
import sys
import threading
from collections.abc import Iterator
from typing import NamedTuple

from ..logs import fields
from .segment import ENTRY_BYTES, Located, entry_of
from .shards import DIGEST, NUMBER, RECORD_BYTES, STAMP, Shards

logger = logging.getLogger("tiercache")

_NUMBERS = 1 << 24
_ALIGNED = 8
_fields = struct.Struct(">HIIIIBH").unpack_from
_new = tuple.__new__


class Found(NamedTuple):
    """Where the newest record of a key lies.

    Attributes:
        stamp: orders the writes of the key, in milliseconds.
        gone_at: Unix seconds at which it is gone; 0: never.
        offset: where it begins in the segment, in bytes.
        length: its bytes; 0: a tombstone.
        segment: the number that `Catalogue.add` returned.
    """

    stamp: int
    gone_at: int
    offset: int
    length: int
    segment: int


class _Segment:
    __slots__ = ("ulid", "winners")

    def __init__(self, ulid: str) -> None:
        self.ulid = ulid
        self.winners = 0


class Catalogue:
    """A map from key digests to the newest record of each key; at most 40 bytes an entry, and about 350 a segment.

    The newest is the one with the higher (stamp, ULID of its segment), in whatever order segments are added. `find`
    takes no lock; changes take turns.

    Args:
        max_entries: keys that it holds at most. When it is full, records of further keys are left out (they are misses
            that will be computed again), known keys are still updated. A key that was left out may later come in only
            by a record newer than all that were left out, so that an older one is never taken for the newest.
    """

    def __init__(self, max_entries: int) -> None:
        if max_entries < 1:
            raise ValueError(f"max_entries must be at least 1, not {max_entries}")
        self.max_entries = max_entries
        self.full = False
        """Whether a record was ever left out for want of room."""
        self._lock = threading.Lock()
        self._shards = Shards()
        self._numbers: dict[str, int] = {}
        self._live: dict[int, _Segment] = {}
        self._gone: dict[int, int] = {}  # forgotten segments: how many of their records are still in the shards
        self._gone_records = 0
        self._next = 0
        self._left_out_stamp = b""  # the highest of all that were left out

    def __len__(self) -> int:
        return len(self._shards) - self._gone_records

    def __repr__(self) -> str:
        return f"<Catalogue: {len(self)} of {self.max_entries} entries, {len(self._live)} segments>"

    def add(self, ulid: str, index: bytes) -> int:
        """Take in a segment and return its number, which is the same when it was added before.

        A segment that was forgotten and is added again gets another number.

        Args:
            ulid: the segment's id.
            index: its index, entry by entry as `tiercache.packed.segment` lays it out.
        """
        if len(index) % ENTRY_BYTES:
            raise ValueError(f"an index has {ENTRY_BYTES} bytes an entry; {len(index)} bytes are none")
        with self._lock:
            known = self._numbers.get(ulid)
            if known is not None:
                return known
            number = self._free_number()
            segment = self._live[number] = _Segment(ulid)
            self._numbers[ulid] = number
            was_full = self.full
            self._merge(number, segment, index)
            says_full = self.full and not was_full
        if says_full:
            logger.warning(
                "the catalogue of packed segments is full at max_entries=%d: entries beyond that are not found and "
                "will be computed again; raise max_entries (about 40 bytes of memory each), or keep entries for "
                "a shorter time",
                self.max_entries,
                extra=fields("catalogue.full", max_entries=self.max_entries),
            )
        return number

    def find(self, digest: bytes) -> Found | None:
        """Return where the newest record of a key lies, be it a tombstone or expired.

        None if the key is unknown, or if the segment of its newest record was forgotten.
        """
        place = self._shards.find(digest)
        while place[1] >= 0:
            found = self._found(*place)
            if found is not None:
                return found
            seen, place = place, self._shards.find(digest)
            if place == seen:  # else a newer record came, and the older one's segment went, while this was read
                return None
        return None

    def forget(self, number: int) -> None:
        """A segment is gone: its records are unknown from now on, and any other may take their place.

        Unknown numbers are ignored. Memory is given back once a fair part of all records is gone.
        """
        with self._lock:
            segment = self._live.pop(number, None)
            if segment is None:
                return
            del self._numbers[segment.ulid]
            if segment.winners:
                self._gone[number] = segment.winners
                self._gone_records += segment.winners
            if self._gone_records * 8 > len(self._shards):
                self._purge()

    def winners(self, number: int) -> int:
        """Return how many of a segment's records are the newest of their keys; 0 for one that is not known.

        Where the catalogue is full there may be more, which were left out.
        """
        segment = self._live.get(number)
        return segment.winners if segment else 0

    def is_winner(self, number: int, located: Located) -> bool:
        """Return whether a record of a segment is the newest of its key."""
        if number not in self._live:
            return False
        shard, at = self._shards.find(located.digest)
        return at >= 0 and shard[at : at + RECORD_BYTES] == entry_of(located) + number.to_bytes(3, "big")

    def digests(self) -> Iterator[tuple[bytes, Found]]:
        """Yield each key's digest and where its newest record lies.

        What is added or forgotten meanwhile may be among them or not; each key comes at most once.
        """
        with self._lock:
            depth = self._shards.depth()
        for prefix in range(1 << depth):
            with self._lock:
                records = list(self._shards.under(prefix, depth))
            for record in records:
                found = self._found(record, 0)
                if found is not None:
                    yield record[:DIGEST], found

    def nbytes(self) -> int:
        """Return the memory that it takes, in bytes."""
        with self._lock:
            tables = sum(map(sys.getsizeof, (self._numbers, self._live, self._gone)))
            each = sum(
                sum(map(sys.getsizeof, (number, segment, segment.ulid, segment.winners)))
                for number, segment in self._live.items()
            )
            return tables + each + self._shards.nbytes()

    def _found(self, shard: bytes, at: int) -> Found | None:
        high, low, gone_at, offset, length, number_high, number_low = _fields(shard, at + DIGEST)
        number = number_high << 16 | number_low
        if number not in self._live:  # live, not gone: a purge may have gone by since the shard was read
            return None
        return _new(Found, (high << 32 | low, gone_at, offset * _ALIGNED, length, number))

    def _free_number(self) -> int:
        # In turn, not the lowest free: who still holds the number of a forgotten segment must not mean another one.
        if len(self._live) + len(self._gone) >= _NUMBERS:
            raise OverflowError(f"more than {_NUMBERS} segments: compact them")
        while True:
            number = self._next
            self._next = (number + 1) % _NUMBERS
            if number not in self._live and number not in self._gone:
                return number

    def _merge(self, number: int, segment: _Segment, index: bytes) -> None:
        shards = self._shards
        tail = number.to_bytes(3, "big")
        for start in range(0, len(index), ENTRY_BYTES):
            record = index[start : start + ENTRY_BYTES] + tail
            shard, at = shards.find(record[:DIGEST])
            if at >= 0:
                self._contend(segment, record, shard, at)
            elif self._has_room(record):
                shards.insert(record)
                segment.winners += 1

    def _contend(self, segment: _Segment, record: bytes, shard: bytes, at: int) -> None:
        old = shard[at : at + RECORD_BYTES]
        number = int.from_bytes(old[NUMBER], "big")
        holder = self._live.get(number)
        if holder is None:
            if not self._has_room(record):
                return
            self._lose_gone(number)
        elif (record[STAMP], segment.ulid) > (old[STAMP], holder.ulid):
            holder.winners -= 1
        else:
            return
        self._shards.replace(record, shard, at)
        segment.winners += 1

    def _has_room(self, record: bytes) -> bool:
        if len(self._shards) - self._gone_records < self.max_entries and record[STAMP] > self._left_out_stamp:
            return True
        self.full = True
        self._left_out_stamp = max(self._left_out_stamp, record[STAMP])
        return False

    def _lose_gone(self, number: int) -> None:
        self._gone_records -= 1
        self._gone[number] -= 1
        if not self._gone[number]:
            del self._gone[number]

    def _purge(self) -> None:
        self._shards.drop({number.to_bytes(3, "big") for number in self._gone})
        self._gone.clear()
        self._gone_records = 0
