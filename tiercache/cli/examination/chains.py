"""The chain as a whole: the order of its tiers, and what survives a restart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ...cache import Cache
from ...findings import Finding
from ..output import duration
from .tiers import TierReport


def of_chain(cache: Cache, reports: Sequence[TierReport]) -> list[Finding]:
    """Return what is to know of tiers together."""
    return [*_order(reports), *_survival(cache)]


def _order(reports: Sequence[TierReport]) -> Iterator[Finding]:
    """Told where even the quickest of the upper tier's pings took twice as long as most of the lower one's."""
    measured = [(report.name, report.best, report.median) for report in reports]
    pings = [(name, best, median) for name, best, median in measured if best is not None and median is not None]
    for (upper, best, _), (lower, _, median) in pairwise(pings):
        if best > 2 * median and best > 0.002:
            yield Finding(
                level="warning",
                about="order",
                text=f"{upper} answers in {duration(best)} at best and stands before {lower}, which takes "
                f"{duration(median)}",
                fix="put the faster tier first",
            )


def _survival(cache: Cache) -> Iterator[Finding]:
    tiers = cache.chain.tiers
    if tiers and not any(tier.persists and tier.write != "never" for tier in tiers):
        yield Finding(
            level="note",
            about="restart",
            text="no tier survives the process: after a restart every value is computed, and paid for, again",
            fix="add disk:// (this machine), redis://… (several) or a bucket",
        )
