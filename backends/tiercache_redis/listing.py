"""Listing and clearing, a page of SCAN at a time: generators like those of `operations`.

SCAN may name a key twice; a listing hands in the set of names that it has `seen`.
"""

from __future__ import annotations

from tiercache.entry import Metadata
from tiercache.errors import CorruptEntry

from .layout import TOMB_BYTES, Layout, Steps, value
from .operations import GROUP, PAGE, split

START = b"0"
"""SCAN's first cursor, and the one that it returns at the end."""

Page = list[tuple[str, Metadata]]


def glance(layout: Layout, cursor: bytes, prefix: str, seen: set[bytes]) -> Steps[tuple[bytes, Page]]:
    """List a page without reading the entries: when Redis drops each, and its size."""
    cursor, names = yield from _names(layout, cursor, prefix, seen)
    if not names:
        return cursor, []
    replies = yield [(command, name) for name in names for command in (b"PTTL", b"STRLEN")]
    page: Page = []
    for name, left, size in zip(names, replies[::2], replies[1::2], strict=True):
        # A value of another type has no STRLEN and is no entry; -2 stands for a key that is gone since; a tombstone has
        # a size that no entry has.
        if isinstance(size, CorruptEntry) or value(left) == -2 or value(size) == TOMB_BYTES:
            continue
        key = layout.key(name)
        page.append((key, layout.listed(key, value(left), value(size))))
    return cursor, page


def read(layout: Layout, cursor: bytes, prefix: str, seen: set[bytes]) -> Steps[tuple[bytes, Page]]:
    """List a page with the metadata that the entries hold; what is no intact entry is left out."""
    cursor, names = yield from _names(layout, cursor, prefix, seen)
    groups = split(names, GROUP)
    replies = (yield [(b"MGET", *group) for group in groups]) if groups else []
    page: Page = []
    for group, reply in zip(groups, replies, strict=True):
        for key, data in zip(map(layout.key, group), value(reply), strict=True):
            try:
                entry = layout.entry(key, value(data))
            except CorruptEntry:
                continue
            if entry is not None:
                page.append((key, entry.metadata))
    return cursor, page


def clear(layout: Layout, cursor: bytes, prefix: str) -> Steps[tuple[bytes, int]]:
    """Delete a page; how many entries that were."""
    cursor, names = yield from _names(layout, cursor, prefix, set())
    if not names:
        return cursor, 0
    (reply,) = yield [(b"UNLINK", *names)]
    return cursor, value(reply)


def _names(layout: Layout, cursor: bytes, prefix: str, seen: set[bytes]) -> Steps[tuple[bytes, list[bytes]]]:
    (reply,) = yield [(b"SCAN", cursor, b"MATCH", layout.pattern(prefix), b"COUNT", PAGE)]
    cursor, found = value(reply)
    names = [name for name in dict.fromkeys(found) if name not in seen and layout.key(name)]
    seen.update(names)
    return cursor, names
