"""A value on disk through `Cache`, beside diskcache: both are SQLite files shared by several processes."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from harness import WALL, Row, Sample, Scale, compare, each, interleave

from tiercache import Cache, DiskBackend

AREA = "disk"
KEYS = 1000
PAYLOAD_BYTES = 4096
PEER = "diskcache"


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    try:
        import diskcache
    except ImportError as error:
        yield Row(AREA, "disk: Cache.get", peer=PEER, note=f"diskcache is not installed: {error}")
        return
    noise = random.Random(1).randbytes
    values = {f"chat:gpt-4o:{number:032x}": noise(PAYLOAD_BYTES) for number in range(KEYS)}
    # diskcache.Cache deletes nothing of its own accord here: both stay far below their bounds.
    with (
        tempfile.TemporaryDirectory(prefix="tiercache-bench-") as directory,
        Cache(DiskBackend(Path(directory, "ours.sqlite3"))) as cache,
        diskcache.Cache(str(Path(directory, "theirs"))) as peer,
    ):
        for key, value in values.items():
            cache.set(key, value)
            peer.set(key, value)
        for call in ("get", "set"):
            asked: list[Any] = list(values) if call == "get" else list(values.items())[:100]
            ours, theirs = getattr(cache, call), getattr(peer, call)
            contenders: dict[str, Sample] = {
                f"Cache.{call}": partial(each, ours if call == "get" else _pairs(ours), asked, WALL),
                PEER: partial(each, theirs if call == "get" else _pairs(theirs), asked, WALL),
            }
            samples = interleave(contenders, scale.rounds(31))
            yield compare(AREA, f"disk, 4 KiB of bytes: Cache.{call}", samples, f"Cache.{call}", PEER)


def _pairs(put: Callable[[str, bytes], Any]) -> Callable[[tuple[str, bytes]], Any]:
    return lambda pair: put(*pair)
