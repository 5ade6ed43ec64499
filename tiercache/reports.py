"""`Report`: what a process tells others of its counters, and how they are summed up.

A chain with `report=True` writes one every few seconds into a tier that other processes see (`tiercache.reporting`),
below `_meta:report:`. There are counters, names of tiers, namespaces and models in it; no keys and no values.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

import msgspec

from .backend import Backend
from .disk import DiskBackend
from .entry import Entry, Metadata
from .errors import CorruptEntry, PartialFailure, UnknownFormat
from .report_places import PREFIX, keys_in
from .savings import Saving, Savings
from .stats import Histogram, Stats, TierStats, latency
from .tier import FAILURES, Tier

if TYPE_CHECKING:
    from .chain import TierChain

Scope = Literal["process", "host", "all"]
"""Who sees the same store: this process (memory), those of its machine (disk), or all."""
_VERSION = 1
_PAGE = 500
Breaker = Literal["closed", "half-open", "open"]
_BREAKERS: tuple[str, ...] = get_args(Breaker)
Buckets = dict[Annotated[int, msgspec.Meta(ge=0, le=400)], Annotated[int, msgspec.Meta(ge=0)]]
"""Those of a `tiercache.stats.Histogram`; what has others is no report, and cannot be summed."""
T = TypeVar("T")


class Saved(msgspec.Struct, array_like=True, frozen=True):
    """A `tiercache.savings.Saving`, as numbers that can be summed."""

    calls: float = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    unpriced: float = 0
    seconds: float = 0.0


class CacheCounts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one cache counted, by the names of `Stats`; `savings` by model and tier."""

    hits: int = 0
    misses: int = 0
    puts: int = 0
    deletes: int = 0
    computed: int = 0
    uncacheable: int = 0
    served_stale: int = 0
    refreshes: int = 0
    refreshes_dropped: int = 0
    refresh_failures: int = 0
    timeouts: int = 0
    savings: dict[str, dict[str, Saved]] = {}


class TierCounts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one tier counted, by the names of `TierStats`; `read` and `write` count durations by bucket."""

    hits: int = 0
    misses: int = 0
    puts: int = 0
    deletes: int = 0
    promotions: int = 0
    skipped: int = 0
    refused: int = 0
    retries: int = 0
    dropped: int = 0
    shadow_equal: int = 0
    shadow_different: int = 0
    shadow_absent: int = 0
    errors: dict[str, int] = {}
    evictions: dict[str, int] = {}
    read: Buckets = {}
    write: Buckets = {}


class TierNow(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one tier stands at the moment, by the names of `TierStats`."""

    scope: Scope = "all"
    breaker: Breaker | None = None
    switch: str = "on"
    queued: int = 0
    missed: int = 0
    entries: int | None = None
    bytes: int | None = None


