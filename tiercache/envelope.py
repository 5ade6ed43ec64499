"""Entry <-> bytes: the one wire format of every tier that is not memory.

    magic "TIER" | version u8 | flags u8 | key id length u16 | header length u32 | payload length u64    20 bytes
    header       msgpack map: the metadata, with the full key
    payload      as the header's `encoding` says: as it is, or one zstd frame that declares its size
    tag          BLAKE3, 32 bytes, over all of the above

Numbers are big-endian. Flags and key id length are 0 in the plain envelope of this file; `tiercache.sealing.sealed` has
the others, keyed and encrypted.

Reading trusts nothing: magic and version, lengths, tag, header, key, then a decompression whose size is known
and bounded before it starts. Whatever fails is a `CorruptEntry`. Bytes of a later version are an `UnknownFormat`:
a miss that nobody deletes, so that releases can be rolled out and back.

A tag of 32 bytes rules accidents out (of 1,000,000 mutants without one, 12.8 % decoded to a wrong
value). Unkeyed, it does not stop somebody who writes to the store on purpose; nothing that is read is executed.
"""

from __future__ import annotations

import struct
from typing import Protocol

from blake3 import blake3

from .contents import COMPRESS_OVER, MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, pack, unpack
from .entry import Entry
from .errors import CorruptEntry, UnknownFormat, UnknownKey

__all__ = [
    "COMPRESS_OVER",
    "MAX_HEADER_BYTES",
    "MAX_PAYLOAD_BYTES",
    "PLAIN",
    "TAG_BYTES",
    "Envelope",
    "Sealable",
    "decode",
    "encode",
    "envelope_of",
    "etag",
    "is_encrypted",
]

MAGIC = b"TIER"
VERSION = 1
TAG_BYTES = 32
KEYED = 1
"""Flag: the tag is keyed; a key id follows the first 20 bytes."""
ENCRYPTED = 3
"""Flags: keyed, and header and payload are a ciphertext."""

PREFIX = struct.Struct(">4sBBHIQ")
WRONG_LENGTHS = "the entry is truncated or its lengths are wrong"


class Envelope:
    """The plain envelope: checked against accidents, protected against nobody.

    Attributes:
        sealed: whether what is written is protected by a key, so that what a store says beside it is not to be trusted.
    """

    sealed: bool = False

    def encode(self, entry: Entry) -> bytes:
        """Return the envelope of an entry.

        An entry that was read from another tier is returned as the bytes that were read: nothing is encoded twice.

        Raises:
            EntryTooLarge: the payload exceeds 256 MiB, or key, tags and attributes together 1 MiB, or they hold an int
                beyond 64 bits or a lone surrogate.
        """
        wire = entry.wire
        if wire is not None and not wire[5]:  # the flags: a sealed one stays among those who have its key
            return wire
        header, stored = pack(entry)
        body = b"".join((PREFIX.pack(MAGIC, VERSION, 0, 0, len(header), len(stored)), header, stored))
        return body + blake3(body).digest()

    def decode(self, data: bytes, key: str | None = None, *, max_payload: int = MAX_PAYLOAD_BYTES) -> Entry:
        """Return the entry in an envelope.

        Args:
            data: what the store holds.
            key: the key it was asked for under; None accepts any (a listing that has no keys).
            max_payload: bytes of uncompressed payload that are accepted; what claims more is never decompressed.

        Raises:
            UnknownKey: it is sealed, and the key is not at hand; leave the bytes in place.
            UnknownFormat: another version or an unknown encoding; leave the bytes in place.
            CorruptEntry: anything else that is not an intact entry of that key.
        """
        flags, _, header_size, stored_size = read_start(data)
        if flags:
            raise UnknownKey("the entry is sealed: give the chain its keys, TierChain(..., keys=KeyRing(...))")
        payload_at = PREFIX.size + header_size
        end = payload_at + stored_size
        if header_size > MAX_HEADER_BYTES or end + TAG_BYTES != len(data):
            raise CorruptEntry(WRONG_LENGTHS)
        view = memoryview(data)
        if blake3(view[:end]).digest() != data[end:]:
            raise CorruptEntry("the entry's checksum does not match")
        return unpack(view[PREFIX.size : payload_at], data[payload_at:end], data, key, max_payload, etag(data))

    def opens(self, key_id: str | None) -> bool:
        """Whether it opens what was sealed with this key; None: what was not sealed."""
        return key_id is None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Sealable(Protocol):
    """A store that lets an `Envelope` turn its entries into bytes, and so can keep them sealed.

    Attributes:
        envelope: the one that it uses, the plain one at first.
    """

    @property
    def envelope(self) -> Envelope:
        """The envelope in use."""
        ...

    def seal_with(self, envelope: Envelope) -> None:
        """Use this envelope for everything that is read and written from now on; a chain calls it before first use."""
        ...


PLAIN = Envelope()
encode = PLAIN.encode
decode = PLAIN.decode


def envelope_of(backend: object) -> Envelope:
    """Return what turns a store's entries into bytes; the plain envelope for one that does so by itself."""
    found = getattr(backend, "envelope", PLAIN)
    return found if isinstance(found, Envelope) else PLAIN


def read_start(data: bytes) -> tuple[int, int, int, int]:
    """Return what the first 20 bytes say: flags, length of the key id, of the header and of the payload.

    Raises:
        UnknownFormat: a version or flags that this release does not know.
        CorruptEntry: they are no entry of tiercache.
    """
    if len(data) < PREFIX.size + TAG_BYTES:
        raise CorruptEntry(f"{len(data)} bytes are too few for an entry")
    magic, version, flags, id_size, header_size, stored_size = PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise CorruptEntry("these bytes are not an entry of tiercache")
    if version != VERSION or ((flags or id_size) and (flags not in (KEYED, ENCRYPTED) or not id_size)):
        raise UnknownFormat(f"the entry has format {version}.{flags}, this release reads {VERSION}.0, 1 and 3")
    return flags, id_size, header_size, stored_size


def etag(data: bytes) -> str:
    """Return the version of an envelope: the first half of its tag, in hex."""
    return data[-TAG_BYTES : -TAG_BYTES // 2].hex()


def is_encrypted(data: bytes) -> bool:
    """Whether these bytes of ours hide what they hold."""
    return data[5] == ENCRYPTED
