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
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

import msgspec
import zstandard
from blake3 import blake3

from ..errors import ConfigurationError, CorruptEntry, UnknownFormat

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
_MOST_EXPANSION_BITS = 15


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
_about = msgspec.msgpack.Decoder(About).decode
_about_file = msgspec.msgpack.Decoder(AboutFile).decode
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


class FileReader:
    """Reads a file from a stream, and believes nothing before its tag fits.

    Args:
        stream: gives bytes; it need not be seekable.

    Raises:
        ConfigurationError: it is no such file.
        UnknownFormat: a later release wrote it.
        DamagedFile: its start is damaged.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._tag = bytes(TAG)
        self._blocks = self._entries = 0
        head = self._read(START.size)
        if head[: len(MAGIC)] != MAGIC:
            raise ConfigurationError("this is no file that `tiercache export` wrote")
        if len(head) < START.size:
            raise self._cut()
        _, version, size = START.unpack(head)
        if version != VERSION:
            raise UnknownFormat(f"the file has version {version}, this release reads {VERSION}: use a later release")
        if head[9:12] != bytes(3) or size > MOST_ABOUT_BYTES:
            raise self._damaged()
        said = self._read(size)
        self._check(head + said)
        try:
            self.about = _about_file(said)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise self._damaged() from None
        self.totals: Totals | None = None

    def blocks(self) -> Iterator[Block]:
        """Yield each block when it has been checked; afterwards `totals` are what the end says.

        Raises:
            DamagedFile: the file is damaged here, ends too early, or goes on behind its end.
        """
        while True:
            kind = self._read(4)
            if kind == b"ENDS":
                self._end()
                return
            if kind != b"BLCK":
                raise self._cut() if len(kind) < 4 else self._damaged()
            yield self._block()

    def _block(self) -> Block:
        head = b"BLCK" + self._read(BLOCK.size - 4)
        if len(head) < BLOCK.size:
            raise self._cut()
        _, number, count, encoding, plain_size, stored_size = BLOCK.unpack(head)
        if max(plain_size, stored_size) > MOST_BLOCK_BYTES:
            raise self._damaged()
        stored = self._read(stored_size)
        self._check(head + stored)
        if number != self._blocks or encoding not in (PLAIN, ZSTD) or head[13:16] != bytes(3):
            raise self._damaged()
        records = list(self._records(self._plain(stored, encoding, plain_size)))
        if len(records) != count:
            raise self._damaged()
        self._blocks += 1
        self._entries += count
        return Block(number, records, self._tag)

    def _plain(self, stored: bytes, encoding: int, size: int) -> bytes:
        if encoding == PLAIN:
            if len(stored) != size:
                raise self._damaged()
            return stored
        try:
            if zstandard.frame_content_size(stored) != size or size > len(stored) << _MOST_EXPANSION_BITS:
                raise self._damaged()
            return zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False)
        except zstandard.ZstdError:
            raise self._damaged() from None

    def _records(self, plain: bytes) -> Iterator[Record]:
        at, view = 0, memoryview(plain)
        while at < len(plain):
            if at + RECORD.size > len(plain):
                raise self._damaged()
            name, said, size = RECORD.unpack_from(plain, at)
            at += RECORD.size
            end = at + name + said + size
            if end > len(plain):
                raise self._damaged()
            try:
                about = _about(view[at + name : at + name + said]) if said else _NOTHING
                yield Record(bytes(view[at : at + name]).decode(), about, bytes(view[at + name + said : end]))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise self._damaged() from None
            at = end

    def _end(self) -> None:
        rest = self._read(END.size - 4)
        if len(rest) < END.size - 4:
            raise self._cut()
        self._check(b"ENDS" + rest)
        totals = Totals(*END.unpack(b"ENDS" + rest)[1:])
        if (totals.blocks, totals.entries) != (self._blocks, self._entries):
            raise self._damaged()
        if self._read(1):
            raise DamagedFile(f"the file goes on behind its end, which stands behind {self._whole}")
        self.totals = totals

    def _check(self, part: bytes) -> None:
        """Compare the tag of a part with the one that follows it."""
        told = self._read(TAG)
        if len(told) < TAG:
            raise self._cut()
        self._tag = blake3(self._tag + part).digest()
        if self._tag != told:
            raise self._damaged()

    def _read(self, size: int) -> bytes:
        """Return so many bytes, or fewer where the file ends; a pipe gives them piece by piece."""
        pieces: list[bytes] = []
        while size > 0 and (piece := self._stream.read(min(size, 2**20))):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    @property
    def _whole(self) -> str:
        return f"{self._blocks:,} whole blocks with {self._entries:,} entries"

    def _cut(self) -> DamagedFile:
        return DamagedFile(f"the file ends too early, behind {self._whole}: it was cut off; export again")

    def _damaged(self) -> DamagedFile:
        return DamagedFile(f"the file is damaged behind {self._whole}: what follows is not read; export again")


def totals_of(stream: BinaryIO) -> Totals | None:
    """Return what the end of a seekable file says, without a check, and go back to where it was; None: nothing."""
    if not stream.seekable():
        return None
    here = stream.tell()
    size = stream.seek(0, 2)
    stream.seek(max(here, size - END.size - TAG))
    tail = stream.read(END.size)
    stream.seek(here)
    return Totals(*END.unpack(tail)[1:]) if len(tail) == END.size and tail.startswith(b"ENDS") else None
