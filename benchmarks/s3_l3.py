"""A hit in S3 through the whole cache: the CPU it takes beside the SDK's own bare GET, and the requests it makes.

CPU, not time: of a request over a real network the CPU is what a cache in front of the SDK can add to. It is that of
the whole process, the backend's worker threads included. The first tier is kept too small, as for Redis.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from typing import Any

from harness import Row, Sample, Scale, aeach, at_most, compare, each, interleave, times

from tiercache import Cache, MemoryBackend, TierChain
from tiercache.testing.servers import S3Server, ServerUnavailable, s3_server

AREA = "s3"
BUCKET = "bench"
KEYS = 16
ROOM = 4
CALLS = 48


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    try:
        with s3_server() as server:
            client = _client(server)
            client.create_bucket(Bucket=BUCKET)
            for name, size in (("a vector of 1,536 float32", 6144), ("64 KiB of bytes", 65536)):
                yield from _hits(server, client, name, size, scale)
            client.close()
    except ServerUnavailable as reason:
        yield Row(AREA, "L3 hit (S3)", note=str(reason))


def _hits(server: S3Server, client: Any, name: str, size: int, scale: Scale) -> Iterator[Row]:
    payload = random.Random(1).randbytes(size)
    prefix = f"{size}/"
    keys = [f"key-{number}" for number in range(KEYS)]
    asked = list(islice(cycle(keys), CALLS))

    def get_object(name: str) -> bytes:
        body: bytes = client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        return body

    with asyncio.Runner() as runner, _cache(server, prefix) as cache:
        cache.set_many(dict.fromkeys(keys, payload))
        listed = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
        names = list(islice(cycle(found["Key"] for found in listed), CALLS))
        if len(listed) != KEYS or payload not in get_object(names[0]):
            raise AssertionError("the bare GET does not read what the cache wrote")
        calls: dict[str, Sample] = {
            "Cache.get": partial(each, cache.get, asked, time.process_time_ns),
            "Cache.aget": partial(_run, runner, cache.aget, asked),
            "boto3 get_object": partial(each, get_object, names, time.process_time_ns),
        }
        samples = interleave(calls, scale.rounds(31))
        with _requests_counted() as requests:
            for key in asked:
                cache.get(key)
        memory, s3 = cache.stats().tiers.values()
        if memory.hits or s3.misses or not memory.promotions == s3.hits > 0:
            raise AssertionError(f"not every read was a promoted hit in S3: {memory}, {s3}")
    for call in ("Cache.get", "Cache.aget"):
        what = f"L3 hit, CPU, {name}: {call}"
        yield compare(AREA, what, samples, call, "boto3 get_object", bound=times(1.1) if call == "Cache.get" else None)
    yield Row(AREA, f"L3 hit, {name}: requests", "requests", len(requests) / len(asked), bound=at_most(1))


@contextmanager
def _requests_counted() -> Iterator[list[str]]:
    """Note every request that botocore sends, whoever's client it is."""
    from botocore.httpsession import URLLib3Session

    sent: list[str] = []
    send = URLLib3Session.send

    def counted(self: Any, request: Any) -> Any:
        sent.append(request.method)
        return send(self, request)

    URLLib3Session.send = counted
    try:
        yield sent
    finally:
        URLLib3Session.send = send


def _client(server: S3Server) -> Any:
    """Return the client that somebody without a cache would make."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
    )


def _cache(server: S3Server, prefix: str) -> Cache:
    from tiercache_s3 import S3Backend

    backend = S3Backend(
        BUCKET,
        prefix=prefix,
        endpoint_url=server.endpoint_url,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        region=server.region,
        timeout=30,  # on a busy machine a slow answer would be a miss
    )
    return Cache(TierChain(MemoryBackend(max_entries=ROOM), backend, strict=True))


def _run(runner: asyncio.Runner, call: Callable[[str], Any], asked: list[str]) -> float:
    return runner.run(aeach(call, asked, time.process_time_ns))
