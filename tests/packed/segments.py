"""Segments for tests: records and tombstones, tails made by hand, and a lookup as a reader of a store makes it."""

from __future__ import annotations

import struct

import msgspec
import zstandard
from blake3 import blake3

from tests.properties.raw import peak
from tiercache import KeyRing, envelope
from tiercache.entry import Entry, Metadata
from tiercache.envelope import Envelope
from tiercache.errors import CorruptEntry
from tiercache.packed import segment
from tiercache.packed.segment import Built, Record, Tail
from tiercache.sealing.sealed import SealedEnvelope

__all__ = [
    "FRAME",
    "SEALED",
    "SEALED_RECORDS",
    "entry",
    "looked_up",
    "packed",
    "peak",
    "plain",
    "record",
    "tail",
    "tail_of",
    "tombstone",
]

SEALED = SealedEnvelope(KeyRing({"k1": bytes(range(32))}))


def entry(key: str, payload: bytes) -> Entry:
    return Entry(payload, Metadata(key=key, created_at=1.7e9, codec="bytes"))


def record(key: str, payload: bytes, *, stamp: int = 1, gone_at: int = 0, sealed: Envelope = envelope.PLAIN) -> Record:
    return Record(segment.digest_of(key), stamp, gone_at, sealed.encode(entry(key, payload)), key)


def tombstone(key: str, *, stamp: int = 1) -> Record:
    return Record(segment.digest_of(key), stamp, 0, b"", "")


SEALED_RECORDS = [
    record("ns:key-0", b"secret 0", sealed=SEALED),
    record("ns:key-1", b"", sealed=SEALED),
    record("ns:key-2", b"secret 2", stamp=7, gone_at=5, sealed=SEALED),
    tombstone("ns:deleted"),
]


def tail_of(built: Built) -> Tail:
    count = len(built.index) // segment.ENTRY_BYTES
    return segment.read_tail(built.body[-built.tail :], size=len(built.body), count=count)


def looked_up(body: bytes, tail: int, count: int, key: str, opener: Envelope = envelope.PLAIN) -> bytes | None:
    """The payload that a reader finds of a key in an object whose name says `count` and `tail`; None: a miss.

    What is no miss and no value is raised.
    """
    try:
        read = segment.read_tail(body[-tail:], size=len(body), count=count)
        found = segment.find(read.index, segment.digest_of(key))
        if found is None or not found.length:
            return None
        return opener.decode(body[found.offset : found.offset + found.length], key).payload
    except CorruptEntry:
        return None


def tail(index: bytes, *, keys_at: int, keys: bytes, version: int = 1) -> bytes:
    """A tail of the documented format with checksums that fit, made beside the code under test."""
    fields = blake3(keys).digest() + struct.pack(">QQI", keys_at, len(keys), len(index) // 34)
    return index + fields + blake3(index + fields).digest() + struct.pack(">I", version) + b"TIERTAIL"


FRAME = zstandard.ZstdCompressor()


def packed(keys: object) -> bytes:
    """A keys block."""
    return FRAME.compress(msgspec.msgpack.encode(keys))


def plain(block: bytes) -> bytes:
    """The msgpack in a keys block."""
    return zstandard.ZstdDecompressor().decompress(block)
