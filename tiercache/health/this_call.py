"""The tiers that failed in the call under way: they are not asked again in it.

A call of the cache is one run of a driver (`tiercache.flow`), with what that runs in other threads and tasks. What a
factory asks of the cache belongs to it, too, and may come minutes later: what failed is remembered for a while only.
"""

from __future__ import annotations

import time
from contextvars import ContextVar

REMEMBERED = 2.0
"""Seconds after which a tier is asked again in the same call."""

_failed: ContextVar[dict[object, float] | None] = ContextVar("tiercache_failed", default=None)


def begin() -> dict[object, float] | None:
    """Begin a call, unless this is part of one; return what has to be ended; None: it is part of one."""
    if _failed.get() is not None:
        return None
    begun: dict[object, float] = {}
    _failed.set(begun)
    return begun


def end(begun: dict[object, float]) -> None:
    """Forget what failed.

    A coroutine that nobody finishes is closed in another context, maybe by the garbage collector while a variable of
    that is being set, which must not be set again then.
    """
    if _failed.get() is begun:
        _failed.set(None)


def failed(tier: object) -> None:
    """Take note that a tier failed."""
    known = _failed.get()
    if known is not None:
        known[tier] = time.monotonic()


def has_failed(tier: object) -> bool:
    """Whether the tier failed in this call."""
    known = _failed.get()
    return known is not None and tier in known and time.monotonic() - known[tier] < REMEMBERED
