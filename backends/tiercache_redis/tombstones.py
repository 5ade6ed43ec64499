"""What makes Redis the shared fence (`tiercache.coherence.guard`): tombstones under the entries' own names, and tokens.

    magic "TOMB" | open u8 | deleted at f64 (Unix seconds)    13 bytes
    state        16 random bytes, others when it is closed
    mark         16 random bytes, of whoever left it

A token is the first half of the last 32 bytes of what is stored, in hex: half the tag of an envelope, or the state of a
closed tombstone; of an open one zeros, which nothing has, so that no load which saw it stores anything.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from tiercache.coherence.guard import OPEN, STANDS, Seen
from tiercache.entry import Entry
from tiercache.envelope import TAG_BYTES
from tiercache.errors import BackendError, PartialFailure

from . import operations
from .layout import TOMB, Layout, Steps, is_tombstone, value

_HEAD = struct.Struct(">4sBd")
_NOBODY = bytes(16)
"""The mark of tombstones that stand for nothing but a gap in this store; and a token that is no one's."""

# ARGV: the tombstone, milliseconds that it stands. Whether an entry was there.
BURY = b"""
local head = redis.call('GETRANGE', KEYS[1], 0, 3)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if head == 'TIER' then return 1 end
return 0
"""
# ARGV: the mark of an open one, its new state, milliseconds that it stands.
CLOSE = b"""
local tomb = redis.call('GET', KEYS[1])
if not tomb or string.sub(tomb, 1, 5) ~= 'TOMB\\1' or string.sub(tomb, 30) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'TOMB\\0' .. string.sub(tomb, 6, 13) .. ARGV[2] .. ARGV[1], 'PX', ARGV[3])
return 1
"""


def get_seen(layout: Layout, key: str) -> Steps[Seen]:
    """Read a key; what is neither an entry nor a tombstone raises `CorruptEntry`."""
    (reply,) = yield [(b"GET", layout.name(key))]
    return _seen(layout, key, value(reply))


def get_many_seen(layout: Layout, keys: Sequence[str]) -> Steps[dict[str, Seen]]:
    """Read keys as `operations.get_many` does."""
    return (yield from operations.read_many(layout, keys, _seen))


def put_seen(layout: Layout, key: str, entry: Entry, token: str) -> Steps[bool]:
    """Write an entry where that is which was seen."""
    return (yield from operations.replace(layout, key, entry, bytes.fromhex(token)))


def put_many_seen(layout: Layout, entries: Mapping[str, Entry], tokens: Mapping[str, str]) -> Steps[set[str]]:
    """Write entries, pipelined; those under which something else lies are left out of what is returned."""
    written: set[str] = set()
    failed: dict[str, BackendError] = {}
    for page in operations.split(list(entries), operations.GROUP):
        commands = [operations.replacing(layout, key, entries[key], bytes.fromhex(tokens[key])) for key in page]
        try:
            replies = yield commands
        except BackendError as error:
            failed |= dict.fromkeys(page, error)
            continue
        for key, reply in zip(page, replies, strict=True):
            if isinstance(reply, BackendError):
                failed[key] = reply
            elif value(reply):
                written.add(key)
    if failed:
        raise PartialFailure(failed, written)
    return written


def bury(layout: Layout, keys: Sequence[str], mark: bytes) -> Steps[set[str]]:
    """Leave an open tombstone under each key; which of them had an entry."""
    had: set[str] = set()
    tomb = _HEAD.pack(TOMB, 1, layout.clock()) + os.urandom(16) + mark
    for page in operations.split(list(keys), operations.PAGE):
        replies = yield [(b"EVAL", BURY, 1, layout.name(key), tomb, int(OPEN * 1000)) for key in page]
        had |= {key for key, reply in zip(page, replies, strict=True) if value(reply)}
    return had


def displace(
    layout: Layout, keys: Mapping[str, float], state: bytes, seen: Mapping[str, str] | None, *, gap: bool
) -> Steps[set[str]]:
    """Leave closed tombstones, where that lies which was seen; return where they were left."""
    end = state + (_NOBODY if gap else state)
    tombs = {key: _HEAD.pack(TOMB, 0, moment) + end for key, moment in keys.items()}
    left: set[str] = set()
    stands = int(STANDS * 1000)
    for page in operations.split(list(keys), operations.PAGE):
        if seen is None:
            replies = yield [(b"SET", layout.name(key), tombs[key], b"PX", stands) for key in page]
        else:
            replies = yield [
                (b"EVAL", operations.REPLACE, 1, layout.name(key), bytes.fromhex(seen[key]), stands, tombs[key])
                for key in page
            ]
        left |= {key for key, reply in zip(page, replies, strict=True) if value(reply)}
    return left


def close_tombs(layout: Layout, keys: Sequence[str], mark: bytes) -> Steps[int]:
    """Close the tombstones that are still those of this mark."""
    closed, state = 0, os.urandom(16)
    for page in operations.split(list(keys), operations.PAGE):
        replies = yield [(b"EVAL", CLOSE, 1, layout.name(key), mark, state, int(STANDS * 1000)) for key in page]
        closed += sum(value(reply) for reply in replies)
    return closed


