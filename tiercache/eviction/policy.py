"""The names of the eviction policies, and what each lets go first."""

from __future__ import annotations

from enum import StrEnum


class EvictionPolicy(StrEnum):
    """What leaves a full memory tier first. `tiercache plan` tells which one suits an application's requests."""

    LRU = "lru"
    """The entry whose last use is longest ago."""
    LFU = "lfu"
    """The entry with the fewest uses; of those, the one that was stored first."""
    FIFO = "fifo"
    """The entry that was stored first."""
    TTL = "ttl"
    """The entry that would expire first; those that never expire come last."""
    SIEVE = "sieve"
    """The entry that a hand, going from old to new and round again, finds unused since it last came by."""
    S3FIFO = "s3fifo"
    """What was stored lately and not used again, before what was: three queues, the third only of names."""
