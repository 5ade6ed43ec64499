"""The census: what the segments hold that is still worth anything, by the catalogue alone, without a request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from .catalogue import Found
from .pending import OVERHEAD


@dataclass(slots=True)
class Holding:
    """What one segment holds. Records that are not the newest of their key are worth nothing, and not counted.

    Attributes:
        alive: entries that can be read.
        alive_bytes: that these take.
        shadows: the stamps, by digest, of tombstones and expired records: older records may be hidden by them.
    """

    alive: int = 0
    alive_bytes: int = 0
    shadows: dict[bytes, int] = field(default_factory=dict)

    def useful_bytes(self, settled: frozenset[bytes] = frozenset()) -> int:
        """Return the bytes that it takes to keep what must be kept; `settled` shadows hide nothing any more."""
        return self.alive_bytes + OVERHEAD * sum(digest not in settled for digest in self.shadows)


def census(newest: Iterable[tuple[bytes, Found]], now: float) -> defaultdict[int, Holding]:
    """Return what each segment holds, by its number.

    Args:
        newest: the newest record of each key, as `Catalogue.digests` tells.
        now: Unix seconds.
    """
    holdings: defaultdict[int, Holding] = defaultdict(Holding)
    for digest, (stamp, gone_at, _, length, segment) in newest:
        holding = holdings[segment]
        if length and not 0 < gone_at <= now:
            holding.alive += 1
            holding.alive_bytes += length + OVERHEAD
        else:
            holding.shadows[digest] = stamp
    return holdings
