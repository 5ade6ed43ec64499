"""The journal of one tier: changes that it has yet to take, and writes that may still land there.

A tier that could not be reached missed a `set` or a `delete`, and holds an older value; until it took the change, or
lost the key, it answers no reads for it. A tier that is written behind takes all its changes from here. And a write
given up at its deadline may land later, over a newer one or after a `delete`: what it wrote is known by its `as_of`,
and refused.

This holds within one process; `tiercache.epochs.marks` tells the others.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from .. import fork
from ..entry import Entry, Metadata
from ..errors import AccessDenied, CircuitOpen, ConfigurationError, EntryTooLarge

LIMIT = 10_000
"""Keys that a journal remembers as missed, and as written late, before it forgets their names."""
LATE = 900.0
"""Seconds for which a write that was given up is expected to land (a server that was stopped goes on where it was)."""
BATCH = 500
BATCH_BYTES = 16 * 2**20


@dataclass(slots=True)
class Change:
    """What a tier has to do for a key: store an entry, or delete (None); `token` is what a guard holds for it."""

    entry: Entry | None
    token: str = ""
    since: float = field(default_factory=time.monotonic)

    @property
    def size(self) -> int:
        """Bytes of payload that wait."""
        return 0 if self.entry is None else len(self.entry.payload)


@dataclass(slots=True)
class _Late:
    """A write that may still land: the latest `as_of` given up, and that of the entry known to be there."""

    as_of: float
    until: float
    current: float | None = None


class Journal:
    """Pending changes and late writes of one tier.

    Args:
        limit: keys missed, and keys written late, that are remembered by name.
        max_entries: entries that wait to be written, at most.
        max_bytes: their payloads, at most.

    Attributes:
        pending: the change that each key waits for. Read without the lock.
        dropped: entries that found no room; the tier is told to delete what they were to replace.
        floor: entries whose load began until then (Unix seconds) are not believed.
        on_overflow: called with a namespace of which too many keys were missed to remember them: nothing that is in
            it now may be believed any more.
    """

    def __init__(self, *, limit: int = LIMIT, max_entries: int = LIMIT, max_bytes: int = 64 * 2**20) -> None:
        self.limit = limit
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.pending: dict[str, Change] = {}
        self.dropped = 0
        self.floor = 0.0
        self.on_overflow: list[Callable[[str], object]] = []
        self._late: OrderedDict[str, _Late] = OrderedDict()  # the one that is over first comes first
        self._forgotten = _Late(-math.inf, 0.0)  # of the late writes whose keys were forgotten
        self._queued = self._bytes = self._deletes = 0
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """Leave the entries that wait to the parent, which writes them; what was missed stays missed.

        Until the parent has written them, what they replace is not to be read here.
        """
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        for key, change in self.pending.items():
            if change.entry is not None:
                before, late = math.nextafter(change.entry.metadata.loaded_at, -math.inf), self._late.get(key)
                as_of = before if late is None else max(before, late.as_of)
                self._late[key] = _Late(as_of, time.monotonic() + LATE)
        self.pending = {key: change for key, change in self.pending.items() if change.entry is None}
        self._queued, self._bytes, self._deletes = 0, 0, len(self.pending)

    @property
    def queued(self) -> int:
        """Entries that wait to be written."""
        return self._queued

    @property
    def missed(self) -> int:
        """Keys that wait to be deleted."""
        return self._deletes

    # Reading

    def refuses(self, key: str, metadata: Metadata) -> bool:
        """Whether an entry that the tier holds is older than a change that it missed, or was written late."""
        if not self._late and not self.floor:
            return False
        began = metadata.loaded_at
        if began <= self.floor:
            return True
        late = self._late.get(key)
        if late is not None:
            return began <= late.as_of and began != late.current
        return began <= self._forgotten.as_of and time.monotonic() < self._forgotten.until

    # Writing

    def missed_change(self, keys: Iterable[str], *, unless_pending: bool = False) -> None:
        """The tier did not take a change of these keys: it has to delete them, `unless` a change of them is pending."""
        for key in keys:
            while key not in self.pending and self._deletes >= self.limit:
                self._overflow()
            with self._lock:
                if not (unless_pending and key in self.pending):
                    self._replace(key, Change(None))

    def given_up(self, entries: Mapping[str, Entry]) -> None:
        """Writes of these entries were given up, and may land later."""
        now = time.monotonic()
        with self._lock:
            for key, entry in entries.items():
                late = self._late.pop(key, None)
                began = entry.metadata.loaded_at
                if late is None and len(self._late) >= self.limit:
                    self._forget_late(now)
                self._late[key] = _Late(max(began, -math.inf if late is None else late.as_of), now + LATE)

    def took(self, key: str, entry: Entry | None) -> None:
        """The tier took a change, and holds this entry or none; nothing older is pending any more."""
        if not self.pending and not self._late:
            return
        with self._lock:
            self._drop(key)
            self._holds(key, entry)

    def promoted(self, key: str, entry: Entry) -> None:
        """The tier holds a copy of this entry; a change that is pending stays so."""
        if self._late:
            with self._lock:
                self._holds(key, entry)

    def queue(self, key: str, entry: Entry | None, token: str = "") -> bool:
        """Have an entry written (None: deleted) in its turn; False: there was no room, and it is deleted instead."""
        change = Change(entry, token)
        with self._lock:
            self._drop(key)
            fits = self._queued < self.max_entries and self._bytes + change.size <= self.max_bytes
            if entry is None or fits:
                self._replace(key, change)
                return True
            self.dropped += 1
        self.missed_change([key])
        return False

    def has_room(self, size: int) -> bool:
        """Whether an entry of this size could be queued now."""
        return self._queued < self.max_entries and self._bytes + size <= self.max_bytes

    def wait_for_room(self, size: int, timeout: float) -> bool:
        """Wait until an entry of this size could be queued; False: `timeout` seconds were not enough."""
        with self._room:
            return self._room.wait_for(lambda: self.has_room(size), timeout)

    # Draining

    def batch(self) -> dict[str, Change]:
        """Return the changes that have waited longest: up to 500, or 16 MiB."""
        found: dict[str, Change] = {}
        size = 0
        with self._lock:
            for key, change in self.pending.items():
                size += change.size
                if found and size > BATCH_BYTES:
                    break
                found[key] = change
                if len(found) >= BATCH:
                    break
        return found

    def settle(self, key: str, change: Change) -> None:
        """The tier took this change; a newer one of the same key stays pending."""
        with self._lock:
            self._holds(key, change.entry)
            if self.pending.get(key) is change:
                self._drop(key)

    def give_back(self, key: str, change: Change) -> None:
        """The tier cannot hold this entry: delete what it was to replace."""
        with self._lock:
            if self.pending.get(key) is change:
                self._replace(key, Change(None))

    def abandon(self) -> int:
        """Give up the entries that wait (the process ends), but not what they were to replace; return how many."""
        with self._lock:
            lost = self._queued
            self.dropped += lost
            for key in [key for key, change in self.pending.items() if change.entry is not None]:
                self._replace(key, Change(None))
        return lost

    def _replace(self, key: str, change: Change) -> None:
        self._drop(key)  # it goes to the end
        self.pending[key] = change
        if change.entry is None:
            self._deletes += 1
        else:
            self._queued += 1
            self._bytes += change.size

    def _drop(self, key: str) -> None:
        change = self.pending.pop(key, None)
        if change is None:
            return
        if change.entry is None:
            self._deletes -= 1
        else:
            self._queued -= 1
            self._bytes -= change.size
            self._room.notify_all()

    def _holds(self, key: str, entry: Entry | None) -> None:
        late = self._late.get(key)
        if late is not None:
            late.current = None if entry is None else entry.metadata.loaded_at

    def _overflow(self) -> None:
        """Forget the names of the missed keys of one namespace; first nothing old in it may be believed any more."""
        with self._lock:
            oldest = next((key for key, change in self.pending.items() if change.entry is None), None)
            if oldest is None:
                return
            start = oldest.partition(":")[0] + ":"
            known = {key: one for key, one in self.pending.items() if one.entry is None and key.startswith(start)}
        for tell in self.on_overflow:
            tell(start[:-1])
        with self._lock:
            for key, change in known.items():
                if self.pending.get(key) is change:  # else it was changed after the mark, which says nothing of that
                    self._drop(key)

    def _forget_late(self, now: float) -> None:
        """Make room among the late writes: forget the oldest, by refusing all as old as it unless it is over."""
        _, late = self._late.popitem(last=False)
        if late.until > now:
            self._forgotten = _Late(max(self._forgotten.as_of, late.as_of), max(self._forgotten.until, late.until))


def may_land(error: BaseException) -> bool:
    """Whether a write that ended so may still take effect later."""
    return not isinstance(error, (AccessDenied, CircuitOpen, ConfigurationError, EntryTooLarge))
