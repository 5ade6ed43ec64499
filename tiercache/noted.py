"""What a call of the cache notes of its way, for whoever watches it: which tier answered, and why others were passed.

Nobody watches unless something was told to (`tiercache.integrations.opentelemetry`). Memory, asked before any flow
starts, notes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Literal, Protocol

Outcome = Literal["hit", "stale", "computed", "shared"]
"""How a value was had: fresh from a tier, past its ttl, made by this caller, or made for another one."""
Reason = Literal["pending", "deleted", "distrusted", "expired", "stale", "invalidated", "undecodable"]
REASONS: Mapping[Reason, str] = {
    "pending": "a newer change waits to be written there",
    "deleted": "the entry is older than a delete or a write of its key",
    "distrusted": "another process knows of changes that the tier missed",
    "expired": "the entry's life is over",
    "stale": "the entry is past its ttl, and a fresh one is looked for",
    "invalidated": "its namespace or one of its tags was invalidated",
    "undecodable": "the entry is no value of the type that was asked for",
}
"""Why a tier that held an entry, or might have, did not answer."""


class Watcher(Protocol):
    """Who watches a call."""

    def answered(self, tier: str | None, outcome: Outcome, keys: int = 1) -> None:
        """So many keys were had in this way, from that tier; None: from a factory."""

    def passed_over(self, tier: str, reason: Reason, keys: int = 1) -> None:
        """A tier did not answer for so many keys, though it was not without an entry."""


watching: ContextVar[Watcher | None] = ContextVar("tiercache_watching", default=None)
"""Who watches the call under way."""


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
