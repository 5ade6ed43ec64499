"""Reading one key: down the tiers until one has it, then up again with a copy."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import msgspec

from ..coherence.listening import Join
from ..entry import Entry, Metadata
from ..epochs.agreement import believe
from ..epochs.agreement import read as read_marks
from ..errors import BackendError, CorruptEntry, PartialFailure, UnknownFormat
from ..flow import Background, Gather
from ..journal.hearsay import ask
from ..memory import MemoryBackend
from ..noted import Reason, answered, passed_over, why_failed
from ..tier import FAILURES, Tier
from ..turns import Load
from . import change, shadow

if TYPE_CHECKING:
    from ..chain import TierChain


class Found(msgspec.Struct, frozen=True):
    """An entry and the tier that held it."""

    entry: Entry
    tier: Tier


async def read(
    chain: TierChain,
    key: str,
    *,
    allow_stale: bool = False,
    load: Load | None = None,
    newer_than: float | None = None,
) -> Found | None:
    """Return the fresh entry of the first tier that has one, and copy it up.

    Args:
        chain: the tiers.
        key: the full stored key.
        allow_stale: return a stale entry when no tier has a fresh one.
        load: the interval that this read is part of; left out, it opens one of its own.
        newer_than: an entry that expires at this moment or earlier is as if it was not there.
    """
    if not chain.coherence.joined:
        await Join(chain.coherence)
    opens = load is None and not chain.is_single  # from a single tier nothing is copied up: nothing to fence
    own = load or (chain.fence.begin(key) if opens else Load(key, valid=False))
    try:
        found = await _read(chain, key, allow_stale, own, newer_than)
        if chain.switches.shadowing and found is not None and not found.entry.metadata.is_stale(chain.clock()):
            await shadow.compare(chain, {key: found.entry}, {key: own})
        if chain.recorder is not None and newer_than is None:
            chain.recorder.read(key, *((None, "") if found is None else (found.entry, found.tier.label)))
        return found
    finally:
        if opens:
            chain.fence.release(own)


async def head(chain: TierChain, key: str, *, allow_stale: bool = False) -> tuple[Metadata, Tier] | None:
    """Return the metadata of the first tier that has a fresh entry, and the tier; else, if allowed, of a stale one."""
    stale: tuple[Metadata, Tier] | None = None
    load = Load(key, valid=False)  # nothing is stored; it knows what the guard says
    space = chain.epochs.of(key)
    silent: Mapping[Tier, Exception] = {}
    for tier in chain.tiers:
        try:
            if not tier.reads(key):
                await pass_over(chain, tier, {key: load})
                continue
            if space.unread and not tier.local:
                silent = await believe(chain, space, tier, silent)
            metadata = await _ask_head(chain, tier, load)
        except FAILURES as error:
            raise_if_strict(chain, error)
            passed_over(tier.label, why_failed(error))
            continue
        now = chain.clock()
        if metadata is not None and metadata.is_usable(now) and space.accepts(metadata, tier, now):
            if not metadata.is_stale(now):
                answered(tier.label, "hit")
                return metadata, tier
            stale = stale or (metadata, tier)
        if metadata is not None:
            passed_over(tier.label, why_not(metadata, now))
    if allow_stale and stale is not None:
        answered(stale[1].label, "stale")
        return stale
    return None


def raise_if_strict(chain: TierChain, error: Exception) -> None:
    """In a strict chain the failure of a tier reaches the caller; bytes that are no entry stay a miss."""
    if chain.strict and not isinstance(error, CorruptEntry):
        raise error


async def _read(
    chain: TierChain, key: str, allow_stale: bool, load: Load, newer_than: float | None = None
) -> Found | None:
    stale: Found | None = None
    failed: list[Tier] = []
    lacking: list[Tier] = []  # the tiers that may take a copy of what is found below them
    space = chain.epochs.of(key)
    silent: Mapping[Tier, Exception] = {}
    for tier in chain.tiers:
        try:
            if not tier.reads(key):
                await pass_over(chain, tier, {key: load})
                continue
            if tier.journal.pending and (pending := tier.journal.pending.get(key)) is not None:
                # What it holds is old, and no copy may be put there before it is deleted; or what waits is, by now.
                if pending.entry is None or is_barred(load, pending.entry.metadata):
                    tier.counters.misses += 1
                    passed_over(tier.label, "pending")
                    continue
                entry: Entry | None = pending.entry
            elif tier.local:  # memory never waits and has no deadline: an operation would cost more than the look
                entry = tier.backend.get(key)
            else:
                if space.unread:
                    silent = await believe(chain, space, tier, silent)
                entry = await _ask(chain, tier, key, load)
                doubtful = entry is not None and tier in chain.missed.doubtful
                if doubtful and not await is_believed(chain, tier, key, failed):
                    tier.counters.misses += 1
                    passed_over(tier.label, "distrusted")
                    continue
        except FAILURES as error:
            if tier.local:
                tier.failed(error)
            raise_if_strict(chain, error)
            tier.counters.misses += 1
            passed_over(tier.label, why_failed(error))
            failed.append(tier)
            if isinstance(error, CorruptEntry) and not isinstance(error, UnknownFormat):
                lacking.append(tier)  # a good copy heals it; other failures are asked no more in this call
            continue
        now = chain.clock()
        if entry is not None and entry.metadata.is_usable(now) and space.accepts(entry.metadata, tier, now):
            if not entry.metadata.is_stale(now) and outlives(entry.metadata, newer_than):
                tier.counters.hits += 1
                for upper in lacking:
                    if upper.admits(key):
                        await _promote(chain, upper, entry, load, now)
                return Found(entry, tier)
            stale = stale or Found(entry, tier)
            passed_over(tier.label, "stale")
        elif entry is not None:
            passed_over(tier.label, why_not(entry.metadata, now))
        tier.counters.misses += 1
        lacking.append(tier)
    if allow_stale and stale is not None:
        stale.tier.counters.hits += 1
        stale.tier.counters.misses -= 1
        return stale
    return None


def why_not(metadata: Metadata, now: float) -> Reason:
    """Return why an entry that a tier gave back is not taken."""
    if not metadata.is_usable(now):
        return "expired"
    return "stale" if metadata.is_stale(now) else "invalidated"


async def pass_over(chain: TierChain, tier: Tier, loads: Mapping[str, Load]) -> None:
    """Go on without a tier that is switched off for these keys; the guard is asked all the same what was changed.

    What slower tiers hold is refused if it is older than a delete, or than an entry in the guard: that may still wait
    to be written behind in another process.
    """
    passed_over(tier.label, "switched_off", len(loads))
    keys = [key for key in loads if key not in tier.journal.pending]
    if tier is not chain.guard or not keys:
        return
    try:
        found = await tier.get_many_seen(keys)
    except PartialFailure as partial:
        found = partial.results or {}
        for error in partial.failed.values():
            raise_if_strict(chain, error)
    for key, seen in found.items():
        loads[key].saw(seen.token, seen.deleted_at)
        if seen.entry is not None:
            loads[key].barred = math.nextafter(seen.entry.metadata.loaded_at, -math.inf)


def outlives(metadata: Metadata, moment: float | None) -> bool:
    """Whether an entry expires after that moment; None: whenever it does."""
    return moment is None or metadata.expires_at is None or metadata.expires_at > moment


async def is_believed(chain: TierChain, tier: Tier, key: str, failed: Collection[Tier] = ()) -> bool:
    """Whether what a slower tier holds may be used: no other process knows of changes that it missed.

    Those that `failed` in this call are not asked again.
    """
    missed = chain.missed
    before = tier in missed.distrusted
    if tier in missed.doubted:
        chain.hearsay.begin()
        if tier in missed.away:  # and so of namespaces and tags that were invalidated meanwhile
            others = [other for other in chain.epochs.tiers if other is not tier and other not in failed]
            space = chain.epochs.of(key)
            await Gather([read_marks(chain.epochs, space, other) for other in others], chain.side_by_side)
        await ask(missed, chain.side_by_side, tier, failed)
    return not before and tier not in missed.distrusted


async def _ask(chain: TierChain, tier: Tier, key: str, load: Load) -> Entry | None:
    """Return what a tier holds, unless it is known to be older than a change."""
    if tier is chain.guard:
        seen = await tier.get_seen(key)
        load.saw(seen.token, seen.deleted_at)
        entry = seen.entry
    else:
        entry = await tier.get(key)
    if entry is not None and refused(tier, load, entry.metadata):
        passed_over(tier.label, "deleted")
        return None
    return entry


async def _ask_head(chain: TierChain, tier: Tier, load: Load) -> Metadata | None:
    """`_ask` for the metadata, what waits to be written included."""
    pending = tier.journal.pending.get(load.key) if tier.journal.pending else None
    if pending is not None:
        return None if pending.entry is None or is_barred(load, pending.entry.metadata) else pending.entry.metadata
    if tier is chain.guard:
        entry = await _ask(chain, tier, load.key, load)
        metadata = None if entry is None else entry.metadata
    else:
        metadata = await tier.head(load.key)
        metadata = None if metadata is not None and refused(tier, load, metadata) else metadata
    doubtful = metadata is not None and tier in chain.missed.doubtful
    return None if doubtful and not await is_believed(chain, tier, load.key) else metadata


def refused(tier: Tier, load: Load, metadata: Metadata) -> bool:
    """Whether an entry that a tier holds was deleted, or replaced, as far as is known here."""
    return is_barred(load, metadata) or tier.journal.refuses(load.key, metadata)


def is_barred(load: Load, metadata: Metadata) -> bool:
    """Whether an entry is older than a delete of which the guard told."""
    return load.barred != -math.inf and metadata.loaded_at <= load.barred


async def _promote(chain: TierChain, tier: Tier, entry: Entry, load: Load, now: float) -> None:
    kept = tier.takes(entry, now)
    if kept is None:
        return
    if isinstance(tier.backend, MemoryBackend):
        promote_local(chain, tier, tier.backend, kept, load)
        return
    chain.fence.hold(load)
    if not await Background(_promote_remote(chain, tier, kept, load), chain.background):
        chain.fence.release(load)
        tier.counters.skipped += 1


def promote_local(chain: TierChain, tier: Tier, memory: MemoryBackend, entry: Entry, load: Load) -> None:
    """Copy an entry into memory, unless its key was changed since the load began."""
    try:
        stored = chain.fence.store(load, lambda: memory.put(load.key, entry))
    except BackendError as error:
        tier.failed(error)
        return
    tier.counters.promotions += stored
    tier.counters.puts += stored


async def _promote_remote(chain: TierChain, tier: Tier, entry: Entry, load: Load) -> None:
    write = chain.fence.start_write(load)
    try:
        if write is not None:
            await change.promote(tier, load.key, entry, load.seen if tier is chain.guard else None)
            if write.overtaken:
                await change.undo(tier, load.key)
    finally:
        if write is not None:
            chain.fence.end_write(load, write)
        chain.fence.release(load)
