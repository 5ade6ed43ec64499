"""What was invalidated in one place is so in another, before any entry comes there: the marks of `clear` and tags."""

from __future__ import annotations

from ..backend import Backend
from ..entry import Entry
from ..epochs.marks import Written, from_bytes, key_of, to_entry
from ..errors import BackendUnavailable
from .backend import PackedBackend

ATTEMPTS = 20


def carry(source: Backend, target: Backend) -> None:
    """Merge the marks of all namespaces into the target's. Where both are one place, nothing is written.

    Raises:
        CorruptEntry: marks cannot be read, and without them invalidated entries would come back.
        BackendUnavailable: others change them all the time.
    """
    start = key_of("")
    source = source.inner if isinstance(source, PackedBackend) else source  # a packed scan does not show them
    for key in [key for key, _ in source.scan(start)]:
        entry = source.get(key)
        if entry is not None:
            merge(target, key.removeprefix(start), from_bytes(entry.payload))


def merge(target: Backend, namespace: str, told: Written) -> None:
    """Merge marks of a namespace into the target's; they only ever grow."""
    key = key_of(namespace)
    for _ in range(ATTEMPTS):
        held = target.get(key)
        mine = Written() if held is None else from_bytes(held.payload)
        merged = Written(
            mine.marks.merged(told.marks), max(mine.written_at, told.written_at), max(mine.floor, told.floor)
        )
        if held is not None and (merged.marks, merged.floor) == (mine.marks, mine.floor):
            return
        if _put(target, key, to_entry(namespace, merged), held):
            return
    raise BackendUnavailable("the marks of a namespace could not be merged into the target's; migrate again")


def _put(target: Backend, key: str, entry: Entry, held: Entry | None) -> bool:
    if held is None:
        return target.put(key, entry, if_absent=True)
    return target.put(key, entry, if_match=held.metadata.etag)
