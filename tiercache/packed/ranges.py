"""Which bytes of which segments answer a batch: near records in one range, a whole segment when that is cheaper.

A request costs time and money, and so do bytes that nobody asked for: two ranges become one where the gap between them
costs less than another request would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..objectstore.classes import ClassRules
from ..pricing import GB

BYTES_PER_TIMEOUT = 2**20
"""Bytes that one request may bring in one `timeout`; one that brings more has more time."""
GAP_BYTES = 512 * 1024
"""Bytes that take about as long to read as another request takes: 10-20 ms at the 25-50 MB/s of one connection."""


class Wanted(NamedTuple):
    """A record that is asked for: the digest of its key, and where it is."""

    digest: bytes
    segment: int
    offset: int
    length: int


class Fetch(NamedTuple):
    """One request: a range of a segment, and the records in it."""

    segment: int
    start: int
    length: int
    wanted: list[Wanted]

    def parts(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the digest and the bytes of each record in what was read."""
        for digest, _, offset, length in self.wanted:
            at = offset - self.start
            yield digest, data[at : at + length]


def plan(wanted: Iterable[Wanted], gap: int = GAP_BYTES) -> list[Fetch]:
    """Return the requests that bring these records, in the order of their place.

    Args:
        wanted: the records; each once.
        gap: bytes between two records that are read with them rather than asked for apart.
    """
    fetches: list[Fetch] = []
    for each in sorted(wanted, key=_place):
        last = fetches[-1] if fetches else None
        if last is None or each.segment != last.segment or each.offset > last.start + last.length + gap:
            fetches.append(Fetch(each.segment, each.offset, each.length, [each]))
        else:
            last.wanted.append(each)
            end = max(last.start + last.length, each.offset + each.length)
            fetches[-1] = last._replace(length=end - last.start)
    return fetches


def gap_of(rules: ClassRules | None) -> int:
    """Return the gap that is worth reading in a storage class: less where reading bytes is billed."""
    prices = None if rules is None else rules.prices
    if prices is None or not prices.retrieval:
        return GAP_BYTES
    return min(GAP_BYTES, int(prices.read / 1000 / prices.retrieval * GB))


def _place(wanted: Wanted) -> tuple[int, int]:
    return wanted.segment, wanted.offset
