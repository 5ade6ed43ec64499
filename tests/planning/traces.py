"""Seeded streams of keys, and traces made of them."""

from __future__ import annotations

import itertools
import random
from array import array
from collections.abc import Iterable, Iterator
from math import inf
from pathlib import Path

from tiercache.planning import Trace

START = 1_760_000_000.0


def zipf(requests: int, keys: int, alpha: float, seed: int = 1) -> list[int]:
    """Keys from 0, of which the one of rank r is asked for in proportion to 1 / r ** alpha."""
    weights = list(itertools.accumulate(1 / rank**alpha for rank in range(1, keys + 1)))
    return random.Random(seed).choices(range(keys), cum_weights=weights, k=requests)


def scans(requests: int, keys: int, alpha: float, seed: int = 1) -> list[int]:
    """Zipf, and after each 20,000 of it a scan over 5,000 keys that are never asked for again."""
    popular, mixed, new = iter(zipf(requests, keys, alpha, seed)), [], itertools.count(10**6)
    while len(mixed) < requests:
        mixed += itertools.islice(popular, 20_000)
        mixed += itertools.islice(new, 5_000)
    return mixed[:requests]


def trace_of(keys: Iterable[int], sizes: Iterable[int] | None = None, every: float = 1.0) -> Trace:
    """A trace of reads, one a second, whose entries take the sizes (1 each, if there are none) in memory."""
    trace = Trace()
    trace.keys = array("L", keys)
    count = len(trace.keys)
    trace.weights = array("q", itertools.islice(sizes, count) if sizes is not None else [1] * count)
    trace.stored = array("q", trace.weights)
    trace.times = array("d", (START + every * number for number in range(count)))
    trace.kinds = bytearray(count)
    trace.lives = array("d", [inf]) * count
    trace.requests = trace.accesses = count
    return trace


def write_log(path: Path, keys: Iterable[int], *, every: float = 1.0, header: str = "time,key,size") -> Path:
    """A CSV log of reads."""
    path.write_text("\n".join([header, *_lines(keys, every)]) + "\n", encoding="utf-8")
    return path


def _lines(keys: Iterable[int], every: float) -> Iterator[str]:
    for number, key in enumerate(keys):
        yield f"{START + every * number:.3f},key-{key},{200 + key * 7919 % 4000}"
