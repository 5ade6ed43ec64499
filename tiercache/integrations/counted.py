"""What an adapter did: counted beside what its cache counts, because only the adapter knows what a value is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AdapterStats:
    """What one adapter did since it was made.

    Attributes:
        hits: values that were served.
        misses: those that were not there.
        unreadable: of the misses, those where the store had something that is no value of this adapter, or one that
            would not come back as it was.
        stored: values that were given to the cache.
        refused: values that were not, by reason.
        bypassed: values that were asked for, or given, and no key can be made for.
    """

    hits: int = 0
    misses: int = 0
    unreadable: int = 0
    stored: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    bypassed: int = 0


class Counters:
    """What is counted, without a lock, as in `tiercache.stats`."""

    __slots__ = ("bypassed", "hits", "misses", "refused", "stored", "unreadable")

    def __init__(self) -> None:
        self.hits = self.misses = self.unreadable = self.stored = self.bypassed = 0
        self.refused: Counter[str] = Counter()

    def snapshot(self) -> AdapterStats:
        """Return what was counted."""
        return AdapterStats(self.hits, self.misses, self.unreadable, self.stored, dict(self.refused), self.bypassed)
