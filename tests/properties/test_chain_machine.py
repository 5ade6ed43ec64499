"""A chain of three tiers against a model, with faults, ttls, tags and restarts: whatever fails, no read is wrong.

Each step runs in two worlds, one that blocks and one that awaits, which must do the same. A read may find nothing; what
it finds is what the model holds. Where nothing failed since the value was set, it finds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.conftest import FakeClock
from tests.properties.scale import SCALE
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import AccessDenied, BackendTimeout, BackendUnavailable

KEYS = ["a", "b"]
TAGS = ["red", "blue"]
STORES = ["upper", "lower"]
FAULTS: list[Callable[[], Exception]] = [
    lambda: BackendUnavailable("down"),
    lambda: BackendTimeout("slow"),
    lambda: AccessDenied("no"),
]
COLD = ["warm", "cold", "cold", "flushed"]
OPERATIONS = ("get", "put", "delete", "head", "scan", "ping", "get_many", "put_many", "delete_many")
READS, WRITES = ("get", "head", "get_many", "scan"), ("put", "delete", "put_many", "delete_many")


@dataclass
class Value:
    """What a key holds, when it expires, and whether all tiers were well when it was set."""

    value: str
    expires_at: float
    tags: frozenset[str]
    sure: bool


@dataclass
class World:
    """A chain on stores that outlive it."""

    clock: FakeClock
    stores: dict[str, RemoteBackend] = field(default_factory=dict)
    cache: Cache = field(init=False)

    def __post_init__(self) -> None:
        self.stores = {name: RemoteBackend(self.clock, name=name) for name in STORES}
        self.start()

    def start(self) -> None:
        tiers = [Tier(store, name=name, breaker=False) for name, store in self.stores.items()]
        chain = TierChain(MemoryBackend(clock=self.clock), *tiers, clock=self.clock, epoch_refresh=None)
        # What happens in the background, by the clock of the machine, happens here when a step says so.
        chain.hearsay._begun = True
        for tier in tiers:
            tier.on_change = _later
        self.cache = Cache(chain, namespace="n")


class ChainMachine(RuleBasedStateMachine):
    """The steps. `both` performs one in each world and compares what they answer."""

    @initialize()
    def begin(self) -> None:
        self.clock = FakeClock()
        self.sync, self.awaited = World(self.clock), World(self.clock)
        self.loop = asyncio.new_event_loop()
        self.model: dict[str, Value] = {}
        self.well = True
        self.number = 0

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            for world in (self.sync, self.awaited):
                for store in world.stores.values():
                    store.faults.clear()
                world.cache.close()
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    def both(self, act: Callable[[Cache], Any], awaited: Callable[[Cache], Coroutine[Any, Any, Any]]) -> Any:
        """Do it in both worlds, let the background end, and return the answer, which is the same."""
        first = act(self.sync.cache)
        second = self.loop.run_until_complete(awaited(self.awaited.cache))
        for world in (self.sync, self.awaited):
            world.cache.chain.background.drain(10)
        assert first == second
        return first

    def next_value(self) -> str:
        self.number += 1
        self.clock.advance(0.5)
        return f"v{self.number}"

    @rule(key=st.sampled_from(KEYS), ttl=st.sampled_from([1, 10, 1000]), tags=st.sets(st.sampled_from(TAGS)))
    def set(self, key: str, ttl: int, tags: set[str]) -> None:
        value = self.next_value()
        self.both(
            lambda cache: cache.set(key, value, ttl=ttl, tags=sorted(tags)),
            lambda cache: cache.aset(key, value, ttl=ttl, tags=sorted(tags)),
        )
        self.model[key] = Value(value, self.clock() + ttl, frozenset(tags), self.well)

    @rule(keys=st.sets(st.sampled_from(KEYS), min_size=1), ttl=st.sampled_from([1, 1000]))
    def set_many(self, keys: set[str], ttl: int) -> None:
        items = {key: self.next_value() for key in sorted(keys)}
        self.both(
            lambda cache: cache.set_many(items, ttl=ttl),
            lambda cache: cache.aset_many(items, ttl=ttl),
        )
        for key, value in items.items():
            self.model[key] = Value(value, self.clock() + ttl, frozenset(), self.well)

    @rule(key=st.sampled_from(KEYS), cold=st.sampled_from(COLD))
    def get(self, key: str, cold: str) -> None:
        self.cool(cold)
        self.judge(key, self.both(lambda cache: cache.get(key), lambda cache: cache.aget(key)))

    @rule(keys=st.sets(st.sampled_from(KEYS), min_size=1), cold=st.sampled_from(COLD))
    def get_many(self, keys: set[str], cold: str) -> None:
        self.cool(cold)
        found = self.both(lambda cache: cache.get_many(keys), lambda cache: cache.aget_many(keys))
        for key in keys:
            self.judge(key, found.get(key))

    @rule(key=st.sampled_from(KEYS), cold=st.sampled_from(COLD))
    def lookup(self, key: str, cold: str) -> None:
        self.cool(cold)
        found = self.both(lambda cache: cache.lookup(key).value, lambda cache: _value(cache.alookup(key)))
        self.judge(key, found)

    @rule(key=st.sampled_from(KEYS))
    def contains(self, key: str) -> None:
        if self.both(lambda cache: cache.contains(key), lambda cache: cache.acontains(key)):
            assert self.expected(key) is not None

    @rule(key=st.sampled_from(KEYS))
    def delete(self, key: str) -> None:
        self.clock.advance(0.5)
        self.both(lambda cache: cache.delete(key), lambda cache: cache.adelete(key))
        self.model.pop(key, None)

    @rule(keys=st.sets(st.sampled_from(KEYS), min_size=1))
    def delete_many(self, keys: set[str]) -> None:
        self.clock.advance(0.5)
        self.both(lambda cache: cache.delete_many(sorted(keys)), lambda cache: cache.adelete_many(sorted(keys)))
        for key in keys:
            self.model.pop(key, None)

    @rule(key=st.sampled_from(KEYS), ttl=st.sampled_from([1, 1000]))
    def touch(self, key: str, ttl: int) -> None:
        self.clock.advance(0.5)
        if self.both(lambda cache: cache.touch(key, ttl=ttl), lambda cache: cache.atouch(key, ttl=ttl)):
            held = self.model[key]
            self.model[key] = Value(held.value, self.clock() + ttl, held.tags, held.sure and self.well)

    @rule(key=st.sampled_from(KEYS))
    def compute(self, key: str) -> None:
        value = self.next_value()
        got = self.both(
            lambda cache: cache.get_or_set(key, lambda: value, ttl=100),
            lambda cache: cache.aget_or_set(key, lambda: value, ttl=100),
        )
        if got == value:
            assert self.expected(key) is None or not self.model[key].sure
            self.model[key] = Value(value, self.clock() + 100, frozenset(), self.well)
        else:
            self.judge(key, got)

    @precondition(lambda self: self.number % 3 == 0)
    @rule()
    def clear(self) -> None:
        self.clock.advance(0.5)
        self.both(lambda cache: cache.clear(), lambda cache: cache.aclear())
        self.model.clear()

    @rule(tags=st.sets(st.sampled_from(TAGS), min_size=1))
    def invalidate(self, tags: set[str]) -> None:
        self.clock.advance(0.5)
        self.both(lambda cache: cache.invalidate_tags(sorted(tags)), lambda cache: cache.ainvalidate_tags(sorted(tags)))
        self.model = {key: held for key, held in self.model.items() if not held.tags & tags}

    @rule(seconds=st.sampled_from([0.25, 2, 20, 2000]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(
        store=st.sampled_from(STORES),
        fault=st.sampled_from(FAULTS),
        operations=st.sampled_from([READS, WRITES, OPERATIONS]),
    )
    def fail(self, store: str, fault: Callable[[], Exception], operations: tuple[str, ...]) -> None:
        self.well = False
        for world in (self.sync, self.awaited):
            for operation in operations:
                world.stores[store].faults[operation] = fault()

    @precondition(lambda self: not self.well)
    @rule(store=st.sampled_from(STORES))
    def heal(self, store: str) -> None:
        for world in (self.sync, self.awaited):
            world.stores[store].faults.clear()
        self.unsure()

    @precondition(lambda self: not self.well)
    @rule()
    def mend(self) -> None:
        """All stores are back, and had the time to take what they missed."""
        for world in (self.sync, self.awaited):
            for store in world.stores.values():
                store.faults.clear()
            assert world.cache.drain(30)
        self.unsure()
        self.well = True

    def cool(self, cold: str) -> None:
        """Have the faster tiers lose what they hold: memory by eviction, the upper store as when Redis is flushed."""
        for world in (self.sync, self.awaited):
            assert world.cache.chain.memory is not None
            if cold != "warm":
                world.cache.chain.memory.clear()
            if cold == "flushed":
                world.stores["upper"].entries.clear()

    @precondition(lambda self: not any(store.faults for store in self.sync.stores.values()))
    @rule()
    def restart(self) -> None:
        """End without a word, with whatever was missed: what is known of it lies in the other store."""
        for world in (self.sync, self.awaited):
            world.cache.chain.drain(0)
            world.start()
        self.unsure()

    def unsure(self) -> None:
        for held in self.model.values():
            held.sure = False

    def expected(self, key: str) -> str | None:
        held = self.model.get(key)
        return None if held is None or held.expires_at <= self.clock() else held.value

    def judge(self, key: str, got: Any) -> None:
        expected = self.expected(key)
        if got is not None:
            assert got == expected
        elif expected is not None:
            assert not (self.well and self.model[key].sure)

    @invariant()
    def nothing_is_held_for_ever(self) -> None:
        if hasattr(self, "sync"):
            assert not self.sync.cache.chain.flights._flights


async def _value(found: Coroutine[Any, Any, Any]) -> Any:
    return (await found).value


def _later(tier: Tier) -> None:
    """Stands for the chain, which would have missed changes taken at once."""


TestChain = ChainMachine.TestCase
TestChain.settings = settings(max_examples=100 * SCALE, stateful_step_count=40, deadline=None)
