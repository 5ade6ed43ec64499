"""Memory: bounded by bytes and by entries, expired entries freed unasked, causes counted, safe under threads."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import pytest

from tiercache import Cache, Entry, EvictionPolicy, MemoryBackend, Metadata, TierChain
from tiercache.errors import CacheClosed, ConfigurationError, CorruptEntry, EntryTooLarge
from tiercache.memory import ENTRY_OVERHEAD, SWEEP

POLICIES = list(EvictionPolicy)
THREADS = 8


@pytest.fixture
def entry(clock):
    def make(key, payload=b"", *, ttl=None, **fields):
        expires_at = None if ttl is None else clock() + ttl
        return Entry(payload, Metadata(key=key, created_at=clock(), expires_at=expires_at, size=len(payload), **fields))

    return make


@pytest.fixture
def impatient_threads():
    """Let threads take turns after every few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def size_of(key, payload=b""):
    return len(key) + len(payload) + ENTRY_OVERHEAD


# Bounds


def test_it_holds_no_more_entries_than_it_may(clock, entry):
    memory = MemoryBackend(max_entries=10, clock=clock)
    for number in range(25):
        memory.put(str(number), entry(str(number)))
    assert len(memory) == 10
    assert memory.removals == {"size": 15}


def test_it_holds_no_more_bytes_than_it_may(clock, entry):
    memory = MemoryBackend(max_bytes=10 * size_of("00", b"x" * 1000), clock=clock)
    for number in range(10, 35):
        memory.put(str(number), entry(str(number), b"x" * 1000))
        assert memory.usage()[1] <= memory.max_bytes
    assert memory.usage() == (10, memory.max_bytes)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("size", "full"), [(10, (30, 30 * size_of("00", bytes(10)))), (3000, (6, 6 * size_of("00", bytes(3000))))]
)
def test_of_both_bounds_the_one_that_is_reached_first_counts(clock, entry, policy, size, full):
    memory = MemoryBackend(20_000, 30, policy, clock=clock)
    for number in range(10, 99):
        memory.put(str(number), entry(str(number), bytes(size)))
    assert memory.usage() == full


def test_one_large_entry_may_push_out_many_small_ones(clock, entry):
    memory = MemoryBackend(max_bytes="10KiB", clock=clock)
    for number in range(30):
        memory.put(str(number), entry(str(number)))
    memory.put("large", entry("large", bytes(9 * 1024)))
    assert memory.get("large").payload == bytes(9 * 1024)
    assert memory.usage()[1] <= 10 * 1024


def test_an_entry_that_fits_exactly_is_stored(clock, entry):
    memory = MemoryBackend(max_bytes=size_of("key", b"payload"), clock=clock)
    assert memory.put("key", entry("key", b"payload")) is True
    assert memory.usage() == (1, memory.max_bytes)


def test_an_entry_larger_than_all_the_room_is_refused_and_evicts_nothing(clock, entry):
    memory = MemoryBackend(max_bytes="1KiB", clock=clock)
    memory.put("small", entry("small", b"stays"))
    with pytest.raises(EntryTooLarge, match="max_bytes is 1,024"):
        memory.put("large", entry("large", bytes(1024)))
    assert memory.get("small").payload == b"stays"


def test_a_refused_entry_takes_the_older_value_of_its_key_with_it(clock, entry):
    memory = MemoryBackend(max_bytes="1KiB", clock=clock)
    memory.put("key", entry("key", b"old"))
    with pytest.raises(EntryTooLarge):
        memory.put("key", entry("key", bytes(1024)))
    assert memory.get("key") is None
    assert memory.usage() == (0, 0)


@pytest.mark.parametrize("bound", [0, -1, True, 2.5, "10"])
def test_a_number_of_entries_that_is_none_is_refused(bound):
    with pytest.raises(ConfigurationError, match="must be a positive integer"):
        MemoryBackend(max_entries=bound)


@pytest.mark.parametrize("bound", [0, -1, True, 2.5, "12 bananas", "", "many"])
def test_a_size_that_is_none_is_refused(bound):
    with pytest.raises(ConfigurationError, match="max_bytes"):
        MemoryBackend(max_bytes=bound)


# Expiry


