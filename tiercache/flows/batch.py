"""Reading and changing many keys: one batch a tier, the rest as for one key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..coherence import Join
from ..entry import Entry
from ..errors import CorruptEntry, EntryTooLarge, PartialFailure, UnknownFormat
from ..fence import Load
from ..flow import Background, Settled, running_loop
from ..memory import MemoryBackend
from ..notice import began
from ..tier import FAILURES, Tier
from .read import Found, promote_local, raise_if_strict
from .write import TURN_TIMEOUT, begin, end, gather, keep_alone, overtake, settle, undo, writable

if TYPE_CHECKING:
    from ..chain import TierChain


async def read_many(
    chain: TierChain, keys: Iterable[str], *, allow_stale: bool = False, warming: bool = False
) -> dict[str, Found]:
    """Return the fresh entries of the keys, each from the first tier that has one, and copy them up.

    A tier that fails, or whose deadline for the batch passes, contributes what it answered until then.

    Args:
        chain: the tiers.
        keys: full stored keys; duplicates count once.
        allow_stale: return stale entries of those keys for which no tier has a fresh one.
        warming: no deadlines, promote whatever the tiers' rules say, and wait for it.
    """
    if not chain.coherence.joined:
        await Join(chain.coherence)
    missing = list(dict.fromkeys(keys))
    loads = {key: chain.fence.begin(key) for key in missing}
    try:
        return await _read_many(chain, missing, loads, allow_stale, warming)
    finally:
        for load in loads.values():
            chain.fence.release(load)


async def _read_many(
    chain: TierChain, missing: list[str], loads: Mapping[str, Load], allow_stale: bool, warming: bool
) -> dict[str, Found]:
    found: dict[str, Found] = {}
    stale: dict[str, Found] = {}
    closed: dict[Tier, set[str]] = {}
    for tier in chain.tiers:
        if not missing:
            break
        entries, closed[tier] = await _ask(chain, tier, missing, warming)
        now = chain.clock()
        for key, entry in entries.items():
            if entry.metadata.is_usable(now):
                where = stale if entry.metadata.is_stale(now) else found
                where.setdefault(key, Found(entry, tier))
        asked = len(missing)
        missing = [key for key in missing if key not in found]
        tier.counters.add(hits=asked - len(missing), misses=len(missing))
    for upper, shut in closed.items():
        above = chain.tiers.index(upper)
        wanted = {
            key: one.entry
            for key, one in found.items()
            if chain.tiers.index(one.tier) > above and key not in shut and upper.admits(key, warming=warming)
        }
        await _promote_many(chain, upper, wanted, loads, warming)
    return {**stale, **found} if allow_stale else found


async def _ask(chain: TierChain, tier: Tier, keys: Sequence[str], warming: bool) -> tuple[dict[str, Entry], set[str]]:
    """Return the tier's entries and the keys for which it failed: those take no promotion in this call."""
    try:
        return await tier.get_many(keys, bounded=not warming), set()
    except PartialFailure as partial:
        for error in partial.failed.values():
            raise_if_strict(chain, error)
        healed_by_a_copy = {
            key
            for key, error in partial.failed.items()
            if isinstance(error, CorruptEntry) and not isinstance(error, UnknownFormat)
        }
        return partial.results or {}, set(partial.failed) - healed_by_a_copy
    except FAILURES as error:
        raise_if_strict(chain, error)
        return {}, set(keys)


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
            for load in held:
                chain.fence.release(load)
            tier.counters.add(skipped=len(kept))


async def _promote_remote(
    chain: TierChain, tier: Tier, entries: dict[str, Entry], loads: Sequence[Load], *, bounded: bool
) -> None:
    writing = {load: write for load in loads if (write := chain.fence.start_write(load, running_loop())) is not None}
    try:
        valid = {load.key: entries[load.key] for load in writing}
        if valid:
            failed = await _put_batch(tier, valid, bounded=bounded)
            tier.counters.add(promotions=len(valid) - failed)
        for load, write in writing.items():
            if write.overtaken:
                await undo(tier, load.key)
    finally:
        for load, write in writing.items():
            chain.fence.end_write(load, write)
        for load in loads:
            chain.fence.release(load)


