"""`plan`: everything that a log tells, in one object that becomes a table, JSON, plots or a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from ..eviction import EvictionPolicy
from ..pricing import GB
from ..units import Duration, Size, parse_duration, parse_size
from . import advice
from .accesses import Reading
from .caution import SHORT, cautions
from .costs import ClassCost, Stored, class_costs, stored
from .lifetimes import Lifetimes, lifetimes
from .simulation import Curve, simulate, sizes_for
from .trace import MOST_REQUESTS, Trace, load
from .traffic import Traffic, traffic

LEAST_MEMORY = 2**20
"""Bytes below which no memory is recommended, nor tried unless somebody asks for it: it costs nothing."""
REDIS_TIMES = 4
"""Redis is planned as so many times the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What a log does not know.

    Attributes:
        memory_price: US dollars for a GiB of RAM and month, as clouds ask for it within a machine.
        redis_price: likewise within a managed Redis.
        processes: that have a memory tier each, and write packed segments.
        store: the object store's scheme: `s3`, `gs` or `az`.
        segment: bytes of a packed segment.
        flush_after: seconds that an entry waits for its segment at most.
        miss_cost: US dollars that computing a value costs; None: as the log says.
    """

    memory_price: float = 4.0
    redis_price: float = 12.0
    processes: int = 1
    store: str = "s3"
    segment: Size = "8MiB"
    flush_after: Duration = 60.0
    miss_cost: float | None = None

    def __post_init__(self) -> None:
        for name in ("memory_price", "redis_price", "miss_cost"):
            price = getattr(self, name)
            if price is not None and not 0 <= price < 1e9:
                raise ConfigurationError(f"{name} must be a price in US dollars, from 0 on")
        if type(self.processes) is not int or self.processes < 1:
            raise ConfigurationError("processes must be a whole number from 1 on")
        parse_size(self.segment, "segment")
        parse_duration(self.flush_after, "flush_after")


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What the log is.

    Attributes:
        accesses, reads: lines, and those that ask for a value.
        entries: different keys, about.
        footprint: bytes of memory that would hold them all.
        start, span: Unix time of the first access, and seconds to the last.
        rate: the share of the keys that was simulated.
        left_out: lines that are no access, by reason; `told` says it in sentences, with line numbers.
        told: see there.
        can_hit: hits / reads if nothing ever left memory.
    """

    accesses: int
    reads: int
    entries: float
    footprint: float
    start: float
    span: float
    rate: float
    left_out: Mapping[str, int]
    told: str
    can_hit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a log tells.

    Attributes:
        log: what it is.
        assumptions: what it does not know.
        curves: the hit ratio by size, for each policy.
        memory: the memory that is recommended.
        tiers_memory, redis_bytes: the memory and the Redis that were planned with.
        tiers, without_redis: the traffic with and without it.
        held: what the store holds and does without Redis.
        classes: what the store costs then, the cheapest first.
        lifetimes: what TTLs do.
        advice: the sentences.
        cautions: what not to take from a log that is short; empty: it is not.
    """

    log: Log
    assumptions: Assumptions
    curves: Sequence[Curve]
    memory: advice.Size
    tiers_memory: int
    redis_bytes: int
    tiers: Traffic
    without_redis: Traffic
    held: Stored
    classes: Sequence[ClassCost]
    lifetimes: Lifetimes
    advice: Sequence[str]
    cautions: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain dicts, lists, numbers and texts."""
        return dataclasses.asdict(self)


