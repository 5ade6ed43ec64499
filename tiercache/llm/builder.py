"""`CacheKeyBuilder`: keys from parts, a step at a time."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from ..errors import ConfigurationError, UncacheableValue
from ..keys import check_key
from .packing import digest
from .requests import plain

_PREFIX = re.compile(r"[A-Za-z0-9_.-]+")


class CacheKeyBuilder:
    """A key made of parts: `CacheKeyBuilder("chat").with_part("gpt-4o").add_num(3).build()`.

    No two sequences of parts make one key: each part counts with its type and its length, and one that is not given
    counts as such.

    Args:
        prefix: what the keys begin with: letters, digits, `_`, `.` and `-`.

    Raises:
        ConfigurationError: `prefix` is something else.
    """

    def __init__(self, prefix: str) -> None:
        if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
            raise ConfigurationError(f"prefix {prefix!r} must consist of letters, digits, '_', '.' and '-'")
        self._prefix = prefix
        self._parts: list[Any] = []

    def with_part(self, part: Any) -> CacheKeyBuilder:
        """Add a part of plain data, and return the builder.

        Raises:
            UncacheableValue: no key can be made of it.
        """
        self._parts.append(plain(part))
        return self

    def add_optional(self, part: Any | None) -> CacheKeyBuilder:
        """Add a part that may be None: it holds its place, so that what follows is not taken for it."""
        return self.with_part(part)

    def add_num(self, number: float) -> CacheKeyBuilder:
        """Add a number; 1, 1.0 and "1" are three parts.

        Raises:
            UncacheableValue: it is no number.
        """
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise UncacheableValue(f"add_num takes a number, not a {type(number).__name__}; see with_part")
        return self.with_part(number)

    def build(self) -> str:
        """Return the key, `{prefix}:{digest}`, of 256 bits."""
        return f"{self._prefix}:{digest('builder', self._prefix, self._parts)}"

    def build_explicit(self) -> str:
        """Return the key with its parts to be read, escaped: `chat:s=gpt-4o:i=3`.

        Texts (`s=`), integers (`i=`), floats (`f=`), `b=true`, `b=false` and `n=` for None stand in full, anything
        else as a digest (`d=`). It equals no key of `build`. Do not put into it what others must not read.

        Raises:
            InvalidKey: it is over 64 KiB; use `build`.
        """
        return check_key(":".join([self._prefix, *map(_readable, self._parts)]) + ("" if self._parts else ":"))


def _readable(part: Any) -> str:
    kind = type(part)
    if kind is str:
        return f"s={quote(part, safe='', errors='surrogatepass')}"
    if part is None:
        return "n="
    if kind is bool:
        return f"b={str(part).lower()}"
    if kind is int and abs(part) < 10**100:
        return f"i={part}"
    if kind is float:
        return f"f={part!r}"
    return f"d={digest('part', part)}"
