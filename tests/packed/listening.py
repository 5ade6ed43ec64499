"""Another process of `test_news.py`: it hears of segments through Redis, and says what its packed tier reads."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from tiercache import Cache, MemoryBackend, TierChain
from tiercache.packed import PackedBackend
from tiercache_redis import RedisBackend
from tiercache_s3 import S3Backend

PROMISED, SLACK = 1.0, 10
"""Seconds after which another process reads a segment that was written, and how many times as long a test waits."""


def chain_of(redis_url: str, place: dict[str, Any]) -> tuple[TierChain, PackedBackend]:
    """Return a chain on the servers that all share, whose packed tier looks for itself once an hour."""
    packed = PackedBackend(S3Backend(timeout=60, **place), refresh="1h", flush_after="1h")
    return TierChain(MemoryBackend(), RedisBackend(redis_url, prefix=place["prefix"], timeout=10), packed), packed


def listening(chain: TierChain) -> None:
    """Return when news arrives."""
    Cache(chain, namespace="n").get("anything")
    end = time.monotonic() + 60
    while chain.news._missed:
        assert time.monotonic() < end, "nobody listens"
        time.sleep(0.005)


def main(redis_url: str, place: dict[str, Any]) -> None:
    """Wait for the values that are asked for, line by line; say each, and what finding it took."""
    chain, packed = chain_of(redis_url, place)
    listening(chain)
    packed.get("n:anything")
    print(json.dumps(os.getpid()), flush=True)
    for line in sys.stdin:
        key, value = json.loads(line)
        before, end = packed.discovery.counters.listings, time.monotonic() + SLACK * PROMISED
        while True:
            found = packed.get(key)
            text = None if found is None else found.payload.decode()
            if text == value or time.monotonic() > end:
                break
            time.sleep(0.005)
        print(json.dumps([text, packed.discovery.counters.listings - before]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
