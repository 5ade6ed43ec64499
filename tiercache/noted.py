"""What a call of the cache notes of its way, for whoever watches it: which tier answered, and why others were passed.

Nobody watches unless something was told to (`tiercache.integrations.opentelemetry`). Memory, asked before any flow
starts, notes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Literal, Protocol

from .errors import BackendTimeout, CircuitOpen, CorruptEntry

Outcome = Literal["hit", "stale", "computed", "shared"]
"""How a value was had: fresh from a tier, past its ttl, made by this caller, or made for another one."""
Reason = Literal[
    "not_asked",
    "switched_off",
    "timeout",
    "damaged",
    "failed",
    "pending",
    "deleted",
    "distrusted",
    "expired",
    "stale",
    "invalidated",
    "undecodable",
]
REASONS: Mapping[Reason, str] = {
    "not_asked": "its breaker is open, or it had failed earlier in the same call",
    "switched_off": "`chain.switches` says that it is not read",
    "timeout": "its deadline passed",
    "damaged": "what it holds is no intact entry of the key, or of a format or secret that is not known here",
    "failed": "it could not do what was asked, for entries or for marks of what was invalidated",
    "pending": "a newer change waits to be written there",
    "deleted": "the entry is older than a delete or a write of its key",
    "distrusted": "another process knows of changes that the tier missed",
    "expired": "the entry's life is over",
    "stale": "the entry is past its ttl, and a fresh one is looked for",
    "invalidated": "its namespace or one of its tags was invalidated",
    "undecodable": "the entry is no value of the type that was asked for",
}
"""Why a tier that held an entry, or might have held one, did not answer."""


class Watcher(Protocol):
    """Who watches a call."""

    def answered(self, tier: str | None, outcome: Outcome, keys: int = 1) -> None:
        """So many keys were had in this way, from that tier; None: from a factory."""

    def passed_over(self, tier: str, reason: Reason, keys: int = 1) -> None:
        """A tier did not answer for so many keys, and not because it had nothing."""


watching: ContextVar[Watcher | None] = ContextVar("tiercache_watching", default=None)
"""Who watches the call under way."""


def why_failed(error: Exception) -> Reason:
    """Return why a tier that failed did not answer."""
    if isinstance(error, CircuitOpen):
        return "not_asked"
    if isinstance(error, BackendTimeout):
        return "timeout"
    return "damaged" if isinstance(error, CorruptEntry) else "failed"


def answered(tier: str | None, outcome: Outcome) -> None:
    """Note that a key was had in this way."""
    watcher = watching.get()
    if watcher is not None:
        watcher.answered(tier, outcome)


def passed_over(tier: str, reason: Reason, keys: int = 1) -> None:
    """Note why a tier did not answer."""
    watcher = watching.get()
    if watcher is not None:
        watcher.passed_over(tier, reason, keys)
