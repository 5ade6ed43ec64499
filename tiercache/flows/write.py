"""Changing one key: the mutation takes its turn, then all tiers are written side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..coherence.listening import Join
from ..entry import Entry
from ..errors import ConfigurationError, EntryTooLarge
from ..fence import Load, Mutation
from ..flow import Flow, Gather, Settled, running_loop
from ..journal.hearsay import tell
from ..journal.missed import KEY
from ..tier import FAILURES, Tier
from ..turns import Write
from . import change, guarded
from .announce import announce
from .read import Found, raise_if_strict, read

if TYPE_CHECKING:
    from ..chain import TierChain

TURN_TIMEOUT = 30.0
"""Seconds that a mutation waits for what is being written under its key (stores that keep deadlines end sooner)."""
TOUCHES = 10
"""Times that a touch looks again when somebody else changes the key."""


async def write(chain: TierChain, key: str, entry: Entry) -> None:
    """Store the entry in all tiers, each within its deadline."""
    mutations = begin(chain, [key])
    try:
        await settle(chain, mutations)
        await put_everywhere(chain, key, entry)
    finally:
        await end(chain, mutations)


async def write_loaded(chain: TierChain, load: Load, entry: Entry) -> bool:
    """Store what was begun earlier, unless its key was changed since; return whether it was stored."""
    mutation = chain.fence.mutate_with(load, running_loop())
    if mutation is None:
        return False
    try:
        await settle(chain, [mutation])
        claimed = await guarded.claim(chain, load, entry)
        if claimed is False:  # another process changed it
            return False
        await put_everywhere(chain, load.key, entry, claimed=claimed or None)
        return True
    finally:
        await finish(chain, [mutation])


async def delete(chain: TierChain, key: str) -> bool:
    """Remove the entry from all tiers and return whether any had one."""
    mutations = begin(chain, [key])
    try:
        await settle(chain, mutations)
        with chain.teller.changing({key: None}):
            burial = await guarded.bury(chain, [key])
            tiers = [tier for tier in writable(chain) if burial is None or tier is not chain.guard]
            try:
                removed = await gather(chain, [change.delete(tier, key) for tier in tiers])
            finally:
                await guarded.close(chain, burial)
            guarded.raise_if_strict(chain, burial)
        if chain.recorder is not None:
            chain.recorder.deleted(key)
        await announce(chain, {key: None}, removed)
        return any(result is True for result in removed) or (burial is not None and key in burial.had)
    finally:
        await end(chain, mutations)


async def touch(chain: TierChain, key: str, expires_at: float | None) -> bool:
    """Give the entry another end of life in all tiers; return whether there was a fresh one.

    How long it is kept beyond its end, stale, stays as it was, and so does its storage class in each object store
    (which costs a HEAD there, unless the entry was read from it and the answer told the class).
    """
    if not chain.coherence.joined:
        await Join(chain.coherence)
    for _ in range(TOUCHES):
        load = chain.fence.begin(key)
        try:
            found = await read(chain, key, load=load)
            if found is None:
                return False
            entry = await guarded.newest(chain, load, found.entry)
            if entry is None:
                return False
            classes = await _classes_held(chain, key, found if entry is found.entry else Found(entry, chain.tiers[0]))
            mutation = chain.fence.mutate_with(load, running_loop())
            if mutation is None:  # somebody changed the key meanwhile: look again
                continue
            try:
                await settle(chain, [mutation])
                touched = _with_end(entry, expires_at)
                claimed = await guarded.claim(chain, load, touched)
                if claimed is False:  # another process did
                    continue
                await put_everywhere(chain, key, touched, classes=classes, claimed=claimed)
            finally:
                await end(chain, [mutation])
            return True
        finally:
            chain.fence.release(load)
    return False


async def put_everywhere(
    chain: TierChain,
    key: str,
    entry: Entry,
    after_memory: Callable[[], None] | None = None,
    *,
    classes: Mapping[Tier, str] | None = None,
    claimed: str | None = None,
) -> None:
    """Store the entry in memory, call `after_memory`, then store it in the other tiers side by side.

    Args:
        chain: the tiers.
        key: the full stored key.
        entry: what to store.
        after_memory: called when memory can answer.
        classes: the storage class for some of the tiers; for the others the entry's own.
        claimed: the token under which the guard holds it already.
    """
    if chain.recorder is not None:
        chain.recorder.stored(key, entry)
    placed = classes or {}
    tiers = [tier for tier in writable(chain) if tier is not chain.guard]
    for tier in tiers:
        if tier.local:
            await _put(chain, tier, key, entry)
    if after_memory is not None:
        after_memory()
    if chain.is_single and chain.tiers[0].local:  # nothing below to write, and nobody to tell
        return
    results: list[Any] = []
    token = claimed or ""
    with chain.teller.changing({key: entry.metadata.loaded_at}):
        if claimed is None and chain.guard is not None:  # first: of two that cross, the later there is later below
            results = await Gather([guarded.put(chain, {key: entry})], chain.side_by_side)
            token = results[0].get(key, "") if isinstance(results[0], dict) else ""
        results += await Gather(
            [
                _put(chain, tier, key, entry.in_class(placed[tier]) if tier in placed else entry, token)
                for tier in tiers
                if not tier.local
            ],
            chain.side_by_side,
        )
        raise_failures(chain, results)
        await guarded.verify(chain, {key: token} if token else {})
        if claimed is None:
            await keep_alone(chain, {key: entry}, results)
    await announce(chain, {key: entry.metadata.loaded_at}, results)


async def keep_alone(chain: TierChain, entries: Mapping[str, Entry], results: Sequence[object]) -> None:
    """Where memory is blind, keep for their whole life the entries that no other tier took: nobody else has them."""
    if chain.coherence.blind and results and all(isinstance(result, BaseException) for result in results):
        now = chain.clock()
        for tier in writable(chain):
            if tier.local:
                kept = {key: taken for key, one in entries.items() if (taken := tier.takes(one, now, capped=False))}
                await tier.put_many(kept)


def begin(chain: TierChain, keys: Sequence[str]) -> list[Mutation]:
    """Open mutations; nobody joins a computation that began before them."""
    for key in keys:
        chain.flights.forget(key)
    return chain.fence.mutate(keys, running_loop())


async def settle(chain: TierChain, mutations: Sequence[Mutation]) -> None:
    """Wait, with a bound, until it is the mutations' turn; what is overtaken removes what it wrote."""
    if not chain.coherence.joined:
        await Join(chain.coherence)
    before = [write for mutation in mutations for write in mutation.before]
    if before:
        overtake(await Settled(before, TURN_TIMEOUT))


