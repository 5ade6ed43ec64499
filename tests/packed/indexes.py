"""Indexes of segments for the tests of the catalogue, written down entry by entry."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from tiercache.packed.segment import Located, entry_of


def ulid(number: int) -> str:
    """The id of the nth segment; later ones sort after earlier ones."""
    return f"{number:026d}"


def index(records: Iterable[Located]) -> bytes:
    return b"".join(map(entry_of, sorted(records)))


def at(digest: bytes, stamp: int = 1, *, place: int = 0, gone_at: int = 0, length: int = 100) -> Located:
    return Located(digest, stamp, gone_at, place * 8, length)


def segments(entries: int, *, each: int = 1_365, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """As many entries, all of different keys, in segments of embeddings as 8 MiB hold."""
    draw = random.Random(seed)
    for number, first in enumerate(range(0, entries, each)):
        count = min(each, entries - first)
        yield ulid(number), index(at(draw.randbytes(16), 1_800_000_000_000 + n, place=n) for n in range(count))
