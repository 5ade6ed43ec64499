"""What leaves a full memory tier: each policy by example, then against a naive model; the structures behind them."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.conftest import FakeClock
from tiercache import Entry, EvictionPolicy, MemoryBackend, Metadata
from tiercache.errors import ConfigurationError
from tiercache.eviction import ExpiryIndex, RankHeap
from tiercache.memory import ENTRY_OVERHEAD

STEADY = settings(derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


def put(memory, clock, key, *, ttl=None, payload=b""):
    expires_at = None if ttl is None else clock() + ttl
    memory.put(key, Entry(payload, Metadata(key=key, created_at=clock(), expires_at=expires_at, size=len(payload))))


def keys(memory):
    return "".join(sorted(key for key, _ in memory.scan()))


@pytest.fixture
def full(clock):
    """Return a function that makes a memory of three entries, a, b and c, stored in this order."""

    def make(eviction):
        memory = MemoryBackend(max_entries=3, eviction=eviction, clock=clock)
        for key in "abc":
            put(memory, clock, key)
        return memory

    return make


# By example


def test_lru_evicts_what_was_not_used_for_longest(full, clock):
    memory = full("lru")
    memory.get("a")
    put(memory, clock, "d")
    assert keys(memory) == "acd"


def test_a_write_is_a_use_for_lru(full, clock):
    memory = full("lru")
    put(memory, clock, "a")
    put(memory, clock, "d")
    assert keys(memory) == "acd"


def test_a_hit_that_is_answered_without_a_lock_is_a_use_too(full, clock):
    memory = full("lru")
    assert memory.reader()("a") is not None
    put(memory, clock, "d")
    assert keys(memory) == "acd"


@pytest.mark.parametrize("eviction", ["lru", "lfu"])
def test_head_is_no_use(full, clock, eviction):
    memory = full(eviction)
    memory.head("a")
    put(memory, clock, "d")
    assert keys(memory) == "bcd"


def test_lfu_evicts_what_was_used_least(full, clock):
    memory = full("lfu")
    for key in "aabcc":
        memory.get(key)
    put(memory, clock, "d")
    assert keys(memory) == "acd"


def test_of_equal_uses_lfu_evicts_what_was_stored_first(full, clock):
    memory = full("lfu")
    memory.delete("a")
    put(memory, clock, "a")  # stored again: now the last
    put(memory, clock, "d")
    assert keys(memory) == "acd"


def test_lfu_remembers_the_uses_of_an_entry_that_is_replaced(full, clock):
    memory = full("lfu")
    for key in "aabc":
        memory.get(key)
    put(memory, clock, "a")
    put(memory, clock, "d")
    assert keys(memory) == "acd"


def test_fifo_evicts_what_was_stored_first_however_often_it_is_read(full, clock):
    memory = full("fifo")
    memory.get("a")
    put(memory, clock, "d")
    assert keys(memory) == "bcd"


def test_an_entry_that_is_replaced_is_a_new_one_for_fifo(full, clock):
    memory = full("fifo")
    put(memory, clock, "a")
    put(memory, clock, "d")
    assert keys(memory) == "acd"


def test_ttl_evicts_what_would_expire_first(clock):
    memory = MemoryBackend(max_entries=3, eviction="ttl", clock=clock)
    for key, ttl in {"a": 300, "b": 100, "c": 200}.items():
        put(memory, clock, key, ttl=ttl)
    put(memory, clock, "d", ttl=1000)
    assert keys(memory) == "acd"


def test_ttl_evicts_what_never_expires_last_and_of_those_what_was_stored_first(full, clock):
    memory = full("ttl")
    put(memory, clock, "d", ttl=10**9)
    assert keys(memory) == "bcd"
    put(memory, clock, "b")
    put(memory, clock, "e")
    assert keys(memory) == "bce"
    put(memory, clock, "f")
    assert keys(memory) == "bef"


def test_the_policies_are_text():
    assert [str(policy) for policy in EvictionPolicy] == ["lru", "lfu", "fifo", "ttl", "sieve", "s3fifo"]
    assert MemoryBackend(eviction=EvictionPolicy.LFU).eviction == "lfu"


@pytest.mark.parametrize("unknown", ["LRU", "random", "", None, 3, ["lru"]])
def test_an_unknown_policy_is_refused_with_the_known_ones(unknown):
    with pytest.raises(ConfigurationError, match="lru, lfu, fifo, ttl, sieve, s3fifo"):
        MemoryBackend(eviction=unknown)


# Against a naive model


@dataclass
class Stored:
    stored: int
    used: int
    uses: int
    gone_at: float
    size: int


LOWEST_LEAVES = {
    "lru": lambda entry: entry.used,
    "lfu": lambda entry: (entry.uses, entry.stored),
    "fifo": lambda entry: entry.stored,
    "ttl": lambda entry: (entry.gone_at, entry.stored),
}
NAMES = st.sampled_from("abcdefgh")
MAX_ENTRIES, MAX_BYTES = 5, 5 * ENTRY_OVERHEAD


class AgainstAModel(RuleBasedStateMachine):
    """Does to a memory tier and to a plain dict the same, and compares after each step."""

    @initialize(eviction=st.sampled_from(sorted(LOWEST_LEAVES)))
    def start(self, eviction):
        self.clock = FakeClock()
        self.memory = MemoryBackend(MAX_BYTES, MAX_ENTRIES, eviction, clock=self.clock)
        self.read = self.memory.reader()
        self.rank = LOWEST_LEAVES[eviction]
        self.model: dict[str, Stored] = {}
        self.moment = 0

    @rule(key=NAMES, size=st.integers(0, 600), ttl=st.sampled_from([None, None, 1, 5, 60, 3600]))
    def put(self, key, size, ttl):
        put(self.memory, self.clock, key, ttl=ttl, payload=bytes(size))
        self.moment += 1
        gone_at = math.inf if ttl is None else self.clock() + ttl
        old = self.model.pop(key, None)
        new = Stored(self.moment, self.moment, old.uses if old else 0, gone_at, size + 1 + ENTRY_OVERHEAD)
        while len(self.model) >= MAX_ENTRIES or sum(e.size for e in self.model.values()) + new.size > MAX_BYTES:
            del self.model[min(self.model, key=lambda name: self.rank(self.model[name]))]
        self.model[key] = new

    @rule(key=NAMES, locked=st.booleans())
    def get(self, key, locked):
        found = self.memory.get(key) if locked else self.read(key)
        assert (found is not None) == (key in self.model)
        if found is not None:
            self.moment += 1
            self.model[key].uses += 1
            self.model[key].used = self.moment

    @rule(key=NAMES)
    def delete(self, key):
        assert self.memory.delete(key) is (self.model.pop(key, None) is not None)

    @rule(seconds=st.sampled_from([0.5, 1, 7, 100]))
    def advance(self, seconds):
        self.clock.advance(seconds)
        self.model = {key: entry for key, entry in self.model.items() if self.clock() < entry.gone_at}
        assert len(self.memory) == len(self.model)

    @invariant()
    def they_hold_the_same(self):
        if hasattr(self, "memory"):
            assert keys(self.memory) == "".join(sorted(self.model))
            assert self.memory.usage() == (len(self.model), sum(entry.size for entry in self.model.values()))


def test_every_policy_evicts_what_a_naive_model_evicts():
    run_state_machine_as_test(AgainstAModel, settings=settings(STEADY, max_examples=150, stateful_step_count=60))


# The structures


def test_the_heap_finds_the_lowest_rank_while_ranks_grow_unseen():
    dice = random.Random(1)
    table: dict[str, list[int]] = {}
    heap = RankHeap(table, lambda entry: (entry[0], entry[1]))
    for step in range(5000):
        key = str(dice.randrange(200))
        action = dice.random()
        if action < 0.3:
            table[key] = [dice.randrange(5), step]
            heap.push(key)
        elif action < 0.8 and key in table:
            table[key][0] += dice.randrange(3)
        elif key in table:
            del table[key]
        assert heap.lowest() == min(table, key=table.__getitem__, default=None)


def test_the_heap_stays_in_proportion_to_the_table():
    table: dict[str, int] = {}
    heap = RankHeap(table, lambda stored: (0, stored))
    for step in range(100_000):
        table["only"] = step
        heap.push("only")
        if step % 3:
            del table["only"]
    assert len(heap) < 100


@STEADY
@given(life=st.floats(0, 10**9), start=st.floats(0, 2 * 10**9))
def test_the_index_names_a_key_after_its_end_and_at_most_a_sixteenth_of_its_life_later(life, start):
    index = ExpiryIndex()
    end = start + life
    index.add("key", end, start)
    assert index.take_due(math.nextafter(end, -math.inf), 10) == []
    assert index.begun(end) == ["key"]
    assert index.take_due(end + life / 16 + 1, 10) == ["key"]
    assert index.records == 0


@STEADY
@given(ends=st.lists(st.integers(0, 100_000), max_size=50), limit=st.integers(1, 7))
def test_the_index_names_every_key_once_and_never_more_than_the_limit(ends, limit):
    index = ExpiryIndex()
    for number, end in enumerate(ends):
        index.add(str(number), end, 0)
    named: list[str] = []
    while page := index.take_due(200_000, limit):
        assert len(page) <= limit
        named += page
    assert sorted(named) == sorted(str(number) for number in range(len(ends)))
