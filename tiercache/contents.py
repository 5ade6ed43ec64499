"""Entry <-> header and payload, as an envelope holds them: msgpack metadata, and bytes that may be compressed.

Reading trusts nothing: what is unpacked here has a tag that fits, and is checked all the same. A payload's size is
known and bounded before anything is decompressed.
"""

from __future__ import annotations

import math
import threading

import msgspec
import zstandard

from .entry import AttributeValue, Entry, Metadata
from .errors import CorruptEntry, EntryTooLarge, UnknownFormat

COMPRESS_OVER = 1024
"""Bytes of payload above which compression is tried (below, zstd gains less than its frame costs)."""
COMPRESSION_LEVEL = 3
MAX_PAYLOAD_BYTES = 256 * 2**20
MAX_HEADER_BYTES = 2**20

_MOST_EXPANSION_BITS = 15  # zstd's smallest block has 4 bytes and makes 128 KiB at most
_WORTHWHILE = 0.95  # compressed / plain: a payload that shrinks less is stored as it is


class Header(msgspec.Struct, omit_defaults=True, frozen=True):
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
    unknown_key: str | None = msgspec.field(name="i", default=None)  # never written; refused when it is there


encode_header = msgspec.msgpack.Encoder().encode
_decode_header = msgspec.msgpack.Decoder(Header).decode


class _Zstd(threading.local):  # contexts are not safe to share between threads, and dear to make
    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_zstd = _Zstd()


def pack(entry: Entry) -> tuple[bytes, bytes]:
    """Return the header of an entry and its payload as it is stored.

    Raises:
        EntryTooLarge: see `Envelope.encode`.
    """
    payload, metadata = entry.payload, entry.metadata
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise EntryTooLarge(f"the payload has {len(payload):,} bytes, an envelope takes {MAX_PAYLOAD_BYTES:,}")
    stored, encoding = _compress(payload, metadata.codec)
    header = _header(metadata, len(payload), encoding)
    if len(header) > MAX_HEADER_BYTES:
        raise EntryTooLarge(f"key, tags and attributes take {len(header):,} bytes, an envelope takes 1 MiB of them")
    return header, stored


def unpack(
    raw: bytes | memoryview,
    stored: bytes,
    wire: bytes,
    key: str | None,
    max_payload: int,
    etag: str,
    key_id: str | None = None,
) -> Entry:
    """Return the entry that a header and a stored payload make.

    Args:
        raw: the header.
        stored: the payload as it is stored.
        wire: the envelope that they were read from.
        key: that the entry must have; None: any.
        max_payload: bytes of uncompressed payload that are accepted.
        etag: of the envelope.
        key_id: the key that it was opened with; None: it is not sealed.

    Raises:
        CorruptEntry: the header cannot be read or is another key's, or the payload is not what it says.
        UnknownFormat: an encoding of a later release.
    """
    try:
        header = _decode_header(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        raise CorruptEntry("the entry's header cannot be read") from None
    if key is not None and header.key != key:
        raise CorruptEntry("the entry belongs to another key")
    payload = _decompress(stored, header, max_payload)
    metadata = Metadata(
        key=header.key,
        created_at=header.created_at,
        expires_at=header.expires_at,
        stale_until=header.stale_until,
        as_of=header.as_of,
        codec=header.codec,
        encoding=header.encoding,
        size=header.size,
        stored_size=len(wire),
        tags=header.tags,
        attributes=header.attributes,
        etag=etag,
        key_id=key_id,
    )
    if not metadata.has_sane_times():
        raise CorruptEntry("the entry's times are not finite numbers")
    return Entry(payload, metadata, wire)


def _header(metadata: Metadata, size: int, encoding: str) -> bytes:
    try:
        return encode_header(
            Header(
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


def _decompress(stored: bytes, header: Header, max_payload: int) -> bytes:
    if header.unknown_key is not None:
        raise UnknownFormat("the entry is encrypted in a way that this release does not read")
    if not 0 <= header.size <= max_payload:
        raise CorruptEntry(f"the entry claims {header.size:,} bytes of payload, {max_payload:,} are accepted")
    if not header.encoding:
        payload = stored
    elif header.encoding == "zstd":
        try:
            # `max_output_size` is ignored for a frame that declares its size: compare that first.
            frame = zstandard.get_frame_parameters(stored)
            size, window = header.size, frame.window_size
            if frame.content_size != size or frame.dict_id or (window > size and window > _window_limit(size)):
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
