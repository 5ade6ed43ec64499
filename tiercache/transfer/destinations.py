"""How each kind of store takes copies: in one transaction, side by side, by what was seen, or into segments."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from ..backend import Backend
from ..coherence.guard import Guard
from ..disk import DiskBackend
from ..entry import Entry
from ..errors import BackendError, CorruptEntry, PartialFailure, UnknownFormat
from ..keys import object_name
from ..objectstore import ObjectStoreBackend
from ..packed import PackedBackend
from ..packed.destinations import IntoSegments, Taken
from ..packed.origins import Item, read_intact
from ..packed.pending import Batch
from ..packed.segment import digest_of
from .newest import PUT_SECONDS, Fate, IntoAny, Newest, Overwrite, Placed
from .opaque import is_opaque


class IntoDisk(Newest):
    """A file: what is there is looked at in a batch, and written in one transaction, where nothing has changed."""

    backend: DiskBackend

    def write(self, entries: Mapping[str, Entry], lacks: Mapping[str, int | None], taken: Fate) -> None:
        """Look, compare, and write what is still as it was seen."""
        held, unreadable = read_intact(self.backend, list(entries))
        mine = {key: entry for key, entry in entries.items() if self.wins(key, entry, held.get(key), taken)}
        etags = {key: held[key].metadata.etag if key in held else None for key in mine}
        due = time.monotonic() + PUT_SECONDS
        try:
            stored = self.backend.put_many_where(mine, etags, deadline=due)
        except PartialFailure as failure:
            taken.failing(failure.failed)
            stored = failure.results
        taken.copied |= stored
        taken.replaced |= stored & held.keys()
        left = mine.keys() - stored - taken.refused - taken.failed.keys()
        taken.present |= left & unreadable  # of a later release, or sealed: it is somebody's
        taken.newer |= left - unreadable


class IntoObjects(Newest):
    """One object an entry, side by side; where most are there already, they are looked at before they are sent."""

    backend: ObjectStoreBackend

    def __init__(self, backend: Backend, overwrite: Overwrite, placed: Placed) -> None:
        super().__init__(backend, overwrite, placed)
        self._look_first = False

    def write(self, entries: Mapping[str, Entry], lacks: Mapping[str, int | None], taken: Fate) -> None:
        """Create the objects; where one is, compare."""
        there = self._there(entries, taken) if self._look_first else set[str]()
        absent = [key for key in entries if key not in there and key not in taken.failed]
        created = self._side_by_side(absent, lambda key, due: self._put(key, entries[key], due), taken)
        taken.copied |= {key for key, written in created.items() if written}
        present = [*there, *(key for key, written in created.items() if not written)]
        self._look_first = 2 * len(present) > len(entries)
        if present:
            self._compare(present, entries, taken)

    def _there(self, entries: Mapping[str, Entry], taken: Fate) -> set[str]:
        def look(key: str, due: float | None) -> bool:
            return self.backend.objects.stat(self.backend.prefix + object_name(key), deadline=due) is not None

        return {key for key, found in self._side_by_side(list(entries), look, taken).items() if found}

    def _compare(self, keys: Sequence[str], entries: Mapping[str, Entry], taken: Fate) -> None:
        held, unreadable = read_intact(self.backend, keys)
        taken.present |= unreadable
        mine = [key for key in keys if key not in unreadable and self.wins(key, entries[key], held.get(key), taken)]

        def replace(key: str, due: float | None) -> bool:
            there = held.get(key)
            if there is None:  # it went, or had expired
                return self._put(key, entries[key], due)
            return self.backend.put(key, entries[key], if_match=there.metadata.etag, deadline=due)

        for key, written in self._side_by_side(mine, replace, taken).items():
            (taken.copied if written else taken.newer).add(key)
            if written and key in held:
                taken.replaced.add(key)

    def _put(self, key: str, entry: Entry, due: float | None) -> bool:
        return self.backend.put(key, entry, if_absent=True, deadline=due)

    def _side_by_side(
        self, keys: Sequence[str], operation: Callable[[str, float | None], bool], taken: Fate
    ) -> dict[str, bool]:
        try:
            return self.backend.side_by_side(keys, operation, None)
        except PartialFailure as failure:
            taken.failing(failure.failed)
            results: dict[str, bool] = failure.results or {}
            return results


class IntoGuard(Newest):
    """A store that compares what was seen in the batch that writes (Redis); its tombstones are respected."""

    def write(self, entries: Mapping[str, Entry], lacks: Mapping[str, int | None], taken: Fate) -> None:
        """Look, compare, and write what is still as it was seen."""
        guard = self.backend
        assert isinstance(guard, Guard)  # noqa: S101 - for the type checker
        due = time.monotonic() + PUT_SECONDS
        try:
            seen, unseen = guard.get_many_seen(list(entries), deadline=due), dict[str, BackendError]()
        except PartialFailure as failure:
            seen, unseen = failure.results or {}, failure.failed
        damaged = [key for key, error in unseen.items() if isinstance(error, CorruptEntry)]
        taken.failing({key: error for key, error in unseen.items() if key not in damaged})
        tokens: dict[str, str] = {}
        replacing: set[str] = set()
        for key, one in seen.items():
            mine = entries[key]
            if one.deleted_at is not None and self.overwrite != "always" and not self._is_later(mine, one.deleted_at):
                taken.buried.add(key)
            elif self.wins(key, mine, one.entry, taken):
                tokens[key] = one.token
                if one.entry is not None:
                    replacing.add(key)
        written = self._stored(guard, {key: entries[key] for key in tokens}, tokens, due, taken)
        taken.copied |= written
        taken.replaced |= written & replacing
        taken.newer |= {key for key in tokens if key not in written and key not in taken.failed}
        for key in damaged:
            if isinstance(unseen[key], UnknownFormat):
                taken.present.add(key)
            else:
                written_anew = self.backend.put(key, entries[key], if_absent=True, deadline=due)
                (taken.copied if written_anew else taken.newer).add(key)

    def _is_later(self, mine: Entry, moment: float) -> bool:
        return not is_opaque(mine) and mine.metadata.loaded_at > moment

    def _stored(
        self, guard: Guard, entries: Mapping[str, Entry], tokens: Mapping[str, str], due: float, taken: Fate
    ) -> set[str]:
        if not entries:
            return set()
        try:
            return guard.put_many_seen(entries, tokens, deadline=due)
        except PartialFailure as failure:
            taken.failing(failure.failed)
            return set(failure.results or ())


class _AsPlaced(IntoSegments):
    def classed(self, entry: Entry) -> Entry:
        return entry


class IntoPacked(Newest):
    """Segments: what is there is known from the catalogue; only those entries are read that are there."""

    backend: PackedBackend

    def __init__(self, backend: PackedBackend, overwrite: Overwrite, placed: Placed) -> None:
        super().__init__(backend, overwrite, placed)
        self._segments = _AsPlaced(backend)
        self._there: set[str] = set()

    def look(self, items: Sequence[Item], taken: Taken) -> dict[str, int | None]:
        """Ask the catalogue, which takes no request; what is there is compared when it is read."""
        found = Taken()
        lacks = self._segments.look(items, found)
        taken.batches |= found.batches
        if self.overwrite == "never":
            taken.present |= found.present
            taken.buried |= found.buried
            return lacks
        self._there = found.present | (found.buried if self.overwrite == "always" else set())
        taken.buried |= found.buried - self._there
        return lacks | {key: self.backend.newest.stamp(digest_of(key)) for key in self._there}

    def write(self, entries: Mapping[str, Entry], lacks: Mapping[str, int | None], taken: Fate) -> None:
        """Let them wait for segments."""
        there = [key for key in entries if key in self._there]
        held, unreadable = read_intact(self.backend, there) if there else ({}, set[str]())
        taken.present |= unreadable
        mine = {
            key: entry
            for key, entry in entries.items()
            if key not in unreadable and self.wins(key, entry, held.get(key), taken)
        }
        before = set(taken.copied)
        self._segments.take(mine, lacks, taken)
        taken.replaced |= (taken.copied - before) & held.keys()

    def settled(self, batches: set[Batch]) -> bool:
        """Ask the batches."""
        return self._segments.settled(batches)

    def settle(self, batches: set[Batch]) -> None:
        """Seal them, and wait."""
        self._segments.settle(batches)


def newest_into(backend: Backend, overwrite: Overwrite, placed: Placed) -> Newest:
    """Return how entries are written to a store."""
    if isinstance(backend, PackedBackend):
        return IntoPacked(backend, overwrite, placed)
    if isinstance(backend, ObjectStoreBackend):
        return IntoObjects(backend, overwrite, placed)
    if isinstance(backend, DiskBackend):
        return IntoDisk(backend, overwrite, placed)
    return (IntoGuard if isinstance(backend, Guard) else IntoAny)(backend, overwrite, placed)
