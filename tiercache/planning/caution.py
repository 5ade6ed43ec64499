"""What a log is too short for: a month is extrapolated from it, and a handful of reads tells no hit ratio."""

from __future__ import annotations

from ..pricing import DAY, MONTH
from .advice import shown_seconds

FEW_READS = 1_000
"""Reads below which hit ratios and sizes are guesses."""
SHORT = DAY
"""Seconds below which a log does not have the rhythm of a day, and a month made of it is no forecast."""


def cautions(reads: int, span: float) -> list[str]:
    """Return what not to take from a log, as sentences; nothing, where it is long enough.

    Args:
        reads: in the log.
        span: seconds from its first access to its last.
    """
    said = []
    if reads < FEW_READS:
        which = "1 read" if reads == 1 else f"{reads:,} reads"
        said.append(
            f"The log has only {which}: hit ratios and sizes are guesses below {FEW_READS:,}. Record for longer before "
            "you choose by them."
        )
    if span < SHORT:
        said.append(
            f"The log covers only {shown_seconds(span)}: a month is {MONTH * DAY / max(span, 1.0):,.0f} times that. "
            "What is said of a month, requests and costs, is no forecast before the log covers a day."
        )
    return said
