"""Reading and changing many keys: one batch a tier, the rest as for one key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..coherence.guard import Seen
from ..coherence.listening import Join
from ..entry import Entry, Metadata
from ..epochs.agreement import believe
from ..errors import CorruptEntry, PartialFailure, UnknownFormat
from ..fence import Load
from ..flow import Background, Gather, running_loop
from ..memory import MemoryBackend
from ..noted import Reason, passed_over, why_failed
from ..tier import FAILURES, Tier
from . import change, guarded, shadow
from .announce import announce
from .read import Found, is_barred, is_believed, pass_over, promote_local, raise_if_strict, refused, why_not
from .write import begin, end, gather, keep_alone, raise_failures, settle, writable

if TYPE_CHECKING:
    from ..chain import TierChain


async def read_many(
    chain: TierChain,
    keys: Iterable[str],
    *,
    allow_stale: bool = False,
    warming: bool = False,
    loads: Mapping[str, Load] | None = None,
) -> dict[str, Found]:
    """Return the fresh entries of the keys, each from the first tier that has one, and copy them up.

    A tier that fails, or whose deadline for the batch passes, contributes what it answered until then.

    Args:
        chain: the tiers.
        keys: full stored keys of one namespace; duplicates count once.
        allow_stale: return stale entries of those keys for which no tier has a fresh one.
        warming: no deadlines, promote whatever the tiers' rules say, and wait for it.
        loads: the intervals that this read is part of; left out, it opens its own.
    """
    if not chain.coherence.joined:
        await Join(chain.coherence)
    missing = list(dict.fromkeys(keys))
    if loads is not None:
        return _recorded(chain, missing, await _read_many(chain, missing, loads, allow_stale, warming), warming)
    if chain.is_single:  # from a single tier nothing is copied up: nothing to fence
        loads = {key: Load(key, valid=False) for key in missing}
        return _recorded(chain, missing, await _read_many(chain, missing, loads, allow_stale, warming), warming)
    loads = chain.fence.begin_many(missing)
    try:
        return _recorded(chain, missing, await _read_many(chain, missing, loads, allow_stale, warming), warming)
    finally:
        chain.fence.release_many(loads.values())


def _recorded(chain: TierChain, keys: Iterable[str], found: dict[str, Found], warming: bool) -> dict[str, Found]:
    if chain.recorder is not None and not warming:
        for key in keys:
            one = found.get(key)
            chain.recorder.read(key, *((None, "") if one is None else (one.entry, one.tier.label)))
    return found


async def _read_many(
    chain: TierChain, missing: list[str], loads: Mapping[str, Load], allow_stale: bool, warming: bool
) -> dict[str, Found]:
    found: dict[str, Found] = {}
    stale: dict[str, Found] = {}
    closed: dict[Tier, set[str]] = {}
    silent: Mapping[Tier, Exception] = {}
    for tier in chain.tiers:
        if not missing:
            break
        space = chain.epochs.of(missing[0])
        failed = [upper for upper, shut in closed.items() if shut]
        switch = tier.switch
        asked = missing if switch is None else [key for key in missing if switch.reads(key)]
        try:
            if len(asked) < len(missing):
                await pass_over(chain, tier, {key: loads[key] for key in set(missing).difference(asked)})
            if not asked:
                continue
            if space.unread and not tier.local:
                silent = await believe(chain, space, tier, silent)
        except FAILURES as error:
            raise_if_strict(chain, error)
            closed[tier] = set(missing)
            tier.counters.add(misses=len(asked))
            passed_over(tier.label, why_failed(error), len(asked))
            continue
        entries, closed[tier] = await _ask(chain, tier, asked, loads, warming, failed)
        now = chain.clock()
        for key, entry in entries.items():
            if entry.metadata.is_usable(now) and space.accepts(entry.metadata, tier, now):
                where = stale if entry.metadata.is_stale(now) else found
                where.setdefault(key, Found(entry, tier))
        if any(key not in found for key in entries):
            _note_passed_over(tier, [entry.metadata for key, entry in entries.items() if key not in found], now)
        hits = sum(key in found for key in asked)
        missing = [key for key in missing if key not in found]
        tier.counters.add(hits=hits, misses=len(asked) - hits)
    for upper, shut in closed.items():
        above = chain.tiers.index(upper)
        wanted = {
            key: one.entry
            for key, one in found.items()
            if chain.tiers.index(one.tier) > above and key not in shut and upper.admits(key, warming=warming)
        }
        await _promote_many(chain, upper, wanted, loads, warming)
    if chain.switches.shadowing and found:
        await shadow.compare(chain, {key: one.entry for key, one in found.items()}, loads)
    return {**stale, **found} if allow_stale else found


def _note_passed_over(tier: Tier, untaken: Iterable[Metadata], now: float) -> None:
    for reason, keys in Counter[Reason](why_not(metadata, now) for metadata in untaken).items():
        passed_over(tier.label, reason, keys)


async def _ask(
    chain: TierChain,
    tier: Tier,
    keys: Sequence[str],
    loads: Mapping[str, Load],
    warming: bool,
    failed: Sequence[Tier],
) -> tuple[dict[str, Entry], set[str]]:
    """Return the tier's entries and the keys for which it failed: those take no promotion in this call."""
    pending = tier.journal.pending
    waiting: dict[str, Entry | None] = {}
    if pending:
        changes = {key: one for key in keys if (one := pending.get(key)) is not None}
        for key, one in changes.items():
            waiting[key] = None if one.entry is None or is_barred(loads[key], one.entry.metadata) else one.entry
        if (gone := sum(entry is None for entry in waiting.values())) > 0:
            passed_over(tier.label, "pending", gone)
    asked = [key for key in keys if key not in waiting]
    found, shut = await _ask_store(chain, tier, asked, loads, warming) if asked else ({}, set[str]())
    if found and tier in chain.missed.doubtful and not await is_believed(chain, tier, keys[0], failed):
        passed_over(tier.label, "distrusted", len(found))
        found, shut = {}, set(asked)
    held = len(found)
    found = {key: entry for key, entry in found.items() if not refused(tier, loads[key], entry.metadata)}
    if len(found) < held:
        passed_over(tier.label, "deleted", held - len(found))
    found |= {key: entry for key, entry in waiting.items() if entry is not None}
    return found, shut | {key for key, entry in waiting.items() if entry is None}


