"""Comparing what a tier in shadow holds with what the chain answered, in the background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..entry import Entry
from ..errors import PartialFailure
from ..fence import Load
from ..flow import Background
from ..tier import FAILURES, Tier

if TYPE_CHECKING:
    from ..chain import TierChain


async def compare(chain: TierChain, answered: Mapping[str, Entry], loads: Mapping[str, Load]) -> None:
    """Have the tiers in shadow asked for what was answered; nobody waits for that, and nothing of it is served.

    What is changed meanwhile is not counted, nor is anything while the background is too busy.
    """
    for tier in chain.tiers:
        switch = tier.switch
        if switch is None or not switch.has_shadow:
            continue
        wanted = {key: entry for key, entry in answered.items() if switch.shadows(key)}
        held = [loads[key] for key in wanted]
        for load in held:
            chain.fence.hold(load)
        if not wanted or not await Background(_compare(chain, tier, wanted, loads), chain.background):
            chain.fence.release_many(held)


async def _compare(chain: TierChain, tier: Tier, answered: Mapping[str, Entry], loads: Mapping[str, Load]) -> None:
    try:
        found = await _held(tier, list(answered))
        for key, entry in answered.items():
            if not loads[key].valid or key not in found:
                continue
            other, counters = _believed(chain, tier, found[key]), tier.counters
            if other is None:
                counters.shadow_absent += 1
            elif (other.payload, other.metadata.codec) == (entry.payload, entry.metadata.codec):
                counters.shadow_equal += 1
            else:
                counters.shadow_different += 1
    finally:
        chain.fence.release_many(loads[key] for key in answered)


async def _held(tier: Tier, keys: list[str]) -> dict[str, Entry | None]:
    """Return what the tier holds, or will hold when it has taken what waits; keys for which it fails are left out."""
    pending = {key: change.entry for key in keys if (change := tier.journal.pending.get(key)) is not None}
    asked = [key for key in keys if key not in pending]
    found: Mapping[str, Entry] = {}
    failed: set[str] = set()
    try:
        found = await tier.get_many(asked) if asked else {}
    except PartialFailure as partial:
        found, failed = partial.results or {}, set(partial.failed)
    except FAILURES:
        failed = set(asked)  # counted
    return {key: found.get(key) for key in asked if key not in failed} | pending


def _believed(chain: TierChain, tier: Tier, entry: Entry | None) -> Entry | None:
    """Return the entry if the chain would have served it."""
    if entry is None:
        return None
    metadata, now = entry.metadata, chain.clock()
    usable = metadata.is_usable(now) and not metadata.is_stale(now) and not tier.journal.refuses(metadata.key, metadata)
    return entry if usable and chain.epochs.of(metadata.key).accepts(metadata, tier, now) else None
