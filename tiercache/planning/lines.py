"""The lines of a log, plain, gzip or zstd: streamed, each of bounded length."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import zstandard

MOST_LINE_BYTES = 256 * 1024
"""A line that is longer is no access: keys have 64 KiB at most."""
GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"


class Source:
    """An open log.

    Attributes:
        size: bytes of the file, as it is stored.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self.size = size
        start = file.read(4)
        file.seek(0)
        if start.startswith(GZIP):
            self._text: IO[bytes] = cast(IO[bytes], gzip.GzipFile(fileobj=file))
        elif start == ZSTD:
            stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            self._text = io.BufferedReader(cast(io.RawIOBase, stream), 2**20)
        else:
            self._text = file

    @property
    def position(self) -> int:
        """How many bytes of the file are read."""
        return self._file.tell()

    def lines(self) -> Iterator[tuple[int, str | None]]:
        """Yield each line's number and text; None for a line that is too long. Blank lines are left out.

        Raises:
            OSError, EOFError, zstandard.ZstdError, zlib.error: the file cannot be read or is cut off.
        """
        readline, number, skipping = self._text.readline, 0, False
        while raw := readline(MOST_LINE_BYTES):
            ended = raw.endswith(b"\n")
            if skipping:
                skipping = not ended
                continue
            number += 1
            if not ended and len(raw) >= MOST_LINE_BYTES:
                skipping = True
                yield number, None
            elif not raw.isspace():
                yield number, raw.decode("utf-8", "surrogateescape").rstrip("\r\n")


@contextmanager
def open_log(path: Path) -> Iterator[Source]:
    """Open a log; what it is compressed with is told by its first bytes, not by its name."""
    with path.open("rb") as file:
        yield Source(file, path.stat().st_size)
