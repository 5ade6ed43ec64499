"""Records of a fixed size in thousands of small `bytes`, found by their first 16 bytes: about 38 bytes a record.

A record is an index entry of a segment and the segment's number. The first bits of its digest say in which shard it
lies, and there `bytes.find` finds it. A shard is never changed, only replaced, so that readers need no lock.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Set

from .segment import ENTRY_BYTES

DIGEST = 16
STAMP = slice(16, 22)
NUMBER = slice(ENTRY_BYTES, ENTRY_BYTES + 3)
RECORD_BYTES = ENTRY_BYTES + 3
# Records a shard on average, at most: with more, a record costs less beyond its own bytes, and a miss takes longer.
MOST = 64
_MOST_BITS = 28

_first_bits = struct.Struct(">I").unpack_from
_number_of_each = struct.Struct(f">{ENTRY_BYTES}x3s").iter_unpack


class Shards:
    """A table of records by digest. One thread at a time may change it; any may read meanwhile."""

    def __init__(self) -> None:
        # 2^k shards, and 32 - k: the shift that leaves of a digest's first 32 bits the number of its shard.
        self._table: tuple[list[bytes], int] = ([b""], 32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, digest: bytes) -> tuple[bytes, int]:
        """Return the shard of a digest and where its record begins there; -1 if there is none."""
        shards, shift = self._table
        shard = shards[_first_bits(digest)[0] >> shift]
        at = shard.find(digest)
        while at > 0 and at % RECORD_BYTES:  # chance: the digest's bytes across two fields
            at = shard.find(digest, at + 1)
        return shard, at

    def insert(self, record: bytes) -> None:
        """Add a record whose digest is not in the table."""
        shards, shift = self._table
        slot = _first_bits(record)[0] >> shift
        shards[slot] += record
        self._count += 1
        is_due = self._count > MOST * len(shards) and shift > 32 - _MOST_BITS
        del shards  # the old list would keep alive what is split
        if is_due:
            self._split()

    def replace(self, record: bytes, shard: bytes, at: int) -> None:
        """Put a record in the place of the one that `find` found there."""
        shards, shift = self._table
        shards[_first_bits(record)[0] >> shift] = b"".join((shard[:at], record, shard[at + RECORD_BYTES :]))

    def drop(self, numbers: Set[bytes]) -> None:
        """Drop the records of segments, given by their 3 bytes, and the shards that are no longer needed."""
        shards, _ = self._table
        count = 0
        for slot, shard in enumerate(shards):
            kept = [nth for nth, (number,) in enumerate(_number_of_each(shard)) if number not in numbers]
            count += len(kept)
            if len(kept) * RECORD_BYTES < len(shard):
                starts = (nth * RECORD_BYTES for nth in kept)
                shards[slot] = b"".join([shard[start : start + RECORD_BYTES] for start in starts])
        self._count = count
        while self._count < MOST // 4 * len(self._table[0]) and len(self._table[0]) > 1:
            self._join()

    def depth(self) -> int:
        """Return how many of a digest's first bits say in which shard it is."""
        return 32 - self._table[1]

    def under(self, prefix: int, depth: int) -> Iterator[bytes]:
        """Yield the records whose digests begin with the `depth` bits of `prefix`. Nothing may change meanwhile."""
        shards, shift = self._table
        deeper = 32 - shift - depth
        if deeper >= 0:
            for shard in shards[prefix << deeper : (prefix + 1) << deeper]:
                yield from records(shard)
        else:
            for record in records(shards[prefix >> -deeper]):
                if _first_bits(record)[0] >> (32 - depth) == prefix:
                    yield record

    def nbytes(self) -> int:
        """Return the memory that the table takes, in bytes."""
        shards, _ = self._table
        return sys.getsizeof(shards) + sum(map(sys.getsizeof, shards))

    def _split(self) -> None:
        # Both halves begin as the whole, so that readers find everything at any moment, and the memory of what is
        # split is given back at once.
        shards, shift = self._table
        shards = [shard for shard in shards for _ in (0, 1)]
        shift -= 1
        self._table = shards, shift
        for slot in range(0, len(shards), 2):
            halves: tuple[list[bytes], list[bytes]] = ([], [])
            for record in records(shards[slot]):
                halves[_first_bits(record)[0] >> shift & 1].append(record)
            shards[slot], shards[slot + 1] = map(b"".join, halves)

    def _join(self) -> None:
        shards, shift = self._table
        self._table = [shards[slot] + shards[slot + 1] for slot in range(0, len(shards), 2)], shift + 1


def records(shard: bytes) -> Iterator[bytes]:
    """Yield the records of a shard."""
    for at in range(0, len(shard), RECORD_BYTES):
        yield shard[at : at + RECORD_BYTES]
