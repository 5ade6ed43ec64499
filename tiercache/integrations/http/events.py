"""Server-sent events out of bytes that arrive in any pieces."""

from __future__ import annotations

Event = tuple[bytes, bytes]
"""The name (empty: none was given) and the data."""
BOM = b"\xef\xbb\xbf"


class Events:
    """Reads events as the standard says: lines end in LF, CR or CRLF; an event ends at an empty line.

    Attributes:
        read: the events so far. Those without data are left out.
    """

    __slots__ = ("_after_cr", "_data", "_first", "_line", "_name", "read")

    def __init__(self) -> None:
        self.read: list[Event] = []
        self._line = b""
        self._name = b""
        self._data: list[bytes] = []
        self._first = True
        self._after_cr = False

    @property
    def between(self) -> bool:
        """Whether no event has begun that is not over."""
        return not (self._line or self._data or self._name)

    @property
    def begun(self) -> bytes:
        """The data of the event that has begun, as far as its lines are whole."""
        return b"\n".join(self._data)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk.startswith(b"\n"):  # the second half of a CRLF
                chunk = chunk[1:]
        text = self._line + chunk
        if not (self._data or self._name) and b"\r" not in text:
            text = self._take_blocks(text)
        self._line = text
        if not text:
            return
        lines = text.splitlines(keepends=True)
        last = lines[-1]
        self._line = b"" if last.endswith((b"\n", b"\r")) else lines.pop()
        self._after_cr = chunk.endswith(b"\r")
        for line in lines:
            self._take(line.rstrip(b"\r\n"))

    def _take_blocks(self, text: bytes) -> bytes:
        """Take events as most providers write them, with less ado; return what is left."""
        *blocks, rest = text.split(b"\n\n")
        read = self.read
        for block in blocks:
            name, named, data = block.partition(b"\ndata: ")
            if not named and block.startswith(b"data: ") and b"\n" not in block:
                self._first = False
                read.append((b"", block[6:]))
            elif named and name.startswith(b"event: ") and b"\n" not in name and b"\n" not in data:
                self._first = False
                read.append((name[7:], data))
            else:
                for line in block.split(b"\n"):
                    self._take(line)
                self._take(b"")
        return rest

    def end(self) -> None:
        """There are no more bytes: the last line needs no end of its own. An event without its empty line is none."""
        line, self._line = self._line, b""
        if line:
            self._take(line)

    def _take(self, line: bytes) -> None:
        if self._first:
            self._first = False
            line = line.removeprefix(BOM)
        if not line:
            if self._data:
                self.read.append((self._name, b"\n".join(self._data)))
                self._data = []
            self._name = b""
            return
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        elif field == b"event":
            self._name = value.removeprefix(b" ")
