"""How entries lie in Redis: one string key each, `prefix + key`, holding the envelope and expired by the server."""

from __future__ import annotations

import math
import re
from collections.abc import Generator
from typing import Any, TypeVar

from tiercache.entry import Clock, Entry, Metadata
from tiercache.envelope import PLAIN, Envelope
from tiercache.errors import TiercacheError
from tiercache.keys import check_key

T = TypeVar("T")
Command = tuple[bytes | int, ...]
Reply = Any
"""What redis-py makes of a reply, or the `TiercacheError` that the reply was."""
Steps = Generator[list[Command], list[Reply], T]
"""An operation: it yields commands that go out together and is sent their replies; it may be resumed with an error."""

MAX_SECONDS = 1e12
"""The longest life in Redis (31,700 years); milliseconds beyond would overflow its integer."""

TOMB = b"TOMB"
TOMB_BYTES = 45
"""What a tombstone begins with, and its size, which no entry has (see `tombstones`)."""

_GLOB = re.compile(rb"([*?\[\]\\])")


class Layout:
    """Keys and entries as Redis knows them.

    Args:
        prefix: what the name of every entry begins with.
        clock: returns Unix seconds.
    """

    def __init__(self, prefix: str, clock: Clock) -> None:
        self._prefix = prefix.encode()
        self.clock = clock
        self.lease = self._prefix + b"!lease:"
        """What the names of leases begin with; no entry is called so."""
        self.notices = self._prefix + b"!notices"
        """The channel of the notices of all who use this prefix, whatever their database."""
        self.envelope: Envelope = PLAIN

    def name(self, key: str) -> bytes:
        """Return the Redis key of a key."""
        return self._prefix + check_key(key).encode()

    def key(self, name: bytes) -> str:
        """Return the key of a Redis key; empty for one that no key has."""
        if name.startswith(self.lease):
            return ""
        try:
            return name[len(self._prefix) :].decode()
        except UnicodeDecodeError:
            return ""

    def pattern(self, prefix: str) -> bytes:
        """Return the glob pattern of all names whose keys start with `prefix`, whatever characters that holds."""
        start = self._prefix + prefix.encode("utf-8", "surrogatepass")
        return _GLOB.sub(rb"\\\1", start) + b"*"

    def write(self, key: str, entry: Entry) -> Command:
        """Return the command after which the key holds the entry, or nothing if the entry is already gone."""
        name, gone_at = self.name(key), entry.metadata.gone_at
        if gone_at is None:
            return (b"SET", name, self.envelope.encode(entry))
        milliseconds = self._milliseconds_until(gone_at)
        if not milliseconds:
            return (b"UNLINK", name)
        return (b"SET", name, self.envelope.encode(entry), b"PX", milliseconds)

    def entry(self, key: str, data: bytes | None) -> Entry | None:
        """Return the entry in what Redis holds; None when there is nothing or it may not be used any more.

        Raises:
            CorruptEntry: the bytes are no intact entry of this key.
        """
        if data is None or is_tombstone(data):
            return None
        entry = self.envelope.decode(data, key)
        # Redis expires by its own clock, which may be behind.
        return entry if entry.metadata.is_usable(self.clock()) else None

    def listed(self, key: str, milliseconds: int, size: int) -> Metadata:
        """Return what a listing knows: when Redis drops the entry (`milliseconds` from now, < 0: never), its size."""
        expires_at = self.clock() + milliseconds / 1000 if milliseconds >= 0 else None
        return Metadata(key=key, created_at=0.0, expires_at=expires_at, stored_size=size)

    def _milliseconds_until(self, gone_at: float) -> int:
        seconds = gone_at - self.clock()
        return math.ceil(min(seconds, MAX_SECONDS) * 1000) if seconds > 0 else 0


def pack(commands: list[Command]) -> bytes:
    """Return the commands as they are sent (redis-py's own packing takes twice the time)."""
    pieces: list[bytes] = []
    for command in commands:
        pieces.append(b"*%d\r\n" % len(command))
        for argument in command:
            data = argument if isinstance(argument, bytes) else b"%d" % argument
            pieces += (b"$%d\r\n" % len(data), data, b"\r\n")
    return b"".join(pieces)


def is_tombstone(data: bytes) -> bool:
    """Whether what a key holds is a tombstone."""
    return len(data) == TOMB_BYTES and data.startswith(TOMB)


def value(reply: Reply) -> Any:
    """Return the reply; raise it if it is an error."""
    if isinstance(reply, TiercacheError):
        raise reply
    return reply
