"""Many entries <-> one immutable object: the format of a segment.

    header    magic "TIERSEGM" | version u32 | zeros u32                                               16 bytes
    records   envelopes (`tiercache.envelope`, `tiercache.sealing.sealed`) in the order in which they came,
              each at a multiple of 8; between them and after the last, zeros up to such a multiple
    keys      one zstd frame that declares its size: a msgpack array of the full keys in the order of the index,
              "" for a tombstone; begins where the records end
    index     an entry of 34 bytes a record, begins where the keys end, strictly ascending by digest
    footer    BLAKE3 of the keys block, 32 bytes | where the keys begin u64 | bytes of the keys block u64 |
              entries of the index u32 | tag: BLAKE3 of the index and of the footer's 52 bytes so far, 32 bytes |
              version u32 | magic "TIERTAIL"                                                           96 bytes

    entry     digest, 16 bytes | stamp u48 | gone at u32 | offset / 8 u32 | length u32                 34 bytes

Numbers are big-endian. The digest is the first half of the BLAKE3 of the full key in UTF-8. The stamp, in
milliseconds, orders all writes of one key. `gone at` is the Unix second, rounded up, at which no store has to keep
the record any longer; 0: never. Offset and length are those of the envelope in the object; a length of 0 is a
tombstone (its offset is 0, it has no bytes among the records): the key was deleted.

Index and footer are the tail: how many entries it has and how long it is stands in the object's name, so that one
range request reads it. The last 12 bytes, version and magic, are where they are in every version. The keys are read
by listings alone; they hold what the names of single objects say openly, so they are not sealed, as envelopes may be.

Reading trusts nothing: magic, version, sizes, tag, then the order of the index and the place of every record. Whatever
fails is a `CorruptEntry`; a later version is an `UnknownFormat`, to be left in place. The records themselves are
checked by their own envelopes, which hold the full key: what a wrong index points to is a miss, never a wrong value.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import zstandard
from blake3 import blake3

from ..errors import CorruptEntry, UnknownFormat

__all__ = [
    "ENTRY_BYTES",
    "FOOTER_BYTES",
    "MOST_BYTES",
    "Built",
    "Located",
    "Record",
    "Tail",
    "build",
    "digest_of",
    "entry_of",
    "find",
    "gone_second",
    "located",
    "read_keys",
    "read_tail",
]

MAGIC = b"TIERSEGM"
LAST_MAGIC = b"TIERTAIL"
VERSION = 1
DIGEST_BYTES = 16
ALIGNMENT = 8
MOST_BYTES = 2**32
"""Bytes of a whole segment at most; offsets would reach eight times as far, but the stores take no more at once."""
MAX_KEYS_BYTES = 2**28
"""Bytes of keys before compression that are written and read."""

_HEADER = struct.Struct(">8sII")
_ENTRY = struct.Struct(">16sHIIII")  # the stamp as its upper 16 and lower 32 bits
_PLACE = struct.Struct(">16s10xII")  # of an entry: its digest and where its record lies
_FIELDS = struct.Struct(">32sQQI")
_END = struct.Struct(">32sI8s")
ENTRY_BYTES = _ENTRY.size
FOOTER_BYTES = _FIELDS.size + _END.size
_PADDING = [bytes(size) for size in range(ALIGNMENT)]
_MOST_U32 = 2**32 - 1
_MOST_EXPANSION_BITS = 15  # see tiercache.contents
_COMPRESSION_LEVEL = 3

_encode_keys = msgspec.msgpack.Encoder().encode
_decode_keys = msgspec.msgpack.Decoder(list[str]).decode


class Located(NamedTuple):
    """An entry of an index: where the record of a key lies.

    Attributes:
        digest: of the full key, see `digest_of`.
        stamp: milliseconds; of two records of one key the one with the higher stamp is newer.
        gone_at: Unix second from which on it need not be kept; 0: never.
        offset: of its envelope in the segment.
        length: of its envelope in bytes; 0: a tombstone.
    """

    digest: bytes
    stamp: int
    gone_at: int
    offset: int
    length: int


class Record(NamedTuple):
    """What goes into a segment: an envelope under its key, or a tombstone (`data` and `key` are empty)."""

    digest: bytes
    stamp: int
    gone_at: int
    data: bytes
    key: str


class Built(NamedTuple):
    """A segment.

    Attributes:
        body: the whole object.
        index: its index alone, `ENTRY_BYTES` an entry.
        tail: bytes of index and footer, at the end of the body.
    """

    body: bytes
    index: bytes  # type: ignore[assignment]
    tail: int


class Tail(NamedTuple):
    """What a segment's tail says.

    Attributes:
        index: `ENTRY_BYTES` an entry, ascending by digest.
        keys_at: where the keys block begins.
        keys_bytes: its length.
        keys_hash: its BLAKE3.
    """

    index: bytes  # type: ignore[assignment]
    keys_at: int
    keys_bytes: int
    keys_hash: bytes


def digest_of(key: str) -> bytes:
    """Return the 16 bytes under which an index has a key."""
    return blake3(key.encode()).digest(DIGEST_BYTES)


def gone_second(gone_at: float | None) -> int:
    """Return `gone_at` (Unix seconds; None: never) as an index has it: rounded up; 0, never, from
    February 2106 on."""
    if gone_at is None or not gone_at <= _MOST_U32:
        return 0
    return max(math.ceil(gone_at), 1)


def build(records: Sequence[Record]) -> Built:
    """Return the segment of these records, whatever their order.

    Raises:
        ValueError: there is none, two have the same digest, one has fields out of range, or all are more than
            `MOST_BYTES` or their keys more than 256 MiB.
    """
    parts, rows, keys_at = _laid_out(records)
    if not rows:
        raise ValueError("a segment needs one record at least")
    if len(rows) != len(records):
        raise ValueError("two records have the same digest; a segment has the newest of a key alone")
    order = sorted(rows)
    index = b"".join([rows[digest][0] for digest in order])
    keys = _packed_keys([rows[digest][1] for digest in order])
    fields = _FIELDS.pack(blake3(keys).digest(), keys_at, len(keys), len(rows))
    end = _END.pack(_tag(index, fields), VERSION, LAST_MAGIC)
    tail = len(index) + FOOTER_BYTES
    if keys_at + len(keys) + tail > MOST_BYTES:
        raise ValueError(f"a segment takes {MOST_BYTES:,} bytes, these records make more")
    return Built(b"".join((*parts, keys, index, fields, end)), index, tail)


def read_tail(data: bytes, *, size: int, count: int) -> Tail:
    """Return what the tail of a segment says, once all of it is found to be right.

    Args:
        data: the object's last bytes, as many as its name says that the tail has.
        size: bytes of the whole object.
        count: entries of the index, as its name says.

    Raises:
        UnknownFormat: a later version; leave the object in place.
        CorruptEntry: it is not the intact tail of a segment of this size with so many entries.
    """
    if len(data) < FOOTER_BYTES:
        raise CorruptEntry(f"{len(data)} bytes are too few for the tail of a segment")
    tag, version, magic = _END.unpack_from(data, len(data) - _END.size)
    if magic != LAST_MAGIC:
        raise CorruptEntry("these bytes do not end as a segment of tiercache does")
    if version > VERSION:
        raise UnknownFormat(f"the segment has format {version}, this release reads {VERSION}")
    fields_at = len(data) - FOOTER_BYTES
    fields = data[fields_at : fields_at + _FIELDS.size]
    keys_hash, keys_at, keys_bytes, entries = _FIELDS.unpack(fields)
    if version != VERSION or not 0 < entries == count or fields_at != entries * ENTRY_BYTES:
        raise CorruptEntry("the segment's tail is not the one that its name says")
    if keys_at + keys_bytes + len(data) != size or keys_at < _HEADER.size or keys_at % ALIGNMENT or size > MOST_BYTES:
        raise CorruptEntry("the segment is truncated or its sizes are wrong")
    index = data[:fields_at]
    if _tag(index, fields) != tag:
        raise CorruptEntry("the checksum of the segment's tail does not match")
    _check_index(index, keys_at)
    return Tail(index, keys_at, keys_bytes, keys_hash)


def read_keys(block: bytes, tail: Tail) -> list[str]:
    """Return the keys of a segment in the order of its index, "" for each tombstone.

    Args:
        block: the `tail.keys_bytes` bytes of the object from `tail.keys_at` on.
        tail: of the same object.

    Raises:
        CorruptEntry: they are not the keys of these entries.
    """
    if blake3(block).digest() != tail.keys_hash:
        raise CorruptEntry("the checksum of the segment's keys does not match")
    try:
        frame = zstandard.get_frame_parameters(block)
        size = frame.content_size
        # A size that is not declared is a huge one; `max_output_size` is ignored where one is declared.
        if size > min(MAX_KEYS_BYTES, len(block) << _MOST_EXPANSION_BITS):
            raise CorruptEntry("the segment's keys claim more bytes than they can have")
        if frame.window_size > max(1 << 10, 2 * size):
            raise CorruptEntry("the segment's keys claim more memory than they need")
        found = _decode_keys(zstandard.ZstdDecompressor().decompress(block, allow_extra_data=False))
    except (zstandard.ZstdError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        raise CorruptEntry("the segment's keys cannot be read") from None
    if len(found) * ENTRY_BYTES != len(tail.index):
        raise CorruptEntry("the segment has not as many keys as entries")
    for key, entry in zip(found, located(tail.index), strict=True):
        if (key != "" and digest_of(key) != entry.digest) or (key == "") is not (entry.length == 0):
            raise CorruptEntry("a key of the segment is not that of its entry")
    return found


def located(index: bytes) -> Iterator[Located]:
    """Yield the entries of an index, ascending by digest."""
    for digest, high, low, gone_at, place, length in _ENTRY.iter_unpack(index):
        yield Located(digest, high << 32 | low, gone_at, place * ALIGNMENT, length)


def find(index: bytes, digest: bytes) -> Located | None:
    """Return the entry of an index that has this digest; None: it has none."""
    low, high = 0, len(index) // ENTRY_BYTES
    while low < high:
        middle = (low + high) // 2
        start = middle * ENTRY_BYTES
        if index[start : start + DIGEST_BYTES] < digest:
            low = middle + 1
        else:
            high = middle
    start = low * ENTRY_BYTES
    if index[start : start + DIGEST_BYTES] != digest:
        return None
    _, upper, lower, gone_at, place, length = _ENTRY.unpack_from(index, start)
    return Located(digest, upper << 32 | lower, gone_at, place * ALIGNMENT, length)


def entry_of(located: Located) -> bytes:
    """Return the bytes of an entry, as an index has them."""
    digest, stamp, gone_at, offset, length = located
    return _ENTRY.pack(digest, stamp >> 32, stamp & _MOST_U32, gone_at, offset // ALIGNMENT, length)


def _laid_out(records: Sequence[Record]) -> tuple[list[bytes], dict[bytes, tuple[bytes, str]], int]:
    """Return header and records as they follow each other, entry and key by digest, and where the records end."""
    parts = [_HEADER.pack(MAGIC, VERSION, 0)]
    rows = {}
    offset = _HEADER.size
    try:
        for digest, stamp, gone_at, data, key in records:
            size = len(data)
            if len(digest) != DIGEST_BYTES or (size == 0) is not (key == ""):
                raise ValueError("a record needs a digest of 16 bytes, and both data and a key or none of them")
            place = offset // ALIGNMENT if size else 0
            rows[digest] = _ENTRY.pack(digest, stamp >> 32, stamp & _MOST_U32, gone_at, place, size), key
            if size:
                padding = -size % ALIGNMENT
                parts += (data, _PADDING[padding])
                offset += size + padding
    except struct.error:
        raise ValueError("a record's stamp, gone_at or size, or the place it would get, is out of range") from None
    return parts, rows, offset


def _check_index(index: bytes, keys_at: int) -> None:
    first, last = _HEADER.size // ALIGNMENT, b""
    for digest, place, length in _PLACE.iter_unpack(index):  # of 1,365 entries: most of what reading a tail costs
        if digest <= last:
            raise CorruptEntry("the segment's index is not in order")
        if (place < first or place * ALIGNMENT + length > keys_at) if length else place:
            raise CorruptEntry("the segment's index points beyond its records")
        last = digest


def _packed_keys(keys: list[str]) -> bytes:
    try:
        plain = _encode_keys(keys)
    except UnicodeEncodeError:
        raise ValueError("a record's key holds a lone surrogate") from None
    if len(plain) > MAX_KEYS_BYTES:
        raise ValueError(f"the keys of a segment take {MAX_KEYS_BYTES:,} bytes, these have {len(plain):,}")
    return zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL).compress(plain)


def _tag(index: bytes, fields: bytes) -> bytes:
    return blake3(index).update(fields).digest()
