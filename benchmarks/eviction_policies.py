"""Which eviction policies earn their place: hit ratios on seeded streams, the cost of a hit and of a put, and memory.

Prints the tables of docs/decisions/0025-eviction-policies.md: `python benchmarks/eviction_policies.py`.
"""

from __future__ import annotations

import gc
import itertools
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

from wtinylfu import Admission

from tiercache import Cache, Entry, EvictionPolicy, MemoryBackend, Metadata, TierChain
from tiercache.eviction import order_of, table_for
from tiercache.planning.simulation import Resident
from tiercache.slots import ENTRY_OVERHEAD

REQUESTS = 200_000
KEYS = 20_000
SHARES = (0.01, 0.1, 0.3)
POLICIES = [policy.value for policy in EvictionPolicy if policy is not EvictionPolicy.TTL]
CANDIDATE = "wtinylfu"


def zipf(alpha: float, seed: int = 1) -> list[int]:
    weights = list(itertools.accumulate(1 / rank**alpha for rank in range(1, KEYS + 1)))
    return random.Random(seed).choices(range(KEYS), cum_weights=weights, k=REQUESTS)


def scans() -> list[int]:
    """A scan over 5,000 keys that are asked for once, after each 20,000 of Zipf."""
    popular, mixed, new = iter(zipf(0.9)), [], itertools.count(10**6)
    while len(mixed) < REQUESTS:
        mixed += itertools.islice(popular, 20_000)
        mixed += itertools.islice(new, 5_000)
    return mixed[:REQUESTS]


def loop() -> list[int]:
    return [number % 5_000 for number in range(REQUESTS)]


def drift() -> list[int]:
    """What is popular changes: every 20 requests the ranks move on by one key."""
    return [rank + number // 20 for number, rank in enumerate(zipf(1.0, 5))]


def llm() -> list[int]:
    """A third asked once, some of it again soon (a chat), templates by Zipf, an evaluation suite now and then."""
    dice, popular, stream, new = random.Random(3), iter(zipf(0.9, 7)), [], 10**8
    while len(stream) < REQUESTS:
        kind = dice.random()
        if kind < 0.35:
            stream.append(new)
            new += 1
        elif kind < 0.4 and new > 10**8 + 500:
            stream.append(new - 1 - int(dice.random() ** 2 * 400))
        else:
            stream.append(next(popular))
        if len(stream) % 40_000 == 0:
            stream += range(10**7, 10**7 + 3_000)
    return stream[:REQUESTS]


STREAMS: dict[str, Callable[[], list[int]]] = {
    "Zipf 0.8": lambda: zipf(0.8),
    "Zipf 1.0": lambda: zipf(1.0),
    "Zipf 1.2": lambda: zipf(1.2),
    "scans in Zipf 0.9": scans,
    "loop": loop,
    "drifting Zipf 1.0": drift,
    "LLM-like": llm,
}


def ratio(policy: str, keys: list[int], room: int) -> float:
    """The hit ratio of one policy in a memory of so many entries."""
    table: dict[Any, Any] = {} if policy == CANDIDATE else table_for(EvictionPolicy(policy))
    order = Admission(table, _one) if policy == CANDIDATE else order_of(EvictionPolicy(policy), table, _one)
    hits = 0
    for key in keys:
        entry = table.get(key)
        if entry is not None:
            hits += 1
            if order.mark is not None:
                order.mark(entry)
            elif order.touch is not None:
                order.touch(key)
            continue
        if len(table) >= room:
            del table[order.evict()]
        table[key] = entry = Resident(1, float("inf"))
        order.add(key, entry, None)
    return hits / len(keys)


def _one(key: Any, entry: Any) -> int:
    return 1


def ratios() -> Iterator[str]:
    names = [*POLICIES, CANDIDATE]
    yield "| stream | memory | " + " | ".join(names) + " |"
    yield "|---|---:|" + "---:|" * len(names)
    for name, make in STREAMS.items():
        keys = make()
        whole = len(set(keys)) if name in ("loop",) else KEYS
        for share in SHARES:
            found = {policy: 100 * ratio(policy, keys, max(10, int(whole * share))) for policy in names}
            best = max(found.values())
            cells = [f"**{one:.1f}**" if one > best - 0.3 and one > 0.5 else f"{one:.1f}" for one in found.values()]
            yield f"| {name} | {share:.0%} | " + " | ".join(cells) + " |"


def costs() -> Iterator[str]:
    """CPU nanoseconds of a hit through `Cache.get` and of a put into a full memory; bytes an entry when full."""
    keys = [f"chat:gpt-4o:{number:032x}" for number in range(10_000)]
    asked = random.Random(1).choices(keys, [1 / rank for rank in range(1, len(keys) + 1)], k=20_000)
    caches = {policy: Cache(TierChain(MemoryBackend(eviction=policy))) for policy in POLICIES}
    for cache in caches.values():
        for key in keys:
            cache.set(key, b"x" * 100)
    hits: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    for _ in range(31):
        for policy, cache in caches.items():
            get, start = cache.get, time.process_time_ns()
            for key in asked:
                get(key)
            hits[policy].append((time.process_time_ns() - start) / len(asked))
    yield "| policy | hit through `Cache.get`, ns | put that evicts, µs | bytes an entry beside key and payload |"
    yield "|---|---:|---:|---:|"
    for policy in POLICIES:
        yield (
            f"| {policy} | {statistics.median(hits[policy]):.0f} | {put_cost(policy):.1f} | "
            f"{held(policy):.0f} (counted: {ENTRY_OVERHEAD}) |"
        )


def put_cost(policy: str) -> float:
    memory = MemoryBackend(max_entries=10_000, eviction=policy)
    entries = [entry(f"key-{number}") for number in range(60_000)]
    for one in entries[:30_000]:
        memory.put(one.metadata.key, one)
        memory.get(f"key-{random.Random(1).randrange(30_000)}")
    start = time.process_time_ns()
    for one in entries[30_000:]:
        memory.put(one.metadata.key, one)
    return (time.process_time_ns() - start) / 30_000 / 1000


def held(policy: str) -> float:
    """Bytes an entry of a memory that is full and has evicted as many again."""
    gc.collect()
    tracemalloc.start()
    memory = MemoryBackend(max_entries=50_000, eviction=policy)
    for number in range(120_000):
        memory.put(*_pair(f"chat:gpt-4o:{number:032x}"))
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    key, payload = _pair(f"chat:gpt-4o:{0:032x}")
    return used / 50_000 - len(key) - len(payload.payload)


def _pair(key: str) -> tuple[str, Entry]:
    return key, entry(key)


def entry(key: str) -> Entry:
    payload = key.encode() * 3
    return Entry(payload, Metadata(key=key, created_at=1.76e9, expires_at=None, size=len(payload)))


if __name__ == "__main__":
    for line in itertools.chain(ratios(), [""], costs()):
        print(line, flush=True)
