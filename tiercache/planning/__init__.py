"""What a cache should be: from a log of accesses to hit ratios, traffic, cost and advice."""

from __future__ import annotations

from .accesses import Access, BadLine, Reading, read_log
from .report import Assumptions, Plan, plan
from .simulation import Curve, simulate
from .trace import Trace, load

__all__ = [
    "Access",
    "Assumptions",
    "BadLine",
    "Curve",
    "Plan",
    "Reading",
    "Trace",
    "load",
    "plan",
    "read_log",
    "simulate",
]
