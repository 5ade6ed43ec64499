"""make soak: Zipf traffic for many minutes on real servers whose network breaks again and again; nothing may grow.

memory -> Redis -> S3, each server behind a proxy that injects one fault after another. Threads and tasks, 1 to 128 at a
time, get, set, delete, compute and invalidate tags. A value names its key and its version: a read may find nothing, but
never another key's value, nor a version older than one that was acknowledged, or deleted, before the read began.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import random
import sys
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.testing import FaultProxy, NetworkFault
from tiercache.testing.servers import redis_server, seaweedfs_server
from tiercache_redis import RedisBackend
from tiercache_s3 import S3Backend

KEYS = 2000
CALLERS = (1, 8, 32, 128)
FAULT_SECONDS = 4.0
CALM_SECONDS = 4.0
ZIPF = 1.1


@dataclass
class Model:
    """What may be read: the version of each key that was acknowledged last, and the turn of its writers."""

    acked: list[int] = field(default_factory=lambda: [0] * KEYS)
    newest: list[int] = field(default_factory=lambda: [0] * KEYS)
    turns: list[threading.Lock] = field(default_factory=lambda: [threading.Lock() for _ in range(KEYS)])
    wrong: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def check(self, key: int, floor: int, value: object) -> None:
        """Record a value that no read which began at this floor may return."""
        if value is None:
            self.done["misses"] += 1
            return
        self.done["hits"] += 1
        name, _, version = str(value).partition(":")
        if name != str(key) or not version.isdigit() or int(version) < floor:
            self.wrong.append(f"key {key} from version {floor} on gave version {version} of key {name}")


class Traffic:
    """Callers of one cache."""

    def __init__(self, cache: Cache, model: Model, seed: int) -> None:
        self.cache, self.model = cache, model
        self.random = random.Random(seed)
        weights = [1 / (rank + 1) ** ZIPF for rank in range(KEYS)]
        self.picked = self.random.choices(range(KEYS), weights, k=200_000)
        self.stop = threading.Event()

    def write(self, key: int, operation: str) -> None:
        """One change of a key, in its turn; the older value is wrong from its end on."""
        model, cache = self.model, self.cache
        with model.turns[key]:
            model.newest[key] += 1
            version = model.newest[key]
            value = f"{key}:{version}:" + "x" * (key % 50 * 40)
            if operation == "set":
                cache.set(str(key), value, ttl=60, tags=[f"t{key % 20}"])
            elif operation == "delete":
                cache.delete(str(key))
            else:
                cache.set_many({str(key): value}, ttl=60)
            model.acked[key] = version

    def work(self, seed: int) -> None:
        """Operations, one after another, until told to stop."""
        chance = random.Random(seed)
        model, cache = self.model, self.cache
        while not self.stop.is_set():
            key = self.picked[chance.randrange(len(self.picked))]
            kind = chance.random()
            try:
                if kind < 0.7:
                    floor = model.acked[key]
                    self.check(key, floor, cache.get(str(key)))
                elif kind < 0.8:
                    floor = model.acked[key]
                    self.check(key, floor, cache.get_many([str(key)]).get(str(key)))
                elif kind < 0.9:
                    self.write(key, "set")
                elif kind < 0.95:
                    self.write(key, "delete")
                else:
                    self.write(key, "set_many")
            except Exception as error:  # noqa: BLE001 - no error may reach a caller
                model.errors[type(error).__name__] += 1
            model.done["operations"] += 1

    async def awork(self, seed: int) -> None:
        """The same, awaited (reads, and computations of keys of their own)."""
        chance = random.Random(seed)
        model, cache = self.model, self.cache
        while not self.stop.is_set():
            key = self.picked[chance.randrange(len(self.picked))]
            floor = model.acked[key]
            try:
                if chance.random() < 0.9:
                    self.check(key, floor, await cache.aget(str(key)))
                else:
                    expected = f"c{key}"
                    if await cache.aget_or_set(f"c{key}", lambda expected=expected: expected, ttl=1) != expected:
                        model.wrong.append(f"a computation of key {key} gave another's")
            except Exception as error:  # noqa: BLE001 - no error may reach a caller
                model.errors[type(error).__name__] += 1
            model.done["operations"] += 1
            await asyncio.sleep(0)

    def check(self, key: int, floor: int, value: object) -> None:
        """Look at what a read returned, without its padding."""
        text = None if value is None else ":".join(str(value).split(":")[:2])
        self.model.check(key, floor, text)

    def run(self, seconds: float, callers: int) -> None:
        """Half of the callers are threads, half tasks."""
        self.stop.clear()
        tasks = callers // 2

        async def several() -> None:
            await asyncio.gather(*[self.awork(self.random.randrange(2**32)) for _ in range(tasks)])

        with ThreadPoolExecutor(callers) as threads:
            running = [threads.submit(self.work, self.random.randrange(2**32)) for _ in range(callers - tasks)]
            if tasks:
                running.append(threads.submit(asyncio.run, several()))
            time.sleep(seconds)
            self.stop.set()
        for one in running:
            one.result()


@dataclass(frozen=True)
class Sample:
    """What the process takes at a moment of calm."""

    seconds: float
    megabytes: float
    descriptors: int
    threads: int


def sample(start: float) -> Sample:
    """Measure, after what ends by itself has had time to."""
    time.sleep(6)  # idle threads leave after 5 s
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(
        time.monotonic() - start,
        pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
    )


def slope(samples: list[Sample]) -> float:
    """Return the megabytes that are added in an hour, by least squares over the second half."""
    late = samples[len(samples) // 2 :]
    mean_x = sum(one.seconds for one in late) / len(late)
    mean_y = sum(one.megabytes for one in late) / len(late)
    spread = sum((one.seconds - mean_x) ** 2 for one in late)
    shared = sum((one.seconds - mean_x) * (one.megabytes - mean_y) for one in late)
    return 3600 * shared / spread if spread else 0.0


def main() -> int:
    """Run the soak; 0 if nothing was wrong and nothing grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("tiercache").setLevel(logging.CRITICAL)
    console = Console()
    with ExitStack() as stack:
        redis, s3 = stack.enter_context(redis_server()), stack.enter_context(seaweedfs_server())
        proxies = [
            stack.enter_context(FaultProxy(redis.url)),
            stack.enter_context(FaultProxy(s3.endpoint_url)),
        ]
        cache = stack.enter_context(_cache(proxies, s3))
        model = Model()
        traffic = Traffic(cache, model, options.seed)
        samples = _soak(console, traffic, proxies, options.minutes * 60)
        return _report(console, model, samples, cache)


