"""The portable file: entries as their stores hold them, in blocks that are checked one by one.

    start   magic 89 "TIER" 0D 0A 1A | version u8 | 3 zeros | length u32 | about the file, a msgpack map | tag
    block   "BLCK" | number u32 | entries u32 | encoding u8 | 3 zeros | plain length u64 | stored length u64
            | records, as they are (0) or one zstd frame (1) | tag
    end     "ENDS" | blocks u32 | entries u64 | sealed entries u64 | bytes of envelopes u64 | tag

    record  key length u32 | about length u32 | envelope length u64 | key | about the entry, a msgpack map | envelope

Numbers are big-endian. A tag is BLAKE3, 32 bytes, over the tag before it (of the start: 32 zeros) and all of its part
before it: no block can be changed, left out or put elsewhere unseen. Tags rule accidents out, not ill will.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Protocol

import msgspec
import zstandard
from blake3 import blake3

from ..errors import CorruptEntry

MAGIC = b"\x89TIER\r\n\x1a"
VERSION = 1
BLOCK_BYTES = 4 * 2**20
"""Plain bytes after which a block is written; an entry that is larger has one of its own."""
BLOCK_ENTRIES = 1000
"""Entries after which a block is written: an import can be gone on with behind each."""
MOST_BLOCK_BYTES = BLOCK_BYTES + 260 * 2**20
"""What a block may claim: one entry more than `BLOCK_BYTES`, as large as an envelope can be."""
MOST_ABOUT_BYTES = 2**16
TAG = 32
PLAIN, ZSTD = 0, 1

START = struct.Struct(">8sB3xI")
BLOCK = struct.Struct(">4sIIB3xQQ")
END = struct.Struct(">4sIQQQ")
RECORD = struct.Struct(">IIQ")
_WORTHWHILE = 0.95


class DamagedFile(CorruptEntry):
    """The file is damaged or ends too early. What stands in the blocks before that was intact."""


class About(msgspec.Struct, omit_defaults=True, frozen=True):
    """What is said of an entry beside its envelope: its class, and of a sealed one what its store knew."""

    storage_class: str | None = msgspec.field(name="k", default=None)
    created_at: float | None = msgspec.field(name="c", default=None)
    expires_at: float | None = msgspec.field(name="e", default=None)
    stale_until: float | None = msgspec.field(name="s", default=None)


class AboutFile(msgspec.Struct, omit_defaults=True, frozen=True):
    """What is said of the file: when it was made (Unix seconds), and by which release."""

    created_at: float = msgspec.field(name="c", default=0.0)
    release: str = msgspec.field(name="r", default="")


class Record(NamedTuple):
    """An entry in the file."""

    key: str
    about: About
    envelope: bytes


class Block(NamedTuple):
    """A block that is intact.

    Attributes:
        number: from 0 on.
        records: its entries.
        tag: of the block.
    """

    number: int
    records: list[Record]
    tag: bytes


class Totals(NamedTuple):
    """What the end of a file says of it."""

    blocks: int
    entries: int
    sealed: int
    bytes: int


class Sink(Protocol):
    """What a file is written to."""

    def write(self, data: bytes, /) -> object:
        """Take all of these bytes."""
        ...


_encode = msgspec.msgpack.Encoder().encode
_NOTHING = About()


class FileWriter:
    """Writes a file to a stream, block by block.

    Args:
        stream: takes bytes.
        about: of the file.

    Attributes:
        entries, sealed, bytes: what was added.
    """

    def __init__(self, stream: Sink, about: AboutFile) -> None:
        self._stream = stream
        self._tag = bytes(TAG)
        self._parts: list[bytes] = []
        self._count = self._size = self._blocks = 0
        self.entries = self.sealed = self.bytes = 0
        said = _encode(about)
        self._write(START.pack(MAGIC, VERSION, len(said)) + said)

    def add(self, key: str, envelope: bytes, about: About = _NOTHING, *, sealed: bool = False) -> None:
        """Add an entry; its block is written when it is full."""
        name, said = key.encode(), b"" if about == _NOTHING else _encode(about)
        self._parts += (RECORD.pack(len(name), len(said), len(envelope)), name, said, envelope)
        self._size += RECORD.size + len(name) + len(said) + len(envelope)
        self._count += 1
        self.entries += 1
        self.sealed += sealed
        self.bytes += len(envelope)
        if self._size >= BLOCK_BYTES or self._count >= BLOCK_ENTRIES:
            self._block()

    def end(self) -> Totals:
        """Write what is left, and the end."""
        if self._parts:
            self._block()
        totals = Totals(self._blocks, self.entries, self.sealed, self.bytes)
        self._write(END.pack(b"ENDS", *totals))
        return totals

    def _block(self) -> None:
        plain = b"".join(self._parts)
        stored, encoding = plain, PLAIN
        squeezed = zstandard.ZstdCompressor(level=3).compress(plain)
        if len(squeezed) < len(plain) * _WORTHWHILE:
            stored, encoding = squeezed, ZSTD
        self._write(BLOCK.pack(b"BLCK", self._blocks, self._count, encoding, len(plain), len(stored)) + stored)
        self._blocks += 1
        self._parts, self._size, self._count = [], 0, 0

    def _write(self, part: bytes) -> None:
        self._tag = blake3(self._tag + part).digest()
        self._stream.write(part + self._tag)
