"""Two processes on shared stores, whose switches change between all that they do: no read is ever wrong.

A read may find nothing; what it finds is what was set last and not deleted or invalidated since. Where the slower store
took the value and is read, and never failed, it is found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.carriers import Carrier, Hub
from tests.conftest import FakeClock
from tests.properties.scale import SCALE
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import BackendUnavailable

KEYS = ["a", "b"]
TAGS = ["red", "blue"]
TIERS = ["memory", "upper", "lower"]
MODES: list[Any] = ["on", "off", "off", "read-only", "write-only", "shadow"]
COLD = ["warm", "cold", "cold"]
keys = st.sampled_from(KEYS)
processes = st.sampled_from([0, 1])
worlds = st.booleans()


@dataclass
class Held:
    """What a key holds, its tags, and whether the slower store is sure to have it."""

    value: str
    tags: frozenset[str]
    below: bool


class Process:
    """Memory of its own over a store that carries notices and a slower one, both shared."""

    def __init__(self, clock: FakeClock, hub: Hub, below: RemoteBackend) -> None:
        self.lower = RemoteBackend(clock, name="lower")
        self.lower.entries, self.lower.marks = below.entries, below.marks
        tiers = [
            Tier(MemoryBackend(clock=clock), name="memory"),
            Tier(Carrier(clock, hub), name="upper", breaker=False),
            Tier(self.lower, name="lower", breaker=False),
        ]
        chain = TierChain(*tiers, clock=clock, epoch_refresh=None)
        chain.hearsay._begun = True  # what happens in the background, by the machine's clock, happens when a step says
        self.cache = Cache(chain, namespace="n")


class SwitchesMachine(RuleBasedStateMachine):
    """Each step is done by one of the processes, blocking or awaited."""

    @initialize()
    def begin(self) -> None:
        self.clock, self.hub = FakeClock(), Hub()
        self.loop = asyncio.new_event_loop()
        self.store = RemoteBackend(self.clock, name="lower")
        self.processes = [Process(self.clock, self.hub, self.store) for _ in range(2)]
        self.model: dict[str, Held] = {}
        self.number = 0

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.switch_all_on_and_read(False)
            for process in self.processes:
                process.lower.faults.clear()
                process.cache.close()
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    def do(
        self,
        process: int,
        awaited: bool,
        act: Callable[[Cache], Any],
        twin: Callable[[Cache], Coroutine[Any, Any, Any]],
    ) -> Any:
        self.clock.advance(0.5)
        cache = self.processes[process].cache
        answer = self.loop.run_until_complete(twin(cache)) if awaited else act(cache)
        assert cache.chain.background.drain(30)
        return answer

    def next_value(self) -> str:
        self.number += 1
        return f"v{self.number}"

    def took(self, process: int, key: str, value: str, tags: frozenset[str] = frozenset()) -> None:
        """The process changed the key: the slower store has it, or has lost it."""
        lower, store = self.processes[process].cache.chain.tiers[2], self.processes[process].lower
        self.model[key] = Held(value, tags, lower.stores(f"n:{key}") and not store.faults)

    @rule(
        several=st.sampled_from([[0], [1], [0, 1]]),
        tier=st.sampled_from([*TIERS, "lower"]),
        mode=st.sampled_from(MODES),
        namespace=st.sampled_from([None, None, None, "n", "other"]),
        ramp=st.sampled_from([100, 100, 100, 100, 60]),
    )
    def switch(self, several: list[int], tier: str, mode: Any, namespace: str | None, ramp: float) -> None:
        for process in several:
            self.processes[process].cache.chain.switches.set(tier, mode, namespace=namespace, ramp=ramp)

    @rule(awaited=worlds)
    def switch_all_on_and_read(self, awaited: bool) -> None:
        """Whatever was left in a tier while it was off would be seen here, from the fastest to the slowest."""
        self.mend()
        for process in self.processes:
            process.cache.chain.switches.reset()
        for cold in ("warm", "cool", "cold"):
            for number in range(2):
                self.get_many(number, awaited, set(KEYS), cold)

    @rule(process=processes, awaited=worlds, key=keys, tags=st.sets(st.sampled_from(TAGS)))
    def set(self, process: int, awaited: bool, key: str, tags: set[str]) -> None:
        value = self.next_value()
        self.do(
            process,
            awaited,
            lambda cache: cache.set(key, value, tags=sorted(tags)),
            lambda cache: cache.aset(key, value, tags=sorted(tags)),
        )
        self.took(process, key, value, frozenset(tags))

    @rule(process=processes, key=keys)
    def set_again(self, process: int, key: str) -> None:
        self.set(process, False, key, set())

    @rule(process=processes, awaited=worlds, some=st.sets(keys, min_size=1))
    def set_many(self, process: int, awaited: bool, some: set[str]) -> None:
        items = {key: self.next_value() for key in sorted(some)}
        self.do(process, awaited, lambda cache: cache.set_many(items), lambda cache: cache.aset_many(items))
        for key, value in items.items():
            self.took(process, key, value)

    @rule(process=processes, awaited=worlds, key=keys, cold=st.sampled_from(COLD))
    def get(self, process: int, awaited: bool, key: str, cold: str) -> None:
        self.cool(cold)
        self.judge(process, key, self.do(process, awaited, lambda cache: cache.get(key), lambda cache: cache.aget(key)))

    @rule(process=processes, awaited=worlds, some=st.sets(keys, min_size=1), cold=st.sampled_from(COLD))
    def get_many(self, process: int, awaited: bool, some: set[str], cold: str) -> None:
        self.cool(cold)
        found = self.do(process, awaited, lambda cache: cache.get_many(some), lambda cache: cache.aget_many(some))
        for key in some:
            self.judge(process, key, found.get(key))

    @rule(process=processes, awaited=worlds, key=keys)
    def contains(self, process: int, awaited: bool, key: str) -> None:
        found = self.do(process, awaited, lambda cache: cache.contains(key), lambda cache: cache.acontains(key))
        assert not found or key in self.model

    @rule(process=processes, awaited=worlds, key=keys)
    def compute(self, process: int, awaited: bool, key: str) -> None:
        value = self.next_value()
        got = self.do(
            process,
            awaited,
            lambda cache: cache.get_or_set(key, lambda: value),
            lambda cache: cache.aget_or_set(key, lambda: value),
        )
        if got == value:
            self.judge(process, key, None)
            self.took(process, key, value)
        else:
            self.judge(process, key, got)

    @rule(process=processes, awaited=worlds, key=keys)
    def touch(self, process: int, awaited: bool, key: str) -> None:
        if self.do(process, awaited, lambda cache: cache.touch(key, None), lambda cache: cache.atouch(key, None)):
            held = self.model[key]
            self.took(process, key, held.value, held.tags)

    @rule(process=processes, awaited=worlds, some=st.sets(keys, min_size=1))
    def delete(self, process: int, awaited: bool, some: set[str]) -> None:
        several = sorted(some)
        if len(several) == 1:
            self.do(process, awaited, lambda cache: cache.delete(several[0]), lambda cache: cache.adelete(several[0]))
        else:
            self.do(
                process, awaited, lambda cache: cache.delete_many(several), lambda cache: cache.adelete_many(several)
            )
        for key in several:
            self.model.pop(key, None)

    @rule(process=processes, awaited=worlds, tag=st.sampled_from(TAGS))
    def invalidate(self, process: int, awaited: bool, tag: str) -> None:
        self.do(
            process,
            awaited,
            lambda cache: cache.invalidate_tags([tag]),
            lambda cache: cache.ainvalidate_tags([tag]),
        )
        self.model = {key: held for key, held in self.model.items() if tag not in held.tags}

    @precondition(lambda self: self.number % 3 == 0)
    @rule(process=processes, awaited=worlds)
    def clear(self, process: int, awaited: bool) -> None:
        self.do(process, awaited, lambda cache: cache.clear(), lambda cache: cache.aclear())
        self.model.clear()

    def cool(self, cold: str) -> None:
        """What the faster tiers hold is evicted (but not what processes tell each other)."""
        for process in self.processes if cold != "warm" else []:
            assert process.cache.chain.memory is not None
            process.cache.chain.memory.clear()
        if cold == "cold":
            for key in [key for key in self.hub.entries if not key.startswith("_meta:")]:
                del self.hub.entries[key]

    @precondition(lambda self: self.number % 4 == 3)
    @rule(process=processes)
    def fail(self, process: int) -> None:
        """The process does not reach the slower store."""
        self.processes[process].lower.break_down(BackendUnavailable("down"))
        self.unsure()

    @precondition(lambda self: any(process.lower.faults for process in self.processes))
    @rule()
    def mend(self) -> None:
        if not any(process.lower.faults for process in self.processes):
            return
        for process in self.processes:
            process.lower.faults.clear()
        for process in self.processes:
            assert process.cache.drain(30)
        self.unsure()

    def unsure(self) -> None:
        for held in self.model.values():
            held.below = False

    def judge(self, process: int, key: str, got: Any) -> None:
        held = self.model.get(key)
        if got is not None:
            assert held is not None
            assert got == held.value
        elif held is not None and held.below and not any(each.lower.faults for each in self.processes):
            lower = self.processes[process].cache.chain.tiers[2]
            assert not lower.reads(f"n:{key}") or self.is_doubted(process)

    def is_doubted(self, process: int) -> bool:
        """Whether the process believes nothing of the slower store, because the other one missed changes there."""
        chain = self.processes[process].cache.chain
        return chain.tiers[2] in chain.missed.doubtful

    @invariant()
    def nothing_is_held_for_ever(self) -> None:
        if hasattr(self, "processes"):
            assert not any(process.cache.chain.flights._flights for process in self.processes)


TestSwitches = SwitchesMachine.TestCase
TestSwitches.settings = settings(max_examples=100 * SCALE, stateful_step_count=40, deadline=None)