def test_each_entry_has_an_end_of_its_own(clock, entry):
    memory = MemoryBackend(clock=clock)
    for key, ttl in {"short": 10, "long": 20, "for ever": None}.items():
        memory.put(key, entry(key, ttl=ttl))
    found = []
    for _ in range(3):
        found.append([key for key, _ in memory.scan()])
        clock.advance(10)
    assert found == [["short", "long", "for ever"], ["long", "for ever"], ["for ever"]]


def test_an_entry_expires_at_its_moment_and_not_before(clock, entry):
    memory = MemoryBackend(clock=clock)
    read = memory.reader()
    memory.put("key", entry("key", ttl=10))
    clock.now = math.nextafter(clock() + 10, 0)
    assert read("key") is not None
    assert memory.get("key") is not None
    clock.now = math.nextafter(clock.now, math.inf)
    assert read("key") is None
    assert memory.get("key") is None


@pytest.mark.parametrize("ttl", [0.5, 1, 60, 3600, 30 * 86400])
def test_len_counts_no_expired_entry_whatever_its_ttl(clock, entry, ttl):
    memory = MemoryBackend(clock=clock)
    memory.put("key", entry("key", ttl=ttl))
    assert len(memory) == 1
    clock.advance(ttl)
    assert len(memory) == 0
    assert memory.removals == {"expired": 1}


@pytest.mark.parametrize("policy", POLICIES)
def test_later_writes_free_what_expired_a_bounded_number_each(clock, entry, policy):
    memory = MemoryBackend(eviction=policy, clock=clock)
    for number in range(1000):
        memory.put(str(number), entry(str(number), ttl=60))
    clock.advance(120)
    freed = []
    while memory.removals["expired"] < 1000:
        before = memory.removals["expired"]
        memory.put("other", entry("other"))
        freed.append(memory.removals["expired"] - before)
    assert set(freed[:-1]) == {SWEEP}
    assert memory.usage() == (1, size_of("other"))


@pytest.mark.parametrize("ask", [len, MemoryBackend.usage], ids=["len", "usage"])
def test_asking_how_much_there_is_frees_all_that_expired(clock, entry, ask):
    memory = MemoryBackend(clock=clock)
    for number in range(1000):
        memory.put(str(number), entry(str(number), ttl=60))
        memory.put(str(number), entry(str(number), ttl=30))
    clock.advance(30)
    ask(memory)
    assert memory.removals == {"expired": 1000, "replaced": 1000}
    assert memory.usage() == (0, 0)


def test_a_new_end_replaces_the_old_one(clock, entry):
    memory = MemoryBackend(clock=clock)
    memory.put("longer", entry("longer", ttl=10))
    memory.put("longer", entry("longer", ttl=1000))
    memory.put("for ever", entry("for ever", ttl=10))
    memory.put("for ever", entry("for ever"))
    clock.advance(100)
    assert len(memory) == 2
    assert memory.get("longer") is not None
    assert memory.get("for ever") is not None


def test_an_entry_past_its_ttl_stays_while_it_may_be_served_stale(clock, entry):
    memory = MemoryBackend(clock=clock)
    memory.put("key", entry("key", ttl=10, stale_until=clock() + 20))
    clock.advance(10)
    assert memory.reader()("key") is None
    assert memory.get("key").metadata.is_stale(clock())
    clock.advance(10)
    assert memory.get("key") is None
    assert len(memory) == 0


def test_times_that_are_no_numbers_are_refused(clock, entry):
    memory = MemoryBackend(clock=clock)
    with pytest.raises(CorruptEntry):
        memory.put("key", entry("key", ttl=math.nan))
    assert memory.usage() == (0, 0)


# What is counted


def test_every_removal_is_counted_with_its_cause(clock, entry):
    memory = MemoryBackend(max_entries=4, clock=clock)
    for key in ("replaced", "deleted", "expires", "evicted"):
        memory.put(key, entry(key, ttl=10 if key == "expires" else None))
    memory.put("replaced", entry("replaced"))
    memory.delete("deleted")
    clock.advance(10)
    memory.get("expires")
    for key in "abc":
        memory.put(key, entry(key))
    assert memory.removals == {"replaced": 1, "explicit": 1, "expired": 1, "size": 1}


