"""Changing one key: the mutation takes its turn, then all tiers are written side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..entry import Entry
from ..errors import EntryTooLarge
from ..fence import Mutation
from ..flow import Flow, Gather, Settled
from ..tier import FAILURES, Tier
from .read import read

if TYPE_CHECKING:
    from ..chain import TierChain

TURN_TIMEOUT = 5.0
"""Seconds that a mutation waits for the one before it, or for a promotion being written, before it goes on."""


async def write(chain: TierChain, key: str, entry: Entry) -> None:
    """Store the entry in all tiers, each within its deadline."""
    mutation = begin(chain, key)
    try:
        await settle([mutation])
        await put_everywhere(chain, key, entry)
    finally:
        chain.fence.finish(mutation)


async def delete(chain: TierChain, key: str) -> bool:
    """Remove the entry from all tiers and return whether any had one."""
    mutation = begin(chain, key)
    try:
        await settle([mutation])
        removed = await gather(chain, [_delete(tier, key) for tier in writable(chain)])
        return any(result is True for result in removed)
    finally:
        chain.fence.finish(mutation)


async def touch(chain: TierChain, key: str, expires_at: float | None) -> bool:
    """Give the entry another end of life in all tiers; return whether there was a fresh one."""
    load = chain.fence.begin(key)
    try:
        found = await read(chain, key, load=load)
        mutation = None if found is None else chain.fence.mutate(key, load)
        if found is None or mutation is None:  # nothing there, or somebody changed it meanwhile: theirs counts
            return False
        try:
            await settle([mutation])
            entry = found.entry.with_metadata(expires_at=expires_at, stale_until=None)
            await put_everywhere(chain, key, entry)
        finally:
            chain.fence.finish(mutation)
        return True
    finally:
        chain.fence.release(load)


async def put_everywhere(
    chain: TierChain, key: str, entry: Entry, after_memory: Callable[[], None] | None = None
) -> None:
    """Store the entry in memory, call `after_memory`, then store it in the other tiers side by side."""
    tiers = writable(chain)
    for tier in tiers:
        if tier.local:
            await _put(chain, tier, key, entry)
    if after_memory is not None:
        after_memory()
    await gather(chain, [_put(chain, tier, key, entry) for tier in tiers if not tier.local])


def begin(chain: TierChain, key: str) -> Mutation:
    """Open a mutation; nobody joins a computation that began before it."""
    chain.flights.forget(key)
    mutation = chain.fence.mutate(key)
    assert mutation is not None  # noqa: S101 - only a mutation that stores a load can be refused
    return mutation


async def settle(mutations: Sequence[Mutation]) -> None:
    """Wait, with a bound, until it is the mutations' turn."""
    before = [future for mutation in mutations for future in mutation.before]
    if before:
        await Settled(before, TURN_TIMEOUT)


async def gather(chain: TierChain, flows: Sequence[Flow[Any]]) -> list[Any]:
    """Run one flow a tier, side by side; the failure of a tier is a result, unless the chain is strict."""
    results = await Gather(flows, chain.side_by_side)
    for result in results:
        if isinstance(result, BaseException) and (chain.strict or not isinstance(result, FAILURES)):
            raise result
    return results


def writable(chain: TierChain) -> list[Tier]:
    """Return the tiers that are written to."""
    return [tier for tier in chain.tiers if tier.write == "through"]


async def _put(chain: TierChain, tier: Tier, key: str, entry: Entry) -> None:
    kept = tier.takes(entry, chain.clock())
    if kept is not None:
        try:
            await tier.put(key, kept)
        except EntryTooLarge:
            tier.counters.skipped += 1
        else:
            tier.counters.puts += 1
            return
    await tier.delete(key)  # it stays out of this tier, and so must what it replaces


async def _delete(tier: Tier, key: str) -> bool:
    removed = await tier.delete(key)
    tier.counters.deletes += removed
    return removed
