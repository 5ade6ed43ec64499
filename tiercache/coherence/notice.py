"""`Notice`: what a process tells the others: names of the keys that it changed, and where it stored; never values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

from ..epochs.marks import Marks
from ..errors import TiercacheError

MAX_KEYS = 1000
MAX_BYTES = 1 << 20
"""A notice that would hold more is cut into several."""
NO_MARKS: Mapping[str, Marks] = MappingProxyType({})
_FORMAT = 1


class Notice(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One message; on the wire a msgpack array, to which later releases may append.

    Attributes:
        format: 1; what a later format says cannot be known, so it stands for "everything".
        sender: the chain that speaks: 16 random bytes, others after a fork.
        changes: full stored keys, and when each was changed (Unix seconds).
        everything: too much was changed to name it.
        marks: by namespace, what was invalidated and when.
        segments: by place, news for the backends that keep their entries there (`tiercache.coherence.news`).
    """

    format: int = _FORMAT
    sender: bytes
    changes: dict[str, float] = {}
    everything: bool = False
    marks: dict[str, Marks] = {}
    segments: dict[bytes, list[bytes]] = {}

    def __repr__(self) -> str:  # no key: a repr ends up in logs
        return f"<Notice of {len(self.changes)} keys>"


@dataclass(frozen=True, slots=True)
class Letter:
    """Notices that go out together with the write that they tell of.

    Attributes:
        messages: what to send.
        failed: called when the write was made and they were not sent, with what kept them.
    """

    messages: Sequence[bytes]
    failed: Callable[[TiercacheError], object]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Notice)


def written(
    sender: bytes,
    changes: Mapping[str, float],
    *,
    everything: bool = False,
    marks: Mapping[str, Marks] = NO_MARKS,
) -> list[bytes]:
    """Return the messages that say this, each of a bounded size."""
    first, *others = list(_pages(changes)) or [{}]
    head = Notice(sender=sender, changes=first, everything=everything, marks=dict(marks))
    return [_encoder.encode(head), *(_encoder.encode(Notice(sender=sender, changes=page)) for page in others)]


def of_segments(sender: bytes, news: Mapping[bytes, Sequence[bytes]]) -> Iterator[bytes]:
    """Yield the messages that bring this news of each place, each of a bounded size but for one item that has more."""
    page: dict[bytes, list[bytes]] = {}
    room, count = MAX_BYTES, 0
    for place, items in news.items():
        for item in items:
            size = len(item) + (0 if place in page else len(place))
            if page and (room < size or count >= MAX_KEYS):
                yield _encoder.encode(Notice(sender=sender, segments=page))
                page, room, count, size = {}, MAX_BYTES, 0, len(item) + len(place)
            page.setdefault(place, []).append(item)
            room, count = room - size, count + 1
    if page:
        yield _encoder.encode(Notice(sender=sender, segments=page))


def is_from(sender: bytes, message: bytes) -> bool:
    """Whether the message is the sender's: without reading it, as everybody hears what they say themselves."""
    return message[4:20] == sender  # behind the heads of the array and of the 16 bytes, and the format


def read(message: bytes) -> Notice | None:
    """Return the notice in a message; None: it is none that this release can read."""
    try:
        notice = _decoder.decode(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return notice if notice.format == _FORMAT else None


def _pages(changes: Mapping[str, float]) -> list[dict[str, float]]:
    pages: list[dict[str, float]] = []
    room = 0
    for key, time in changes.items():
        if room < len(key) or len(pages[-1]) >= MAX_KEYS:
            pages.append({})
            room = MAX_BYTES
        pages[-1][key] = time
        room -= len(key)
    return pages
