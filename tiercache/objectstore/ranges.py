"""A range of an object: how HTTP asks for it, and the right bytes of whatever comes back."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..errors import BackendUnavailable

MOST_SKIPPED = 16 * 2**20
"""Bytes before a range that are read and dropped where a server ignores that only a range was asked for."""
_PART = 64 * 2**10
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(?:\d{1,18}|\*)", re.ASCII)


def range_header(start: int, length: int) -> str:
    """Return the `Range` for so many bytes, at least one, from this byte on."""
    if start < 0 or length < 1:
        raise ValueError("a range begins at byte 0 or later and has at least one byte")
    return f"bytes={start}-{start + length - 1}"


def bytes_of(status: int, content_range: str | None, start: int, length: int, read: Callable[[int], bytes]) -> bytes:
    """Return the range that was asked for; fewer bytes only where the object ends before.

    Never is more than `length` bytes kept, nor more than `MOST_SKIPPED` beside them read.

    Args:
        status: the answer's: 206, or 200 from a server that sends the whole object.
        content_range: the answer's `Content-Range`.
        start: the first byte of the range.
        length: bytes of the range.
        read: returns the next bytes of the body, up to as many; none at its end.

    Raises:
        BackendUnavailable: another range came, or less of it than the answer says, or all of an object of which too
            much stands before the range.
    """
    if status != 206:
        if start > MOST_SKIPPED:
            raise BackendUnavailable(
                f"the store ignores ranges: it sent a whole object when asked for what comes after {start:,} bytes of"
                " it; check whether what stands before it passes `Range` on"
            )
        _skip(start, read)
        return _up_to(length, read)
    told = _CONTENT_RANGE.fullmatch(content_range or "")
    if told is None or int(told[1]) != start:
        raise BackendUnavailable("the store sent another range than asked for: check what stands before it")
    wanted = min(length, int(told[2]) - start + 1)
    data = _up_to(wanted, read)
    if len(data) < wanted:
        raise BackendUnavailable(f"the answer was cut off after {len(data):,} of {wanted:,} bytes", retry_after=0.0)
    return data


def _skip(count: int, read: Callable[[int], bytes]) -> None:
    while count > 0 and (part := read(min(count, _PART))):
        count -= len(part)


def _up_to(count: int, read: Callable[[int], bytes]) -> bytes:
    parts: list[bytes] = []
    while count > 0 and (part := read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
