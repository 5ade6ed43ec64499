"""Reading a portable file (`tiercache.transfer.portable`): nothing is believed before its tag fits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import msgspec
import zstandard
from blake3 import blake3

from ..errors import ConfigurationError, UnknownFormat
from .portable import (
    BLOCK,
    END,
    MAGIC,
    MOST_ABOUT_BYTES,
    MOST_BLOCK_BYTES,
    PLAIN,
    RECORD,
    START,
    TAG,
    VERSION,
    ZSTD,
    About,
    AboutFile,
    Block,
    DamagedFile,
    Record,
    Totals,
)

_MOST_EXPANSION_BITS = 15  # zstd's smallest block has 4 bytes and makes 128 KiB at most
_about = msgspec.msgpack.Decoder(About).decode
_about_file = msgspec.msgpack.Decoder(AboutFile).decode
_NOTHING = About()


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
