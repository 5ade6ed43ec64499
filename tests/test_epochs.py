"""Marks as data, the table of a process, and the cache against a model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.entry import Entry, Metadata
from tiercache.epochs.marks import MAX_TAGS, NEVER, NONE, Marks, Written, after, coarse, from_bytes, to_bytes
from tiercache.errors import CorruptEntry, UnknownFormat

TIMES = st.floats(0, 2e9)
MARKS = st.builds(Marks, st.just(NEVER) | TIMES, st.dictionaries(st.sampled_from("abcd"), TIMES))


def dead(marks: Marks, moment: float) -> list[bool]:
    return [marks.cover(moment, tags) for tags in [(), ("a",), ("b",), ("c", "d")]]


@given(MARKS, MARKS, MARKS, TIMES)
def test_marks_merge_to_the_same_in_any_order(one: Marks, two: Marks, three: Marks, moment: float) -> None:
    left, right = one.merged(two).merged(three), three.merged(two.merged(one))
    assert dead(left, moment) == dead(right, moment)
    assert dead(left, moment) == [
        any(parts) for parts in zip(*(dead(m, moment) for m in (one, two, three)), strict=True)
    ]


@given(MARKS, MARKS, TIMES)
def test_what_is_beyond_others_is_all_that_they_lack(one: Marks, two: Marks, moment: float) -> None:
    assert dead(two.merged(one.beyond(two)), moment) == dead(two.merged(one), moment)
    assert not two.beyond(one.merged(two))
    assert two.merged(NONE) is two


@given(MARKS, st.just(NEVER) | TIMES)
def test_marks_come_back_from_bytes(marks: Marks, floor: float) -> None:
    written = Written(marks, 12.5, floor)
    assert from_bytes(to_bytes(written)) == written


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode([1, 2]),
        msgspec.msgpack.encode({"v": 1, "e": math.nan}),
        msgspec.msgpack.encode({"v": 1, "t": {"a": math.inf}}),
        msgspec.msgpack.encode({"v": 1, "t": {"a": "b"}}),
    ],
)
def test_bytes_that_are_no_marks_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptEntry) as caught:
        from_bytes(data)
    assert not isinstance(caught.value, UnknownFormat)


def test_another_version_is_unknown_and_further_fields_are_not() -> None:
    with pytest.raises(UnknownFormat):
        from_bytes(msgspec.msgpack.encode({"v": 2}))
    assert from_bytes(msgspec.msgpack.encode({"v": 1, "e": 5.0, "new": 1})).marks == Marks(5.0)


def test_of_too_many_tags_the_oldest_become_the_epoch() -> None:
    tags = {f"tag-{number}": float(number) for number in range(1, MAX_TAGS + 1)}
    marks = Marks(tags=tags)
    assert marks.bounded() is marks
    merged = marks.merged(Marks(tags={"new": MAX_TAGS + 1.0}))
    assert len(merged.tags) == 9 * MAX_TAGS // 10
    assert merged.tags["new"] == MAX_TAGS + 1
    for tag, at in tags.items():
        assert merged.cover(at, (tag,)), "whatever was dead stays so"
    assert merged.epoch < MAX_TAGS


@given(st.floats(1e9, 2.1e9), st.floats(0, 1e5))
def test_a_coarse_moment_is_earlier_by_an_eighth_of_the_span_at_most(created_at: float, span: float) -> None:
    began = created_at - span
    moment = coarse(created_at, began)
    assert moment <= began
    assert created_at - moment <= (created_at - began) * 1.126 + 1 / 64
    assert created_at - (created_at - moment) == moment, "memory keeps the span"


@given(TIMES)
def test_the_next_moment_is_later(moment: float) -> None:
    assert after(moment) > moment


# Memory


def entry(key: str, *, tags: tuple[str, ...] = (), at: float = 1_700_000_000.0, as_of: float | None = None) -> Entry:
    return Entry(b"x", Metadata(key=key, created_at=at, as_of=as_of, size=1, tags=tags))


def test_memory_loses_what_is_dead_and_takes_it_no_more(clock: FakeClock) -> None:
    memory = MemoryBackend(clock=clock)
    for key, tags in (("n:a", ("t",)), ("n:b", ("u",)), ("n:c", ()), ("m:a", ("t",))):
        memory.put(key, entry(key, tags=tags))
    assert memory.invalidate("n", Marks(tags={"t": clock.now})) == 1
    assert memory.put("n:a", entry("n:a", tags=("t",))) is True  # stored, and gone at once
    assert [key for key, _ in memory.scan()] == ["n:b", "n:c", "m:a"]
    memory.put("n:a", entry("n:a", tags=("t",), at=clock.now + 1))
    assert memory.invalidate("n", Marks(clock.now)) == 2
    assert [key for key, _ in memory.scan()] == ["m:a", "n:a"]
    assert memory.removals["invalidated"] == 4


def test_memory_compares_with_the_moment_at_which_the_load_began(clock: FakeClock) -> None:
    memory = MemoryBackend(clock=clock)
    for number, as_of in enumerate((None, clock.now - 1, 0.1, clock.now + 1e-6)):
        memory.put(f"n:{number}", entry(f"n:{number}", as_of=as_of))
        found = memory.get(f"n:{number}")
        assert found is not None
        assert found.metadata.as_of == as_of
    memory.invalidate("n", Marks(clock.now - 0.5))
    assert [key for key, _ in memory.scan()] == ["n:0", "n:3"]


@pytest.mark.parametrize("leave", ["delete", "replace", "evict", "expire", "clear"])
def test_the_index_of_tags_forgets_what_left(clock: FakeClock, leave: str) -> None:
    memory = MemoryBackend(max_entries=1, clock=clock)
    memory.put("n:a", Entry(b"x", Metadata(key="n:a", created_at=clock.now, expires_at=clock.now + 1, tags=("t",))))
    leaving: dict[str, Callable[[], Any]] = {
        "delete": lambda: memory.delete("n:a"),
        "replace": lambda: memory.put("n:a", entry("n:a")),
        "evict": lambda: memory.put("n:b", entry("n:b")),
        "expire": lambda: (clock.advance(2), memory.get("n:a")),
        "clear": lambda: memory.clear("n:"),
    }
    leaving[leave]()
    assert memory._tagged == {}


def test_computed_entries_of_one_kind_share_what_describes_them(clock: FakeClock) -> None:
    cache = Cache(TierChain(MemoryBackend(clock=clock), clock=clock), ttl="1h")
    seconds = iter(1 + number % 100 / 1000 for number in range(1000))
    for number in range(1000):
        cache.get_or_set(f"k{number}", lambda: clock.advance(next(seconds)))
    memory = cache.chain.memory
    assert memory is not None
    assert len({id(slot.traits) for slot in memory._slots.values()}) < 10


# A model


class Model(RuleBasedStateMachine):
    """Two processes with a memory each on two stores, of which the upper one is flushed now and then."""

    keys = st.sampled_from(["a", "b", "c"])
    tags = st.sampled_from(["s", "t"])

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.upper = RemoteBackend(self.clock, name="upper")
        self.lower = RemoteBackend(self.clock, name="lower")
        self.caches = [self.start(), self.start()]
        self.model: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.count = 0

    def start(self) -> Cache:
        tiers = Tier(self.upper, name="upper"), Tier(self.lower, name="lower")
        chain = TierChain(MemoryBackend(clock=self.clock), *tiers, clock=self.clock, epoch_refresh=None)
        return Cache(chain, namespace="n")

    def others_hear(self) -> None:
        for cache in self.caches:
            cache.drain()
            cache.chain.refresher.round(every=True)

    @rule(who=st.integers(0, 1), key=keys, tags=st.lists(tags, unique=True), many=st.booleans())
    def set(self, who: int, key: str, tags: list[str], many: bool) -> None:
        self.count += 1
        if many:
            self.caches[who].set_many({key: self.count}, tags=tags)
        else:
            self.caches[who].set(key, self.count, tags=tags)
        self.model[key] = (self.count, tuple(tags))
        memory = self.caches[1 - who].chain.memory  # the other one's copy is old: not what is tested here
        assert memory is not None
        memory.delete(f"n:{key}")

    @rule(who=st.integers(0, 1), key=keys, tags=st.lists(tags, unique=True))
    def compute(self, who: int, key: str, tags: list[str]) -> None:
        self.count += 1
        value = self.caches[who].get_or_set(key, lambda: self.count, tags=tags)
        if key in self.model:
            assert value == self.model[key][0]
        else:
            assert value == self.count
            self.model[key] = (self.count, tuple(tags))

    @rule(who=st.integers(0, 1), tags=st.lists(tags, min_size=1))
    def invalidate(self, who: int, tags: list[str]) -> None:
        self.caches[who].invalidate_tags(tags)
        self.model = {key: held for key, held in self.model.items() if not set(held[1]) & set(tags)}
        self.others_hear()

    @rule(who=st.integers(0, 1), purge=st.booleans())
    def clear(self, who: int, purge: bool) -> None:
        self.caches[who].clear(purge=purge)
        self.model = {}
        self.others_hear()

    @rule(who=st.integers(0, 1))
    def restart(self, who: int) -> None:
        self.caches[who].drain()
        self.caches[who] = self.start()

    @rule()
    def flush(self) -> None:
        for cache in self.caches:
            cache.drain()
        self.upper.entries.clear()
        self.upper.marks.clear()

    @rule(seconds=st.sampled_from([0.001, 1.0, 3600.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def every_process_reads_what_was_stored_last_and_not_invalidated(self) -> None:
        expected = {key: value for key, (value, _) in self.model.items()}
        for cache in self.caches:
            assert cache.get_many(["a", "b", "c"]) == expected
            assert {key: value for key in "abc" if (value := cache.get(key)) is not None} == expected
            assert set(cache.keys()) == set(expected)
            cache.drain()  # without a guard, the copies of one process are not fenced by the changes of another

    def teardown(self) -> None:
        for cache in self.caches:
            cache.close()


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
