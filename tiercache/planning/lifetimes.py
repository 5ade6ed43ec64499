"""What each TTL would cost in hits, told by when values are asked for again after they were stored."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from .trace import DELETE, GET, LOOK, Trace

LADDER = (60.0, 300.0, 900.0, 3600.0, 6 * 3600.0, 86_400.0, 3 * 86_400.0, 7 * 86_400.0, 30 * 86_400.0, 90 * 86_400.0)
"""Seconds: the TTLs that are tried."""
KEPT = 0.99
"""The share of the hits that a recommended TTL keeps."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What a TTL does, in a memory without bounds.

    Attributes:
        ttl: seconds.
        hit_ratio: hits / reads with it.
        kept: the share of the hits that there are without a TTL.
        entries: that are there on average.
    """

    ttl: float
    hit_ratio: float
    kept: float
    entries: float


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The TTLs that the log can tell about, and the one to choose.

    Attributes:
        tried: those shorter than the log.
        without: hits / reads when nothing expires.
        chosen: the shortest that keeps 99 % of the hits; None: the log is too short to tell, or a longer one loses.
        repeats: seconds after which half, nine tenths and 99 of 100 of the repeated reads had come, since the read
            before.
    """

    tried: tuple[Lifetime, ...]
    without: float
    chosen: Lifetime | None
    repeats: tuple[float, float, float]


def lifetimes(trace: Trace) -> Lifetimes:
    """Try the TTLs of the ladder on the accesses."""
    reads, hits = 0, 0
    written = [dict[int, float]() for _ in LADDER]
    kept_hits, lived = [0] * len(LADDER), [0.0] * len(LADDER)
    last: dict[int, float] = {}
    gaps: list[float] = []
    for now, key, kind in zip(trace.times, trace.keys, trace.kinds, strict=True):
        if kind == DELETE:
            last.pop(key, None)
            for since in written:
                since.pop(key, None)
            continue
        if kind in (GET, LOOK):
            reads += 1
            before = last.get(key)
            if before is not None:
                hits += 1
                gaps.append(now - before)
        last[key] = now
        for place, ttl in enumerate(LADDER):
            since = written[place]
            start = since.get(key)
            if start is not None and now - start < ttl and kind in (GET, LOOK):
                kept_hits[place] += 1
            else:
                if start is not None:
                    lived[place] += min(ttl, now - start)
                since[key] = now
    for place, ttl in enumerate(LADDER):
        lived[place] += sum(min(ttl, trace.times[-1] - start) for start in written[place].values())
    usable = bisect_left(LADDER, trace.span / 2)
    tried = tuple(
        Lifetime(
            ttl,
            kept_hits[place] / reads if reads else 0.0,
            kept_hits[place] / hits if hits else 1.0,
            lived[place] / trace.span / trace.rate if trace.span else 0.0,
        )
        for place, ttl in enumerate(LADDER[:usable])
    )
    chosen = next((one for one in tried if one.kept >= KEPT), None) if hits else None
    gaps.sort()
    repeats = tuple(gaps[min(len(gaps) - 1, int(len(gaps) * share))] if gaps else 0.0 for share in (0.5, 0.9, 0.99))
    return Lifetimes(tried, hits / reads if reads else 0.0, chosen, (repeats[0], repeats[1], repeats[2]))