class Counts(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that only grows: caches by namespace (`*`: further ones together), tiers by name."""

    caches: dict[str, CacheCounts] = {}
    tiers: dict[str, TierCounts] = {}


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one process told of one chain. Times are Unix seconds.

    Attributes:
        id: of the chain in its process; a forked child has another one.
        host, pid: the process.
        started_at: when the chain was made, or the process was forked.
        written_at: when this was told.
        until: when it is gone, if nothing newer is told.
        ended: whether the chain was closed since.
        release: the version of tiercache.
        counts: since the start, or the last reset.
        now: how the tiers stand, by name.
    """

    version: int = msgspec.field(name="v", default=_VERSION)
    id: str = ""
    host: str = ""
    pid: int = 0
    started_at: float = 0.0
    written_at: float = 0.0
    until: float = 0.0
    ended: bool = False
    release: str = ""
    counts: Counts = Counts()
    now: dict[str, TierNow] = {}

    @property
    def namespaces(self) -> list[str]:
        """The namespaces of its caches."""
        return sorted(self.counts.caches)

    @property
    def stats(self) -> Stats:
        """The figures of all its caches together, and of its tiers."""
        return total([self])

    def of(self, namespace: str) -> Report | None:
        """Return the report of one namespace alone (its tiers are those of the whole chain); None: it has no such."""
        found = self.counts.caches.get(namespace)
        if found is None:
            return None
        return msgspec.structs.replace(self, counts=Counts({namespace: found}, self.counts.tiers))


class Look(msgspec.Struct, frozen=True):
    """What `look` found.

    Attributes:
        reports: the oldest process first.
        unreadable: how many there were that could not be read: sealed with a key that is not at hand, of another
            release, damaged.
    """

    reports: list[Report]
    unreadable: int = 0


def read_reports(chain: TierChain) -> list[Report]:
    """Return what processes tell of themselves in the tiers of this chain, the oldest process first.

    Costs a listing and a batch read in each tier that is not memory; in Redis, which would walk through all its keys
    for a listing, reads of the 4,096 places in which reports may lie. A process that was killed is seen for a minute,
    or three in an object store. Where a tier fails, it is left out, unless the chain is strict; what cannot be read is
    left out, too.
    """
    return look(chain).reports


def look(chain: TierChain) -> Look:
    """`read_reports`, with the number of those that could not be read."""
    newest: dict[str, Report] = {}
    unreadable = 0
    for tier in chain.tiers:
        if not tier.persists:
            continue
        try:
            found, failed = _told_in(tier)
        except Exception as error:  # noqa: BLE001 - sorted by the tier, as for every other call
            failure = tier.failed(error)
            if chain.strict or not isinstance(failure, FAILURES):
                raise failure from failure.__cause__
            continue
        unreadable += failed
        for report in found:
            known = newest.get(report.id)
            if known is None or known.written_at < report.written_at:
                newest[report.id] = report
    return Look(sorted(newest.values(), key=lambda report: (report.started_at, report.id)), unreadable)


def _told_in(tier: Tier) -> tuple[list[Report], int]:
    keys = keys_in(beneath(tier.backend))
    found: list[Report] = []
    failed = 0
    for start in range(0, len(keys), _PAGE):
        try:
            entries = tier.backend.get_many(keys[start : start + _PAGE])
        except PartialFailure as error:
            others = [each for each in error.failed.values() if not isinstance(each, CorruptEntry)]
            if others:
                raise others[0] from error
            entries, failed = error.results, failed + len(error.failed)
        for entry in entries.values():
            try:
                found.append(from_entry(entry))
            except CorruptEntry:
                failed += 1
    return found, failed


def total(reports: Iterable[Report]) -> Stats:
    """Return the sum of what processes counted: percentiles are those of all their calls together.

    What a tier holds is counted once where several processes see the same store. A breaker is `open` where that of any
    process is; None where none has one. Where processes use a tier differently, `switch` has it all, with `|` between.
    """
    every = list(reports)
    caches = _sum(CacheCounts(), [cache for report in every for cache in report.counts.caches.values()])
    names = {name: None for report in every for name in (*report.counts.tiers, *report.now)}
    plain = {name: getattr(caches, name) for name in CacheCounts.__struct_fields__ if name != "savings"}
    rows = {
        (model, tier): Saving(*msgspec.structs.astuple(saved))
        for model, tiers in caches.savings.items()
        for tier, saved in tiers.items()
    }
    tiers = {name: _tier(name, every) for name in names}
    return Stats(**plain, tiers=tiers, savings=Savings(_only_namespace(every), rows))


def _only_namespace(reports: Sequence[Report]) -> str:
    names = {name for report in reports for name in report.counts.caches}
    return names.pop() if len(names) == 1 else ""


def _tier(name: str, reports: Sequence[Report]) -> TierStats:
    counts = _sum(TierCounts(), [report.counts.tiers[name] for report in reports if name in report.counts.tiers])
    living = [(report, report.now[name]) for report in reports if name in report.now]
    plain = {each: getattr(counts, each) for each in TierCounts.__struct_fields__ if each not in ("read", "write")}
    return TierStats(
        **plain,
        breaker=max((now.breaker for _, now in living if now.breaker), key=_BREAKERS.index, default=None),
        switch=" | ".join(sorted({now.switch for _, now in living})) or "on",
        queued=sum(now.queued for _, now in living),
        missed=sum(now.missed for _, now in living),
        entries=_held(living, lambda now: now.entries),
        bytes=_held(living, lambda now: now.bytes),
        read=latency(Histogram.of(counts.read)),
        write=latency(Histogram.of(counts.write)),
    )


def _held(living: Sequence[tuple[Report, TierNow]], figure: Callable[[TierNow], int | None]) -> int | None:
    """Sum what stores hold: of those who see the same one, who told last knows best."""
    stores: dict[str, tuple[float, int]] = {}
    for report, now in living:
        held = figure(now)
        if held is None or (report.ended and now.scope == "process"):
            continue
        store = {"process": report.id, "host": report.host, "all": ""}[now.scope]
        stores[store] = max(stores.get(store, (0.0, 0)), (report.written_at, held))
    return sum(held for _, held in stores.values()) if stores else None


def _sum(nothing: T, parts: Iterable[T]) -> T:
    result = nothing
    for part in parts:
        result = combined(operator.add, result, part)
    return result


def combined(function: Callable[[Any, Any], Any], one: T, other: T) -> T:
    """Apply a function of two numbers to all the numbers in two structs or dicts; what is missing in one is 0."""
    kind: Any = type(one)
    if isinstance(one, msgspec.Struct):
        return kind(*(combined(function, getattr(one, n), getattr(other, n)) for n in one.__struct_fields__))  # type: ignore[no-any-return]
    if isinstance(one, dict) and isinstance(other, dict):
        keys = dict.fromkeys([*one, *other])
        return {key: _pair(function, one.get(key), other.get(key)) for key in keys}  # type: ignore[return-value]
    return function(one, other)  # type: ignore[no-any-return]


def _pair(function: Callable[[Any, Any], Any], one: Any, other: Any) -> Any:
    present = other if one is None else one
    nothing: Any = 0 if isinstance(present, (int, float)) else type(present)()
    return combined(function, nothing if one is None else one, nothing if other is None else other)


def scope_of(tier: Tier) -> Scope:
    """Return who sees what the tier holds."""
    if tier.local or not tier.persists:
        return "process"
    return "host" if isinstance(tier.backend, DiskBackend) else "all"


def beneath(backend: Backend) -> Backend:
    """Return the store that holds the library's own entries: to ask it takes no catalogue of segments."""
    from .packed import PackedBackend  # a fifth of what importing tiercache takes

    return backend.inner if isinstance(backend, PackedBackend) else backend


def to_entry(report: Report, key: str | None = None) -> Entry:
    """Return the entry that a tier keeps; without a key, under the one that the report's id stands for."""
    payload = msgspec.msgpack.encode(report)
    key = PREFIX + report.id if key is None else key
    metadata = Metadata(
        key=key, created_at=report.written_at, expires_at=report.until, codec="msgpack", size=len(payload)
    )
    return Entry(payload, metadata)


def from_entry(entry: Entry) -> Report:
    """Return the report in an entry.

    Raises:
        UnknownFormat: a later release wrote it.
        CorruptEntry: it is none.
    """
    try:
        report = _decode(entry.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        raise CorruptEntry("what a process tells of its counters cannot be read") from None
    if report.version != _VERSION:
        raise UnknownFormat(f"a report has version {report.version}, this release reads {_VERSION}")
    return report


def age(report: Report, now: float | None = None) -> float:
    """Seconds since it was told."""
    return max(0.0, (time.time() if now is None else now) - report.written_at)


_decode = msgspec.msgpack.Decoder(Report).decode
