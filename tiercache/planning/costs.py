"""What the object store costs a month, in each storage class and layout, at the log's pace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from ..config import find_backend
from ..errors import ConfigurationError
from ..pricing import DAY, MONTH, discovery_cost, monthly_cost
from ..units import parse_size
from .trace import FILL, GET, SET, Trace
from .traffic import STORE, Traffic

if TYPE_CHECKING:
    from ..objectstore.classes import ClassRules

ONE = "one object each"
PACKED = "packed"
REFRESH = 60.0
"""Seconds from look to look for other processes' segments, as `PackedBackend` does it."""


@dataclass(frozen=True, slots=True)
class ClassCost:
    """What one class and layout costs, in US dollars a month.

    Attributes:
        storage_class: as the store calls it.
        layout: `one object each` or `packed`.
        total: all of it.
        storage, requests, other: what is stored; reads, writes and listings; retrieval and uploads.
        note: what else to know before choosing it.
        is_estimate: whether a price in it could not be confirmed.
        choosable: whether it can be recommended without asking: neither one zone nor a bucket of its own.
    """

    storage_class: str
    layout: str
    total: float
    storage: float
    requests: float
    other: float
    note: str
    is_estimate: bool
    choosable: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store holds in a month, and what is asked of it.

    Attributes:
        entries: on average, in the first month.
        entry_bytes: of one.
        reads, hits, writes: in the month.
        lifetime: seconds that an entry lives; None: for ever.
    """

    entries: float
    entry_bytes: int
    reads: float
    hits: float
    writes: float
    lifetime: float | None


def stored(trace: Trace, traffic: Traffic) -> Stored:
    """Return what a month of such traffic leaves in the store.

    Entries that expire are as many as the log has on average. Of those that do not, new ones go on coming as they did
    in the log's second half; counted is the average of the first month.
    """
    flow = traffic.of(STORE)
    lifetime = _lifetime(trace)
    entries = traffic.entries
    days = trace.span / DAY
    if lifetime is not None and 0 < trace.span < lifetime:
        entries = min(flow.writes * min(1.0, lifetime / DAY / MONTH), flow.writes)
    elif lifetime is None and 0 < days < MONTH:
        entries = trace.entries + _pace(trace) * (MONTH - days) / 2
    return Stored(entries, max(1, round(traffic.entry_bytes)), flow.reads, flow.hits, flow.writes, lifetime)


def class_costs(held: Stored, *, store: str, segment: int | str, flush_after: float, processes: int) -> list[ClassCost]:
    """Return the costs, the cheapest first.

    Args:
        held: what the store holds and does.
        store: the scheme of an object store: `s3`, `gs` or `az`.
        segment: bytes of a packed segment; where less is written within `flush_after` seconds, a segment has that.
        flush_after: see there.
        processes: that write packed segments and look for each other's.

    Raises:
        ConfigurationError: the scheme has no storage classes.
        MissingExtra: its package is not installed.
    """
    rules: Mapping[str, Any] = getattr(find_backend(store), "rules", {})
    if not rules:
        raise ConfigurationError(f"{store}:// has no storage classes; choose s3, gs or az")
    usable: list[ClassRules] = [one for one in rules.values() if not one.refused and one.prices is not None]
    size = parse_size(segment, "segment")
    trickle = held.writes * held.entry_bytes / (MONTH * DAY) * flush_after / processes
    real = int(min(size, max(trickle, held.entry_bytes + 1)))
    costs = [_cost(one, held, None, processes) for one in usable]
    costs += [_cost(one, held, real, processes) for one in usable]
    return sorted(costs, key=lambda cost: cost.total)


def _cost(rules: ClassRules, held: Stored, segment: int | None, processes: int) -> ClassCost:
    reads = held.reads if segment is None else held.hits  # the catalogue of a packed store answers misses
    base = monthly_cost(
        rules,
        entries=held.entries,
        size=held.entry_bytes,
        reads=reads,
        writes=held.writes,
        lifetime=held.lifetime,
        segment=segment,
    )
    lists, tails = 0.0, 0.0
    if segment is not None:
        looks = discovery_cost(
            rules,
            processes=processes,
            refresh=REFRESH,
            segments=held.writes * held.entry_bytes / segment,
            entries=held.writes,
        )
        lists, tails = looks.lists + looks.reads, looks.retrieval
    requests, other = base.reads + base.writes + lists, base.retrieval + base.upload + tails
    return ClassCost(
        rules.name,
        ONE if segment is None else PACKED,
        base.storage + requests + other,
        base.storage,
        requests,
        other,
        rules.note,
        base.is_estimate,
        not rules.exclusive and not rules.note,
    )


def _lifetime(trace: Trace) -> float | None:
    """Return how long most entries live from when they are stored: a hit that a cache recorded tells only the rest."""
    stores = [life for life, kind in zip(trace.lives, trace.kinds, strict=True) if kind in (SET, FILL)]
    told = stores or [life for life, kind in zip(trace.lives, trace.kinds, strict=True) if kind == GET]
    lives = [life for life in told if life != inf]
    return sum(lives) / len(lives) if len(lives) * 2 > len(told) else None


def _pace(trace: Trace) -> float:
    """Return how many new keys a day came in the second half of the log."""
    half = trace.times[0] + trace.span / 2
    first = {key for now, key in zip(trace.times, trace.keys, strict=True) if now < half}
    new = len(set(trace.keys) - first)
    return new / trace.rate / (trace.span / 2 / DAY)
