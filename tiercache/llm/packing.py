"""Plain data -> canonical bytes -> the digest that stands in a key.

The bytes are MessagePack with the keys of maps in order: every value has its type and its length in front, so `1`,
`1.0`, `True` and `"1"` differ, and so do `["ab", "c"]` and `["a", "bc"]`. What MessagePack has no form for (keys that
are no texts, integers over 64 bits, lone surrogates, and whatever is made to differ by `tagged`) becomes an extension
of its own type, which plain data cannot hold.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec
from msgspec.msgpack import Ext

FORMAT = 1
"""The version of the keys, part of every digest.

A new number makes every old entry a miss. It must be raised when an equal request gets another key, or when two
requests that shared a key get one each: another encoding or hash, another form of SDK objects, a path that comes to
or goes from the deny-list. A new kind of request, or a path for a field that no provider had before, needs none.
"""

_TAGGED, _TEXT, _INTEGER, _MAP = 1, 2, 3, 4
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def digest(what: str, *parts: Any) -> str:
    """Return 64 hex digits that stand for plain parts, the same in every process, platform and release.

    Args:
        what: keeps the digests of different things apart.
        parts: None, bool, int, float, str, bytes, lists and dicts of these, and what `tagged` returned.
    """
    return blake2b(pack([FORMAT, what, parts]), digest_size=32, person=b"tiercache.llm").hexdigest()


def pack(value: Any) -> bytes:
    """Return the canonical bytes of plain data."""
    try:
        return _encode(value)
    except (UnicodeEncodeError, OverflowError, TypeError):
        return _encode(_spelled(value))


def tagged(name: str, value: Any) -> Ext:
    """Return plain data as something else than itself: what a `name` is made of."""
    return Ext(_TAGGED, pack([name, value]))


def _spelled(value: Any) -> Any:
    """Replace what MessagePack cannot hold, or not in order."""
    kind = type(value)
    if kind is list or kind is tuple:
        return [_spelled(item) for item in value]
    if kind is dict:
        if all(type(key) is str and type(_spelled(key)) is str for key in value):
            return {key: _spelled(item) for key, item in value.items()}
        return Ext(_MAP, b"".join(sorted(pack([key, item]) for key, item in value.items())))
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            return Ext(_TEXT, value.encode("utf-8", "surrogatepass"))
    if kind is int and not -(2**63) <= value < 2**64:
        return Ext(_INTEGER, b"%x" % value)
    return value
