"""Changing one tier, and remembering in its journal what it did not take."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from ..call import Call
from ..entry import Entry
from ..errors import BackendError, EntryTooLarge, PartialFailure
from ..flow import Operation
from ..journal.journal import Journal, may_land
from ..tier import FAILURES, Tier

_LOOK_AGAIN = 0.01


async def put(tier: Tier, key: str, entry: Entry, token: str = "") -> None:
    """Store an entry; if that fails, the tier may not answer for the key until it was deleted there.

    Args:
        tier: where to.
        key: the full stored key.
        entry: what.
        token: what a guard holds for it, if there is one: a write behind looks whether it still does.

    Raises:
        EntryTooLarge: it was not stored, and what it replaces is still there.
        BackendError, ConfigurationError: the tier failed.
    """
    if tier.write == "behind":
        await _queue(tier, key, entry, token)
        return
    try:
        await tier.put(key, entry, **tier.stored({key: entry}))
    except EntryTooLarge:
        raise
    except BaseException as error:
        if may_land(error):
            tier.journal.given_up({key: entry})
        tier.missed([key])
        raise
    tier.journal.took(key, entry)
    tier.counters.puts += 1


async def delete(tier: Tier, key: str) -> bool:
    """Remove an entry and return whether there was one, as far as that is known; a failure is remembered."""
    if tier.write == "behind":
        change = tier.journal.pending.get(key)
        tier.behind(key, None)
        return change is not None and change.entry is not None
    try:
        fenced = tier.is_fence
        removed = bool(await tier.remove_many([key])) if fenced else await tier.delete(key, **tier.removed([key]))
    except BaseException:
        tier.missed([key])
        raise
    tier.journal.took(key, None)
    tier.counters.deletes += removed
    return removed


async def put_many(tier: Tier, entries: Mapping[str, Entry], tokens: Mapping[str, str]) -> list[str]:
    """Store entries; return the keys of those that are too large for the store.

    Raises:
        PartialFailure: other entries were not stored, either.
        BackendError, ConfigurationError: the tier failed.
    """
    if tier.write == "behind":
        for key, entry in entries.items():
            await _queue(tier, key, entry, tokens.get(key, ""))
        return []
    failed: dict[str, BackendError] = {}
    try:
        await tier.put_many(entries, **tier.stored(entries))
    except PartialFailure as partial:
        failed = partial.failed
    except BaseException as error:
        if may_land(error):
            tier.journal.given_up(entries)
        tier.missed(list(entries))
        raise
    too_large = [key for key, error in failed.items() if isinstance(error, EntryTooLarge)]
    missed = {key: error for key, error in failed.items() if key not in too_large}
    for key, entry in entries.items():
        if key not in failed:
            tier.journal.took(key, entry)
    tier.counters.add(puts=len(entries) - len(failed), skipped=len(too_large))
    if missed:
        tier.journal.given_up({key: entries[key] for key, error in missed.items() if may_land(error)})
        tier.missed(list(missed))
        raise PartialFailure(missed, too_large)
    return too_large


async def delete_many(tier: Tier, keys: Sequence[str]) -> dict[str, BackendError]:
    """Remove entries; return the keys that may still be there, and why.

    Raises:
        BackendError, ConfigurationError: the tier failed.
    """
    if tier.write == "behind":
        for key in keys:
            tier.behind(key, None)
        return {}
    failed: dict[str, BackendError] = {}
    try:
        answer = await tier.remove_many(keys, **tier.removed(keys))
        absent = answer if isinstance(answer, int) else len(keys)
    except PartialFailure as partial:
        failed = partial.failed
        absent = len(keys) - len(failed)
    except BaseException:
        tier.missed(keys)
        raise
    for key in keys:
        if key not in failed:
            tier.journal.took(key, None)
    if failed:
        tier.missed(list(failed))
    tier.counters.deletes += absent
    return failed


async def undo(tier: Tier, key: str) -> None:
    """Remove what an overtaken write left."""
    try:
        await delete(tier, key)
    except FAILURES:
        return  # counted and logged; the tier's journal knows


async def promote(tier: Tier, key: str, entry: Entry, seen: str | None = None) -> None:
    """Store a copy of an entry that a slower tier holds; if the tier fails, that is counted and logged.

    Args:
        tier: where to.
        key: the full stored key.
        entry: what.
        seen: what a guard held when the load began: it is stored only if that is still so.
    """
    try:
        stored = await (tier.put(key, entry) if seen is None else tier.put_seen(key, entry, seen))
    except FAILURES as error:
        if may_land(error):
            tier.journal.given_up({key: entry})
        return
    if stored:
        tier.journal.promoted(key, entry)
        tier.counters.add(promotions=1, puts=1)


async def promote_many(tier: Tier, entries: Mapping[str, Entry], seen: Mapping[str, str], *, bounded: bool) -> None:
    """`promote` for several; `seen`: as far as a guard was asked; `bounded`: within the tier's deadline for a batch."""
    guarded = {key: entry for key, entry in entries.items() if key in seen}
    others = {key: entry for key, entry in entries.items() if key not in seen}
    if guarded:
        await _promote_many(tier, guarded, tier.put_many_seen(guarded, seen, bounded=bounded))
    if others:
        await _promote_many(tier, others, tier.put_many(others, bounded=bounded))


async def _promote_many(tier: Tier, entries: Mapping[str, Entry], call: Call[Any]) -> None:
    failed: dict[str, BackendError] = {}
    try:
        stored = await call
    except PartialFailure as partial:
        failed, stored = partial.failed, partial.results
    except FAILURES as error:
        if may_land(error):
            tier.journal.given_up(entries)
        return
    tier.journal.given_up({key: entries[key] for key, error in failed.items() if may_land(error)})
    promoted = stored if isinstance(stored, set) else entries.keys() - failed.keys()
    for key in promoted:
        tier.journal.promoted(key, entries[key])
    tier.counters.add(promotions=len(promoted), puts=len(promoted))


async def _queue(tier: Tier, key: str, entry: Entry, token: str) -> None:
    size = len(entry.payload)
    if tier.when_full == "wait" and not tier.journal.has_room(size):
        await Room(tier.journal, size, tier.timeout or 30.0)
    tier.behind(key, entry, token)


class Room(Operation[bool]):
    """Wait until a journal has room for an entry of `size` bytes, `timeout` seconds at most."""

    __slots__ = ("journal", "size", "timeout")

    def __init__(self, journal: Journal, size: int, timeout: float) -> None:
        self.journal = journal
        self.size = size
        self.timeout = timeout

    def perform(self) -> bool:
        """Do it, blocking."""
        return self.journal.wait_for_room(self.size, self.timeout)

    async def aperform(self) -> bool:
        """Do it without blocking the running loop."""
        ends = asyncio.get_running_loop().time() + self.timeout
        while not self.journal.has_room(self.size):
            if asyncio.get_running_loop().time() >= ends:
                return False
            await asyncio.sleep(_LOOK_AGAIN)
        return True
