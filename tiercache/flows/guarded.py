"""The shared fence in the flows: what a guard is asked before, between and after the changes of the other tiers."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from .. import envelope
from ..entry import Entry
from ..errors import EntryTooLarge, PartialFailure
from ..journal.journal import may_land
from ..tier import FAILURES, Tier
from ..turns import Load
from . import change

if TYPE_CHECKING:
    from ..chain import TierChain


class Burial(msgspec.Struct, frozen=True):
    """Tombstones under these keys, to be closed; which keys had entries; or why there are none."""

    keys: Sequence[str]
    mark: bytes
    had: set[str] = set()
    error: Exception | None = None


async def bury(chain: TierChain, keys: Sequence[str]) -> Burial | None:
    """Leave open tombstones in the guard, before the other tiers delete; None: there is no guard.

    The guard that fails is told later (its journal knows), and the others go on without it.
    """
    guard = chain.guard
    if guard is None:
        return None
    mark = os.urandom(16)
    try:
        had = await guard.bury(keys, mark)
    except BaseException as error:
        guard.missed(keys)
        if not isinstance(error, FAILURES):
            raise
        return Burial(keys, mark, error=error)
    for key in keys:
        guard.journal.took(key, None)
    guard.counters.deletes += len(had)
    return Burial(keys, mark, had)


async def close(chain: TierChain, burial: Burial | None) -> None:
    """Close the tombstones: loads that begin now may store again."""
    if chain.guard is None or burial is None or burial.error is not None:
        return
    try:
        await chain.guard.close_tombs(burial.keys, burial.mark)
    except FAILURES:
        return  # counted; they stand open for a minute, in which what is loaded of these keys is not stored


def prepared(guard: Tier, entry: Entry, now: float) -> tuple[Entry, str] | None:
    """Return the entry as the guard will hold it, and its token; None: it takes none as large."""
    kept = guard.takes(entry, now)
    if kept is None:
        return None
    try:
        wire = envelope.envelope_of(guard.backend).encode(kept)
    except EntryTooLarge:
        return None
    return Entry(kept.payload, kept.metadata, wire, kept.storage_class), envelope.etag(wire)


def prepared_many(
    chain: TierChain, tiers: Sequence[Tier], entries: Mapping[str, Entry]
) -> dict[str, tuple[Entry, str]]:
    """Return `prepared` of all entries that the guard takes; empty if it is not among these tiers."""
    guard = chain.guard
    if guard is None or guard not in tiers:
        return {}
    now = chain.clock()
    held = {key: prepared(guard, entry, now) for key, entry in entries.items()}
    return {key: one for key, one in held.items() if one is not None}


async def put(chain: TierChain, entries: Mapping[str, Entry]) -> dict[str, str]:
    """Store entries in the guard, whatever it holds; those that it does not take displace what they replace.

    Returns:
        The tokens of those with which it went well.
    """
    guard = chain.guard
    if guard is None:
        return {}
    held = prepared_many(chain, [guard], entries)
    tokens = await _displace(guard, {key: entry for key, entry in entries.items() if key not in held})
    if len(held) == 1:
        (key,) = held
        await change.put(guard, key, held[key][0])
    elif held:
        try:
            failed = await change.put_many(guard, {key: entry for key, (entry, _) in held.items()}, {})
        except PartialFailure as partial:
            if chain.strict:
                raise next(iter(partial.failed.values())) from None
            failed = [*partial.failed, *partial.results]
        held = {key: one for key, one in held.items() if key not in failed}
    return tokens | {key: token for key, (_, token) in held.items()}


async def claim(chain: TierChain, load: Load, entry: Entry) -> str | Literal[False] | None:
    """Store what a load made in the guard, if nothing was changed since.

    Returns:
        False: another process changed the key, so it may be stored nowhere. Else the guard is done with: its token, or
        an empty one if the guard failed, and its journal knows. None: there is no guard.
    """
    claimed, changed = await claim_many(chain, {load.key: load}, {load.key: entry})
    return False if changed else claimed.get(load.key)


async def claim_many(
    chain: TierChain, loads: Mapping[str, Load], entries: Mapping[str, Entry]
) -> tuple[dict[str, str], set[str]]:
    """`claim` for several: the tokens of those with which the guard is done, and the keys that others have changed."""
    guard = chain.guard
    if guard is None:
        return {}, set()
    unseen = {key: loads[key] for key in entries if loads[key].seen is None}
    failed, changed = await _look_again(guard, unseen) if unseen else (set[str](), set[str]())
    done = dict.fromkeys(failed, "")
    held = prepared_many(chain, [guard], entries)
    asked = [key for key in entries if key not in changed and key not in failed]
    taken = {key: held[key] for key in asked if key in held}
    if taken:
        stored, unknown = await _put_seen(guard, taken, loads)
        done |= dict.fromkeys(unknown, "") | {key: taken[key][1] for key in stored}
        changed |= taken.keys() - stored - unknown
    others = {key: entries[key] for key in asked if key not in held}
    if others:
        try:
            displaced = await _displace(guard, others, {key: loads[key].seen or "" for key in others})
        except FAILURES:
            done |= dict.fromkeys(others, "")  # counted
        else:
            done |= displaced
            changed |= set(others) - set(displaced)
    return done, changed


async def _displace(guard: Tier, entries: Mapping[str, Entry], seen: Mapping[str, str] | None = None) -> dict[str, str]:
    """Have the guard lose what entries replace that it does not take, and bar older ones; return the tokens."""
    if not entries:
        return {}
    state = os.urandom(16)
    try:
        before = {key: math.nextafter(entry.metadata.loaded_at, -math.inf) for key, entry in entries.items()}
        displaced = await guard.displace(before, state, seen)
    except BaseException:
        guard.missed(list(entries))
        raise
    for key in displaced:
        guard.journal.took(key, None)
    return dict.fromkeys(displaced, state.hex())


async def _look_again(guard: Tier, loads: Mapping[str, Load]) -> tuple[set[str], set[str]]:
    """Ask about loads that did not see what the guard held.

    Returns:
        The keys of which it does not tell, and those that were changed since the load began.
    """
    try:
        found = await guard.get_many_seen(list(loads))
    except PartialFailure as partial:
        found = partial.results or {}
    except FAILURES:
        found = {}
    changed: set[str] = set()
    for key, seen in found.items():
        load = loads[key]
        load.saw(seen.token, seen.deleted_at)
        if max(load.barred, -math.inf if seen.entry is None else seen.entry.metadata.loaded_at) > load.began:
            changed.add(key)
    silent = set(loads) - set(found)
    if silent:
        guard.missed(list(silent))
    return silent, changed


async def _put_seen(
    guard: Tier, held: Mapping[str, tuple[Entry, str]], loads: Mapping[str, Load]
) -> tuple[set[str], set[str]]:
    """Store entries where nothing changed; return the keys that were stored, and those of which that is not known."""
    entries = {key: entry for key, (entry, _) in held.items()}
    seen = {key: loads[key].seen or "" for key in held}
    unknown: dict[str, Exception] = {}
    stored: set[str] = set()
    try:
        if len(entries) == 1:
            (key,) = entries
            stored = {key} if await guard.put_seen(key, entries[key], seen[key]) else stored
        else:
            stored = await guard.put_many_seen(entries, seen)
    except PartialFailure as partial:
        stored, unknown = set(partial.results or ()), dict(partial.failed)
    except FAILURES as error:
        unknown = dict.fromkeys(entries, error)
    if unknown:
        guard.journal.given_up({key: entries[key] for key, error in unknown.items() if may_land(error)})
        guard.missed(list(unknown))
    for key in stored:
        guard.journal.took(key, entries[key])
    guard.counters.add(puts=len(stored))
    return stored, set(unknown)


async def newest(chain: TierChain, load: Load, entry: Entry) -> Entry | None:
    """Return the entry that is to be changed: this one, or what the guard holds if that is newer; None: neither."""
    guard = chain.guard
    if guard is None or load.seen is not None or load.key in guard.journal.pending:
        return entry
    try:
        seen = await guard.get_seen(load.key)
    except FAILURES:
        return entry  # counted; it is as without a guard
    load.saw(seen.token, seen.deleted_at)
    if entry.metadata.loaded_at <= load.barred:
        return None
    held, now = seen.entry, chain.clock()
    if (
        held is None
        or held.metadata.loaded_at <= entry.metadata.loaded_at
        or guard.journal.refuses(load.key, held.metadata)
        or not chain.epochs.of(load.key).accepts(held.metadata, guard, now)
    ):
        return entry
    return None if held.metadata.is_stale(now) else held


async def verify(chain: TierChain, tokens: Mapping[str, str]) -> None:
    """After a write of all tiers: where the guard holds another's by now, the others may hold either; they lose it.

    Args:
        chain: the tiers.
        tokens: what the guard held after the write, by key.
    """
    guard = chain.guard
    if guard is None or not tokens:
        return
    try:
        lost = list(await guard.overtaken(tokens))
    except FAILURES:
        return  # counted; it is as without a guard
    if lost:
        for tier in chain.tiers:
            if tier is not guard and tier.write != "never":
                await forget(tier, lost)


def raise_if_strict(chain: TierChain, burial: Burial | None) -> None:
    """In a strict chain the failure of the guard reaches the caller."""
    if chain.strict and burial is not None and burial.error is not None:
        raise burial.error


async def forget(tier: Tier, keys: Sequence[str]) -> None:
    """Have a tier lose these keys; a failure is remembered in its journal."""
    try:
        await change.delete_many(tier, keys)
    except FAILURES:
        return