def overtaken(layout: Layout, tokens: Mapping[str, str]) -> Steps[set[str]]:
    """Which keys hold something else than these tokens stand for (not: nothing, as after an eviction, or a gap)."""
    changed: set[str] = set()
    for page in operations.split(list(tokens), operations.PAGE):
        replies = yield [(b"GETRANGE", layout.name(key), -TAG_BYTES, -1) for key in page]
        for key, reply in zip(page, replies, strict=True):
            tail = value(reply)
            if tail[: TAG_BYTES // 2].hex() not in ("", tokens[key]) and tail[TAG_BYTES // 2 :] != _NOBODY:
                changed.add(key)
    return changed


def _seen(layout: Layout, key: str, data: bytes | None) -> Seen:
    if data is None:
        return Seen()
    token = data[-TAG_BYTES : -TAG_BYTES // 2].hex()
    if is_tombstone(data):
        _, is_open, deleted_at = _HEAD.unpack_from(data)
        return Seen(_NOBODY.hex() if is_open else token, None, deleted_at)
    return Seen(token, layout.entry(key, data))


class Tombstones:
    """The part of `RedisBackend` that is a `tiercache.coherence.guard.Guard`."""

    _layout: Layout
    _run: Any
    _arun: Any

    def get_seen(self, key: str, *, deadline: float | None = None) -> Seen:
        """`get`, and what was seen. One GET."""
        seen: Seen = self._run(get_seen(self._layout, key), deadline)
        return seen

    async def aget_seen(self, key: str, *, deadline: float | None = None) -> Seen:
        """`get_seen`, awaited."""
        seen: Seen = await self._arun(get_seen(self._layout, key), deadline)
        return seen

    def get_many_seen(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Seen]:
        """`get_many`, and what was seen of each key. One MGET for each 100 keys, a thousand in one round trip."""
        seen: dict[str, Seen] = self._run(get_many_seen(self._layout, keys), deadline)
        return seen

    async def aget_many_seen(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Seen]:
        """`get_many_seen`, awaited."""
        seen: dict[str, Seen] = await self._arun(get_many_seen(self._layout, keys), deadline)
        return seen

    def put_seen(self, key: str, entry: Entry, token: str, *, deadline: float | None = None) -> bool:
        """Store the entry if what was seen is still there; return whether it was. One script, sent once."""
        written: bool = self._run(put_seen(self._layout, key, entry, token), deadline, repeatable=False)
        return written

    async def aput_seen(self, key: str, entry: Entry, token: str, *, deadline: float | None = None) -> bool:
        """`put_seen`, awaited."""
        written: bool = await self._arun(put_seen(self._layout, key, entry, token), deadline, repeatable=False)
        return written

    def put_many_seen(
        self, entries: Mapping[str, Entry], tokens: Mapping[str, str], *, deadline: float | None = None
    ) -> set[str]:
        """`put_seen` for several; return the keys that were stored."""
        written: set[str] = self._run(put_many_seen(self._layout, entries, tokens), deadline, repeatable=False)
        return written

    async def aput_many_seen(
        self, entries: Mapping[str, Entry], tokens: Mapping[str, str], *, deadline: float | None = None
    ) -> set[str]:
        """`put_many_seen`, awaited."""
        written: set[str] = await self._arun(put_many_seen(self._layout, entries, tokens), deadline, repeatable=False)
        return written

    def bury(self, keys: Sequence[str], mark: bytes, *, deadline: float | None = None) -> set[str]:
        """Leave open tombstones in place of entries; return the keys that had some."""
        had: set[str] = self._run(bury(self._layout, keys, mark), deadline, repeatable=False)
        return had

    async def abury(self, keys: Sequence[str], mark: bytes, *, deadline: float | None = None) -> set[str]:
        """`bury`, awaited."""
        had: set[str] = await self._arun(bury(self._layout, keys, mark), deadline, repeatable=False)
        return had

    def displace(
        self,
        keys: Mapping[str, float],
        state: bytes,
        seen: Mapping[str, str] | None = None,
        gap: bool = False,
        *,
        deadline: float | None = None,
    ) -> set[str]:
        """Leave tombstones with this state in place of entries that only this store loses; return where that was done.

        Args:
            keys: whose, and until which moment (Unix seconds) entries below are barred.
            state: 16 random bytes; in hex they are the token.
            seen: only where that which was seen is still there.
            gap: it is no change of the keys, only this store has to lose what it holds.
            deadline: as everywhere.
        """
        left: set[str] = self._run(displace(self._layout, keys, state, seen, gap=gap), deadline, repeatable=False)
        return left

    async def adisplace(
        self,
        keys: Mapping[str, float],
        state: bytes,
        seen: Mapping[str, str] | None = None,
        gap: bool = False,
        *,
        deadline: float | None = None,
    ) -> set[str]:
        """`displace`, awaited."""
        steps = displace(self._layout, keys, state, seen, gap=gap)
        left: set[str] = await self._arun(steps, deadline, repeatable=False)
        return left

    def close_tombs(self, keys: Sequence[str], mark: bytes, *, deadline: float | None = None) -> int:
        """Close those of these tombstones that still stand; return how many."""
        closed: int = self._run(close_tombs(self._layout, keys, mark), deadline)
        return closed

    async def aclose_tombs(self, keys: Sequence[str], mark: bytes, *, deadline: float | None = None) -> int:
        """`close_tombs`, awaited."""
        closed: int = await self._arun(close_tombs(self._layout, keys, mark), deadline)
        return closed

    def overtaken(self, tokens: Mapping[str, str], *, deadline: float | None = None) -> set[str]:
        """Return the keys that hold something else than these tokens stand for."""
        changed: set[str] = self._run(overtaken(self._layout, tokens), deadline)
        return changed

    async def aovertaken(self, tokens: Mapping[str, str], *, deadline: float | None = None) -> set[str]:
        """`overtaken`, awaited."""
        changed: set[str] = await self._arun(overtaken(self._layout, tokens), deadline)
        return changed
