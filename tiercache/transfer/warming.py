"""`warm`: entries come up into the fast tiers of a chain, as far as these have room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from ..cache import Cache
from ..errors import ConfigurationError
from ..flow import drive
from ..flows.batch import read_many
from ..flows.read import head
from ..keys import check_key
from ..tier import Tier
from ..units import Size, parse_size

BATCH = 500
"""Entries that come up together, at most."""
FIRST = 16
"""Entries of the first batch, which shows what entries take above."""
BATCH_BYTES = 8 * 2**20
"""Stored bytes that come up together, as far as a listing tells them."""
FULL = 0.95
"""The share of a tier's room up to which it is filled: beyond, it would evict for it what is used."""


@dataclass(frozen=True, slots=True)
class WarmReport:
    """What warming did, so far or in all.

    Attributes:
        examined: keys that were looked at.
        warmed: entries that came up.
        warm: entries that were up already.
        missing: keys of which no tier has a fresh entry.
        bytes: of the payloads that came up; in a dry run, stored bytes that would.
        stopped: why it ended before all keys were looked at: `full` or `limit`; None: it did not.
        total: how many keys there are, if that is known.
    """

    examined: int = 0
    warmed: int = 0
    warm: int = 0
    missing: int = 0
    bytes: int = 0
    stopped: str | None = None
    total: int | None = None

    def __str__(self) -> str:
        ends = {"full": "; the fast tiers are full", "limit": "; the limit is reached", None: ""}[self.stopped]
        return (
            f"{self.warmed:,} entries came up, {self.bytes:,} bytes; {self.warm:,} were up already, "
            f"{self.missing:,} are in no tier{ends}"
        )


def warm(
    cache: Cache,
    keys: Iterable[str] | None = None,
    *,
    prefix: str = "",
    limit: int | None = None,
    max_bytes: Size | None = None,
    dry_run: bool = False,
    progress: Callable[[WarmReport], object] | None = None,
) -> WarmReport:
    """Copy entries of a cache up into all of its faster tiers, until these are full to 95 %.

    `Cache.warm` does the same for keys that are known to fit. How much a tier holds, and may hold, memory and disk
    tell; for others (Redis) `max_bytes` is the bound. What is up already stays.

    Args:
        cache: whose chain has two tiers at least.
        keys: in the cache's namespace; None: all that the slowest tier lists.
        prefix: of the keys that are listed.
        limit: entries that come up, at most.
        max_bytes: bytes that come up, at most.
        dry_run: only count: what a listing tells would come up (which is up already, it does not know).
        progress: called with the report so far, after each batch.

    Raises:
        BackendError: a tier failed, and the chain is strict.
        ConfigurationError: the chain has no tier above its slowest, or an option has no such value.
    """
    tiers = cache.chain.tiers
    if len(tiers) < 2 or all(tier.write == "never" for tier in tiers[:-1]):
        raise ConfigurationError("there is no faster tier to bring entries up to: the chain needs two")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ConfigurationError("limit must be a whole number from 1 on, or None for all")
    if keys is not None and prefix:
        raise ConfigurationError("give keys or a prefix, not both")
    budget = None if max_bytes is None else parse_size(max_bytes, "max_bytes")
    total = len(keys) if isinstance(keys, (list, tuple, set, dict)) else None
    warming = _Warming(cache, limit, budget, dry_run, WarmReport(total=total))
    wanted = _listed(cache, prefix) if keys is None else ((check_key(key), None) for key in keys)
    for report in warming.run(wanted):
        if progress is not None:
            progress(report)
    return warming.report