def _cache(proxies: list[FaultProxy], s3: object) -> Cache:
    import boto3

    name = f"soak-{uuid.uuid4().hex[:8]}"
    credentials = {
        "aws_access_key_id": s3.access_key,  # type: ignore[attr-defined]
        "aws_secret_access_key": s3.secret_key,  # type: ignore[attr-defined]
        "region_name": s3.region,  # type: ignore[attr-defined]
    }
    boto3.client("s3", endpoint_url=s3.endpoint_url, **credentials).create_bucket(Bucket=name)  # type: ignore[attr-defined]
    backend = S3Backend(
        name,
        endpoint_url=f"http://{proxies[1].address}",
        access_key_id=credentials["aws_access_key_id"],
        secret_access_key=credentials["aws_secret_access_key"],
        region=credentials["region_name"],
    )
    chain = TierChain(
        MemoryBackend("2MiB"),
        Tier(RedisBackend(f"redis://{proxies[0].address}/0"), timeout=0.2),
        Tier(backend, timeout=1),
    )
    return Cache(chain, namespace="soak")


def _soak(console: Console, traffic: Traffic, proxies: list[FaultProxy], seconds: float) -> list[Sample]:
    start = time.monotonic()
    samples: list[Sample] = []
    faults = [fault for fault in NetworkFault if fault is not NetworkFault.CORRUPT] + [NetworkFault.CORRUPT]
    number = 0
    with console.status("soaking") as status:
        while time.monotonic() - start < seconds or len(samples) < 4:
            callers, fault = CALLERS[number % len(CALLERS)], faults[number % len(faults)]
            proxy = proxies[number // 2 % 2]
            left = max(0.0, seconds - (time.monotonic() - start))
            status.update(f"{callers} callers, {fault} ({left:.0f} s left, {len(traffic.model.wrong)} wrong)")
            with proxy.broken(fault):
                traffic.run(FAULT_SECONDS, callers)
            traffic.run(CALM_SECONDS, callers)
            samples.append(sample(start))
            number += 1
    return samples


def _report(console: Console, model: Model, samples: list[Sample], cache: Cache) -> int:
    table = Table(title="soak", show_header=True)
    for column in ("minutes", "MiB", "descriptors", "threads"):
        table.add_column(column, justify="right")
    for one in samples[:: max(1, len(samples) // 12)]:
        table.add_row(f"{one.seconds / 60:.1f}", f"{one.megabytes:.1f}", str(one.descriptors), str(one.threads))
    console.print(table)
    growth, half = slope(samples), len(samples) // 2
    fds = max(one.descriptors for one in samples[half:]) - max(one.descriptors for one in samples[:half])
    threads = max(one.threads for one in samples[half:]) - max(one.threads for one in samples[:half])
    stats = cache.stats()
    console.print(
        f"{model.done['operations']:,} operations, {model.done['hits']:,} hits, {model.done['misses']:,} misses, "
        f"{sum(stats.errors.values()):,} failures of tiers; errors that reached callers: {dict(model.errors) or 'none'}"
    )
    console.print(
        f"memory {growth:+.1f} MiB an hour; descriptors {fds:+d}, threads {threads:+d} from one half to the other"
    )
    console.print(f"wrong values: {len(model.wrong)}", *model.wrong[:10], sep="\n")
    grew = growth > 60 or fds > 20 or threads > 10
    return int(bool(model.wrong or model.errors) or grew)


if __name__ == "__main__":
    sys.exit(main())
