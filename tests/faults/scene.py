"""One cell's stage: a cache of one tier on the store, values that are there before, and the two faces of a cache."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from functools import partial

from tests.faults.http_script import CANARY
from tiercache import BreakerPolicy, Cache, Tier, TierChain
from tiercache.errors import BackendTimeout

MANY = 6
SOON = BreakerPolicy(open_seconds=0.2, longest=1.0)
"""For the faults that are quick to tell; those that take a deadline meet the breaker as everybody has it."""


class Sync:
    name = "sync"

    @staticmethod
    async def call(cache, method, *args, **options):
        return getattr(cache, method)(*args, **options)

    @staticmethod
    async def sleep(seconds):
        time.sleep(seconds)  # noqa: ASYNC251 - nothing else runs in this flow's "loop"

    @staticmethod
    def factory(make):
        return make


class Async:
    name = "async"

    @staticmethod
    async def call(cache, method, *args, **options):
        return await getattr(cache, f"a{method}")(*args, **options)

    sleep = staticmethod(asyncio.sleep)

    @staticmethod
    def factory(make):
        async def factory():
            return make()

        return factory


def run_sync(flow):
    """Run a flow of a `Sync` face: it never waits for anything but the cache."""
    try:
        flow.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a synchronous flow awaited something")


class Scene:
    """The cache under test and what it may answer.

    Attributes:
        keys: those that are stored before, each with `stored(key)`.
        key: the first of them.
    """

    def __init__(self, rig, face, fault, operation):
        self.rig, self.face, self.fault, self.operation = rig, face, fault, operation
        self.namespace = f"n{uuid.uuid4().hex[:12]}"
        self.keys = [f"confidential-{uuid.uuid4().hex[:8]}-{number}" for number in range(MANY)]
        self.key = self.keys[0]
        self.absent = f"confidential-{uuid.uuid4().hex[:8]}-absent"
        self.tier = f"store-{self.namespace}"  # other cells' tiers may still be at work, and log
        self.timeout = rig.haste if fault.slow else rig.patience
        self.backend = rig.backend(fault.through, self.timeout, fresh=fault.fresh)
        self.cache = self.cache_on(self.backend, **fault.tier)

    def cache_on(self, backend, *, strict=False, name=None, **tier):
        policy = {} if self.fault.slow else {"breaker": SOON}
        one = Tier(backend, name=name or self.tier, **policy, **tier)
        return Cache(TierChain(one, strict=strict), namespace=self.namespace)

    def beside(self):
        """A cache on the same store that no fault reaches."""
        return self.cache_on(self.rig.backend("server", 60.0), name="beside")

    def full(self, key):
        return f"{self.namespace}:{key}"

    def stored(self, key):
        return {"text": f"secret stored before under {key}"}

    def computed(self, key):
        return {"text": f"secret computed for {key}"}

    def new(self, key):
        large = "x" * 1000 if self.fault.tier and key == self.key else ""
        return {"text": f"secret set anew under {key} {large}"}

    def call(self, method, *args, **options):
        return self.face.call(self.cache, method, *args, **options)

    def seed(self):
        self.beside().set_many({key: self.stored(key) for key in self.keys})
        if self.rig.packed and not self.fault.from_start:
            self.look()  # it would of itself within a minute

    def look(self):
        """Let a packed backend see what was seeded; the first time, its client may take longer to make than it has."""
        for attempt in range(60):
            try:
                self.backend.refresh()
                return
            except BackendTimeout:
                if attempt == 59:
                    raise

    def raw_entry(self, key):
        """What the store holds, as an entry."""
        from tiercache import envelope

        return envelope.decode(self.rig.raw_get(self.full(key)), self.full(key))

    @property
    def errors(self):
        """What the tier counted, by kind (a snapshot would ask the store how much it holds)."""
        return dict(self.cache.chain.tiers[0].counters.errors)

    async def until(self, holds, seconds, what):
        """Wait until it holds, with a bound."""
        end = time.monotonic() + seconds
        while not await holds():
            assert time.monotonic() < end, what
            await self.face.sleep(0.02)


class Log(logging.Handler):
    """What tiercache logs while it is entered."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.records = []

    def emit(self, record):
        self.records.append(record)

    def __enter__(self):
        logging.getLogger("tiercache").addHandler(self)
        return self

    def __exit__(self, *error):
        logging.getLogger("tiercache").removeHandler(self)

    def lines(self, tier):
        """What was logged of a tier, by kind (the second argument of a line), without the values."""
        lines = [(record.msg, *(record.args or ())[:2]) for record in self.records if record.levelno >= logging.INFO]
        return [line for line in lines if tier in line]

    def tells(self):
        """The words that no line may tell and that one does."""
        text = "\n".join(map(partial(logging.Formatter().format), self.records))
        return [word for word in ("confidential", "secret ", CANARY) if word in text]