class _Warming:
    def __init__(self, cache: Cache, limit: int | None, budget: int | None, dry_run: bool, report: WarmReport) -> None:
        self.report = report
        self._chain = cache.chain
        self._prefix = f"{cache.namespace}:"
        self._limit, self._budget, self._dry_run = limit, budget, dry_run
        self._growth, self._mean = 1.0, 1.0
        self._held: tuple[str, int | None] | None = None  # the next key, for which there was no room in a batch

    def run(self, wanted: Iterator[tuple[str, int | None]]) -> Iterator[WarmReport]:
        while batch := self._next(wanted):
            before = self._room()
            self.report = replace(self.report, examined=self.report.examined + len(batch))
            if self._dry_run:
                self._count(batch)
            else:
                self._bring_up([key for key, _ in batch])
                self._learn(batch, before)
            yield self.report

    def _next(self, wanted: Iterator[tuple[str, int | None]]) -> list[tuple[str, int | None]]:
        """The next keys, as many as there is room for, which is told in the report when there is none."""
        room, most = self._room(), BATCH if self._dry_run or self.report.examined else FIRST
        if self._limit is not None:
            most = min(most, self._limit - self.report.warmed)
        batch: list[tuple[str, int | None]] = []
        size = 0.0
        for key, stored in chain([self._held] if self._held is not None else [], wanted):
            self._held = None
            takes = self._estimate(stored)
            full = room is not None and takes > room
            if full or len(batch) >= most or size >= BATCH_BYTES or (room is not None and batch and size > room / 2):
                self._held = key, stored
                if not batch:
                    self.report = replace(self.report, stopped="full" if full else "limit")
                break
            batch.append((key, stored))
            size += takes
        return batch

    def _estimate(self, stored: int | None) -> float:
        """Bytes that an entry takes above, going by those that came up: it is not compressed in memory."""
        return (stored or self._mean) * (1.0 if self._dry_run else self._growth)

    def _learn(self, batch: list[tuple[str, int | None]], before: int | None) -> None:
        after = self._room()
        if before is None or after is None or after >= before:
            return
        stored = sum(size for _, size in batch if size is not None)
        if stored:
            self._growth = max(self._growth, (before - after) / stored)
        else:
            self._mean = max(self._mean, (before - after) / len(batch))

    def _room(self) -> int | None:
        """Bytes that may still come up; None: nobody knows a bound."""
        rooms = [room for tier in self._chain.tiers[:-1] if (room := room_of(tier)) is not None]
        if self._dry_run:  # nothing comes up, so nobody counts it
            rooms = [room - self.report.bytes for room in rooms]
        if self._budget is not None:
            rooms.append(self._budget - self.report.bytes)
        return min(rooms, default=None)

    def _bring_up(self, keys: list[str]) -> None:
        report = self.report
        found = drive(read_many(self._chain, [self._prefix + key for key in keys], warming=True))
        highest = next(tier for tier in self._chain.tiers if tier.write != "never")
        came = [one for one in found.values() if one.tier is not highest]
        self.report = replace(
            report,
            warmed=report.warmed + len(came),
            warm=report.warm + len(found) - len(came),
            missing=report.missing + len(keys) - len(found),
            bytes=report.bytes + sum(len(one.entry.payload) for one in came),
        )

    def _count(self, batch: list[tuple[str, int | None]]) -> None:
        for key, stored in batch:
            report = self.report
            size = stored
            if size is None:
                found = drive(head(self._chain, self._prefix + key))
                if found is None:
                    self.report = replace(report, missing=report.missing + 1)
                    continue
                if found[1] is not self._chain.tiers[-1]:
                    self.report = replace(report, warm=report.warm + 1)
                    continue
                size = found[0].stored_size or found[0].size
            self.report = replace(report, warmed=report.warmed + 1, bytes=report.bytes + size)


def room_of(tier: Tier) -> int | None:
    """Return the bytes that a tier takes before it is nearly full; None: it does not tell, or takes nothing."""
    most, usage = getattr(tier.backend, "max_bytes", None), getattr(tier.backend, "usage", None)
    if not isinstance(most, int) or usage is None or tier.write == "never":
        return None
    used: int = usage()[1]
    return max(0, int(most * FULL) - used)


def _listed(cache: Cache, prefix: str) -> Iterator[tuple[str, int | None]]:
    """The keys of the slowest tier, with their stored sizes."""
    start = f"{cache.namespace}:"
    for key, metadata in cache.chain.tiers[-1].backend.scan(start + prefix):
        yield key[len(start) :], metadata.stored_size or metadata.size
