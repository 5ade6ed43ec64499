"""`Judge`: what was invalidated, at either end of a copy; it is asked again with every page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from ..backend import Backend
from ..entry import Entry
from ..epochs.marks import NEVER, Marks, Written, from_bytes, key_of
from ..errors import BackendUnavailable, ConfigurationError
from ..packed.invalidations import ATTEMPTS, merge
from .opaque import is_opaque
from .places import Place

REREAD = 2.0
"""Seconds after which the marks of a namespace are read again."""
MOST_NAMESPACES = 10_000


class Judge:
    """Knows the marks of both ends.

    Args:
        source: where entries come from; None: from a file, in which nothing dead is.
        destination: where they go; None: into a file.
        keep: takes the marks of a namespace, as the source has them, into a file.
    """

    def __init__(
        self,
        source: Place | None,
        destination: Place | None,
        *,
        keep: Callable[[str, Entry], object] | None = None,
    ) -> None:
        self._ends = [end for end in (source, destination) if end is not None]
        self._source, self._destination, self._keep = source, destination, keep
        self._marks: dict[str, tuple[float, Written]] = {}
        self.sealed: set[str] = set()  # namespaces whose marks nobody here can read

    def look(self, keys: Iterable[str]) -> None:
        """Read the marks of the namespaces of these keys, unless that was done a moment ago.

        Raises:
            CorruptEntry: marks cannot be read, and without them invalidated entries would come back.
        """
        now = time.monotonic()
        if len(self._marks) > MOST_NAMESPACES:
            self._marks.clear()
        for name in dict.fromkeys(key.partition(":")[0] for key in keys):
            read_at, _ = self._marks.get(name, (-REREAD, None))
            if now - read_at >= REREAD:
                self._marks[name] = now, self._read(name)

    def is_dead(self, entry: Entry) -> bool:
        """Whether an entry was invalidated at one of the ends, or its store has yet to hear that it was changed.

        Of one that is not opened only its readers know what was invalidated.
        """
        tier = None if self._source is None else self._source.tier
        if tier is not None and tier.journal.pending.get(entry.metadata.key) is not None:
            return True
        if is_opaque(entry):
            return False
        metadata = entry.metadata
        _, held = self._marks[metadata.key.partition(":")[0]]
        moment = metadata.loaded_at
        return moment <= held.floor or held.marks.cover(moment, metadata.tags)

    def carry(self, namespace: str) -> None:
        """Let the destination know what the source's marks of a namespace say, for entries that cannot be judged here.

        Raises:
            ConfigurationError: both have marks, which are sealed: they cannot be merged without the key.
        """
        for there in [] if self._source is None else self._source.all:
            told = there.get(key_of(namespace))
            if told is not None and self._keep is not None:
                self._keep(key_of(namespace), told)
            elif told is not None:
                self.told(told)

    def told(self, marks: Entry) -> None:
        """Let the destination know these marks.

        Raises:
            CorruptEntry: they are none.
            ConfigurationError: as for `carry`.
        """
        for here in [] if self._destination is None else self._destination.all:
            if is_opaque(marks):
                _place(here, marks)
            else:
                merge(here, marks.metadata.key.removeprefix(key_of("")), from_bytes(marks.payload))

    def _read(self, name: str) -> Written:
        marks, floor = Marks(), NEVER
        for written in self._written(name):
            marks, floor = marks.merged(written.marks), max(floor, written.floor)
        for end in self._ends:
            if end.chain is not None:
                marks = marks.merged(end.chain.epochs.space(name).marks)
        return Written(marks, 0.0, floor)

    def _written(self, name: str) -> Iterator[Written]:
        for end in self._ends:
            for backend in end.all:
                found = backend.get(key_of(name))
                if found is not None and is_opaque(found):
                    self.sealed.add(name)
                elif found is not None:
                    yield from_bytes(found.payload)


def _place(here: Backend, told: Entry) -> None:
    """Put marks that nobody here can read where none are."""
    for _ in range(ATTEMPTS):
        if here.put(told.metadata.key, told, if_absent=True):
            return
        held = here.get(told.metadata.key)
        if held is not None:
            if held.wire == told.wire:
                return
            raise ConfigurationError(
                "both ends have invalidations, and these are sealed: give the command or the chains the keys"
            )
    raise BackendUnavailable("what was invalidated in the source could not be written to the destination; copy again")
