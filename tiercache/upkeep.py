"""`Upkeep`: what concerns a `Cache` as a whole: its figures, its health, what is expired in its buckets, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from .chain import TierChain, TierHealth
from .flows.values import ValueFlows
from .objectstore import ObjectStoreBackend, SweepReport
from .objectstore.sweep import check_budget
from .stats import CacheCounters, Stats
from .tier import FAILURES, Tier


class _CallersError(Exception):
    """`progress` raised `error`."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _told(progress: Callable[[str, SweepReport], None], label: str, report: SweepReport) -> None:
    try:
        progress(label, report)
    except Exception as error:
        raise _CallersError(error) from error


class Upkeep:
    """The part of `Cache` that is about no key."""

    chain: TierChain
    _flows: ValueFlows
    _counters: CacheCounters
    _prefix: str

    def stats(self) -> Stats:
        """Return the counters of this cache and of its tiers."""
        counters = self._counters
        return Stats(
            hits=counters.hits,
            misses=counters.misses,
            puts=counters.puts,
            deletes=counters.deletes,
            computed=counters.computed,
            uncacheable=counters.uncacheable,
            tiers={tier.label: tier.snapshot() for tier in self.chain.tiers},
        )

    async def astats(self) -> Stats:
        """`stats`, awaited: asking a disk tier how much it holds does not block the loop."""
        return await asyncio.to_thread(self.stats)

    def reset_stats(self) -> None:
        """Start all counters at zero again, those of the tiers too."""
        self._counters = self._flows.counters = CacheCounters()
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

    def drain(self, timeout: float = 5.0) -> bool:
        """Wait for copies that are still being written in the background; return whether all are."""
        return self.chain.drain(timeout)

    async def adrain(self, timeout: float = 5.0) -> bool:
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
        self, *, max_requests: int | None = None, progress: Callable[[str, SweepReport], None] | None = None
    ) -> dict[str, SweepReport]:
        """Delete this namespace's expired objects from the object stores of the chain.

        The other tiers free what is expired by themselves. Several machines may sweep at the same time (see
        `ObjectStoreBackend.sweep`). It has no deadline.

        Args:
            max_requests: the budget of each tier.
            progress: called with a tier's name and its report so far, after each page of its listing.

        Returns:
            A report for each tier that was swept. A tier that fails is counted, logged and left out.

        Raises:
            ConfigurationError: `max_requests` is no budget.
            Exception: what `progress` raised, which ends the sweep.
        """
        check_budget(max_requests)
        reports: dict[str, SweepReport] = {}
        for tier in self.chain.tiers:
            if isinstance(tier.backend, ObjectStoreBackend) and tier.write != "never":
                try:
                    reports[tier.label] = tier.backend.sweep(
                        self._prefix,
                        max_requests=max_requests,
                        progress=None if progress is None else partial(_told, progress, tier.label),
                    )
                except _CallersError as error:  # the tier is not to blame
                    raise error.error from None
                except Exception as error:  # noqa: BLE001 - sorted by the tier, as for every other call
                    self._leave_out(tier, error)
        return reports

    async def asweep(
        self, *, max_requests: int | None = None, progress: Callable[[str, SweepReport], None] | None = None
    ) -> dict[str, SweepReport]:
        """`sweep`, awaited; `progress` is called in another thread."""
        return await asyncio.to_thread(self.sweep, max_requests=max_requests, progress=progress)

    def _leave_out(self, tier: Tier, error: Exception) -> None:
        """Go on without a tier that failed, unless the chain is strict or the cache is closed."""
        failure = tier.failed(error)
        if self.chain.strict or not isinstance(failure, FAILURES):
            raise failure from failure.__cause__
