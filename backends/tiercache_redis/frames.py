"""What a subscribed connection is sent, cut into messages: arrays of strings and numbers (RESP2).

redis-py's reader makes several system calls for each message; here one brings all that have arrived.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from redis import exceptions as theirs

_PIECE = 65536
_ERRORS: dict[bytes, type[theirs.ResponseError]] = {b"NOPERM": theirs.NoPermissionError}
_LONGEST = 64 * 2**20
"""Bytes of a string at most: a server that announces more speaks another protocol."""

Message = list[bytes | int]


class _More(Exception):
    """The rest has not arrived yet."""


class Frames:
    """Reads messages from a connection of redis-py's that nobody else reads.

    Args:
        wire: its `TimedSocket`.
    """

    def __init__(self, wire: Any) -> None:
        self._wire = wire
        self._data = bytearray()
        self._at = 0

    def next(self, seconds: float) -> Message | None:
        """Return the next message; None: there is none, for so many seconds.

        Raises:
            redis.exceptions.RedisError, OSError: the server answered with an error, or the connection broke.
        """
        while True:
            try:
                return self._parsed()
            except _More:
                pass
            del self._data[: self._at]
            self._at = 0
            self._wire.ends = monotonic() + seconds
            try:
                piece = self._wire.recv(_PIECE)
            except TimeoutError:
                return None
            if not piece:
                raise theirs.ConnectionError("closed by the server")
            self._data += piece

    def _parsed(self) -> Message:
        at = self._at
        kind, size, at = self._head(at)
        if kind == b"-"[0]:
            raise self._error(at)
        if kind != b"*"[0]:
            raise theirs.InvalidResponse("no message")
        message: Message = []
        for _ in range(size):
            kind, number, at = self._head(at)
            if kind == b":"[0]:
                message.append(number)
                continue
            if kind != b"$"[0] or number > _LONGEST:
                raise theirs.InvalidResponse("no message")
            end = at + max(0, number)
            if number >= 0:
                if len(self._data) < end + 2:
                    raise _More
                message.append(bytes(self._data[at:end]))
                at = end + 2
            else:
                message.append(b"")
        self._at = at
        return message

    def _head(self, at: int) -> tuple[int, int, int]:
        """Return the kind of what begins here, its number, and where it goes on."""
        end = self._data.find(b"\r\n", at)
        if end < 0:
            raise _More
        kind = self._data[at]
        if kind == b"-"[0]:
            return kind, 0, at
        try:
            return kind, int(self._data[at + 1 : end]), end + 2
        except ValueError:
            raise theirs.InvalidResponse("no message") from None

    def _error(self, at: int) -> theirs.ResponseError:
        text = bytes(self._data[at + 1 : self._data.find(b"\r\n", at)])
        return _ERRORS.get(text.split(b" ", 1)[0], theirs.ResponseError)(text.decode("utf-8", "replace"))