def overtake(writes: Sequence[Write]) -> None:
    """Go on before these writes are over: they remove what they wrote."""
    for write in writes:
        write.overtaken = True


async def end(chain: TierChain, mutations: Sequence[Mutation]) -> None:
    """Close mutations of whoever changed the keys: nobody joins a computation that began while they lasted."""
    for mutation in mutations:
        chain.flights.forget(mutation.key)
    await finish(chain, mutations)


async def finish(chain: TierChain, mutations: Sequence[Mutation]) -> None:
    """Close mutations; of those that were overtaken nothing stays: a miss is better than the older value."""
    try:
        if chain.missed.unsaid:
            chain.hearsay.begin()  # it says so again, and that it is over
            if await tell(chain.missed, chain.side_by_side):
                await announce(chain, {KEY: None}, ())
        for mutation in mutations:
            if mutation.overtaken:
                for tier in writable(chain):
                    await change.undo(tier, mutation.key)
    finally:
        for mutation in mutations:
            chain.fence.finish(mutation)


async def gather(chain: TierChain, flows: Sequence[Flow[Any]]) -> list[Any]:
    """Run one flow a tier, side by side; the failure of a tier is a result, unless the chain is strict."""
    results = await Gather(flows, chain.side_by_side)
    raise_failures(chain, results)
    return results


def raise_failures(chain: TierChain, results: Sequence[Any]) -> None:
    """Raise what no tier may fail with, and in a strict chain the failure of a tier."""
    for result in results:
        if isinstance(result, BaseException) and (chain.strict or not isinstance(result, FAILURES)):
            raise result


def writable(chain: TierChain) -> list[Tier]:
    """Return the tiers that are written to."""
    return [tier for tier in chain.tiers if tier.write != "never"]


def _with_end(entry: Entry, expires_at: float | None) -> Entry:
    before = entry.metadata
    stale_until = None
    if expires_at is not None and before.expires_at is not None and before.stale_until is not None:
        stale_until = expires_at + (before.stale_until - before.expires_at)
    return entry.with_metadata(expires_at=expires_at, stale_until=stale_until)


async def _classes_held(chain: TierChain, key: str, found: Found) -> dict[Tier, str]:
    """Return the class that the key's object has in each tier with classes, where it can be written again."""
    held: dict[Tier, str] = {}
    for tier in writable(chain):
        if tier.classes is None:
            continue
        try:
            metadata = found.entry.metadata if tier is found.tier else None
            if metadata is None or metadata.storage_class is None:  # not every store's GET tells the class
                metadata = await tier.head(key)
        except FAILURES as error:
            raise_if_strict(chain, error)
            continue
        if metadata is not None and metadata.storage_class is not None:
            with suppress(ConfigurationError):  # an archive, say: nothing is written there, so the tier's own class
                held[tier] = tier.check_class(metadata.storage_class)
    return held


async def _put(chain: TierChain, tier: Tier, key: str, entry: Entry, token: str = "") -> None:
    kept = tier.takes(entry, chain.clock())
    if kept is not None:
        try:
            await change.put(tier, key, kept, token)
        except EntryTooLarge:
            tier.counters.skipped += 1
        else:
            return
    if tier.stores(key):
        await change.delete(tier, key)  # it stays out of this tier, and so must what it replaces
    else:
        for error in (await change.delete_many(tier, [key])).values():  # likewise, without asking what was there
            raise error
