"""SIEVE and S3-FIFO in a memory tier: by example, then against lists that follow the papers step by step."""

from __future__ import annotations

import random
from collections import deque

import pytest

from tests.conftest import FakeClock
from tiercache import Entry, MemoryBackend, Metadata
from tiercache.eviction import Queue
from tiercache.eviction.s3fifo import ENOUGH, MOST, SMALL
from tiercache.memory import ENTRY_OVERHEAD


def put(memory, key, payload=b"", ttl=None):
    now = memory._clock()
    ends = None if ttl is None else now + ttl
    memory.put(key, Entry(payload, Metadata(key=key, created_at=now, expires_at=ends, size=len(payload))))


def keys(memory):
    return sorted(key for key, _ in memory.scan())


# By example


def test_sieve_takes_the_oldest_that_was_not_used_and_spares_the_others_where_they_stand():
    memory = MemoryBackend(max_entries=4, eviction="sieve")
    for key in "abcd":
        put(memory, key)
    memory.get("a")
    memory.get("c")
    put(memory, "e")  # spares a, takes b; the hand is at c
    assert keys(memory) == ["a", "c", "d", "e"]
    put(memory, "f")  # spares c, takes d
    assert keys(memory) == ["a", "c", "e", "f"]
    put(memory, "g")  # e is new and was never used
    assert keys(memory) == ["a", "c", "f", "g"]


def test_the_hand_of_sieve_begins_with_the_oldest_again_after_the_newest():
    memory = MemoryBackend(max_entries=2, eviction="sieve")
    put(memory, "a")
    put(memory, "b")
    memory.get("a")
    put(memory, "c")  # spares a, takes b, which was the newest
    put(memory, "d")  # a again, and not used since
    assert keys(memory) == ["c", "d"]


def test_a_scan_does_not_push_out_of_s3fifo_what_is_used():
    memory = MemoryBackend(max_entries=100, eviction="s3fifo")
    for key in range(50):
        put(memory, f"used-{key}")
        memory.get(f"used-{key}")
        memory.get(f"used-{key}")
    for key in range(1000):
        put(memory, f"scanned-{key}")
    assert sum(key.startswith("used") for key in keys(memory)) == 50


def test_what_left_the_small_queue_lately_comes_back_into_the_main_one():
    memory = MemoryBackend(max_entries=20, eviction="s3fifo")
    for key in range(30):
        put(memory, f"once-{key}")
    gone = next(key for key in (f"once-{number}" for number in range(30)) if memory.get(key) is None)
    put(memory, gone)
    for key in range(15):
        put(memory, f"later-{key}")
    assert gone in keys(memory)


@pytest.mark.parametrize("eviction", ["sieve", "s3fifo"])
def test_head_is_no_use(eviction):
    memory = MemoryBackend(max_entries=10, eviction=eviction)
    for key in "abcdefghij":
        put(memory, key)
    before = {key: memory._slots[key].rank for key in "abc"}
    for key in "abc":
        memory.head(key)
    assert {key: memory._slots[key].rank for key in "abc"} == before


