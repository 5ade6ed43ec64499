"""Segments read and made beside a backend: a key's newest record, and another process's segment with a newer one."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from tiercache.packed import segment
from tiercache.packed.naming import KEEP, SegmentName, new_ulid, object_name, parse


class Stored(NamedTuple):
    """A record: the name of its segment, its entry in the index, and its bytes (none for a tombstone)."""

    name: str
    located: segment.Located
    data: bytes


def newest(prefix: str, segments: Iterable[tuple[str, bytes]], key: str) -> Stored | None:
    """Return the key's record with the highest stamp in these segments, given by name and bytes."""
    digest, found = segment.digest_of(key), []
    for name, body in segments:
        parts = parse(prefix, name)
        tail = segment.read_tail(body[-parts.tail :], size=len(body), count=parts.count)
        located = segment.find(tail.index, digest)
        if located is not None:
            record = body[located.offset : located.offset + located.length]
            found.append((located.stamp, parts.ulid, Stored(name, located, record)))
    return max(found)[2] if found else None


def overwriting(prefix: str, before: Stored, key: str, data: bytes) -> tuple[str, bytes]:
    """Return name and bytes of a segment with a newer record of the key: these bytes. None are a tombstone."""
    digest, stamp = before.located[:2]
    built = segment.build([segment.Record(digest, stamp + 1, 0, data, key if data else "")])
    return object_name(prefix, SegmentName(KEEP, new_ulid(time.time()), 1, built.tail)), built.body