async def _ask_store(
    chain: TierChain, tier: Tier, keys: Sequence[str], loads: Mapping[str, Load], warming: bool
) -> tuple[dict[str, Entry], set[str]]:
    try:
        if tier is chain.guard:
            return _saw(await tier.get_many_seen(keys, bounded=not warming), loads), set()
        return await tier.get_many(keys, bounded=not warming), set()
    except PartialFailure as partial:
        for error in partial.failed.values():
            raise_if_strict(chain, error)
        healed_by_a_copy = {
            key
            for key, error in partial.failed.items()
            if isinstance(error, CorruptEntry) and not isinstance(error, UnknownFormat)
        }
        for reason, count in Counter[Reason](why_failed(error) for error in partial.failed.values()).items():
            passed_over(tier.label, reason, count)
        results = partial.results or {}
        return _saw(results, loads) if tier is chain.guard else results, set(partial.failed) - healed_by_a_copy
    except FAILURES as error:
        raise_if_strict(chain, error)
        passed_over(tier.label, why_failed(error), len(keys))
        return {}, set(keys)


def _saw(found: Mapping[str, Seen], loads: Mapping[str, Load]) -> dict[str, Entry]:
    """Remember what the guard held for each key; return the entries."""
    for key, seen in found.items():
        loads[key].saw(seen.token, seen.deleted_at)
    return {key: seen.entry for key, seen in found.items() if seen.entry is not None}


async def _promote_many(
    chain: TierChain, tier: Tier, entries: Mapping[str, Entry], loads: Mapping[str, Load], warming: bool
) -> None:
    now = chain.clock()
    kept = {key: taken for key, entry in entries.items() if (taken := tier.takes(entry, now)) is not None}
    if isinstance(tier.backend, MemoryBackend):
        for key, entry in kept.items():
            promote_local(chain, tier, tier.backend, entry, loads[key])
    elif kept:
        held = [loads[key] for key in kept]
        for load in held:
            chain.fence.hold(load)
        flow = _promote_remote(chain, tier, kept, held, bounded=not warming)
        if warming:
            await flow
        elif not await Background(flow, chain.background):
            chain.fence.release_many(held)
            tier.counters.add(skipped=len(kept))


async def _promote_remote(
    chain: TierChain, tier: Tier, entries: dict[str, Entry], loads: Sequence[Load], *, bounded: bool
) -> None:
    writing = {load: write for load in loads if (write := chain.fence.start_write(load, running_loop())) is not None}
    try:
        valid = {load.key: entries[load.key] for load in writing}
        if valid:
            seen = {load.key: load.seen for load in writing if load.seen is not None and tier is chain.guard}
            await change.promote_many(tier, valid, seen, bounded=bounded)
        for load, write in writing.items():
            if write.overtaken:
                await change.undo(tier, load.key)
    finally:
        for load, write in writing.items():
            chain.fence.end_write(load, write)
        chain.fence.release_many(loads)


