"""Computing a missing value: once per key, stored only if nothing changed the key meanwhile.

What is older stands in for it where the caller allows that: served at once and refreshed in the background, or served
when the factory fails or takes too long.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ..coherence.listening import Join
from ..computing.operations import SPARE_WILL_DO, TIME_IS_UP, WOULD_HANG, Factory, Follow, Lead, Patience, Spawn
from ..computing.singleflight import Flight, Kind, Outcome
from ..entry import Entry
from ..errors import ComputeTimeout
from ..flow import running_loop
from ..memory import MemoryBackend
from ..turns import Load
from . import guarded, leased
from .job import Job
from .read import Found, outlives, promote_local, read
from .write import finish, put_everywhere, settle

if TYPE_CHECKING:
    from ..chain import TierChain


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """How a computation ended for one caller, and whether that caller's own factory was asked."""

    outcome: Outcome
    led: bool = False


async def obtain(chain: TierChain, key: str, job: Job, kind: Kind = "find") -> Answer:
    """Return the entry of the key; if no tier has it, it is computed once in this process.

    Args:
        chain: the tiers.
        key: the full stored key.
        job: what is computed, and what is taken in its place.
        kind: `renew`: compute without looking, and replace what the tiers hold. `aside`: neither look nor store.

    Raises:
        ReentrantComputation: the factory asked for its own key.
        ComputeTimeout: the caller's patience ended first, and there is nothing else to serve.
        Exception: what the factory raised, for every caller that waited.
    """
    if kind == "find" and (held := in_memory(chain, key, job)) is not None:
        return await _serve(chain, key, job, held)
    if not chain.coherence.joined:
        await Join(chain.coherence)
    patience = job.patience()
    while True:
        flight, leads = chain.flights.join(key, kind)
        if leads:
            worker = chain.factories if patience.is_bounded else None
            await Lead([flight], compute(chain, flight, job, kind), worker)
        outcome = await follow(flight, job, patience, leads=leads)
        if outcome is SPARE_WILL_DO and flight.spare is not None:
            return await _serve(chain, key, job, flight.spare)
        if outcome is WOULD_HANG:  # somebody waits for this very caller, or its loop: it computes for itself
            flight, leads = Flight(key, chain.flights, kind), True
            await Lead([flight], compute(chain, flight, job, kind))
            outcome = await follow(flight, job, patience, leads=True)
        if outcome is TIME_IS_UP or outcome.error is not None:
            return Answer(stand_in(flight, job, outcome))
        if outcome.tier is not None and outcome.entry is not None:
            found = Found(outcome.entry, outcome.tier)
            if job.at_once(key, found):
                return await _serve(chain, key, job, found)
            continue  # a stale one that the leader took and this caller does not
        if outcome.abandoned or ((outcome.absent or outcome.overtaken) and not leads):
            continue
        if outcome.uncacheable and not leads:
            try:
                outcome = replace(outcome, value=deepcopy(outcome.value))
            except Exception:  # noqa: BLE001 - no copy can be made of it, so this caller makes its own
                chain.flights.drop(flight)
                continue
        return Answer(outcome, leads)


def follow(flight: Flight, job: Job, patience: Patience, *, leads: bool) -> Follow:
    """Wait for a computation as long as the job says; who leads waits for the slower tiers as well."""

    def at_once() -> bool:
        return flight.spare is not None and job.at_once(flight.key, flight.spare)

    watches = not leads and (flight.refreshes or job.takes_stale)
    return Follow(flight, patience, lambda: job.may_serve(flight.spare), at_once if watches else None, landing=leads)


def stand_in(flight: Flight, job: Job, outcome: Outcome) -> Outcome:
    """Return what is older where a computation failed or takes too long; raise that where nothing may be served."""
    if outcome is TIME_IS_UP:
        job.counters.timeouts += 1
    spare = flight.spare
    if spare is not None and job.may_serve(spare):
        job.count_stale(spare)
        return Outcome(spare.entry, spare.tier)
    if outcome.error is not None:
        raise outcome.error.with_traceback(outcome.traceback)
    raise ComputeTimeout(
        "the value was not there within the timeout; its computation goes on and will be stored: ask again later, or "
        "allow a longer timeout"
    )


def in_memory(chain: TierChain, key: str, job: Job) -> Found | None:
    """Return what memory holds if it is served at once: nobody has to wait, not even for a look below."""
    if not job.takes_stale:
        return None
    entry = chain.held(key)
    if entry is None or not entry.metadata.is_usable(chain.clock()):
        return None
    found = Found(entry, chain.tiers[0])
    if not job.at_once(key, found):
        return None
    found.tier.counters.hits += 1
    return found


async def _serve(chain: TierChain, key: str, job: Job, found: Found) -> Answer:
    job.count_stale(found)
    await refresh(chain, key, job, found)
    return Answer(Outcome(found.entry, found.tier))


