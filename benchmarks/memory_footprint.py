"""What an entry in memory costs beyond its key and payload, and what a million of them do to a hit.

Each figure comes from a process of its own: `python memory_footprint.py fill cache 100000` prints the bytes by
which its resident memory grew per entry, `grow 1000000 15` how many nanoseconds a hit takes in a small and a big table.
"""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from harness import Row, Scale, at_most, each, interleave, times

from tiercache import Cache, MemoryBackend

AREA = "memory"
PAYLOAD_BYTES = 64
SMALL = 10_000
ASKED = 50_000
_STATM = Path("/proc/self/statm")
_FILLS = {"cache": "Cache", "cache-ttl": "Cache, with a ttl", "dict": "dict"}


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    counts = (100_000,) if scale.quick else (100_000, 1_000_000)
    for count in counts:
        name = f"bytes an entry beyond key and payload, {count:,} entries"
        if not _STATM.exists():
            yield Row(AREA, name, bound=at_most(300), note="resident memory is read from /proc, which is not here")
            continue
        plain = _in_a_process("fill", "dict", str(count))
        for kind in ("cache", "cache-ttl"):
            ours = _in_a_process("fill", kind, str(count))
            yield Row(AREA, f"{name}: {_FILLS[kind]}", "bytes", ours, "dict", plain, ours / plain, bound=at_most(300))
    yield from _growth(counts[-1], scale)


def _growth(big: int, scale: Scale) -> Iterator[Row]:
    took = _in_a_process("grow", str(big), str(scale.rounds(15)))
    for order in ("random", "Zipf"):
        for what in ("dict.get", "Cache.get"):
            small, large = took[f"{order} {what} {SMALL}"], took[f"{order} {what} {big}"]
            yield Row(
                AREA,
                f"hit in {big:,} entries, {order} order: {what}",
                "ns",
                median(large),
                f"in {SMALL:,}",
                median(small),
                median(large) / median(small),
            )
        ours, peer = (
            median(b - a for a, b in zip(took[f"{order} {what} {SMALL}"], took[f"{order} {what} {big}"], strict=True))
            for what in ("Cache.get", "dict.get")
        )
        name = f"ns that a hit loses from {SMALL:,} to {big:,} entries, {order} order: Cache.get"
        yield Row(AREA, name, "ns", ours, "dict.get", peer, ours / peer, bound=times(3))


def fill(kind: str, count: int) -> float:
    """Return by how many bytes the process grew per entry, key and payload not counted."""
    cache = Cache(MemoryBackend())
    table: dict[str, bytes] = {}
    puts: dict[str, Callable[[str, bytes], Any]] = {
        "cache": cache.set,
        "cache-ttl": partial(cache.set, ttl="1h"),
        "dict": table.__setitem__,
    }
    put = puts[kind]
    put("first", b"imports what the first call imports")
    gc.collect()
    before = _resident()
    for number in range(count):
        put(f"{number:032x}", number.to_bytes(PAYLOAD_BYTES, "big"))
    gc.collect()
    key_bytes = 32 if kind == "dict" else len("default:") + 32
    return (_resident() - before) / count - key_bytes - PAYLOAD_BYTES


def grow(big: int, rounds: int) -> dict[str, list[float]]:
    """Return the nanoseconds of a hit in `Cache` and dict, with few and with many entries, in each round."""
    contenders = {}
    for count in (SMALL, big):
        keys = [f"{number:032x}" for number in range(count)]
        table = {key: number.to_bytes(PAYLOAD_BYTES, "big") for number, key in enumerate(keys)}
        cache = Cache(MemoryBackend())
        for key, value in table.items():
            cache.set(key, value)
        shuffled = random.Random(1)
        asked = {"random": shuffled.choices(keys, k=ASKED)}
        asked["Zipf"] = shuffled.choices(keys, [1 / rank for rank in range(1, count + 1)], k=ASKED)
        for order, some in asked.items():
            contenders[f"{order} dict.get {count}"] = partial(each, table.get, some)
            contenders[f"{order} Cache.get {count}"] = partial(each, cache.get, some)
    return {name: list(samples) for name, samples in interleave(contenders, rounds).items()}


def _resident() -> int:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _in_a_process(*arguments: str) -> Any:
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True, timeout=1800)
    return json.loads(done.stdout)


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        print(json.dumps(fill(sys.argv[2], int(sys.argv[3]))))
    else:
        print(json.dumps(grow(int(sys.argv[2]), int(sys.argv[3]))))
