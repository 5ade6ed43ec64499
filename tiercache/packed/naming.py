"""The names of segments: which lifetimes lie together, ULIDs, and what stands in a name so that nobody has to ask.

    {prefix}_segments/{bucket}/{ulid}-{count}-{tail}

The bucket is the longest life of the entries at the time when they were written, rounded up, so that a store's own
lifecycle rule for one prefix deletes whole segments. The ULID is unique and ascends with time. Count (entries) and
tail (bytes), decimal, tell a reader which range of the object is its index. A name is written in one way only, and
is never that of an entry in an object of its own: those have no `/` that does not follow a `~`.
"""

from __future__ import annotations

import re
import secrets
import threading
from typing import NamedTuple

from .. import fork

FOLDER = "_segments/"
"""What the names of all segments begin with, after the backend's prefix."""
KEEP = "keep"
"""The bucket of what lives longer than a year, or for ever."""
DAY = 86_400
BUCKETS: tuple[tuple[str, int], ...] = tuple((f"{days}d", days * DAY) for days in (1, 7, 30, 90, 365))
"""The buckets of what ends, the shortest first: name, and the longest remaining life in seconds."""

_ORDER = {name: rank for rank, name in enumerate([*(name for name, _ in BUCKETS), KEEP])}
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: without I, L, O and U
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_ULID = f"[0-7][{_DIGITS}]{{25}}"
_NUMBER = "[1-9][0-9]{0,9}"
_NAME = re.compile(f"({'|'.join(_ORDER)})/({_ULID})-({_NUMBER})-({_NUMBER})")
_IS_ULID = re.compile(_ULID)
_RANDOM_BITS = 80
_MOST_MILLISECONDS = 2**48 - 1


class SegmentName(NamedTuple):
    """What the name of a segment says.

    Attributes:
        bucket: of the lives of its entries, one of `BUCKETS` or `KEEP`.
        ulid: its own, for ever.
        count: entries of its index.
        tail: bytes of its index and footer, at its end.
    """

    bucket: str
    ulid: str
    count: int  # type: ignore[assignment]
    tail: int


def object_name(prefix: str, name: SegmentName) -> str:
    """Return the name of the object, below the backend's prefix (empty, or ending in `/`).

    Raises:
        ValueError: no segment can be called so.
    """
    bucket, ulid, count, tail = name
    text = f"{prefix}{FOLDER}{bucket}/{ulid}-{count}-{tail}"
    if parse(prefix, text) != name:
        raise ValueError("a segment's name needs a known bucket, a ULID, and a count and a tail from 1 on")
    return text


def parse(prefix: str, name: str) -> SegmentName | None:
    """Return what the name of an object says; None: it is not a segment below this prefix, or not one of ours."""
    start = prefix + FOLDER
    found = _NAME.fullmatch(name, len(start)) if name.startswith(start) else None
    return SegmentName(found[1], found[2], int(found[3]), int(found[4])) if found else None


def bucket_of(life: float | None) -> str:
    """Return the bucket for what lives so many seconds from now on; None: for ever."""
    if life is not None:
        for name, seconds in BUCKETS:
            if life <= seconds:
                return name
    return KEEP


def longer(a: str, b: str) -> str:
    """Return that of two buckets whose entries live longer."""
    return max(a, b, key=_ORDER.__getitem__)


class Ulids:
    """Mints ULIDs that ascend, however the clock goes; no two are alike, in whichever processes they are minted."""

    def __init__(self) -> None:
        self._last = -1
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """Go on above what the parent minted, with a random part of its own."""
        self._lock = threading.Lock()
        self._next_moment()

    def new(self, now: float) -> str:
        """Return a ULID for this Unix time in seconds, or for the last one's where that is later."""
        moment = min(max(int(now * 1000), 0), _MOST_MILLISECONDS)
        with self._lock:
            if moment > self._last >> _RANDOM_BITS:
                self._last = moment << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
            else:
                self._last += 1
            return _text(self._last)

    def _next_moment(self) -> None:
        moment = min((self._last >> _RANDOM_BITS) + 1, _MOST_MILLISECONDS)
        self._last = moment << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)


new_ulid = Ulids().new
"""Returns a new ULID for a Unix time in seconds, above all that this process minted before."""


def ulid_time(ulid: str) -> float:
    """Return the Unix time in seconds, to the millisecond, at which a ULID was minted.

    Raises:
        ValueError: it is none.
    """
    if not _IS_ULID.fullmatch(ulid):
        raise ValueError("a ULID has 26 characters of Crockford's base 32, in upper case")
    milliseconds = 0
    for digit in ulid[:10]:
        milliseconds = milliseconds << 5 | _VALUES[digit]
    return milliseconds / 1000


def first_ulid(moment: float) -> str:
    """Return what sorts before every ULID that was minted at this Unix time, in seconds, or later."""
    return _text(min(max(int(moment * 1000), 0), _MOST_MILLISECONDS) << _RANDOM_BITS)


def _text(number: int) -> str:
    return "".join([_DIGITS[number >> shift & 31] for shift in range(125, -5, -5)])
