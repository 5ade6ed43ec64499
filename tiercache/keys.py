"""Keys: what is a valid one, its name in an object store, and digests of structured key material.

An object name is the key, percent-encoded: reversible and injective, and the name of a prefix is a prefix of the
names. `/` is encoded too, so no key can form a path, and none can leave the backend's prefix. A name over 200 bytes
is broken into segments of that length, each but the last ending in `~` (stores on file systems take 255 bytes a
segment); one over 900 bytes becomes its first 800 and `~` with a digest, and only the entry knows its key. `~`
stands nowhere else, so the forms cannot collide.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from .errors import ConfigurationError, InvalidKey, UncacheableValue

RESERVED = "_meta"
"""The namespace of what the library itself keeps in the tiers; no cache can have it."""
MAX_KEY_BYTES = 65_536
MAX_NAME_BYTES = 900
"""Bytes of an encoded key that stand in a name in full; S3 and GCS take names of 1,024, so a prefix has room."""
LONGEST_NAME = 910
"""Bytes of an object name at most, with the marks between its segments."""
_CUT_NAME_BYTES = 800
_SEGMENT_BYTES = 200
_DIGEST_BYTES = 16
MAX_DEPTH = 100
"""Levels of lists and dicts that key material may have."""
_TOO_DEEP = f"key material is nested more than {MAX_DEPTH} levels deep"
_CUT = re.compile(r"(?:[^~/]{200}~/){3}[^~/]{200}~[0-9a-f]{32}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]+")


def check_key(key: str) -> str:
    """Return `key` if it can be stored.

    Raises:
        TypeError: it is not a str.
        InvalidKey: it is empty, over 64 KiB in UTF-8, or holds lone surrogates. (A ValueError.)
    """
    if not isinstance(key, str):
        raise TypeError(f"a key must be a str, not {type(key).__name__}; build one with str() or key_from_parts()")
    if not key:
        raise InvalidKey("a key must not be empty")
    try:
        size = len(key) if key.isascii() else len(key.encode())
    except UnicodeEncodeError:
        raise InvalidKey("a key must be valid Unicode; this one holds a lone surrogate") from None
    if size > MAX_KEY_BYTES:
        raise InvalidKey(f"a key may have {MAX_KEY_BYTES:,} bytes, this one has {size:,}; use a digest of it")
    return key


def check_namespace(namespace: str) -> str:
    """Return `namespace` if it is one: letters, digits, `_`, `.` and `-` (no colon, so keys cannot cross)."""
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        raise ConfigurationError(f"namespace {namespace!r} must consist of letters, digits, '_', '.' and '-'")
    if namespace == RESERVED:
        raise ConfigurationError(f"the namespace {RESERVED!r} is the library's own; choose another")
    return namespace


def object_name(key: str) -> str:
    """Return the object name of a key, at most 910 ASCII bytes (see the module's text for the rules)."""
    name = _encoded(key)
    if len(name) <= MAX_NAME_BYTES:
        return _segmented(name)
    digest = blake2b(key.encode(), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{_segmented(name[:_CUT_NAME_BYTES])}~{digest}"


def listing_prefix(prefix: str) -> str:
    """Return what the names of all keys below `prefix` start with; those that are cut must be filtered by key."""
    return _segmented(_encoded(prefix)[:_CUT_NAME_BYTES])


def is_listable(prefix: str) -> bool:
    """Whether a listing tells all keys below `prefix` from others; a longer prefix is cut (see `listing_prefix`)."""
    return not prefix or key_of(listing_prefix(prefix)) == prefix


def key_of(name: str) -> str | None:
    """Return the key of an object name; None when the name was cut or is not one of ours."""
    try:
        key = unquote_to_bytes(name.replace("~/", "")).decode()
    except UnicodeError:
        return None
    return key if key and object_name(key) == name else None


def is_cut(name: str) -> bool:
    """Whether the object name holds a digest in place of its end, so that only the entry knows its key."""
    return _CUT.fullmatch(name) is not None


def _encoded(text: str) -> str:
    """Percent-encode, so that no segment can begin with a dot: at the start, or where `_segmented` may break."""
    name = quote(text, safe=":@+=,").replace("~", "%7E")
    if name.startswith("."):
        name = "%2E" + name[1:]
    return name[:_SEGMENT_BYTES] + name[_SEGMENT_BYTES:].replace(".", "%2E")


def _segmented(name: str) -> str:
    if len(name) <= _SEGMENT_BYTES:
        return name
    return "~/".join(name[start : start + _SEGMENT_BYTES] for start in range(0, len(name), _SEGMENT_BYTES))


def digest(*parts: Any) -> str:
    """Return a 256-bit hex digest of structured key material, the same in every process and release.

    The encoding is canonical: every part is tagged with its type and its length, dicts are ordered by their
    encoded keys, so `1`, `True`, `1.0` and `"1"` differ, `("ab", "c")` and `("a", "bc")` differ, and the order in
    which a dict was filled does not matter.

    Raises:
        UncacheableValue: a part is not made of None, bool, int, float, str, bytes, list, tuple, dict.
    """
    return _hashed(parts).hexdigest()


def digest_after(*parts: Any) -> Callable[[Any], str]:
    """Return a function that takes the last part: `digest_after(a, b)(c)` is `digest(a, b, c)`, for many `c`."""
    begun = _hashed(parts)

    def finish(last: Any) -> str:
        hasher = begun.copy()
        hasher.update(_canonical(last, 0))
        return hasher.hexdigest()

    return finish


def _hashed(parts: tuple[Any, ...]) -> blake2b:
    hasher = blake2b(digest_size=32, person=b"tiercache.key.1")
    for part in parts:
        hasher.update(_canonical(part, 0))
    return hasher


def _canonical(value: Any, depth: int) -> bytes:
    """Return the encoding of a value; texts, most of what there is, are encoded in place, without a call each."""
    kind = type(value)
    if kind is str:
        return _text(value)
    if kind is dict:
        if depth >= MAX_DEPTH and value:
            raise UncacheableValue(_TOO_DEEP)
        depth += 1
        # An encoding is never the beginning of another, so these sort as the keys alone would.
        items = [
            (_text(key) if type(key) is str else _canonical(key, depth))
            + (_text(item) if type(item) is str else _canonical(item, depth))
            for key, item in value.items()
        ]
        items.sort()
        body = b"".join(items)
        return b"d%d:%b" % (len(body), body)
    if kind is list or kind is tuple:
        if depth >= MAX_DEPTH and value:
            raise UncacheableValue(_TOO_DEEP)
        depth += 1
        body = b"".join([_text(item) if type(item) is str else _canonical(item, depth) for item in value])
        return b"%b%d:%b" % (b"l" if kind is list else b"t", len(body), body)
    return _scalar(value, kind)


def _text(text: str) -> bytes:
    body = text.encode("utf-8", "surrogatepass")
    return b"s%d:%b" % (len(body), body)


def _scalar(value: Any, kind: type) -> bytes:
    if value is None:
        return b"n0:"
    if kind is bool:
        return b"b1:1" if value else b"b1:0"
    if kind is int:
        body = b"%x" % value
        return b"i%d:%b" % (len(body), body)
    if kind is float:
        body = value.hex().encode()
        return b"f%d:%b" % (len(body), body)
    if kind is bytes:
        return b"y%d:%b" % (len(value), value)
    raise UncacheableValue(
        f"key material must be made of None, bool, int, float, str, bytes, list, tuple and dict, not {kind.__name__}"
    )