async def write_many(chain: TierChain, entries: Mapping[str, Entry], *, fast_only: bool = False) -> None:
    """Store all entries in all tiers, a batch a tier; `fast_only`: not in the last of several."""
    tiers = [tier for tier in writable(chain) if not (fast_only and len(chain.tiers) > 1 and tier is chain.tiers[-1])]
    mutations = begin(chain, list(entries))
    try:
        await settle(chain, mutations)
        for tier in tiers:
            if tier.local:
                await _put_many(chain, tier, entries)
        changes = {key: began(entry) for key, entry in entries.items()}
        flows = [_put_many(chain, tier, entries) for tier in tiers if not tier.local]
        await keep_alone(chain, entries, await gather(chain, flows, changes))
    finally:
        await end(chain, mutations)


async def _put_many(chain: TierChain, tier: Tier, entries: Mapping[str, Entry]) -> None:
    now = chain.clock()
    kept = {key: taken for key, entry in entries.items() if (taken := tier.takes(entry, now)) is not None}
    refused = [key for key in entries if key not in kept]
    try:
        if kept:
            await tier.put_many(kept, **tier.stored(kept))
        tier.counters.add(puts=len(kept))
    except PartialFailure as partial:
        too_large = [key for key, error in partial.failed.items() if isinstance(error, EntryTooLarge)]
        tier.counters.add(puts=len(kept) - len(partial.failed), skipped=len(too_large))
        refused += too_large
        for key, error in partial.failed.items():
            if key not in too_large:
                raise_if_strict(chain, error)
    if refused:
        await tier.delete_many(
            refused, **tier.removed(refused)
        )  # they stay out of this tier, and so must what they replace


async def _put_batch(tier: Tier, entries: dict[str, Entry], *, bounded: bool) -> int:
    """Store entries, for a promotion; return how many failed (counted and logged)."""
    try:
        await tier.put_many(entries, bounded=bounded)
    except PartialFailure as partial:
        failed = len(partial.failed)
    except FAILURES:
        failed = len(entries)
    else:
        failed = 0
    tier.counters.add(puts=len(entries) - failed)
    return failed


async def delete_many(chain: TierChain, keys: Iterable[str]) -> int:
    """Remove the entries from all tiers and return how many of these keys are now in none of them."""
    unique = list(dict.fromkeys(keys))
    mutations = begin(chain, unique)
    try:
        await settle(chain, mutations)
        flows = [_delete_many(chain, tier, unique) for tier in writable(chain)]
        results = await gather(chain, flows, dict.fromkeys(unique))
        remaining = [result if isinstance(result, set) else set(unique) for result in results]
        return len(set(unique).difference(*remaining)) if remaining else 0
    finally:
        await end(chain, mutations)


async def _delete_many(chain: TierChain, tier: Tier, keys: Sequence[str]) -> set[str]:
    """Return the keys that may still be in the tier."""
    failed: set[str] = set()
    try:
        absent = await tier.delete_many(keys, **tier.removed(keys))
    except PartialFailure as partial:
        for error in partial.failed.values():
            raise_if_strict(chain, error)
        failed = set(partial.failed)
        absent = len(keys) - len(failed)
    tier.counters.deletes += absent
    return failed


async def clear(chain: TierChain, prefix: str) -> None:
    """Delete every entry below a prefix from all tiers."""
    if not chain.coherence.joined:
        await Join(chain.coherence)
    chain.flights.forget_prefix(prefix)
    writes = chain.fence.begin_clear(prefix)
    try:
        if writes:
            overtake(await Settled(writes, TURN_TIMEOUT))
        await gather(chain, [_clear(tier, prefix) for tier in writable(chain)], {}, [prefix])
    finally:
        chain.flights.forget_prefix(prefix)  # those that began while it lasted
        chain.fence.end_clear(prefix)


async def _clear(tier: Tier, prefix: str) -> None:
    removed = await tier.clear(prefix)
    tier.counters.add(deletes=removed)
