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
    measured = [report for report in reports if report.median is not None]
    for upper, lower in pairwise(measured):
        assert upper.median is not None  # noqa: S101 - they were chosen so
        assert lower.median is not None  # noqa: S101
        if upper.median > 2 * lower.median and upper.median > 0.002:
            yield Finding(
                level="warning",
                about="order",
                text=f"{upper.name} answers in {duration(upper.median)} and stands before {lower.name}, which takes "
                f"{duration(lower.median)}",
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
