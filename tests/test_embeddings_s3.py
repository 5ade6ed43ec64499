"""The main job at size: 5,000 embeddings in a real S3 server, read by another chain without one model call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tiercache import Cache, MemoryBackend, TierChain
from tiercache.llm import EmbeddingCache
from tiercache.testing.servers import S3Server
from tiercache_s3 import S3Backend

COUNT, DIM = 5_000, 384


def embeddings_on(server: S3Server, bucket: str, prefix: str) -> EmbeddingCache:
    """An empty memory over S3, with default timeouts: another process."""
    backend = S3Backend(
        bucket,
        prefix=prefix,
        endpoint_url=server.endpoint_url,
        region=server.region,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
    )
    return EmbeddingCache(Cache(TierChain(MemoryBackend(), backend)), model="m", batch_size=1000)


@pytest.mark.timeout(600)
def test_five_thousand_stored_embeddings_cost_no_model_call(
    s3_server: S3Server, s3_bucket: str, s3_prefix: str
) -> None:
    texts = [f"paragraph {number}" for number in range(COUNT)]
    vectors = np.random.default_rng(0).random((COUNT, DIM), dtype=np.float32)

    def model(inputs: list[Any]) -> np.ndarray[Any, Any]:
        return vectors[[int(text.split()[1]) for text in inputs]]

    first = embeddings_on(s3_server, s3_bucket, s3_prefix)
    first.embed(texts, model)
    assert first.cache.stats().tiers["s3"].puts == COUNT
    first.cache.close()

    def forbidden(inputs: list[Any]) -> Any:
        raise AssertionError(f"the model was asked for {len(inputs)} stored texts")

    second = embeddings_on(s3_server, s3_bucket, s3_prefix)
    np.testing.assert_array_equal(second.embed(texts, forbidden), vectors)
    assert second.cache.stats().tiers["s3"].hits == COUNT
    second.cache.close()
