"""The shared fence in the flows: what a guard is asked before, between and after the changes of the other tiers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from .. import envelope
from ..entry import Entry
from ..errors import EntryTooLarge, PartialFailure
from ..fence import Load
from ..journal import may_land
from ..tier import FAILURES, Tier
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


async def claim(chain: TierChain, load: Load, entry: Entry) -> str | Literal[False] | None:
    """Store what a load made in the guard, if nothing was changed since.

    Returns:
        Its token: it is there. False: another process changed the key, so it may be stored nowhere. None: the guard
        does not know, and is to be written as all tiers are.
    """
    guard = chain.guard
    if guard is None or load.seen is None:
        return None
    kept = prepared(guard, entry, chain.clock())
    if kept is None:
        return None
    try:
        stored = await guard.put_seen(load.key, kept[0], load.seen)
    except FAILURES as error:
        if may_land(error):
            guard.journal.given_up({load.key: entry})
        guard.missed([load.key])
        return None
    if not stored:
        return False
    guard.journal.took(load.key, kept[0])
    guard.counters.puts += 1
    return kept[1]


async def claim_many(
    chain: TierChain, loads: Mapping[str, Load], entries: Mapping[str, Entry]
) -> tuple[dict[str, str], set[str]]:
    """`claim` for several: the tokens of those that the guard holds now, and the keys that others have changed."""
    guard = chain.guard
    if guard is None:
        return {}, set()
    now = chain.clock()
    kept: dict[str, tuple[Entry, str]] = {}
    seen: dict[str, str] = {}
    for key, entry in entries.items():
        token = loads[key].seen
        if token is not None and (one := prepared(guard, entry, now)) is not None:
            kept[key], seen[key] = one, token
    if not kept:
        return {}, set()
    asked = {key: entry for key, (entry, _) in kept.items()}
    try:
        stored = await guard.put_many_seen(asked, seen)
    except PartialFailure as partial:
        stored = set(partial.results or ())
        unknown = set(partial.failed)
        guard.journal.given_up({key: asked[key] for key, error in partial.failed.items() if may_land(error)})
        guard.missed(list(unknown))
    except FAILURES as error:
        if may_land(error):
            guard.journal.given_up(asked)
        guard.missed(list(asked))
        return {}, set()
    else:
        unknown = set()
    for key in stored:
        guard.journal.took(key, asked[key])
    guard.counters.add(puts=len(stored))
    return {key: kept[key][1] for key in stored}, set(asked) - stored - unknown


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
