"""Where entries are moved to: nothing is overwritten, and what is stored for good is told from what waits."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..backend import Backend
from ..entry import Entry
from ..errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    ConfigurationError,
    EntryTooLarge,
    PartialFailure,
)
from ..objectstore import ObjectStoreBackend
from ..objectstore.classes import usable
from .backend import PackedBackend
from .origins import LOAD_SECONDS, Item
from .pending import Batch, Held
from .segment import digest_of

STORE_SECONDS = 300.0
"""Seconds that a segment may take to be stored; then the move ends, to be gone on with."""


@dataclass(slots=True)
class Taken:
    """What became of some entries.

    Attributes:
        copied: keys that were written.
        present: keys that the target has.
        buried: keys that the target deleted after their entry was written.
        refused: keys of entries that it does not take.
        batches: that must be stored before any of it is safe.
    """

    copied: set[str] = field(default_factory=set)
    present: set[str] = field(default_factory=set)
    buried: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    batches: set[Batch] = field(default_factory=set)


class Destination(ABC):
    """A target.

    Args:
        backend: what is to hold the entries.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def look(self, items: Sequence[Item], taken: Taken) -> dict[str, int | None]:
        """Return the keys that the target seems to lack, each with what `take` compares; before they are read."""
        return dict.fromkeys(item.key for item in items)

    @abstractmethod
    def take(self, entries: Mapping[str, Entry], lacks: Mapping[str, int | None], taken: Taken) -> None:
        """Write entries, each unless something is there by now."""

    def settled(self, batches: set[Batch]) -> bool:
        """Whether all of these are stored.

        Raises:
            Exception: one was given up.
        """
        return True

    def settle(self, batches: set[Batch]) -> None:
        """Return when all of these are stored.

        Raises:
            BackendError: they are not, in good time.
        """
        return


class IntoSegments(Destination):
    """Packed. A copy has the stamp of its entry: whatever any process writes or deletes meanwhile is newer."""

    backend: PackedBackend

    def look(self, items: Sequence[Item], taken: Taken) -> dict[str, int | None]:
        """Ask the catalogue, which takes no request."""
        backend, lacks = self.backend, dict[str, int | None]()
        backend.begin(time.monotonic() + LOAD_SECONDS)
        if backend.discovery.catalogue.full:
            raise ConfigurationError("the target's catalogue is full; give it a larger max_entries")
        for item in items:
            digest = digest_of(item.key)
            place, stamp = backend.newest.of(digest), backend.newest.stamp(digest)
            if place is not None:
                taken.present.add(item.key)
                if isinstance(place, Held) and place.batch is not None:
                    taken.batches.add(place.batch)
            elif self._was_deleted(digest, stamp, item.written_at):
                taken.buried.add(item.key)
            else:
                lacks[item.key] = stamp
        return lacks

    def take(self, entries: Mapping[str, Entry], lacks: Mapping[str, int | None], taken: Taken) -> None:
        """Let them wait for segments."""
        for key, entry in entries.items():
            made = max(1, int(min(entry.metadata.created_at, self.backend.inner.clock()) * 1000))
            try:
                batch = self._put(key, entry, lacks[key], made)
            except EntryTooLarge:
                taken.refused.add(key)
                continue
            (taken.present if batch is None else taken.copied).add(key)
            if batch is not None:
                taken.batches.add(batch)

    def settled(self, batches: set[Batch]) -> bool:
        """Ask the batches."""
        for batch in batches:
            if batch.written.done():
                batch.written.result()
        return all(batch.written.done() for batch in batches)

    def settle(self, batches: set[Batch]) -> None:
        """Seal them, and wait."""
        self.backend.changes.stored(batches, time.monotonic() + STORE_SECONDS)
        self.settled(batches)

    def classed(self, entry: Entry) -> Entry:
        """Return the entry, asking for the class that its segment is to have."""
        return in_class(entry, self.backend.inner)

    def _put(self, key: str, entry: Entry, stamp: int | None, made: int) -> Batch | None:
        placed = self.classed(entry)
        for again in (False, True):
            due = time.monotonic() + STORE_SECONDS
            try:
                return self.backend.changes.put(key, placed, due, expected=stamp, made=made)
            except (BackendUnavailable, BackendTimeout):  # `when_full="drop"` does not wait for room
                if again:
                    raise
                self.backend.flush(deadline=due)
        return None

    def _was_deleted(self, digest: bytes, stamp: int, written_at: float) -> bool:
        """Whether the newest record is a tombstone from after the entry was written."""
        held, found = self.backend.writer.pending.get(digest), self.backend.discovery.catalogue.find(digest)
        if held is not None and held.record.stamp == stamp:
            buried = not held.record.data
        else:
            buried = found is not None and not found.length
        return buried and stamp >= written_at * 1000


class IntoObjects(Destination):
    """One object an entry, created side by side."""

    backend: ObjectStoreBackend

    def take(self, entries: Mapping[str, Entry], lacks: Mapping[str, int | None], taken: Taken) -> None:
        """Create the objects."""
        backend = self.backend

        def one(key: str, due: float | None) -> bool:
            return backend.put(key, in_class(entries[key], backend), if_absent=True, deadline=due)

        _sort(lambda: backend.side_by_side(entries, one, None), taken)


class IntoAny(Destination):
    """Any other backend."""

    def take(self, entries: Mapping[str, Entry], lacks: Mapping[str, int | None], taken: Taken) -> None:
        """Put them one after the other."""
        for key, entry in entries.items():

            def one(key: str = key, entry: Entry = entry) -> dict[str, bool]:
                return {key: self.backend.put(key, entry.in_class(None), if_absent=True)}

            try:
                _sort(one, taken)
            except EntryTooLarge:
                taken.refused.add(key)


def in_class(entry: Entry, store: ObjectStoreBackend) -> Entry:
    """Return the entry, asking for the class that it is in, where the store has it and does not use it anyway."""
    name = entry.metadata.storage_class
    rules = store.rules.get(name or "")
    default = store.storage_class or (rules and (rules.plain.name if rules.plain else rules.name))
    if name is None or rules is None or name == default:
        return entry.in_class(None)
    try:
        usable(store.rules, name, beside=store.storage_class)
    except ConfigurationError:  # an archive class, or one that goes into other buckets
        return entry.in_class(None)
    return entry.in_class(name)


def destination_of(backend: Backend) -> Destination:
    """Return how entries are written to a backend."""
    if isinstance(backend, PackedBackend):
        return IntoSegments(backend)
    return (IntoObjects if isinstance(backend, ObjectStoreBackend) else IntoAny)(backend)


def _sort(write: Callable[[], Mapping[str, bool]], taken: Taken) -> None:
    failed: Mapping[str, BackendError] = {}
    try:
        written = write()
    except PartialFailure as failure:
        written, failed = failure.results, failure.failed
    for key, was in written.items():
        (taken.copied if was else taken.present).add(key)
    for key, error in failed.items():
        if not isinstance(error, EntryTooLarge):
            raise error
        taken.refused.add(key)