async def refresh(chain: TierChain, key: str, job: Job, found: Found) -> None:
    """Look for something newer in the background, and compute it if there is nothing, exactly once."""
    if not job.wants_newer(found) or chain.pauses.holds(key, chain.clock()):
        return
    flight = chain.flights.start(key)
    if flight is None:
        return
    flight.spare = held_now(chain, key)
    than = found.entry.metadata.expires_at
    if await Spawn([flight], compute(chain, flight, job, newer_than=than), chain.refreshes):
        job.counters.refreshes += 1
    else:
        flight.abandon()
        job.counters.refreshes_dropped += 1


def held_now(chain: TierChain, key: str) -> Found | None:
    """Return what memory holds now that a flight is in the table: found earlier, it may have been deleted since."""
    entry = chain.held(key)
    return None if entry is None or not entry.metadata.is_usable(chain.clock()) else Found(entry, chain.tiers[0])


async def compute(
    chain: TierChain, flight: Flight, job: Job, kind: Kind = "find", *, newer_than: float | None = None
) -> None:
    """Look once more, compute, store and tell those who wait; what a flight carries out.

    With `newer_than` it refreshes: what expires at that moment or earlier is not what is looked for.
    """
    load = chain.fence.begin(flight.key)
    lease: leased.Turn = None
    try:
        if kind == "find":
            if await _is_found(chain, flight, job, load, newer_than):
                return
            look = partial(_is_found, chain, flight, job, load, newer_than)
            lease = await leased.turn(chain, flight.key, look, patient=newer_than is None)
            if lease == "elsewhere":
                return
        made = job.build(flight.key, await Factory(job.factory, chain.factories), load.began)
        if made.entry is None:
            flight.resolve(Outcome(value=made.value, uncacheable=True))
        elif made.store and kind != "aside":
            await _store(chain, flight, job, made.entry, load)
        else:
            flight.resolve(Outcome(made.entry))
        chain.pauses.end(flight.key)
    except Exception as error:  # noqa: BLE001 - it goes to every waiter
        note_failure(chain, flight, job)
        flight.resolve(Outcome(error=error, traceback=error.__traceback__))
    finally:
        chain.leases.give_back(lease)
        chain.fence.release(load)
        flight.abandon()  # interrupted from outside, unless it was resolved before


def note_failure(chain: TierChain, flight: Flight, job: Job) -> None:
    """Leave a key alone for a while if there is something older to serve."""
    if flight.spare is not None:
        job.counters.refresh_failures += 1
        chain.pauses.begin(flight.key, chain.clock(), job.pause(flight.spare))


async def _is_found(chain: TierChain, flight: Flight, job: Job, load: Load, newer_than: float | None) -> bool:
    refreshing = newer_than is not None
    takes_older = refreshing or job.takes_stale
    found = await read(chain, flight.key, allow_stale=takes_older, load=load, newer_than=newer_than)
    if found is None:
        return False
    metadata = found.entry.metadata
    if not metadata.is_stale(chain.clock()) and outlives(metadata, newer_than):
        flight.resolve(Outcome(found.entry, found.tier))
        return True
    flight.spare = found
    keep(chain, found, load)
    if not refreshing and job.at_once(flight.key, found):
        flight.resolve(Outcome(found.entry, found.tier))
        return True
    uncount(found)
    return False


def keep(chain: TierChain, found: Found, load: Load) -> None:
    """Copy a stale entry from below into memory: those who take it need not look there again."""
    first = chain.tiers[0]
    if first is not found.tier and isinstance(first.backend, MemoryBackend) and first.admits(load.key):
        kept = first.takes(found.entry, chain.clock())
        if kept is not None:
            promote_local(chain, first, first.backend, kept, load)


def uncount(found: Found) -> None:
    """A stale entry that is not served was no hit of its tier."""
    found.tier.counters.hits -= 1
    found.tier.counters.misses += 1


async def _store(chain: TierChain, flight: Flight, job: Job, entry: Entry, load: Load) -> None:
    outcome = Outcome(entry)
    mutation = chain.fence.mutate_with(load, running_loop())
    if mutation is None:  # the key was changed while this was computed: the callers get it, the tiers do not
        flight.resolve(outcome)
        return
    job.counters.puts += 1
    try:
        await settle(chain, [mutation])
        claimed = await guarded.claim(chain, load, entry)
        if claimed is False:  # another process changed it, maybe before those came who wait
            chain.flights.leave(flight)
            flight.resolve(replace(outcome, overtaken=True))
            return
        # Followers leave as soon as memory can answer those who come after them. In a strict chain all of them wait
        # for all tiers: one that fails is an error of this computation.
        early = None if chain.strict else lambda: flight.resolve(outcome)
        await put_everywhere(chain, flight.key, entry, early, claimed=claimed or None)
        flight.resolve(outcome)
    finally:
        await finish(chain, [mutation])