def plan(
    paths: Sequence[Path],
    *,
    assumptions: Assumptions | None = None,
    policies: Iterable[EvictionPolicy] = tuple(EvictionPolicy),
    sizes: Sequence[int] | None = None,
    memory_bytes: int | None = None,
    redis_bytes: int | None = None,
    columns: Mapping[str, str] | None = None,
    ttl: Duration | None = None,
    most: int = MOST_REQUESTS,
    progress: Callable[[str, int, int], None] | None = None,
) -> Plan:
    """Read the logs of one cache and return what they tell.

    Args:
        paths: logs; of several processes, one each.
        assumptions: prices and the like.
        policies: that are compared.
        sizes: bytes of memory that are tried; left out: 12 powers of two, up to 1 MiB at least.
        memory_bytes: plan the tiers with this much memory; None: with what is recommended.
        redis_bytes: likewise of Redis; None: four times the memory.
        columns: where a log's fields stand (see `read_log`).
        ttl: how long entries live of which the log does not say it; None: for ever.
        most: accesses that are simulated; of a larger log, those of a sample of its keys.
        progress: called with what is done (`reading`, `simulating`), how much of it, and of how much.

    Raises:
        ConfigurationError: a log is empty or has no such columns, or an assumption is none.
        MissingExtra: the object store's package is not installed.
        OSError: a log cannot be opened.
    """
    assumed = assumptions or Assumptions()
    life = None if ttl is None else parse_duration(ttl, "ttl")
    trace, readings = load(
        paths, columns=columns, most=most, default_ttl=life, progress=_step(progress, "reading", "bytes")
    )
    tried = sizes_for(max(trace.footprint, LEAST_MEMORY)) if sizes is None else sizes
    curves = simulate(trace, policies, sizes=tried, progress=_step(progress, "simulating", "runs"))
    memory = advice.best_size(
        curves,
        memory_price=assumed.memory_price,
        processes=assumed.processes,
        least=LEAST_MEMORY if sizes is None else 0,
    )
    room = memory.bytes if memory_bytes is None else memory_bytes
    redis = REDIS_TIMES * room if redis_bytes is None else redis_bytes
    tiers, without = traffic(trace, memory.policy, room, redis), traffic(trace, memory.policy, room)
    held = stored(trace, without)
    classes, fewer = (_classes(stored(trace, one), assumed) for one in (without, tiers))
    lives = lifetimes(trace)
    return Plan(
        log=_log(trace, readings, lives),
        assumptions=assumed,
        curves=curves,
        memory=memory,
        tiers_memory=room,
        redis_bytes=redis,
        tiers=tiers,
        without_redis=without,
        held=held,
        classes=classes,
        lifetimes=lives,
        cautions=cautions(trace.requests, trace.span),
        advice=[
            advice.memory_sentence(memory, curves, assumed.memory_price),
            advice.redis_sentence(
                tiers,
                without,
                redis,
                redis / GB * assumed.redis_price,
                advice.chosen(classes).total - advice.chosen(fewer).total,
            ),
            advice.class_sentence(classes, assumed.store),
            advice.ttl_sentence(lives, trace.span),
            advice.computed_sentence(
                without,
                trace.seconds,
                trace.cost if assumed.miss_cost is None else assumed.miss_cost,
                pace=f" (extrapolated from {advice.shown_seconds(trace.span)})" if trace.span < SHORT else "",
            ),
        ],
    )


def _classes(held: Stored, assumed: Assumptions) -> list[ClassCost]:
    return class_costs(
        held,
        store=assumed.store,
        segment=assumed.segment,
        flush_after=parse_duration(assumed.flush_after, "flush_after"),
        processes=assumed.processes,
    )


def _log(trace: Trace, readings: Sequence[Reading], lives: Lifetimes) -> Log:
    left_out: dict[str, int] = {}
    for reading in readings:
        for reason, count in reading.bad.items():
            left_out[reason] = left_out.get(reason, 0) + count
    return Log(
        accesses=trace.accesses,
        reads=trace.requests,
        entries=trace.entries,
        footprint=trace.footprint,
        start=trace.times[0],
        span=trace.span,
        rate=trace.rate,
        left_out=left_out,
        told="\n".join(filter(None, map(str, readings))),
        can_hit=lives.without,
    )


def _step(progress: Callable[[str, int, int], None] | None, name: str, unit: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, whole: progress(name, done, whole)
