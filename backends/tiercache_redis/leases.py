"""Leases in Redis: a string under a name of its own for each key, which the server lets expire."""

from __future__ import annotations

from typing import Any

from blake3 import blake3

from .layout import Command, Layout, Steps, value

# ARGV: the token, milliseconds. Whether it is ours now.
TAKE = b"""
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
# ARGV: the token. Whether it was ours.
END = b"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1])
return 1
"""


def take(layout: Layout, key: str, token: bytes, seconds: float) -> Steps[bool]:
    """Take the lease of a key, or prolong it if it is held with this token; whether it is held now."""
    milliseconds = max(1, round(seconds * 1000))
    (reply,) = yield [(b"EVAL", TAKE, 1, _name(layout, key), token, milliseconds)]
    return bool(value(reply))


def end(layout: Layout, key: str, token: bytes) -> Steps[bool]:
    """Give back the lease of a key; whether it was held with this token."""
    command: Command = (b"EVAL", END, 1, _name(layout, key), token)
    (reply,) = yield [command]
    return bool(value(reply))


def _name(layout: Layout, key: str) -> bytes:
    return layout.lease + blake3(key.encode("utf-8", "surrogatepass")).hexdigest(16).encode()


class KeepsLeases:
    """The part of `RedisBackend` that is a `tiercache.coherence.lease.LeaseKeeper`."""

    _layout: Layout
    _run: Any
    _arun: Any

    def lease(self, key: str, token: bytes, seconds: float, *, deadline: float | None = None) -> bool:
        """Take the lease of a key for so many seconds, or prolong one's own. One script."""
        taken: bool = self._run(take(self._layout, key, token, seconds), deadline)
        return taken

    async def alease(self, key: str, token: bytes, seconds: float, *, deadline: float | None = None) -> bool:
        """`lease`, awaited."""
        taken: bool = await self._arun(take(self._layout, key, token, seconds), deadline)
        return taken

    def end_lease(self, key: str, token: bytes, *, deadline: float | None = None) -> bool:
        """Give a lease back, if it is still one's own. One script."""
        ended: bool = self._run(end(self._layout, key, token), deadline)
        return ended

    async def aend_lease(self, key: str, token: bytes, *, deadline: float | None = None) -> bool:
        """`end_lease`, awaited."""
        ended: bool = await self._arun(end(self._layout, key, token), deadline)
        return ended
