"""Computing the missing values of many keys: one call of the factory, which is told only what nobody else computes.

A batch first leads all keys that are free, computes and stores them, and only then waits for those that others lead:
two batches that each lead a part of the other's keys never wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..coherence.listening import Join
from ..computing.operations import SPARE_WILL_DO, TIME_IS_UP, WOULD_HANG, Factory, Lead, Patience, Spawn
from ..computing.singleflight import Flight, Kind, Outcome
from ..entry import Entry
from ..fence import Load
from ..flow import running_loop
from . import batch, guarded
from .compute import Answer, follow, held_now, in_memory, keep, note_failure, stand_in
from .job import Job
from .read import Found
from .write import finish, settle, writable

if TYPE_CHECKING:
    from ..chain import TierChain


async def obtain_many(chain: TierChain, keys: Sequence[str], job: Job, kind: Kind = "find") -> dict[str, Answer]:
    """Return how it ended for each key, errors included; what the factory left out is `absent`.

    Args:
        chain: the tiers.
        keys: full stored keys, each once.
        job: its factory is given a list of full keys and returns a mapping of them, or as many values in their order.
        kind: as for `compute.obtain`.

    Raises:
        ReentrantComputation: the factory asked for one of its own keys.
    """
    if not chain.coherence.joined:
        await Join(chain.coherence)
    patience = job.patience()
    answers: dict[str, Answer] = {}
    stale: dict[str, Found] = {}
    if kind == "find":
        _take_from_memory(chain, keys, job, answers, stale)
    while waiting := [key for key in keys if key not in answers]:
        led, followed = chain.flights.join_many(waiting, kind)
        if led:
            worker = chain.factories if patience.is_bounded else None
            await Lead(list(led.values()), _compute(chain, led, job, kind), worker)
        stuck: list[str] = []
        for key, flight in [*led.items(), *followed.items()]:
            leads = key in led
            outcome = await follow(flight, job, patience, leads=leads)
            if outcome is WOULD_HANG:
                stuck.append(key)
                continue
            found = flight.spare
            if outcome is not SPARE_WILL_DO:
                found = _settled(key, flight, job, outcome, leads, answers)
            if found is not None and job.at_once(key, found):
                _serve(key, job, found, answers, stale)
        if stuck:
            await _alone(chain, stuck, job, kind, patience, answers)
    await refresh_many(chain, stale, job)
    return answers


def _take_from_memory(
    chain: TierChain, keys: Sequence[str], job: Job, answers: dict[str, Answer], stale: dict[str, Found]
) -> None:
    if chain.memory is None:
        return
    now = chain.clock()
    for key in keys:
        entry = chain.held(key)
        if entry is not None and entry.metadata.is_usable(now) and not entry.metadata.is_stale(now):
            chain.tiers[0].counters.hits += 1
            answers[key] = Answer(Outcome(entry, chain.tiers[0]))
        elif entry is not None and (found := in_memory(chain, key, job)) is not None:
            _serve(key, job, found, answers, stale)


def _serve(key: str, job: Job, found: Found, answers: dict[str, Answer], stale: dict[str, Found]) -> None:
    job.count_stale(found)
    answers[key] = Answer(Outcome(found.entry, found.tier))
    if found.entry.metadata.is_stale(job.chain.clock()):
        stale[key] = found


def _settled(
    key: str, flight: Flight, job: Job, outcome: Outcome, leads: bool, answers: dict[str, Answer]
) -> Found | None:
    """Note how a flight ended for this caller; return what was found, if that is how; else the key may have to wait."""
    if outcome is TIME_IS_UP or outcome.error is not None:
        try:
            answers[key] = Answer(stand_in(flight, job, outcome))
        except Exception as error:  # noqa: BLE001 - it belongs to this key
            answers[key] = Answer(Outcome(error=error, traceback=error.__traceback__))
    elif outcome.tier is not None and outcome.entry is not None:
        return Found(outcome.entry, outcome.tier)
    elif outcome.abandoned or ((outcome.absent or outcome.overtaken) and not leads):
        pass  # asked again, with this caller's own factory
    elif outcome.uncacheable and not leads:
        try:
            answers[key] = Answer(replace(outcome, value=deepcopy(outcome.value)))
        except Exception:  # noqa: BLE001 - no copy can be made of it, so this caller makes its own
            flight.table.drop(flight)
    else:
        answers[key] = Answer(outcome, leads)
    return None


async def _alone(
    chain: TierChain, keys: Sequence[str], job: Job, kind: Kind, patience: Patience, answers: dict[str, Answer]
) -> None:
    """Compute what others compute too, because they wait for this very caller, or for its loop."""
    flights = {key: Flight(key, chain.flights, kind) for key in keys}
    await Lead(list(flights.values()), _compute(chain, flights, job, kind))
    for key, flight in flights.items():
        outcome = await follow(flight, job, patience, leads=True)
        found = _settled(key, flight, job, outcome, True, answers)
        if found is not None:
            job.count_stale(found)
            answers[key] = Answer(Outcome(found.entry, found.tier))


async def refresh_many(chain: TierChain, stale: Mapping[str, Found], job: Job) -> None:
    """Compute stale values anew in the background: one call of the factory for those that nobody refreshes yet."""
    now = chain.clock()
    flights: dict[str, Flight] = {}
    for key in stale:
        if not chain.pauses.holds(key, now) and (flight := chain.flights.start(key)) is not None:
            flight.spare = held_now(chain, key)
            flights[key] = flight
    if not flights:
        return
    started = len(flights)
    if await Spawn(list(flights.values()), _compute(chain, flights, job, refreshing=True), chain.refreshes):
        job.counters.refreshes += started
        return
    for flight in flights.values():
        flight.abandon()
    job.counters.refreshes_dropped += started


async def _compute(
    chain: TierChain, flights: Mapping[str, Flight], job: Job, kind: Kind = "find", *, refreshing: bool = False
) -> None:
    """Look once more, compute what is missing, store it as one batch and tell those who wait."""
    loads = chain.fence.begin_many(list(flights))
    try:
        if kind == "find":
            await _find(chain, flights, job, loads, refreshing)
        missing = [key for key, flight in flights.items() if not flight.done]
        if missing:
            names = {key[len(job.prefix) :]: key for key in missing}
            answer = await Factory(partial(job.factory, list(names)), chain.factories)
            entries = _built(chain, flights, job, _values(answer, names), loads)
            await _store(chain, flights, job, entries, loads, kind)
    except Exception as error:  # noqa: BLE001 - it goes to every waiter
        for flight in flights.values():
            if not flight.done:
                note_failure(chain, flight, job)
                flight.resolve(Outcome(error=error, traceback=error.__traceback__))
    finally:
        chain.fence.release_many(loads.values())
        for flight in flights.values():
            flight.abandon()  # interrupted from outside, unless it was resolved before


async def _find(
    chain: TierChain, flights: Mapping[str, Flight], job: Job, loads: Mapping[str, Load], refreshing: bool
) -> None:
    takes_stale = refreshing or job.takes_stale
    found = await batch.read_many(chain, flights, allow_stale=takes_stale, loads=loads)
    now = chain.clock()
    for key, one in found.items():
        flight = flights[key]
        if one.entry.metadata.is_stale(now):
            flight.spare = one
            keep(chain, one, loads[key])
            if refreshing or not job.at_once(key, one):
                continue
            one.tier.counters.hits += 1  # a batch counts a stale one as a miss
            one.tier.counters.misses -= 1
        flight.resolve(Outcome(one.entry, one.tier))
        chain.flights.leave(flight)  # it is over, although others of the batch are not


def _values(answer: Any, names: Mapping[str, str]) -> dict[str, Any]:
    """Return what the factory made: None for a key is a value, a key that it left out is not there."""
    if isinstance(answer, Mapping):
        return {key: answer[name] for name, key in names.items() if name in answer}
    if isinstance(answer, (str, bytes)) or not isinstance(answer, Iterable):
        raise TypeError(
            "the factory of get_or_set_many must return a mapping from keys to values, or a list with a value for each "
            f"key that it was given, in their order; it returned a {type(answer).__name__}"
        )
    values = list(answer)
    if len(values) != len(names):
        raise ValueError(
            f"the factory of get_or_set_many returned {len(values)} values for {len(names)} keys; return one for each, "
            "in their order, or a mapping that may leave keys out"
        )
    return dict(zip(names.values(), values, strict=True))


def _value(value: Any) -> Any:
    if isinstance(value, Exception):
        raise value
    return value


def _built(
    chain: TierChain,
    flights: Mapping[str, Flight],
    job: Job,
    values: Mapping[str, Any],
    loads: Mapping[str, Load],
) -> dict[str, tuple[Entry, bool]]:
    """Return the entries, and whether each is stored; all other keys are resolved: left out, failed, uncacheable."""
    entries: dict[str, tuple[Entry, bool]] = {}
    for key, flight in flights.items():
        if flight.done:
            continue  # it was found
        if key not in values:
            flight.resolve(Outcome(absent=True))
            continue
        try:
            made = job.build(key, _value(values[key]), loads[key].began)
        except Exception as error:  # noqa: BLE001 - the key's own; the others are not to suffer
            note_failure(chain, flight, job)
            flight.resolve(Outcome(error=error, traceback=error.__traceback__))
            continue
        chain.pauses.end(key)
        if made.entry is None:
            flight.resolve(Outcome(value=made.value, uncacheable=True))
        else:
            entries[key] = (made.entry, made.store)
    return entries


async def _store(
    chain: TierChain,
    flights: Mapping[str, Flight],
    job: Job,
    entries: Mapping[str, tuple[Entry, bool]],
    loads: Mapping[str, Load],
    kind: Kind,
) -> None:
    def resolve() -> None:
        for key, (entry, _) in entries.items():
            flights[key].resolve(Outcome(entry))

    wanted = [loads[key] for key, (_, store) in entries.items() if store and kind != "aside"]
    mutations = chain.fence.mutate_with_all(wanted, running_loop())
    if not mutations:  # the keys were changed while this was computed: the callers get it, the tiers do not
        resolve()
        return
    stored = len(mutations)
    job.counters.puts += stored
    try:
        await settle(chain, mutations)
        kept = {mutation.key: entries[mutation.key][0] for mutation in mutations}
        claimed, changed = await guarded.claim_many(chain, loads, kept)
        for key in changed:  # by another process, maybe before those came who wait
            chain.flights.leave(flights[key])
            flights[key].resolve(Outcome(kept.pop(key), overtaken=True))
        # As for one key: in a strict chain a tier that fails is an error of this computation.
        await batch.put_all(chain, writable(chain), kept, None if chain.strict else resolve, claimed=claimed)
        resolve()
    finally:
        await finish(chain, mutations)