@pytest.mark.parametrize("eviction", ["sieve", "s3fifo", "fifo"])
def test_a_memory_that_is_forgotten_and_filled_again_evicts_as_a_new_one(eviction):
    used, new = (MemoryBackend(max_entries=10, eviction=eviction) for _ in range(2))
    for number in range(30):
        put(used, f"before-{number}")
    used.forget()
    for memory in (used, new):
        for number in range(40):
            put(memory, str(number))
            memory.get(str(number // 2))
    assert keys(used) == keys(new)


# Against lists


class NaiveSieve:
    """A list from old to new, and a hand."""

    def __init__(self, _weigh):
        self.line, self.hand = [], 0

    def add(self, key, replaced):
        if self.hand >= len(self.line):
            self.hand = 0
        self.line.append([key, replaced is not None])

    def discard(self, key):
        place = next(place for place, one in enumerate(self.line) if one[0] == key)
        if place < self.hand:
            self.hand -= 1
        return self.line.pop(place)

    def hit(self, key):
        next(one for one in self.line if one[0] == key)[1] = True

    def evict(self):
        while True:
            if self.hand >= len(self.line):
                self.hand = 0
            if not self.line[self.hand][1]:
                return self.line.pop(self.hand)[0]
            self.line[self.hand][1] = False
            self.hand += 1


class NaiveS3Fifo:
    """Three lists from old to new."""

    def __init__(self, weigh):
        self.weigh, self.small, self.main, self.ghosts, self.full = weigh, [], [], [], False

    def is_large(self):
        small, main = (sum(self.weigh(one[0]) for one in queue) for queue in (self.small, self.main))
        return small > SMALL * (small + main)

    def add(self, key, replaced):
        if replaced is not None:
            uses, queue = replaced
            queue.append([key, min(MOST, uses + 1)])
        elif key in self.ghosts:
            self.ghosts.remove(key)
            self.main.append([key, 0])
        else:
            (self.main if not self.full and self.is_large() else self.small).append([key, 0])

    def discard(self, key):
        for queue in (self.small, self.main):
            for place, one in enumerate(queue):
                if one[0] == key:
                    del queue[place]
                    return one[1], queue
        raise KeyError(key)

    def hit(self, key):
        one = next(one for one in self.small + self.main if one[0] == key)
        one[1] = min(MOST, one[1] + 1)

    def evict(self):
        self.full = True
        while True:
            if self.small and (self.is_large() or not self.main):
                key, uses = self.small.pop(0)
                if uses >= ENOUGH:
                    self.main.append([key, 0])
                    continue
                held = len(self.small) + len(self.main) + 1
                self.ghosts += [key] if key not in self.ghosts else []
                while len(self.ghosts) > held * (1 - SMALL):
                    del self.ghosts[0]
                return key
            key, uses = self.main.pop(0)
            if not uses:
                return key
            self.main.append([key, uses - 1])


@pytest.mark.parametrize("by_bytes", [False, True], ids=["entries", "bytes"])
@pytest.mark.parametrize(("eviction", "naive"), [("sieve", NaiveSieve), ("s3fifo", NaiveS3Fifo)])
def test_they_evict_what_the_lists_evict(eviction, naive, by_bytes):
    for seed in range(12):
        dice, clock, sizes = random.Random(seed), FakeClock(), {}
        room = 20 * (ENTRY_OVERHEAD + 300)
        memory = (
            MemoryBackend(room, eviction=eviction, clock=clock)
            if by_bytes
            else MemoryBackend(max_entries=20, eviction=eviction, clock=clock)
        )
        read, lists = memory.reader(), naive(lambda key, sizes=sizes: sizes[key] if by_bytes else 1)
        for _ in range(1500):
            key, action = f"{min(dice.randrange(80), dice.randrange(80))}", dice.random()
            if action < 0.45:
                found = read(key) if dice.random() < 0.5 else memory.get(key)
                assert (found is not None) == (key in sizes)
                if found is not None:
                    lists.hit(key)
            elif action < 0.95:
                payload = bytes(dice.randrange(1, 900))
                put(memory, key, payload)
                replaced = lists.discard(key) if key in sizes else None
                sizes.pop(key, None)
                size = len(key) + len(payload) + ENTRY_OVERHEAD
                while (sum(sizes.values()) + size > room) if by_bytes else len(sizes) >= 20:
                    gone = lists.evict()
                    del sizes[gone]
                sizes[key] = size
                lists.add(key, replaced)
            else:
                assert memory.delete(key) is (key in sizes)
                if sizes.pop(key, None):
                    lists.discard(key)
            assert keys(memory) == sorted(sizes)


# The structure


def test_a_queue_gives_back_its_keys_in_their_order_whatever_is_discarded():
    dice, queue, model = random.Random(3), Queue(), deque()
    for _ in range(20_000):
        action = dice.random()
        if action < 0.5:
            key = dice.randrange(60)
            if key in model:
                model.remove(key)
                queue.discard(key, 2)
            model.append(key)
            queue.push(key, 2)
        elif action < 0.75 and model:
            key = dice.choice(model)
            model.remove(key)
            queue.discard(key, 2)
        elif model:
            assert queue.pop() == model.popleft()
            queue.weight -= 2
        assert bool(queue) == bool(model)
        assert queue.weight == 2 * len(model)
        assert len(queue) <= 2 * len(model) + 130
