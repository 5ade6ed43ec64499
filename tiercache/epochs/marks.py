"""`Marks`: when a namespace and its tags were last invalidated, as plain data that is merged by the later time.

What was made at or before the namespace's epoch, or at or before the time of one of its tags, is dead. Marks only ever
grow, and merging them in any order gives the same ones: so each process and each tier may hold a part, and nobody's
invalidation is lost where they meet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from ..entry import Entry, Metadata
from ..errors import CorruptEntry, UnknownFormat
from ..keys import RESERVED

NEVER = -math.inf
MAX_TAGS = 10_000
"""Tags that a namespace remembers; the times of those dropped become its epoch: a few misses, never a wrong value."""
STEP = 1e-6
"""Seconds by which one moment follows another that the clock does not tell apart."""
_VERSION = 1
_KEPT_OF_TOO_MANY = 0.9  # so that not each of the next invalidations moves the epoch


class Marks(msgspec.Struct, frozen=True):
    """What was invalidated when, in one namespace. Times are Unix seconds.

    Attributes:
        epoch: everything made until then is dead; -inf: nothing was cleared.
        tags: what carries the tag and was made until then is dead.
    """

    epoch: float = NEVER
    tags: dict[str, float] = {}

    def __bool__(self) -> bool:
        return self.epoch != NEVER or bool(self.tags)

    def __repr__(self) -> str:  # no tags: a repr ends up in logs
        return f"<Marks epoch={self.epoch} of {len(self.tags)} tags>"

    @property
    def newest(self) -> float:
        """The latest of the times."""
        return max(self.epoch, max(self.tags.values(), default=NEVER))

    def cover(self, moment: float, tags: Iterable[str]) -> bool:
        """Whether something made at this moment, with these tags, is dead."""
        if moment <= self.epoch:
            return True
        mine = self.tags
        return bool(mine) and any(moment <= mine.get(tag, NEVER) for tag in tags)

    def merged(self, other: Marks) -> Marks:
        """Return the later time of each; this very object where the other adds nothing."""
        news = other.beyond(self)
        if not news:
            return self
        epoch = max(self.epoch, news.epoch)
        return Marks(epoch, {tag: at for tag, at in {**self.tags, **news.tags}.items() if at > epoch}).bounded()

    def beyond(self, other: Marks) -> Marks:
        """Return the part of these that the other does not know."""
        floor, known = other.epoch, other.tags
        tags = {tag: at for tag, at in self.tags.items() if at > floor and at > known.get(tag, NEVER)}
        return Marks(self.epoch if self.epoch > floor else NEVER, tags)

    def bounded(self, limit: int = MAX_TAGS) -> Marks:
        """Return marks of at most so many tags: of more, the oldest tenth and the rest above it become the epoch."""
        if len(self.tags) <= limit:
            return self
        ordered = sorted(self.tags.values(), reverse=True)
        epoch = max(self.epoch, ordered[int(limit * _KEPT_OF_TOO_MANY)])
        return Marks(epoch, {tag: at for tag, at in self.tags.items() if at > epoch})


NONE = Marks()


class Written(msgspec.Struct, frozen=True):
    """The marks as a tier holds them.

    Attributes:
        marks: what was invalidated.
        written_at: when this was written; lifecycle rules count from then.
        floor: nothing that this tier holds is believed if it was made until then, because its marks were damaged.
    """

    marks: Marks = NONE
    written_at: float = 0.0
    floor: float = NEVER


class _Wire(msgspec.Struct, omit_defaults=True):
    """The payload: fields may be added that older releases can do without; others need another version."""

    version: int = msgspec.field(name="v", default=0)
    epoch: float | None = msgspec.field(name="e", default=None)
    tags: dict[str, float] = msgspec.field(name="t", default_factory=dict)
    written_at: float = msgspec.field(name="w", default=0.0)
    floor: float | None = msgspec.field(name="f", default=None)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Wire).decode


def key_of(namespace: str) -> str:
    """Return the full key under which tiers hold the marks of a namespace."""
    return f"{RESERVED}:epochs:{namespace}"


def to_bytes(written: Written) -> bytes:
    """Return marks as bytes, for a tier or for another process."""
    marks = written.marks
    return _encode(_Wire(_VERSION, _some(marks.epoch), marks.tags, written.written_at, _some(written.floor)))


def from_bytes(data: bytes) -> Written:
    """Return the marks in bytes.

    Raises:
        UnknownFormat: a later release wrote them.
        CorruptEntry: they are none.
    """
    try:
        wire = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        raise CorruptEntry("the marks of a namespace cannot be read") from None
    if wire.version != _VERSION:
        raise UnknownFormat(f"the marks of a namespace have version {wire.version}, this release reads {_VERSION}")
    times = [wire.written_at, *wire.tags.values(), *(at for at in (wire.epoch, wire.floor) if at is not None)]
    if not all(map(math.isfinite, times)):
        raise CorruptEntry("the times of a namespace's marks are not finite numbers")
    marks = Marks(NEVER if wire.epoch is None else wire.epoch, wire.tags).bounded()
    return Written(marks, wire.written_at, NEVER if wire.floor is None else wire.floor)


def to_entry(namespace: str, written: Written) -> Entry:
    """Return the entry that a tier keeps: it never expires, and no clock can make it look unborn."""
    payload = to_bytes(written)
    metadata = Metadata(key=key_of(namespace), created_at=0.0, codec="msgpack", size=len(payload))
    return Entry(payload, metadata)


def after(moment: float) -> float:
    """Return the next moment."""
    return max(moment + STEP, math.nextafter(moment, math.inf))


def coarse(created_at: float, began: float) -> float:
    """Return a moment at or before `began` that is a rounded number of seconds before `created_at`.

    An eighth of a power of two, 1/64 s at least: entries of one kind then share what memory keeps for many of them.
    """
    lag = created_at - began
    if lag <= 0:
        return began
    _, exponent = math.frexp(lag)
    unit = max(math.ldexp(1.0, exponent - 4), 1 / 64)
    return created_at - math.ceil(lag / unit) * unit


def _some(moment: float) -> float | None:
    return None if moment == NEVER else moment
