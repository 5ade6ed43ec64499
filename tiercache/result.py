"""`Result`: a value and where it came from."""

from __future__ import annotations

from typing import Any

import msgspec

from .entry import Metadata
from .savings import NOTHING, Saving


class Result(msgspec.Struct, frozen=True):
    """What `lookup` and `lookup_or_set` return: the value and how it was found.

    Attributes:
        value: the value; the default on a miss.
        hit: whether there is a value: tells a cached None from a miss. A stale value is a hit with `is_stale`.
        tier: the name of the tier that answered; None on a miss.
        age: seconds since the entry was made; None on a miss.
        ttl: seconds for which it stays fresh (0 when stale); None on a miss, or when it never expires.
        is_stale: whether it is past its ttl, and served only because of `stale_for`.
        metadata: what is known of the entry, also of one that was just made; None where there is none.
    """

    value: Any
    hit: bool = False
    tier: str | None = None
    age: float | None = None
    ttl: float | None = None
    is_stale: bool = False
    metadata: Metadata | None = None

    @property
    def saving(self) -> Saving:
        """What the hit did not cost again, as far as the entry's attributes tell; nothing on a miss."""
        return NOTHING if not self.hit or self.metadata is None else Saving.of(self.metadata.attributes)

    def __repr__(self) -> str:  # never the value: a repr ends up in logs
        return f"<Result {'stale ' if self.is_stale else ''}{f'hit in {self.tier}' if self.hit else 'miss'}>"

    def __rich_repr__(self) -> Any:
        yield "hit", self.hit
        yield "tier", self.tier