async def write_many(chain: TierChain, entries: Mapping[str, Entry], *, fast_only: bool = False) -> None:
    """Store all entries in all tiers, a batch a tier; `fast_only`: not in the last of several."""
    tiers = [tier for tier in writable(chain) if not (fast_only and len(chain.tiers) > 1 and tier is chain.tiers[-1])]
    mutations = begin(chain, list(entries))
    try:
        await settle(chain, mutations)
        await put_all(chain, tiers, entries)
    finally:
        await end(chain, mutations)


async def put_all(
    chain: TierChain,
    tiers: Sequence[Tier],
    entries: Mapping[str, Entry],
    after_memory: Callable[[], None] | None = None,
    *,
    claimed: Mapping[str, str] | None = None,
) -> None:
    """Store all entries in memory, call `after_memory`, then store them in the other tiers, a batch a tier.

    Args:
        chain: the tiers.
        tiers: those that are written.
        entries: what is stored.
        after_memory: called when memory can answer.
        claimed: the tokens under which the guard holds some of them already.
    """
    if chain.recorder is not None:
        for key, entry in entries.items():
            chain.recorder.stored(key, entry)
    for tier in tiers:
        if tier.local:
            await _put_many(chain, tier, entries, {})
    if after_memory is not None:
        after_memory()
    tokens = dict(claimed or {})
    results: list[Any] = []
    unclaimed = {key: entry for key, entry in entries.items() if key not in tokens}
    changes = {key: entry.metadata.loaded_at for key, entry in entries.items()}
    with chain.teller.changing(changes):
        if unclaimed and chain.guard in tiers:  # first, as in `put_everywhere`
            results = await Gather([guarded.put(chain, unclaimed)], chain.side_by_side)
            tokens |= results[0] if isinstance(results[0], dict) else {}
        tokens = {key: token for key, token in tokens.items() if token}
        others = [tier for tier in tiers if not tier.local and tier is not chain.guard]
        results += await Gather([_put_many(chain, tier, entries, tokens) for tier in others], chain.side_by_side)
        raise_failures(chain, results)
        await guarded.verify(chain, tokens)
        if not claimed:
            await keep_alone(chain, entries, results)
    await announce(chain, changes, results)


async def _put_many(chain: TierChain, tier: Tier, entries: Mapping[str, Entry], tokens: Mapping[str, str]) -> None:
    now = chain.clock()
    kept = {key: taken for key, entry in entries.items() if (taken := tier.takes(entry, now)) is not None}
    refused = [key for key in entries if key not in kept]
    try:
        if kept:
            refused += await change.put_many(tier, kept, tokens)
    except PartialFailure as partial:
        refused += partial.results
        for error in partial.failed.values():
            raise_if_strict(chain, error)
    if refused:  # they stay out of this tier, and so must what they replace
        for error in (await change.delete_many(tier, refused)).values():
            raise_if_strict(chain, error)


async def delete_many(chain: TierChain, keys: Iterable[str]) -> int:
    """Remove the entries from all tiers and return how many of these keys are now in none of them."""
    unique = list(dict.fromkeys(keys))
    mutations = begin(chain, unique)
    try:
        await settle(chain, mutations)
        with chain.teller.changing(dict.fromkeys(unique)):
            burial = await guarded.bury(chain, unique)
            tiers = [tier for tier in writable(chain) if burial is None or tier is not chain.guard]
            try:
                results = await gather(chain, [_delete_many(chain, tier, unique) for tier in tiers])
            finally:
                await guarded.close(chain, burial)
            guarded.raise_if_strict(chain, burial)
        if chain.recorder is not None:
            for key in unique:
                chain.recorder.deleted(key)
        await announce(chain, dict.fromkeys(unique), results)
        remaining = [result if isinstance(result, set) else set(unique) for result in results]
        if burial is not None:
            remaining.append(set(unique) if burial.error is not None else set())
        return len(set(unique).difference(*remaining)) if remaining else 0
    finally:
        await end(chain, mutations)


async def _delete_many(chain: TierChain, tier: Tier, keys: Sequence[str]) -> set[str]:
    """Return the keys that may still be in the tier."""
    failed = await change.delete_many(tier, keys)
    for error in failed.values():
        raise_if_strict(chain, error)
    return set(failed)
