"""Computing a missing value: once per key, stored only if nothing changed the key meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..entry import Entry
from ..fence import Load
from ..flow import running_loop
from ..singleflight import Factory, Flight, Follow, Lead, Outcome
from . import guarded
from .read import read
from .write import finish, put_everywhere, settle

if TYPE_CHECKING:
    from ..chain import TierChain

Build = Callable[[Any], Entry | None]


async def obtain(
    chain: TierChain, key: str, factory: Callable[[], Any], build: Build, *, renew: bool = False
) -> Outcome:
    """Return the entry of the key; if no tier has it, it is computed once in this process.

    Args:
        chain: the tiers.
        key: the full stored key.
        factory: makes the value.
        build: makes the entry of a value; None: no codec stores it, so the value itself is handed through.
        renew: compute without looking, and replace what the tiers hold.

    Raises:
        ReentrantComputation: the factory asked for its own key.
        Exception: what the factory raised, for every caller that waited.
    """
    while True:
        flight, leads = chain.flights.join(key)
        if leads:
            await Lead(flight, _compute(chain, flight, factory, build, renew))
        outcome = await Follow(flight)
        if outcome is None:  # the loop of this very thread is computing: waiting would block it for ever
            alone = Flight(key, chain.flights)
            await Lead(alone, _compute(chain, alone, factory, build, renew))
            outcome = await Follow(alone)
        if outcome is None or outcome.abandoned:
            chain.flights.leave(flight)  # its leader may be gone with its loop
            continue
        if outcome.error is not None:
            raise outcome.error.with_traceback(outcome.traceback)
        if outcome.uncacheable and not leads:
            try:
                return replace(outcome, value=deepcopy(outcome.value))
            except Exception:  # noqa: BLE001 - no copy can be made of it, so this caller makes its own
                chain.flights.leave(flight)
                continue
        return outcome


async def _compute(chain: TierChain, flight: Flight, factory: Callable[[], Any], build: Build, renew: bool) -> None:
    load = chain.fence.begin(flight.key)
    try:
        found = None if renew else await read(chain, flight.key, load=load)
        if found is not None:
            flight.resolve(Outcome(found.entry, found.tier))
            return
        value = await Factory(factory, chain.factories)
        entry = build(value)
        if entry is None:
            flight.resolve(Outcome(value=value, uncacheable=True))
        else:
            await _store(chain, flight, entry, load)
    except Exception as error:  # noqa: BLE001 - it goes to every waiter
        flight.resolve(Outcome(error=error, traceback=error.__traceback__))
    finally:
        chain.fence.release(load)
        chain.flights.leave(flight)
        flight.resolve(Outcome())  # interrupted from outside, unless it was resolved before


async def _store(chain: TierChain, flight: Flight, entry: Entry, load: Load) -> None:
    outcome = Outcome(entry)
    mutation = chain.fence.mutate_with(load, running_loop())
    if mutation is None:  # the key was changed while this was computed: the callers get it, the tiers do not
        flight.resolve(outcome)
        return
    try:
        await settle([mutation])
        claimed = await guarded.claim(chain, load, entry)
        if claimed is False:  # another process changed it
            flight.resolve(outcome)
            return
        # Followers leave as soon as memory can answer those who come after them.
        await put_everywhere(chain, flight.key, entry, lambda: flight.resolve(outcome), claimed=claimed or None)
    finally:
        await finish(chain, [mutation])
