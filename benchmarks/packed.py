"""Embeddings in packed segments beside one object each: requests and CPU of the same run on the same server.

Through `EmbeddingCache`, with no tier above. One object each, a sample is measured and what it takes an entry is
compared: all of it would take minutes and grow in nothing but time. CPU is that of the whole process, the threads of
the backends included; the server is another process.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

import l3
from harness import Row, Samples, Scale, at_most, compare, faster, no_gc, times

from tiercache import Backend, Cache, Tier, TierChain
from tiercache.llm import EmbeddingCache
from tiercache.packed import PackedBackend
from tiercache.packed.catalogue import Catalogue
from tiercache.packed.naming import new_ulid
from tiercache.packed.segment import Located, entry_of
from tiercache.testing.servers import ServerUnavailable

AREA = "packed"
PEER = "one object each"
OURS = "packed"
DIMENSIONS = 1536
AT_ONCE = 2500
ASKED = 1000
SEGMENT_ENTRIES = 1300
"""About what 8 MiB hold of such vectors."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a piece of work took.

    Attributes:
        cpu, wall: nanoseconds.
        requests: methods of those that were sent.
    """

    cpu: int
    wall: int
    requests: list[str]


class Side:
    """One way to keep the vectors: a cache as a new process has it, and texts with their vectors."""

    def __init__(self, make: Callable[[], Backend], count: int) -> None:
        import numpy as np

        self._make = make
        self.texts = [f"text number {number}" for number in range(count)]
        self.vectors = np.random.default_rng(1).standard_normal((count, DIMENSIONS), dtype=np.float32)

    def begin(self) -> None:
        """Use the SDK once: what it imports and reads at first is no cost of an entry."""
        cache, embeddings = self._opened()
        with cache:
            self.miss(embeddings)

    def store(self) -> Cost:
        """Store all, until nothing waits any longer."""
        cache, embeddings = self._opened()

        def work() -> None:
            for start in range(0, len(self.texts), AT_ONCE):
                part = slice(start, start + AT_ONCE)
                embeddings.put_many(self.texts[part], self.vectors[part])
            cache.close()

        return _cost_of(work)

    def load(self) -> Cost:
        """Read all with a cache that knows nothing yet, and check them."""
        cache, embeddings = self._opened()
        with cache:
            found: list[Any] = []
            cost = _cost_of(lambda: found.extend(embeddings.get_many(self.texts)))
            self._check(found, range(len(self.texts)))
        return cost

    def opened(self) -> tuple[Cache, EmbeddingCache]:
        """Return a cache that has been used once, so that a catalogue is loaded."""
        cache, embeddings = self._opened()
        self._check(embeddings.get_many(self.texts[:1]), range(1))
        return cache, embeddings

    def ask(self, embeddings: EmbeddingCache, numbers: list[int]) -> Cost:
        """Read some with a cache that is in use, and check them."""
        found: list[Any] = []
        texts = [self.texts[number] for number in numbers]
        cost = _cost_of(lambda: found.extend(embeddings.get_many(texts)))
        self._check(found, numbers)
        return cost

    def miss(self, embeddings: EmbeddingCache) -> Cost:
        """Ask for what is not there."""
        found: list[Any] = []
        cost = _cost_of(lambda: found.extend(embeddings.get_many([f"no text {number}" for number in range(ASKED)])))
        if any(vector is not None for vector in found):
            raise AssertionError("what was never stored was found")
        return cost

    def _opened(self) -> tuple[Cache, EmbeddingCache]:
        chain = TierChain(Tier(self._make(), timeout=60), strict=True, epoch_refresh=None)
        cache = Cache(chain, namespace="bench", ttl=None)
        return cache, EmbeddingCache(cache, model="a-model", dimensions=DIMENSIONS)

    def _check(self, found: list[Any], numbers: Any) -> None:
        for number, vector in zip(numbers, found, strict=True):
            if vector is None or vector.tobytes() != self.vectors[number].tobytes():
                raise AssertionError("a vector is missing, or is not the one that was stored")


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    from s3_l3 import S3

    with ExitStack() as stack:
        try:
            store = S3(stack)
        except ServerUnavailable as reason:
            yield Row(AREA, "packed segments", note=str(reason))
            return
        count, sample = (10_000, 2000) if scale.quick else (100_000, 4000)
        packed = Side(lambda: PackedBackend(store.backend("packed/")), count)
        single = Side(lambda: store.backend("single/"), sample)
        what = f"{count:,} vectors of {DIMENSIONS:,} float32"
        note = f"of one object each, {sample:,} were measured; the collector does not walk other libraries' objects"
        for side in (packed, single):
            side.begin()
        ours, theirs = packed.store(), single.store()
        puts = (ours.requests.count("PUT"), theirs.requests.count("PUT") * count / sample)
        yield Row(AREA, f"{what} stored: PUTs", "requests", puts[0], PEER, puts[1], bound=at_most(count / 1000))
        yield _each(f"{what} stored, CPU an entry", note, ours, count, theirs, sample, 20)
        ours, theirs = packed.load(), single.load()
        gets = (len(ours.requests), len(theirs.requests) * count / sample)
        yield Row(
            AREA,
            f"{what} read by a new process: requests",
            "requests",
            gets[0],
            PEER,
            gets[1],
            bound=at_most(count / 500),
            note="listing and indexes included",
        )
        yield _each(f"{what} read by a new process, CPU an entry", note, ours, count, theirs, sample, 20)
        yield from _asked(packed, single, what, scale)
    yield from _catalogue(200_000 if scale.quick else 1_000_000)


def _asked(packed: Side, single: Side, what: str, scale: Scale) -> Iterator[Row]:
    import numpy as np

    choose = np.random.default_rng(2)
    cpu: dict[str, list[float]] = {OURS: [], PEER: []}
    wall: dict[str, list[float]] = {OURS: [], PEER: []}
    sent: dict[str, list[int]] = {OURS: [], PEER: []}
    opened = {OURS: packed.opened(), PEER: single.opened()}
    sides = {OURS: packed, PEER: single}
    try:
        for turn in range(scale.rounds(5) + 1):
            for name in list(sides)[:: 1 if turn % 2 else -1]:
                numbers = choose.choice(len(sides[name].texts), ASKED, replace=False).tolist()
                cost = sides[name].ask(opened[name][1], numbers)
                if turn:  # the first opens connections
                    cpu[name].append(cost.cpu / ASKED)
                    wall[name].append(cost.wall / ASKED)
                    sent[name].append(len(cost.requests))
        misses = {name: sides[name].miss(opened[name][1]) for name in sides}
    finally:
        for cache, _ in opened.values():
            cache.close()
    name = f"{ASKED:,} random ones of {what} in one call"
    requests = median(sent[OURS]), median(sent[PEER])
    yield Row(AREA, f"{name}: requests", "requests", requests[0], PEER, requests[1], bound=at_most(ASKED))
    for label, samples in (("CPU", cpu), ("time", wall)):
        yield _compared(f"{name}, {label} each", samples)
    counts = {side: len(cost.requests) for side, cost in misses.items()}
    name = f"{ASKED:,} that are not there"
    yield Row(AREA, f"{name}: requests", "requests", counts[OURS], PEER, counts[PEER], bound=at_most(0))
    yield _each(f"{name}, CPU each", "", misses[OURS], ASKED, misses[PEER], ASKED, None)


def _compared(name: str, samples: Samples) -> Row:
    return compare(AREA, name, samples, OURS, PEER, bound=times(1))


def _catalogue(count: int) -> Iterator[Row]:
    """A catalogue of full segments, from indexes that are made in memory."""
    indexes = [_index(start, min(SEGMENT_ENTRIES, count - start)) for start in range(0, count, SEGMENT_ENTRIES)]
    catalogue = Catalogue(max_entries=count)
    with no_gc():
        start = time.process_time_ns()
        for index in indexes:
            catalogue.add(new_ulid(time.time()), index)
        took = time.process_time_ns() - start
    if len(catalogue) != count:
        raise AssertionError("the catalogue does not hold what it was given")
    yield Row(AREA, f"catalogue of {count:,}: bytes an entry", "bytes", catalogue.nbytes() / count, bound=at_most(40))
    yield Row(
        AREA,
        f"catalogue of {count:,}: taking indexes in, CPU an entry",
        "ns",
        took / count,
        note="1 µs each is a second a million",
    )


def _index(first: int, count: int) -> bytes:
    import hashlib

    digests = sorted(hashlib.blake2b(b"%d" % number, digest_size=16).digest() for number in range(first, first + count))
    stamp = 1_800_000_000_000 + first
    return b"".join(
        entry_of(Located(digest, stamp, 0, 16 + 6400 * place, 6400)) for place, digest in enumerate(digests)
    )


def _each(name: str, note: str, ours: Cost, count: int, theirs: Cost, sample: int, bound: float | None) -> Row:
    each = ours.cpu / count, theirs.cpu / sample
    limit = None if bound is None else faster(bound)
    return Row(AREA, name, "ns", each[0], PEER, each[1], each[0] / each[1], bound=limit, note=note)


def _cost_of(work: Callable[[], Any]) -> Cost:
    """Run it once. The collector stays on, for so much work needs it; it need not walk what was there before."""
    gc.collect()
    gc.freeze()  # the peers that were imported alone are a million objects
    try:
        with l3.requests_counted() as requests:
            cpu, wall = time.process_time_ns(), time.perf_counter_ns()
            work()
            return Cost(time.process_time_ns() - cpu, time.perf_counter_ns() - wall, list(requests))
    finally:
        gc.unfreeze()
