"""`CacheUpkeep`: what concerns a `Cache` as a whole: figures, health, what is expired in its buckets, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from .chain import TierChain, TierHealth
from .epochs.agreement import judged
from .epochs.table import Space
from .errors import PartialFailure
from .flow import drive
from .flows.computed import ComputedFlows
from .objectstore import SweepReport
from .objectstore.sweep import can_only_count, check_budget, is_sweepable
from .savings import Ledger
from .stats import CacheCounters, Stats
from .tier import FAILURES, Tier
from .units import Duration, Size

if TYPE_CHECKING:
    from .packed import CompactionReport

R = TypeVar("R")


class CacheUpkeep:
    """The part of `Cache` that is about no key."""

    chain: TierChain
    _flows: ComputedFlows
    _counters: CacheCounters
    _prefix: str
    savings: Ledger
    """What hits saved is noted here by those who know what an answer costs."""

    def stats(self) -> Stats:
        """Return the counters of this cache and of its tiers."""
        return replace(self.own_stats(), tiers={tier.label: tier.snapshot() for tier in self.chain.tiers})

    def own_stats(self) -> Stats:
        """Return the counters of this cache alone; those of its tiers are left out."""
        savings = self.savings.snapshot(self._prefix[:-1])
        return Stats(tiers={}, savings=savings, **self._counters.as_dict())

    async def astats(self) -> Stats:
        """`stats`, awaited: asking a disk tier how much it holds does not block the loop."""
        return await asyncio.to_thread(self.stats)

    def reset_stats(self) -> None:
        """Start all counters at zero again, those of the tiers too."""
        self._counters = self._flows.counters = CacheCounters()
        self.savings = Ledger()
        for tier in self.chain.tiers:
            tier.reset()

    def health(self) -> dict[str, TierHealth]:
        """Ask every tier whether it serves; never raises for a tier."""
        return self.chain.health()

    async def ahealth(self) -> dict[str, TierHealth]:
        """`health`, awaited."""
        return await self.chain.ahealth()

    def check(self) -> None:
        """Return when all tiers serve; raise what keeps one from it (wrong credentials, a missing bucket …)."""
        self.chain.check()

    async def acheck(self) -> None:
        """`check`, awaited."""
        await self.chain.acheck()

    def drain(self, timeout: Duration = 5.0) -> bool:
        """Wait for what is under way in the background: copies, refreshes, writes behind. Return whether it is over."""
        return self.chain.drain(timeout)

    async def adrain(self, timeout: Duration = 5.0) -> bool:
        """`drain`, awaited."""
        return await self.chain.adrain(timeout)

    def close(self) -> None:
        """Finish what is being written and close the tiers; afterwards every operation raises `CacheClosed`."""
        self.chain.close()

    async def aclose(self) -> None:
        """`close`, awaited."""
        await self.chain.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def sweep(
        self,
        *,
        max_requests: int | None = None,
        resume: Mapping[str, SweepReport] | None = None,
        progress: Callable[[str, SweepReport], None] | None = None,
        dry_run: bool = False,
    ) -> dict[str, SweepReport]:
        """Delete this namespace's expired and invalidated objects from the object stores of the chain.

        The other tiers free what is expired by themselves; what was invalidated is evicted there in its turn, or goes
        with `clear(purge=True)`. Tags that did not fit into an object's own metadata are not seen. Several machines may
        sweep at the same time (see `ObjectStoreBackend.sweep`). It has no deadline.

        Args:
            max_requests: the budget of each tier.
            resume: what an earlier call returned: each tier goes on where its budget ended, or begins anew.
            progress: called with a tier's name and its report so far, after each page of its listing; what it raises
                ends the sweep.
            dry_run: delete nothing; the reports count as deleted what would be. Tiers that cannot tell
                are left out.

        Returns:
            A report for each tier that was swept. A tier that fails is counted, logged and left out; one of which only
            some objects failed is counted and logged.

        Raises:
            ConfigurationError: `max_requests` allows nothing.
        """
        check_budget(max_requests)

        def of(tier: Tier, tell: _Told[SweepReport], dead: _Dead | None) -> SweepReport | None:
            backend, before = tier.backend, (resume or {}).get(tier.label)
            if not is_sweepable(backend) or (dry_run and not can_only_count(backend)):
                return None
            return backend.sweep(
                self._prefix,
                max_requests=max_requests,
                resume=before.resume if before else None,
                progress=tell,
                is_dead=dead,
                **({"dry_run": True} if dry_run else {}),
            )

        return self._tend(of, progress)

    async def asweep(
        self,
        *,
        max_requests: int | None = None,
        resume: Mapping[str, SweepReport] | None = None,
        progress: Callable[[str, SweepReport], None] | None = None,
        dry_run: bool = False,
    ) -> dict[str, SweepReport]:
        """`sweep`, awaited; `progress` is called in another thread."""
        return await asyncio.to_thread(
            self.sweep, max_requests=max_requests, resume=resume, progress=progress, dry_run=dry_run
        )

    def compact(
        self,
        *,
        max_requests: int | None = None,
        max_bytes: Size | None = None,
        early: bool = False,
        progress: Callable[[str, CompactionReport], None] | None = None,
    ) -> dict[str, CompactionReport]:
        """Compact the packed segments of the chain, without what this namespace has invalidated.

        See `PackedBackend.compact`: it merges segments of all namespaces, and has no deadline here.

        Args:
            max_requests, max_bytes: the budget of each tier.
            early: touch segments, too, that their storage class bills for longer.
            progress: called with a tier's name and its report so far; what it raises ends the compaction.

        Returns:
            A report for each packed tier. A tier that fails is counted, logged and left out; one of which only some
            segments failed is counted and logged.

        Raises:
            ConfigurationError: `max_requests` allows nothing.
        """
        from .packed import PackedBackend, compaction  # a fifth of what importing tiercache takes

        compaction.check_budget(max_requests)

        def of(tier: Tier, tell: _Told[CompactionReport], dead: _Dead | None) -> CompactionReport | None:
            backend = tier.backend
            if not isinstance(backend, PackedBackend):
                return None
            return backend.compact(
                self._prefix, max_requests=max_requests, max_bytes=max_bytes, early=early, is_dead=dead, progress=tell
            )

        return self._tend(of, progress)

    async def acompact(
        self,
        *,
        max_requests: int | None = None,
        max_bytes: Size | None = None,
        early: bool = False,
        progress: Callable[[str, CompactionReport], None] | None = None,
    ) -> dict[str, CompactionReport]:
        """`compact`, awaited; `progress` is called in another thread."""
        return await asyncio.to_thread(
            self.compact, max_requests=max_requests, max_bytes=max_bytes, early=early, progress=progress
        )

    def _tend(
        self,
        of: Callable[[Tier, _Told[R], _Dead | None], R | None],
        progress: Callable[[str, R], None] | None,
    ) -> dict[str, R]:
        """Do something with each tier that this process writes to, and return the reports; None: it is not for it."""
        reports: dict[str, R] = {}
        space = self.chain.epochs.of(self._prefix)
        for tier in drive(judged(self.chain, space)):
            if tier.write == "never":
                continue
            tell = _Told(progress, tier.label)
            try:
                report = of(tier, tell, _Dead(space, tier) if space.version or space.floors else None)
                if report is not None:
                    reports[tier.label] = report
            except Exception as error:  # sorted by the tier, as for every other call
                if error is tell.error:
                    raise
                self._leave_out(tier, error)
                if isinstance(error, PartialFailure):
                    reports[tier.label] = error.results
        return reports

    def _leave_out(self, tier: Tier, error: Exception) -> None:
        """Go on without a tier that failed, unless the chain is strict or the cache is closed."""
        failure = tier.failed(error)
        if self.chain.strict or not isinstance(failure, FAILURES):
            raise failure from failure.__cause__


class _Dead:
    """Whether what a tier holds of a moment, with these tags, was invalidated."""

    def __init__(self, space: Space, tier: Tier) -> None:
        self._space = space
        self._tier = tier

    def __call__(self, moment: float, tags: tuple[str, ...]) -> bool:
        return self._space.covers(moment, tags, self._tier)


class _Told(Generic[R]):
    """Tells the progress of one tier, and keeps what whoever is told raises: no tier fails for it."""

    def __init__(self, progress: Callable[[str, R], None] | None, tier: str) -> None:
        self._progress = progress
        self._tier = tier
        self.error: Exception | None = None

    def __call__(self, report: R) -> None:
        if self._progress is None:
            return
        try:
            self._progress(self._tier, report)
        except Exception as error:
            self.error = error
            raise
