"""`scan`: what a packed backend holds: what waits, then segment by segment, then the library's own single objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..entry import Metadata
from ..errors import CorruptEntry
from ..keys import RESERVED
from .discovery import Segment
from .pending import Batch, Held
from .segment import Located, digest_of, located, read_keys, read_tail

if TYPE_CHECKING:
    from .backend import PackedBackend

OWN = RESERVED + ":"
PAGE = 500
"""Keys that a full scan reads at a time."""


def scan(backend: PackedBackend, prefix: str, *, full: bool, deadline: float | None) -> Iterator[tuple[str, Metadata]]:
    """Yield key and metadata of each entry; see `PackedBackend.scan`.

    A segment whose keys are damaged is left out; one that is gone is looked for under another name at the end.
    """
    if not prefix.startswith(OWN):
        yield from _packed(backend, prefix, full=full, deadline=deadline)
    if (own := _own(prefix)) is not None:
        yield from backend.inner.scan(own, full=full, deadline=deadline)


def _own(prefix: str) -> str | None:
    """The prefix of those of the library's own entries whose keys start with `prefix`; None: there are none."""
    return max(prefix, OWN) if prefix.startswith(OWN) or OWN.startswith(prefix) else None


def _packed(
    backend: PackedBackend, prefix: str, *, full: bool, deadline: float | None
) -> Iterator[tuple[str, Metadata]]:
    done: set[int] = set()
    seen: set[bytes] = set()
    for held in backend.writer.pending.held():
        record = held.record
        if record.data and record.key.startswith(prefix) and backend.newest.of(record.digest) is held:
            seen.add(record.digest)
            yield from _read(backend, [record.key], deadline)
    for again in (False, True):
        gone: list[Segment] = []
        for segment in backend.discovery.known():
            if segment.number in done:
                continue
            listed = contents_of(backend, segment, deadline)
            if listed is None:
                gone.append(segment)
                continue
            done.add(segment.number)
            live = [
                (key, place)
                for place, key in listed
                if place.length
                and key.startswith(prefix)
                and place.digest not in seen
                and _is_live(backend, segment, place)
            ]
            seen.update(place.digest for _, place in live)
            if full:
                for start in range(0, len(live), PAGE):
                    yield from _read(backend, [key for key, _ in live[start : start + PAGE]], deadline)
            else:
                yield from ((key, _guessed(segment, key, place)) for key, place in live)
        if not gone or again:
            return
        backend.discovery.missed(gone, backend.inner.due(deadline))


def clear(backend: PackedBackend, prefix: str, *, deadline: float | None) -> int:
    """Bury each entry whose key starts so, and return how many; the tombstones of all segments wait together."""
    batches: set[Batch] = set()
    removed = 0
    if prefix.startswith(OWN):
        return backend.inner.clear(prefix, deadline=deadline)
    for key, _ in _packed(backend, prefix, full=False, deadline=deadline):
        batch = backend.changes.bury(digest_of(key), backend.inner.due(deadline))
        if batch is not None:
            batches.add(batch)
        removed += 1
    backend.changes.stored(batches, backend.inner.due_in_bulk(deadline, removed))
    if (own := _own(prefix)) is not None:
        removed += backend.inner.clear(own, deadline=deadline)
    return removed


def contents_of(backend: PackedBackend, segment: Segment, deadline: float | None) -> list[tuple[Located, str]] | None:
    """Return the entries of a segment's index with their keys, with one GET; None: it is not there.

    What is damaged has none.
    """
    start, size = segment.tail.keys_at, segment.tail.keys_bytes
    data = backend.reader.range(segment, start, segment.size - start, backend.inner.due(deadline))
    if data is None:
        return None
    try:
        tail = read_tail(data[size:], size=segment.size, count=segment.parts.count)
        return list(zip(located(tail.index), read_keys(data[:size], tail), strict=True))
    except CorruptEntry:
        return []


def _is_live(backend: PackedBackend, segment: Segment, place: Located) -> bool:
    """Whether this is the newest record of its key, and no tombstone."""
    found = backend.newest.of(place.digest)
    return found is not None and not isinstance(found, Held) and found.segment == segment.number


def _read(backend: PackedBackend, keys: list[str], deadline: float | None) -> Iterator[tuple[str, Metadata]]:
    for key, entry in backend.reader.get_what_is_intact(keys, deadline).items():
        yield key, entry.metadata


def _guessed(segment: Segment, key: str, found: Located) -> Metadata:
    """What the index of a segment tells: sizes, and when the entry was written."""
    return Metadata(
        key=key,
        created_at=found.stamp / 1000,
        size=found.length,
        stored_size=found.length,
        storage_class=segment.storage_class,
    )