def test_an_entry_that_is_expired_when_it_is_put_counts_as_expired(clock, entry):
    memory = MemoryBackend(clock=clock)
    assert memory.put("key", entry("key", ttl=-1)) is True
    assert memory.removals == {"expired": 1}
    assert memory.usage() == (0, 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_bytes_and_causes_are_exact_after_10_000_random_operations(clock, entry, policy):
    memory = MemoryBackend(100_000, 150, policy, clock=clock)
    dice = random.Random(7)
    stored = 0
    for _ in range(10_000):
        key, action = "k" * dice.randrange(1, 200), dice.random()
        if action < 0.5:
            ttl = dice.choice([None, None, 3, 50, 4000])
            stored += memory.put(key, entry(key, bytes(dice.randrange(3000)), ttl=ttl), if_absent=dice.random() < 0.1)
        elif action < 0.8:
            memory.get(key)
        elif action < 0.9:
            memory.delete(key)
        elif action < 0.999:
            clock.advance(dice.random())
        else:
            memory.clear(key)
    held = [(key, memory.get(key).payload) for key, _ in memory.scan()]
    assert memory.usage() == (len(held), sum(size_of(key, payload) for key, payload in held))
    assert stored == len(memory) + sum(memory.removals.values())
    assert {"explicit", "replaced", "expired", "size"} == set(memory.removals)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_key_stored_and_deleted_100_000_times_leaves_no_records_behind(clock, entry, policy):
    memory = MemoryBackend(max_entries=10, eviction=policy, clock=clock)
    one = entry("key", ttl=3600)
    for _ in range(100_000):
        memory.put("key", one)
        memory.delete("key")
    assert memory._expiry.records < 1100
    assert len(memory._order) < 100


# Threads


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.usefixtures("impatient_threads")
def test_threads_leave_exact_books(clock, entry, policy):
    memory = MemoryBackend(50_000, 60, policy, clock=clock)
    names = [f"key-{number}" for number in range(100)]
    start = threading.Barrier(THREADS)

    def work(seed):
        dice, stored, read = random.Random(seed), 0, memory.reader()
        start.wait(30)
        for _ in range(1500):
            key, action = dice.choice(names), dice.random()
            if action < 0.3:
                stored += memory.put(key, entry(key, key.encode() * dice.randrange(100), ttl=dice.choice([None, 60])))
            elif action < 0.8:
                slot = read(key)
                assert slot is None or slot.payload == key.encode() * (len(slot.payload) // len(key))
            elif action < 0.9:
                memory.delete(key)
            elif action < 0.98:
                memory.get(key)
            else:
                assert all(found == metadata.key for found, metadata in memory.scan("key-1"))
        return stored

    with ThreadPoolExecutor(THREADS) as pool:
        stored = sum(pool.map(work, range(THREADS)))
    held = [(key, memory.get(key).payload) for key, _ in memory.scan()]
    assert memory.usage() == (len(held), sum(size_of(key, payload) for key, payload in held))
    assert stored == len(memory) + sum(memory.removals.values())
    assert len(memory) <= 60


@pytest.mark.usefixtures("impatient_threads")
def test_a_reader_gets_what_it_found_even_if_that_is_evicted_meanwhile(clock, entry):
    memory = MemoryBackend(max_entries=2, eviction="lru", clock=clock)
    over = threading.Event()

    def hit():
        read = memory.reader()
        while not over.is_set():
            for key in "abc":
                slot = read(key)
                assert slot is None or slot.payload == key.encode()

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(hit) for _ in range(4)]
        try:
            for number in range(5000):
                key = "abc"[number % 3]
                memory.put(key, entry(key, key.encode()))
                list(memory.scan())
        finally:
            over.set()
    for reader in readers:
        reader.result()
    assert len(memory) + sum(memory.removals.values()) == 5000


def test_a_hit_between_two_steps_of_an_eviction_does_not_disturb_it(clock, entry):
    class Table(OrderedDict):
        meddle = False

        def __iter__(self):
            steps = super().__iter__()
            if self.meddle:
                self.meddle = False
                self.move_to_end("a")
            return steps

    memory = MemoryBackend(max_entries=2, eviction="lru", clock=clock)
    memory._slots = memory._order.table = table = Table()
    for key in "ab":
        memory.put(key, entry(key))
    table.meddle = True
    memory.put("c", entry("c"))
    assert [key for key, _ in memory.scan()] == ["a", "c"]


@pytest.mark.parametrize(
    ("walk", "result"),
    [
        (lambda memory: [key for key, _ in memory.scan("k")], ["k1", "k2", "k3"]),
        (lambda memory: memory.clear("k"), 3),
    ],
    ids=["scan", "clear"],
)
def test_a_hit_while_the_table_is_walked_does_not_disturb_that(clock, entry, walk, result):
    class Key(str):
        def startswith(self, *prefix):
            read("k1")
            return super().startswith(*prefix)

    memory = MemoryBackend(clock=clock)
    read = memory.reader()
    for key in map(Key, ("k1", "k2", "k3")):
        memory.put(key, entry(key))
    assert walk(memory) == result


# Values belong to their callers


@pytest.mark.parametrize(
    "value", [{"list": [1]}, [[1]], {1, 2}, bytearray(b"abc")], ids=lambda value: type(value).__name__
)
def test_what_one_caller_does_to_a_value_no_other_caller_sees(clock, value):
    cache = Cache(TierChain(MemoryBackend(clock=clock), clock=clock))
    cache.set("key", value)
    intact = repr(value)
    mine = cache.get("key")
    mine.clear()
    value.clear()
    assert repr(cache.get("key")) == intact


def test_what_one_caller_does_to_attributes_no_other_caller_sees(clock, entry):
    memory = MemoryBackend(clock=clock)
    attributes = {"model": "m"}
    memory.put("key", entry("key", attributes=attributes))
    attributes["model"] = "other"
    memory.get("key").metadata.attributes.clear()
    memory.head("key").attributes.clear()
    assert memory.get("key").metadata.attributes == {"model": "m"}


def test_attributes_that_are_equal_but_of_another_type_are_not_mixed_up(clock, entry):
    memory = MemoryBackend(clock=clock)
    values = {"bool": True, "int": 1, "float": 1.0}
    for key, value in values.items():
        memory.put(key, entry(key, attributes={"n": value}))
    assert {key: repr(memory.get(key).metadata.attributes["n"]) for key in values} == {
        "bool": "True",
        "int": "1",
        "float": "1.0",
    }


# The end


def test_clear_frees_everything_and_the_tier_goes_on(clock, entry):
    memory = MemoryBackend(clock=clock)
    for key in ("a:1", "a:2", "b:1"):
        memory.put(key, entry(key, ttl=60))
    assert memory.clear("a:") == 2
    assert [key for key, _ in memory.scan()] == ["b:1"]
    assert memory.clear() == 1
    assert memory.usage() == (0, 0)
    assert memory.removals == {"explicit": 3}
    memory.put("a:1", entry("a:1"))
    assert len(memory) == 1


def test_close_frees_everything_for_readers_too(clock, entry):
    memory = MemoryBackend(clock=clock)
    read = memory.reader()
    memory.put("key", entry("key"))
    memory.close()
    memory.close()
    assert read("key") is None
    assert memory.usage() == (0, 0)
    with pytest.raises(CacheClosed):
        memory.get("key")
    with pytest.raises(CacheClosed):
        memory.put("key", entry("key"))


# What an entry costs

FOOTPRINT = """
import json, sys, tracemalloc
from tiercache import Entry, MemoryBackend, Metadata

COUNT = 20_000
keys = [f"namespace:key-{number}" for number in range(COUNT)]
payloads = [b"x" * 64 + str(number).encode() for number in range(COUNT)]
memory = MemoryBackend(eviction=sys.argv[1])
for key in keys[:100]:  # what is imported and made once
    memory.put(key, Entry(b"", Metadata(key=key, created_at=1e9, expires_at=9e9)))
memory.clear()
tracemalloc.start()
for number, (key, payload) in enumerate(zip(keys, payloads)):
    memory.put(key, Entry(payload, Metadata(key=key, created_at=1e9 + number, expires_at=9e9 + number, size=9)))
print(json.dumps({"entries": len(memory), "bytes": tracemalloc.get_traced_memory()[0] / COUNT}))
"""


@pytest.mark.parametrize("policy", POLICIES)
def test_an_entry_costs_at_most_300_bytes_beyond_key_and_payload(policy):
    """By tracemalloc: what Python allocated for the table, the slots and their times; not the allocator's rounding."""
    command = [sys.executable, "-c", FOOTPRINT, policy]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    measured = json.loads(done.stdout)
    assert measured["entries"] == 20_000
    assert 50 < measured["bytes"] <= 300
