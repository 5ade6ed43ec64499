"""`Placing`: entries as a destination keeps them, and what the tiers above it may go on with."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping

from ..coherence.guard import Guard
from ..entry import Entry
from ..errors import PartialFailure
from ..flow import drive
from ..flows.announce import announce
from ..objectstore import ObjectStoreBackend
from ..objectstore.parallel import what_is_intact
from ..packed import PackedBackend
from ..packed.destinations import in_class
from ..packed.origins import read_intact
from ..tier import Tier
from .newest import Fate
from .opaque import is_opaque
from .places import Place


class Placing:
    """Makes entries ready for a place.

    Args:
        place: the destination.
        storage_class: that all of them get; None: the one that they are in, where the destination has it.
    """

    def __init__(self, place: Place, storage_class: str | None) -> None:
        self._tier = place.tier or Tier(place.backend)
        self._store = place.backend.inner if isinstance(place.backend, PackedBackend) else place.backend
        self._clock = place.chain.clock if place.chain is not None else time.time
        self._class = None if storage_class is None else self._tier.check_class(storage_class)

    def __call__(self, entry: Entry) -> Entry | None:
        """Return the entry as the destination keeps it; None: it is too large for it."""
        if self._class is not None:
            entry = entry.in_class(self._class)
        elif isinstance(self._store, ObjectStoreBackend):
            entry = in_class(entry, self._store)
        else:
            entry = entry.in_class(None)
        # A sealed one cannot get another end of its life: nobody opens it.
        return entry if is_opaque(entry) else self._tier.takes(entry, self._clock())


class Above:
    """The tiers above a destination: they know newer entries, and must not go on with older ones.

    Args:
        place: the destination.
    """

    def __init__(self, place: Place) -> None:
        self._chain = place.chain
        self._tiers = place.above

    def newer(self, entries: Mapping[str, Entry]) -> tuple[set[str], dict[Tier, set[str]]]:
        """Return the keys of which a tier above has something newer, and those of which each has something older.

        That something was deleted is newer than what is older than that: it would come back with the tombstone's end.
        """
        newer: set[str] = set()
        older: dict[Tier, set[str]] = {}
        for tier in self._tiers:
            held, deleted = _held(tier, list(entries))
            newer |= {key for key, moment in deleted.items() if not _is_later(entries[key], moment)}
            for key, entry in held.items():
                mine = entries[key]
                if is_opaque(mine) or is_opaque(entry) or entry.metadata.loaded_at == mine.metadata.loaded_at:
                    continue
                if entry.metadata.loaded_at > mine.metadata.loaded_at:
                    newer.add(key)
                else:
                    older.setdefault(tier, set()).add(key)
        return newer, older

    def replaced(self, entries: Mapping[str, Entry], older: Mapping[Tier, set[str]], fate: Fate) -> None:
        """Remove what is older from the tiers above, and tell other processes what was replaced."""
        changed = set(fate.replaced & entries.keys())
        for tier, keys in older.items():
            gone = keys & (fate.copied | fate.present | fate.newer)
            if not gone:
                continue
            changed |= gone
            if isinstance(tier.backend, Guard):
                tier.backend.displace(dict.fromkeys(gone, -math.inf), os.urandom(16))
            else:
                tier.backend.delete_many(sorted(gone))
        if changed and self._chain is not None:
            moments = {key: entries[key].metadata.loaded_at for key in changed}
            drive(announce(self._chain, moments, []))


def _held(tier: Tier, keys: list[str]) -> tuple[dict[str, Entry], dict[str, float]]:
    """Return what a tier holds, and of which keys it knows since when they are deleted."""
    if not isinstance(tier.backend, Guard):
        return read_intact(tier.backend, keys)[0], {}
    try:
        seen = tier.backend.get_many_seen(keys)
    except PartialFailure as failure:
        seen = what_is_intact(failure)
    entries = {key: one.entry for key, one in seen.items() if one.entry is not None}
    return entries, {key: one.deleted_at for key, one in seen.items() if one.deleted_at is not None}


def _is_later(entry: Entry, moment: float) -> bool:
    return not is_opaque(entry) and entry.metadata.loaded_at > moment
