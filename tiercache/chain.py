"""`TierChain`: tiers from fast to slow, and what their flows share."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from weakref import WeakValueDictionary

from .backend import Backend
from .coherence.lease import Leases
from .coherence.listening import Coherence
from .coherence.news import News
from .coherence.telling import Teller
from .computing.pauses import Pauses
from .computing.singleflight import Flights
from .entry import Clock, Entry, check_clock
from .epochs.refresher import Refresher
from .epochs.table import Epochs
from .errors import ConfigurationError, TiercacheError
from .fence import Fence
from .flow import Gather, adrive, drive
from .journal.drainer import Drainer
from .journal.hearsay import Hearsay
from .journal.missed import KEY as MISSED
from .journal.missed import Missed
from .memory import MemoryBackend, Slot
from .objectstore.classes import choices
from .pool import DaemonPool
from .recording import MAX_BYTES, Recorder
from .reporting import Reporter
from .sealing.keyring import KeyRing
from .sealing.sealed import seal
from .shutdown import Draining, watch
from .switches import Switches, shown
from .tier import Tier
from .units import Duration, Size, parse_duration

DRAIN_TIMEOUT = 5.0
EPOCH_REFRESH = 30.0
"""Seconds between two looks at what other processes invalidated."""


@dataclass(frozen=True, slots=True)
class TierHealth:
    """Whether a tier answers now, and if not, why and what to do.

    Attributes:
        name: the tier's.
        ok: whether it answered.
        error: what kept it from that.
        breaker: `closed`, `open` or `half-open`, after this look; None: the tier has none.
        open_for: seconds since the breaker opened; None: it is closed.
        switch: what the tier is used for, such as `on` or `off; docs: read-only` (see `TierChain.switches`).
    """

    name: str
    ok: bool
    error: str | None = None
    breaker: str | None = None
    open_for: float | None = None
    switch: str = "on"


class TierChain:
    """Tiers from fast to slow. A hit is copied up; a write goes to all; a tier that fails is skipped.

    Args:
        tiers: backends or `Tier`s, the fastest first. None at all: everything is a miss.
        strict: raise the errors of tiers to the caller, in place of counting them and going on.
        clock: returns Unix seconds; tests pass their own.
        epoch_refresh: after how long this process has seen what another one invalidated, at the latest: how often the
            persistent tiers are asked for it (one GET a namespace and tier); None: once, at the first use.
        keys: seal what every tier but memory stores, encrypted unless the ring says otherwise; None: nothing is.
        coherent: tell other processes of changes, and drop from memory what they change, through a tier that carries
            notices (Redis). False: other processes' changes are seen when an entry leaves memory.
        lease: how long one process at a time may compute a missing key, by a lease in Redis, while the others wait for
            its value, such as `"30s"`: those that waited so long compute for themselves. None, or no Redis in the
            chain: each computes.
        record: write which keys are asked for into this file, for `tiercache plan` (see `record`); None: do not.
        record_sample: the share of the keys that is recorded.
        report: tell other processes every 10 s what this one counted, through the first tier that they share, for
            `tiercache stats` and `read_reports` (see docs/operating.md). No keys, no values.

    Attributes:
        switches: what each tier is used for, changed while the process runs (see `tiercache.switches`).
        on_cache: functions that are called with each cache that is made on this chain from then on.

    Raises:
        ConfigurationError: something is no backend, an option has no such value, two tiers have one name, a
            backend stands in it twice, or one cannot seal its entries and there are keys.
    """

    def __init__(
        self,
        *tiers: Tier | Backend,
        strict: bool = False,
        clock: Clock = time.time,
        epoch_refresh: Duration | None = EPOCH_REFRESH,
        keys: KeyRing | None = None,
        coherent: bool = True,
        lease: Duration | None = None,
        record: str | os.PathLike[str] | None = None,
        record_sample: float = 1.0,
        report: bool = False,
    ) -> None:
        for name, flag in (("strict", strict), ("coherent", coherent), ("report", report)):
            if not isinstance(flag, bool):
                raise ConfigurationError(f"{name} must be True or False, not of type {type(flag).__name__}")
        check_clock(clock)
        self.tiers: tuple[Tier, ...] = tuple(tier if isinstance(tier, Tier) else Tier(tier) for tier in tiers)
        self.is_single = len(self.tiers) == 1
        self.strict = strict
        self.clock = clock
        self.flights = Flights()
        self.epochs = Epochs(self.tiers, clock, self.flights)
        self.refresher = Refresher(
            self.epochs, None if epoch_refresh is None else parse_duration(epoch_refresh, "epoch_refresh")
        )
        self.fence = Fence(self.epochs.moment)
        self.background = DaemonPool(8, "tiercache-promotion")
        # Nothing waits in this one: a caller whose flow finds no thread runs it in its own.
        self.side_by_side = DaemonPool(32, "tiercache-chain", max_queue=0)
        self.factories = DaemonPool(64, "tiercache-factory", max_queue=sys.maxsize)
        self.refreshes = DaemonPool(16, "tiercache-refresh", max_queue=0)  # one that finds no thread is dropped
        self.pauses = Pauses()
        self.missed = Missed(self.tiers, clock)
        self.missed.lacks_marks = self.epochs.is_behind
        self.hearsay = Hearsay(self.missed, self.side_by_side)
        self.guard = self._guard()
        if self.guard is not None:
            self.guard.is_fence = True
        self.drainer = Drainer(self.tiers, self.guard)
        self._name_tiers()
        self.switches = Switches(self.tiers)
        self.recorder: Recorder | None = None
        if keys is not None:
            seal([tier.backend for tier in self.tiers if not tier.local], keys)
        self.leases = Leases(self.tiers, None if lease is None else parse_duration(lease, "lease"), self.background)
        self.teller = Teller(self.tiers, wanted=coherent, clock=clock, pool=self.background)
        self.epochs.announce.append(self.teller.invalidated)
        self.news = News(self.tiers, self.teller, self.background)
        self.coherence = Coherence(
            self.tiers, self.teller, self.fence, self.flights, self.leases, self.epochs, self.news
        )
        self.coherence.watched[MISSED] = self.missed.doubt_all
        self.on_cache: list[Callable[[Any], object]] = []
        self._caches: WeakValueDictionary[int, Any] = WeakValueDictionary()
        if record is not None:
            self.record(record, sample=record_sample)
        self.reporter = Reporter(self.tiers, clock) if report else None
        if self.reporter is not None:
            self.reporter.ends_with(self)
        watch(self)

    @classmethod
    def from_urls(
        cls,
        *urls: str,
        strict: bool = False,
        epoch_refresh: Duration | None = EPOCH_REFRESH,
        keys: KeyRing | None = None,
        coherent: bool = True,
        lease: Duration | None = None,
        record: str | os.PathLike[str] | None = None,
        record_sample: float = 1.0,
        report: bool = False,
    ) -> TierChain:
        """Return a chain from text: `"memory://?max_bytes=256MiB", "redis://host:6379/0", "s3://bucket/prefix/"`.

        The query holds the options of the backend and of its tier (`timeout`, `promote`, `write`,
        `queue_entries`, `queue_bytes`, `when_full`, `max_ttl`, `max_entry_bytes`, `breaker`, `name`).

        Raises:
            ConfigurationError: an unknown scheme or option, an extra that is not installed, or no URL at all.
        """
        if not urls:
            raise ConfigurationError(
                "from_urls() needs at least one URL, such as 'memory://'; TierChain() has no tiers"
            )
        from .config import tier_from_url

        tiers = map(tier_from_url, urls)
        return cls(
            *tiers,
            strict=strict,
            epoch_refresh=epoch_refresh,
            keys=keys,
            coherent=coherent,
            lease=lease,
            record=record,
            record_sample=record_sample,
            report=report,
        )

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Self:
        """Return the chain that a TOML file describes: `[chain]`, `[[tiers]]`, `[switches]`.

        `docs/configuration.md` lists the options. Text such as `env:NAME` or `file:/path` stands for what a variable
        or a file holds, a relative path beginning at the file's directory.

        Raises:
            ConfigurationError: the file cannot be read, or says something that means nothing; the message names the
                file, the line and what to do, and shows no secret.
        """
        from .config.loading import chain_from_toml

        return chain_from_toml(path, cls)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Return the chain that environment variables describe.

        `TIERCACHE_URLS` holds the URLs of all tiers, with white space in between, or `TIERCACHE_CONFIG` names a TOML
        file. `TIERCACHE_STRICT`, `TIERCACHE_LEASE` and so on hold the options; they come before what the file says, as
        `TIERCACHE_URLS` does. `TIERCACHE_KEYS` holds keys (see `KeyRing.from_env`), `TIERCACHE_SWITCHES` switches, as
        in `s3=off redis/search=shadow`. Any of them may be `env:NAME` or `file:/path`. What is empty counts as not set.

        Args:
            environ: the variables; None: those of this process.

        Raises:
            ConfigurationError: a variable says something that means nothing, is nearly the name of one, or none says
                which tiers there are; the message names it and shows no secret.
        """
        from .config.loading import chain_from_env

        return chain_from_env(environ, cls)

    def serves(self, cache: Any) -> None:
        """A cache on this chain tells of itself; those who wait for one (`on_cache`) hear of it."""
        self._caches[id(cache)] = cache
        for hear in list(self.on_cache):
            hear(cache)

    @property
    def caches(self) -> list[Any]:
        """The caches on this chain that are in use."""
        return [cache for reference in self._caches.valuerefs() if (cache := reference()) is not None]

    @property
    def memory(self) -> MemoryBackend | None:
        """The backend of the first tier, if that is memory: it is asked before any flow starts."""
        first = self.tiers[0].backend if self.tiers else None
        return first if isinstance(first, MemoryBackend) else None

    def held(self, key: str) -> Entry | None:
        """Return what memory holds under a full key, stale entries included, unless it is not to be read for it."""
        memory = self.memory
        return memory.get(key) if memory is not None and self.tiers[0].reads(key) else None

    def record(
        self,
        path: str | os.PathLike[str] | None,
        *,
        sample: float = 1.0,
        hashed: bool = True,
        max_bytes: Size = MAX_BYTES,
    ) -> Recorder | None:
        """Write which keys are asked for, stored and deleted into a file, from now on, for `tiercache plan`.

        Hits in memory cost about a microsecond more while this is on, and nothing while it is off.

        Args:
            path: a CSV file, or JSON lines where it ends with `.jsonl`; `{pid}` in it becomes the process's number.
                None: end a recording.
            sample: the share of the keys that is recorded, chosen by a hash.
            hashed: write hashes, not keys.
            max_bytes: of the file; with more it is renamed to end with `.1` and begun anew.

        Raises:
            ConfigurationError: an argument is none of these, or the file cannot be written.
        """
        recorder = None
        if path is not None:
            recorder = Recorder(path, sample=sample, hashed=hashed, max_bytes=max_bytes, clock=self.clock)
            recorder.ends_with(self)
        before, self.recorder = self.recorder, recorder
        self.switches.changed()
        if before is not None:
            before.close()
        return self.recorder

    def reader(self, namespace: str, *, recorded: bool = True) -> Callable[[str], Slot | None]:
        """Return the function that answers hits in memory by their full keys; it holds until a switch changes."""
        fresh = self._reader(namespace)
        if self.recorder is None or not recorded or fresh is _nothing:
            return fresh
        return self.recorder.reading(fresh, self.tiers[0].label)

    def _reader(self, namespace: str) -> Callable[[str], Slot | None]:
        memory = self.memory
        if memory is None:
            return _nothing
        switch, fresh = self.tiers[0].switch, memory.reader()
        setting = None if switch is None else switch.of(namespace)
        if setting is None or (setting.reads and setting.ramp == 100):
            return fresh
        if not setting.reads:
            return _nothing
        covers = setting.covers
        return lambda full: fresh(full) if covers(full) else None

    def check_class(self, name: str) -> str:
        """Return the storage class that an entry may ask for: a tier has it, and none that has it refuses it.

        A tier that is only read refuses none. In a chain without tiers, where nothing is stored, it may be any.

        Raises:
            ConfigurationError: otherwise; the message says what there is to choose.
        """
        if not isinstance(name, str):
            raise ConfigurationError(f"storage_class must be the name of a class, not of type {type(name).__name__}")
        tables = [tier.classes for tier in self.tiers if tier.classes is not None]
        knowing = [tier for tier in self.tiers if tier.classes is not None and name in tier.classes]
        # A bucket for another kind of classes goes by its own where another tier fits, as another vendor's store does.
        fitting = [tier for tier in knowing if tier.mixes(name)] or knowing
        for tier in fitting:
            if tier.write != "never":
                tier.check_class(name)
        if self.tiers and not tables:
            raise ConfigurationError("no tier of this chain has storage classes; leave storage_class out")
        if self.tiers and not knowing:
            known = ", nor to ".join(map(choices, tables))
            raise ConfigurationError(f"storage_class={str(name)!r} is unknown to {known}")
        return str(name)

    def health(self) -> dict[str, TierHealth]:
        """Ask every tier whether it serves, those with an open breaker, too: one that answers closes it."""
        return self._health(drive(self._ping()))

    async def ahealth(self) -> dict[str, TierHealth]:
        """`health`, awaited."""
        return self._health(await adrive(self._ping()))

    def check(self) -> None:
        """Return when all tiers serve; raise what keeps the first other one from it, with the rest as notes."""
        _raise_first(drive(self._ping()))

    async def acheck(self) -> None:
        """`check`, awaited."""
        _raise_first(await adrive(self._ping()))

    @property
    def has_pending(self) -> bool:
        """Whether something waits to be written behind or packed, or to be deleted where a change was missed."""
        return any(tier.journal.pending for tier in self.tiers) or any(each.has_pending for each in self._draining)

    def drain(self, timeout: Duration = DRAIN_TIMEOUT) -> bool:
        """Wait for what is still to be written: promotions, refreshes, writes behind, changes that a tier missed.

        What waits in a backend that packs entries is written with that.

        Returns:
            Whether all of it was, within `timeout` seconds.

        Raises:
            ConfigurationError: `timeout` is no duration.
        """
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
            timeout = parse_duration(timeout, "timeout")
        ends = time.monotonic() + timeout
        refreshed = self.refreshes.drain(timeout)
        promoted = self.background.drain(max(0.0, ends - time.monotonic()))
        taken = self.drainer.drain(max(0.0, ends - time.monotonic()))
        stored = [each.drain(max(0.0, ends - time.monotonic())) for each in self._draining if each.has_pending]
        return all([refreshed, promoted, taken, *stored])

    def end(self) -> None:
        """The interpreter ends: give up what was not written (see `close`, which also waits for it)."""
        self.drainer.close()
        self.hearsay.close()
        if self.recorder is not None:
            self.recorder.close()
        if self.reporter is not None:
            self.reporter.close()

    async def adrain(self, timeout: Duration = DRAIN_TIMEOUT) -> bool:
        """`drain`, awaited."""
        return await asyncio.to_thread(self.drain, timeout)

    def close(self) -> None:
        """Finish what is still to be written, for 5 seconds at most, and close all backends, even if one fails to."""
        self.drain(DRAIN_TIMEOUT)
        self.drainer.close()
        if self.reporter is not None:
            self.reporter.close()
        self.hearsay.close()
        self.refresher.close()
        self.teller.close()
        self.coherence.close()
        errors: list[TiercacheError | None] = []
        for tier in self.news.tellers:  # what they write last is told of, while the carrier is open
            _close(tier, errors)
        self.news.close()
        for tier in self.tiers:
            if tier not in self.news.tellers:
                _close(tier, errors)
        self._close_pools(errors)
        if self.recorder is not None:
            self.recorder.close()

    async def aclose(self) -> None:
        """`close`, awaited."""
        await self.adrain(DRAIN_TIMEOUT)
        self.drainer.close()
        if self.reporter is not None:
            await asyncio.to_thread(self.reporter.close)
        await asyncio.to_thread(self.hearsay.close)
        await asyncio.to_thread(self.refresher.close)
        await asyncio.to_thread(self.teller.close)
        self.coherence.close()
        errors: list[TiercacheError | None] = []
        for tier in self.news.tellers:
            await _aclose(tier, errors)
        await asyncio.to_thread(self.news.close)
        for tier in self.tiers:
            if tier not in self.news.tellers:
                await _aclose(tier, errors)
        self._close_pools(errors)
        if self.recorder is not None:
            await asyncio.to_thread(self.recorder.close)

    @property
    def _draining(self) -> list[Draining]:
        return [tier.backend for tier in self.tiers if isinstance(tier.backend, Draining)]

    def _close_pools(self, errors: list[TiercacheError | None]) -> None:
        for pool in (self.background, self.side_by_side, self.factories, self.refreshes):
            pool.close()
        if self.strict:
            _raise_first(errors)

    def __reduce__(self) -> str:
        raise TypeError("a TierChain cannot be sent to another process: make it in the other process, from its URLs")

    def __repr__(self) -> str:
        return f"<TierChain {' -> '.join(tier.label for tier in self.tiers) or 'without tiers'}>"

    async def _ping(self) -> list[TiercacheError | None]:
        results = await Gather([_ping(tier) for tier in self.tiers], self.side_by_side)
        for result in results:
            if result is not None and not isinstance(result, TiercacheError):
                raise result
        return results

    def _health(self, errors: list[TiercacheError | None]) -> dict[str, TierHealth]:
        return {
            tier.label: TierHealth(
                tier.label,
                error is None,
                f"{type(error).__name__}: {error}" if error else None,
                tier.breaker.state,
                tier.breaker.open_for,
                shown(tier),
            )
            for tier, error in zip(self.tiers, errors, strict=True)
        }

    def _guard(self) -> Tier | None:
        """The tier that is the fence between processes: the first that can be, above another one that they share."""
        for above, tier in enumerate(self.tiers):
            if tier.guards and tier.write == "through":
                below = self.tiers[above + 1 :]
                return tier if any(lower.write != "never" and not lower.local for lower in below) else None
        return None

    def _name_tiers(self) -> None:
        taken: set[str] = set()
        for tier in self.tiers:
            name, number = tier.label, 2
            if name in taken and tier.name is not None:
                raise ConfigurationError(f"two tiers are named {name!r}; give each Tier another name")
            while name in taken:
                name, number = f"{tier.label}-{number}", number + 1
            tier.name = name
            taken.add(name)
        if len({id(tier.backend) for tier in self.tiers}) < len(self.tiers):
            raise ConfigurationError("a backend stands in the chain twice; make one for each tier")


def _nothing(full: str) -> None:
    """Stands for memory in a chain that does not begin with it, or where it is switched off."""


def _close(tier: Tier, errors: list[TiercacheError | None]) -> None:
    try:
        tier.backend.close()
    except Exception as error:  # noqa: BLE001 - the others are to be closed all the same
        errors.append(tier.failed(error))


async def _aclose(tier: Tier, errors: list[TiercacheError | None]) -> None:
    try:
        await tier.backend.aclose()
    except Exception as error:  # noqa: BLE001 - the others are to be closed all the same
        errors.append(tier.failed(error))


async def _ping(tier: Tier) -> TiercacheError | None:
    try:
        await tier.ping()
    except TiercacheError as error:
        return error
    return None


def _raise_first(errors: list[TiercacheError | None]) -> None:
    found = [error for error in errors if error is not None]
    if found:
        for other in found[1:]:
            found[0].add_note(f"also: {type(other).__name__}: {other}")
        raise found[0]
