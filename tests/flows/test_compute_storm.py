"""Everything at once: threads and loops compute, nest, wait, leave, refresh and change the same keys."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections import Counter
from functools import partial
from typing import Any

from tests.flows.test_compute_waits import start
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import ComputeTimeout, ReentrantComputation

KEYS = "abcdef"
SECONDS = float(os.environ.get("STORM_SECONDS", "1.5"))
OPTIONS: list[dict[str, Any]] = [
    {},
    {"ttl": 0.004},
    {"ttl": 0.004, "stale_for": 0.5},
    {"ttl": 0.02, "refresh_ahead": 0.5, "stale_for": 0.5},
    {"ttl": 0.004, "stale_for": 0.5, "soft_timeout": 0.001},
    {"timeout": 0.002},
    {"timeout": 0.002, "stale_if_error": 0.5, "ttl": 0.004},
]


class Storm:
    """A source whose values only grow, a cache over it, and how old a value may be that a call returns."""

    def __init__(self) -> None:
        self.cache = Cache(TierChain(MemoryBackend(), Tier(RemoteBackend(time.time))), namespace="n")
        self.source: Counter[str] = Counter()
        self.floor: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.done: Counter[str] = Counter()
        self.ends = time.monotonic() + SECONDS

    def value(self, key: str) -> int:
        with self.lock:
            return self.source[key]

    def change(self, key: str, random: random.Random) -> None:
        with self.lock:
            self.source[key] += 1
            changed = self.source[key]
        if random.random() < 0.5:
            self.cache.delete(key)
        else:
            self.cache.delete_many([key, random.choice(KEYS)])
        with self.lock:
            self.floor[key] = max(self.floor[key], changed)

    def load(self, key: str, random: random.Random) -> int:
        """The factory: it may be slow, fail, or need another key."""
        found = self.value(key)
        what = random.random()
        if what < 0.1:
            raise ConnectionError("down")
        if what < 0.4:
            other = random.choice(KEYS)
            self.cache.get_or_set(other, partial(self.load, other, random), **random.choice(OPTIONS))
        elif what < 0.6:
            time.sleep(random.random() * 0.004)
        return found

    async def aload(self, key: str, random: random.Random) -> int:
        found = self.value(key)
        what = random.random()
        if what < 0.1:
            raise ConnectionError("down")
        if what < 0.4:
            other = random.choice(KEYS)
            await self.cache.aget_or_set(other, partial(self.aload, other, random), **random.choice(OPTIONS))
        elif what < 0.6:
            await asyncio.sleep(random.random() * 0.004)
        return found

    def check(self, key: str, floor: int, value: int) -> None:
        assert value >= floor, f"a value from before a change: {value} < {floor}"
        self.done["answers"] += 1

    def thread(self, seed: int) -> None:
        dice = random.Random(seed)
        while time.monotonic() < self.ends:
            keys = dice.sample(KEYS, 3)
            floors = [self.floor[key] for key in keys]
            try:
                what = dice.random()
                if what < 0.15:
                    self.change(keys[0], dice)
                elif what < 0.35:
                    found = self.cache.get_or_set_many(
                        keys, lambda missing: {key: self.load(key, dice) for key in missing}, **dice.choice(OPTIONS)
                    )
                    for key, floor in zip(keys, floors, strict=True):
                        self.check(key, floor, found[key])
                else:
                    value = self.cache.get_or_set(keys[0], partial(self.load, keys[0], dice), **dice.choice(OPTIONS))
                    self.check(keys[0], floors[0], value)
            except (ConnectionError, ComputeTimeout, ReentrantComputation) as error:
                self.done[type(error).__name__] += 1

    async def task(self, seed: int) -> None:
        dice = random.Random(seed)
        while time.monotonic() < self.ends:
            key = dice.choice(KEYS)
            floor = self.floor[key]
            call = self.cache.aget_or_set(key, partial(self.aload, key, dice), **dice.choice(OPTIONS))
            try:
                if dice.random() < 0.2:
                    self.check(key, floor, await asyncio.wait_for(call, 0.002))
                else:
                    self.check(key, floor, await call)
            except (ConnectionError, ReentrantComputation, TimeoutError) as error:
                self.done[type(error).__name__] += 1
            await asyncio.sleep(0)

    async def loop(self, seed: int) -> None:
        await asyncio.gather(*(self.task(seed * 100 + number) for number in range(12)))
        while self.cache.chain.flights._flights:  # noqa: ASYNC110 - what goes on behind the callers
            await asyncio.sleep(0.005)


def test_a_storm_of_computations_hangs_nobody_and_returns_nothing_from_before_a_change() -> None:
    storm = Storm()
    seed = int(os.environ.get("STORM_SEED", "1"))
    callers = [start(storm.thread, seed * 1000 + number) for number in range(10)]
    callers += [start(lambda n=n: asyncio.run(storm.loop(seed * 1000 + n))) for n in (50, 60)]  # type: ignore[misc]
    for caller in callers:
        caller.result(SECONDS + 30)
    assert storm.done["answers"] > 100
    assert storm.cache.drain(20)
    end = time.monotonic() + 20
    while storm.cache.chain.flights._flights or storm.cache.chain.fence._states:
        assert time.monotonic() < end, "something is left in the tables"
        time.sleep(0.01)
