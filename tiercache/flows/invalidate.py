"""Invalidating tags and whole namespaces: a mark in each persistent tier, however many entries there are.

In this process it holds from the moment at which the marks are set in its table, whatever the tiers answer; tiers that
fail get the marks later, from any process that knows them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..epochs.agreement import Held, agree, read
from ..flow import Gather, Settled
from ..tier import FAILURES, Tier
from ..turns import Write
from .write import TURN_TIMEOUT, gather, overtake, writable

if TYPE_CHECKING:
    from ..chain import TierChain


async def invalidate_tags(chain: TierChain, namespace: str, tags: Iterable[str]) -> None:
    """Make every entry that carries one of the tags a miss."""
    unique = tuple(dict.fromkeys(tags))
    if unique:
        await _mark(chain, namespace, unique)


async def clear(chain: TierChain, namespace: str, *, purge: bool = False) -> None:
    """Make every entry of the namespace a miss; `purge`: and delete the bytes, which costs a listing."""
    prefix = f"{namespace}:"
    writes = chain.fence.begin_clear(prefix)
    try:
        await _mark(chain, namespace, None)
        if purge:
            await _purge(chain, prefix, writes)
    finally:
        chain.flights.forget_prefix(prefix)  # those that began while it lasted
        chain.fence.end_clear(prefix)


async def _mark(chain: TierChain, namespace: str, tags: tuple[str, ...] | None) -> None:
    """Set the marks: later than all that the tiers know, so that they cover what was made in that knowledge."""
    epochs = chain.epochs
    space = epochs.space(namespace)
    epochs.waken()
    for tier in chain.tiers:
        if tier.local:
            tier.backend.ping()  # a closed cache says so
    answers = await Gather([read(epochs, space, tier) for tier in epochs.tiers], chain.side_by_side)
    news = epochs.advance(space, tags)
    epochs.announced(space, news)
    held: dict[Tier, Held] = {}
    failures: list[BaseException] = []
    for tier, answer in zip(epochs.tiers, answers, strict=True):
        if isinstance(answer, Held):
            held[tier] = answer
        else:
            failures.append(answer)
    await gather(chain, [agree(epochs, space, tier, answer) for tier, answer in held.items()])
    for failure in failures:
        if chain.strict or not isinstance(failure, FAILURES):
            raise failure


async def _purge(chain: TierChain, prefix: str, writes: list[Write]) -> None:
    if writes:
        overtake(await Settled(writes, TURN_TIMEOUT))
    await gather(chain, [_clear(tier, prefix) for tier in writable(chain)])


async def _clear(tier: Tier, prefix: str) -> None:
    removed = await tier.clear(prefix)
    tier.counters.add(deletes=removed)
