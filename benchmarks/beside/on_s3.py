"""Hits, misses and writes in S3; ours has a memory tier above it that is too small, as in front of Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from harness import Row, Scale

from tiercache import Cache, MemoryBackend, TierChain
from tiercache.testing.servers import ServerUnavailable, s3_server

from .contenders import Calls, Contender, Place
from .jobs import Ring, answer
from .measured import OURS
from .on_memory import calls_of, calls_of_key_value, calls_of_litellm

BUCKET = "beside"
ROOM = 4


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    with asyncio.Runner() as runner, ExitStack() as stack:
        try:
            server = stack.enter_context(s3_server())
        except ServerUnavailable as reason:
            yield Row("beside", "S3", note=str(reason))
            return
        client = _client(server)
        client.create_bucket(Bucket=BUCKET)
        stack.callback(client.close)
        ring = Ring("S3", CONTENDERS, Place(runner, stack, server=server), scale, keys=16, rounds=11)
        yield from ring.rows(value=answer(), values="a chat answer of 1.6 kB", callers=False)


def _client(server: Any) -> Any:
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
    )


def tiercache(place: Place) -> Calls:
    """`Cache` on memory and S3."""
    from tiercache_s3 import S3Backend

    backend = S3Backend(
        BUCKET,
        prefix="ours/",
        endpoint_url=place.server.endpoint_url,
        access_key_id=place.server.access_key,
        secret_access_key=place.server.secret_key,
        region=place.server.region,
        timeout=60,
    )
    chain = TierChain(MemoryBackend(max_entries=ROOM), backend, strict=True, epoch_refresh=None)
    return calls_of(place.stack.enter_context(Cache(chain, ttl="1h")))


def bare(place: Place) -> Calls:
    """boto3 and json, as its documentation shows them."""
    client = _client(place.server)
    place.stack.callback(client.close)
    missing = client.exceptions.NoSuchKey

    def get(key: str) -> Any:
        try:
            return json.loads(client.get_object(Bucket=BUCKET, Key=f"bare/{key}")["Body"].read())
        except missing:
            return None

    def put(key: str, value: Any) -> None:
        client.put_object(Bucket=BUCKET, Key=f"bare/{key}", Body=json.dumps(value).encode())

    return Calls(get, put)


def litellm_s3(place: Place) -> Calls:
    from litellm.caching.s3_cache import S3Cache

    cache: Any = S3Cache(
        BUCKET,
        s3_region_name=place.server.region,
        s3_endpoint_url=place.server.endpoint_url,
        s3_aws_access_key_id=place.server.access_key,
        s3_aws_secret_access_key=place.server.secret_key,
        s3_path="litellm",
    )
    calls = calls_of_litellm(cache)
    calls.get_many = calls.set_many = calls.aget_many = calls.aset_many = None  # what it stores must be an object
    return calls


def key_value_s3(place: Place) -> Calls:
    from key_value.aio.stores.s3 import S3Store

    store: Any = S3Store(
        bucket_name=BUCKET,
        endpoint_url=place.server.endpoint_url,
        aws_access_key_id=place.server.access_key,
        aws_secret_access_key=place.server.secret_key,
        region_name=place.server.region,
    )
    place.aclose(store.close)
    return calls_of_key_value(store)


_LESS = {
    "": "no tier above to fill; no comparison of the key; no deadline, no breaker",
    "write": "one store to write instead of two; no checksum of the entry; no fence against late writes",
    "miss": "no tier above that was asked first; no deadline, no breaker",
    "batch read": "no tier above to fill; no comparison of the keys; no deadline",
    "batch write": "one store to write instead of two; no checksum of the entry; no fence against late writes",
}
CONTENDERS = [
    Contender(OURS, tiercache),
    Contender("boto3 and json", bare, _LESS),
    Contender("LiteLLM S3Cache", litellm_s3, _LESS),
    Contender("py-key-value S3Store", key_value_s3, _LESS),
]
