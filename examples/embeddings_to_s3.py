"""Embeddings that stay in S3, many an object: the provider is sent only the texts that nobody has embedded before.

    OPENAI_API_KEY=… BUCKET=my-bucket python examples/embeddings_to_s3.py
    OPENAI_API_KEY=… python examples/embeddings_to_s3.py       # without a bucket: moto's S3, in this process

Needs: pip install 'tiercache[s3,llm]' openai                  # and 'moto[s3]' without a bucket
"""

import os
from contextlib import ExitStack

import boto3
import numpy as np
from openai import OpenAI

from tiercache import Cache, MemoryBackend, TierChain
from tiercache.integrations.http import client
from tiercache.packed import PackedBackend
from tiercache_s3 import S3Backend

MODEL = "text-embedding-3-small"
TEXTS = ["the cat sat on the mat", "dough rises without yeast", "rivers meet the sea", "bees make honey"]


def embed(bucket: str, texts: list[str]) -> list[list[float]]:
    """What a job does: memory of its own, the bucket of all, and a client that knows nothing of either."""
    with (
        Cache(
            TierChain(MemoryBackend(), PackedBackend(S3Backend(bucket, prefix="tiercache/"))), namespace="search"
        ) as cache,
        OpenAI(http_client=client(cache)) as openai,
    ):
        answer = openai.embeddings.create(model=MODEL, input=texts)
        saved = cache.stats().savings.total
        print(f"{len(texts)} texts, {len(answer.data[0].embedding)} floats each")
        print(
            f"  from S3: {cache.stats().tiers['s3+packed'].hits}, saved: {saved.input_tokens} tokens, ${saved.usd:.8f}"
        )
        return [item.embedding for item in answer.data]


with ExitStack() as stack:
    bucket = os.environ.get("BUCKET")
    if bucket is None:
        from moto import mock_aws

        bucket = "my-bucket"
        stack.enter_context(mock_aws())
        os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=bucket)

    first = embed(bucket, TEXTS)
    again = embed(bucket, [*TEXTS, "a text that is new"])  # as another process would, a month later
    # As float32, which is what they are: most providers send nothing more exact.
    assert np.array_equal(np.float32(again[: len(TEXTS)]), np.float32(first))
    print("the same vectors, bit for bit")
