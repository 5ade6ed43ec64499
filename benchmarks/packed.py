"""Embeddings in S3, many an object beside one object each: requests, and CPU an entry, through `EmbeddingCache`.

One object each is measured with fewer entries: what it costs an entry does not depend on how many there are.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import l3
from harness import Row, Scale, at_most, faster, times

from tiercache import Cache, Tier, TierChain
from tiercache.llm import EmbeddingCache
from tiercache.packed import PackedBackend
from tiercache.packed.catalogue import Catalogue
from tiercache.packed.naming import new_ulid
from tiercache.packed.segment import Located, entry_of
from tiercache.testing.servers import ServerUnavailable

AREA = "packed"
DIMENSIONS = 1536
AT_A_TIME = 2500
PICKED = 1000
PER_SEGMENT = 1365
ONE_EACH = "one object each"


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    from s3_l3 import S3

    many, few = (10_000, 1_000) if scale.quick else (100_000, 4_000)
    with ExitStack() as stack:
        try:
            store = S3(stack)
        except ServerUnavailable as reason:
            yield Row(AREA, "embeddings in S3, packed", note=str(reason))
            return
        single = _measured(lambda: store.backend("single"), few)
        packed = _measured(lambda: PackedBackend(store.backend("packed")), many)  # type: ignore[arg-type]
        yield from _compared(packed, single, many)
    yield from _catalogue(100_000 if scale.quick else 1_000_000)


def _compared(packed: dict[str, _Figures], single: dict[str, _Figures], many: int) -> Iterator[Row]:
    for step, name in (
        ("store", f"{many:,} embeddings of 1,536 floats stored"),
        ("load", f"{many:,} read in a new process by get_many"),
        ("random", f"{PICKED:,} random ones of {many:,} by get_many"),
    ):
        ours, theirs = packed[step], single[step]
        share = 1000 if many >= 100_000 else 100  # 100 PUTs for 100,000
        bound = {"store": many / share, "load": 2 * many / 1000 if many >= 100_000 else many / 100, "random": PICKED}[
            step
        ]
        yield Row(
            AREA,
            f"{name}: requests",
            "requests",
            ours.requests,
            ONE_EACH,
            theirs.requests / theirs.count * ours.count,
            bound=at_most(bound),
        )
        cpu = ours.cpu / ours.count, theirs.cpu / theirs.count
        limit = times(1) if step == "random" else faster(20)
        yield Row(AREA, f"{name}: CPU", "µs", cpu[0], ONE_EACH, cpu[1], cpu[0] / cpu[1], bound=limit)
        if step == "random":
            wall = ours.wall / ours.count, theirs.wall / theirs.count
            yield Row(AREA, f"{name}: time", "µs", wall[0], ONE_EACH, wall[1], wall[0] / wall[1], bound=times(1))
    yield Row(
        AREA,
        "1,000 misses: requests",
        "requests",
        packed["miss"].requests,
        ONE_EACH,
        single["miss"].requests,
        bound=at_most(0),
    )


class _Figures:
    def __init__(self, count: int, requests: int, cpu: float, wall: float) -> None:
        self.count, self.requests, self.cpu, self.wall = count, requests, cpu, wall


def _measured(backend: Callable[[], Any], count: int) -> dict[str, _Figures]:
    import numpy as np

    numbers = np.random.default_rng(1)
    vectors = numbers.standard_normal((count, DIMENSIONS), dtype=np.float32)
    texts = [f"text number {number}" for number in range(count)]
    picked = random.Random(2).sample(texts, min(count, PICKED))
    figures = {}
    with closing(_cache(backend())) as cache:
        figures["store"] = _timed(count, lambda: _store(cache, texts, vectors))
    with closing(_cache(backend())) as cache:
        embeddings = EmbeddingCache(cache, model="benchmark")
        found: list[Any] = []
        figures["load"] = _timed(count, lambda: found.extend(embeddings.get_many(texts)))
        if not all(np.array_equal(one, other) for one, other in zip(found, vectors, strict=True)):
            raise AssertionError("what came back is not what was stored")
        found.clear()
        figures["random"] = _timed(len(picked), lambda: found.extend(embeddings.get_many(picked)))
        if any(vector is None for vector in found):
            raise AssertionError("a random one was a miss")
        unknown = [f"unknown {number}" for number in range(PICKED)]
        figures["miss"] = _timed(PICKED, lambda: embeddings.get_many(unknown))
    return figures


def _store(cache: Cache, texts: list[str], vectors: Any) -> None:
    embeddings = EmbeddingCache(cache, model="benchmark")
    for start in range(0, len(texts), AT_A_TIME):
        embeddings.put_many(texts[start : start + AT_A_TIME], vectors[start : start + AT_A_TIME])
    cache.close()  # writes what waits


def _cache(backend: Any) -> Cache:
    return Cache(TierChain(Tier(backend, timeout=60), strict=True), namespace="benchmark")


def _timed(count: int, call: Callable[[], object]) -> _Figures:
    """Run it once: the CPU of the whole process, its threads included, in µs, and the time."""
    gc.collect()
    with l3.requests_counted() as requests:
        cpu, wall = time.process_time(), time.perf_counter()
        call()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return _Figures(count, len(requests), cpu * 1e6, wall * 1e6)


def _catalogue(count: int) -> Iterator[Row]:
    numbers = random.Random(3)
    now = int(time.time() * 1000)
    indexes = []
    for start in range(0, count, PER_SEGMENT):
        digests = sorted(numbers.randbytes(16) for _ in range(min(PER_SEGMENT, count - start)))
        indexes.append(b"".join(entry_of(Located(digest, now, 0, 16, 6200)) for digest in digests))
    catalogue = Catalogue(count)
    began = time.perf_counter()
    for index in indexes:
        catalogue.add(new_ulid(time.time()), index)
    took = time.perf_counter() - began
    yield Row(AREA, f"a catalogue of {count:,} entries: loaded", "s", took)
    yield Row(
        AREA, f"a catalogue of {count:,} entries: an entry", "bytes", catalogue.nbytes() / count, bound=at_most(40)
    )
