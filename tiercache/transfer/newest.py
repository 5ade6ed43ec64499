"""`Newest`: a store into which entries are copied, where the newer one wins, whatever others write meanwhile."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..backend import Backend
from ..entry import Entry
from ..errors import BackendError, CorruptEntry, EntryTooLarge
from ..packed.destinations import Destination, Taken
from .opaque import is_opaque

Overwrite = Literal["older", "never", "always"]
"""What is overwritten: what is older, nothing, or whatever is there."""
PUT_SECONDS = 120.0
"""Seconds that a batch may take."""

Placed = Callable[[Entry], Entry | None]
"""Returns an entry as the destination keeps it; None: it is too large for it."""


@dataclass(slots=True)
class Fate(Taken):
    """What became of some entries (see `CopyReport`): keys, and why those failed that did."""

    replaced: set[str] = field(default_factory=set)
    newer: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    other: set[str] = field(default_factory=set)
    sealed: set[str] = field(default_factory=set)
    carried: set[str] = field(default_factory=set)
    failed: dict[str, BackendError] = field(default_factory=dict)

    def failing(self, errors: Mapping[str, BackendError]) -> None:
        """Sort errors: what the store does not take is no failure."""
        for key, error in errors.items():
            if isinstance(error, EntryTooLarge):
                self.refused.add(key)
            else:
                self.failed[key] = error


class Newest(Destination):
    """A store in which each entry is created, or takes the place of an older one, under its condition.

    Args:
        backend: the store.
        overwrite: what is overwritten.
        placed: see `Placed`.
    """

    def __init__(self, backend: Backend, overwrite: Overwrite, placed: Placed) -> None:
        super().__init__(backend)
        self.overwrite = overwrite
        self.placed = placed

    def take(self, entries: Mapping[str, Entry], lacks: Mapping[str, int | None], taken: Taken) -> None:
        """Write those that the store lacks, or has an older one of."""
        assert isinstance(taken, Fate)  # noqa: S101 - for the type checker: the engine of a copy makes no others
        ready = self.ready(entries, taken)
        if ready:
            self.write(ready, lacks, taken)

    def ready(self, entries: Mapping[str, Entry], taken: Fate) -> dict[str, Entry]:
        """Return the entries as the store keeps them, without those that it does not take."""
        ready = {key: placed for key, entry in entries.items() if (placed := self.placed(entry)) is not None}
        taken.refused |= entries.keys() - ready.keys()
        return ready

    @abstractmethod
    def write(self, entries: Mapping[str, Entry], lacks: Mapping[str, int | None], taken: Fate) -> None:
        """Write entries that are as the store keeps them."""

    def wins(self, key: str, mine: Entry, held: Entry | None, taken: Fate) -> bool:
        """Whether an entry may take the place of what is held; if not, its fate is told."""
        if held is None:
            return True
        if self.overwrite == "always" and (held.wire is None or held.wire != mine.wire):
            return True
        if self.overwrite == "never" or is_opaque(mine) or is_opaque(held):
            taken.present.add(key)  # a sealed one does not tell its time
            return False
        here, there = mine.metadata.loaded_at, held.metadata.loaded_at
        if there >= here:
            (taken.newer if there > here else taken.present).add(key)
        return there < here


class IntoAny(Newest):
    """A store without batches of conditional writes: one after the other."""

    def write(self, entries: Mapping[str, Entry], lacks: Mapping[str, int | None], taken: Fate) -> None:
        """Create them; where something is, compare."""
        failed: dict[str, BackendError] = {}
        for key, entry in entries.items():
            due = time.monotonic() + PUT_SECONDS
            try:
                if self.backend.put(key, entry, if_absent=True, deadline=due):
                    taken.copied.add(key)
                else:
                    self._compared(key, entry, taken, due)
            except BackendError as error:
                failed[key] = error
        taken.failing(failed)

    def _compared(self, key: str, entry: Entry, taken: Fate, due: float) -> None:
        try:
            held = self.backend.get(key, deadline=due)
        except CorruptEntry:  # of a later release, or sealed: it is somebody's
            taken.present.add(key)
            return
        if not self.wins(key, entry, held, taken):
            return
        etag = None if held is None else held.metadata.etag
        if self.backend.put(key, entry, if_absent=held is None, if_match=etag, deadline=due):
            taken.copied.add(key)
            if held is not None:
                taken.replaced.add(key)
        else:
            taken.newer.add(key)  # somebody wrote meanwhile
