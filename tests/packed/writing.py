"""A process of `test_processes.py`: it puts, flushes, and says what is stored, until it is killed."""

from __future__ import annotations

import itertools
import json
import random
import sys

from tests.packed.objects import entry
from tiercache.packed import PackedBackend
from tiercache_s3 import S3Backend

KEYS = 40
PER_FLUSH = 15


def backend_of(place: dict[str, str], **options: float) -> PackedBackend:
    """Return a backend on the server that all processes share."""
    return PackedBackend(S3Backend(timeout=30, **place), segment_bytes=20_000, **options)  # type: ignore[arg-type]


def main(place: dict[str, str], name: str) -> None:
    """Write common keys and keys of its own; each line that is printed is a number up to which all is stored."""
    backend = backend_of(place, refresh=0.5)
    for number in itertools.count():
        for part in range(PER_FLUSH):
            common = f"common:{random.randrange(KEYS)}"
            backend.put(common, entry(common, f"{common} {name} {number * PER_FLUSH + part}".encode()))
            if random.random() < 0.05:
                backend.delete(f"common:{random.randrange(KEYS)}")
        own = f"own:{name}:{number}"
        backend.put(own, entry(own, own.encode() * 20, ttl=random.choice([None, 3600, 90_000])))
        backend.flush()
        print(number, flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2])
