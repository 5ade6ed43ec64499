"""Hit ratios: those of an independent simulator, and those of the memory tier itself; samples within their error."""

from __future__ import annotations

import itertools
import random
from math import inf

import pytest

from tests.conftest import FakeClock
from tiercache import Entry, EvictionPolicy, MemoryBackend, Metadata
from tiercache.planning import load, simulate
from tiercache.planning.simulation import sizes_for
from tiercache.planning.trace import DELETE, FILL, GET, LOOK, SET
from tiercache.slots import ENTRY_OVERHEAD

from .traces import scans, trace_of, write_log, zipf

HALF_A_POINT = 0.005
OTHERS = {"lru": "LRU", "lfu": "LFU", "fifo": "FIFO", "sieve": "Sieve", "s3fifo": "S3FIFO"}


def other_ratio(policy: str, keys: list[int], sizes: list[int], room: int) -> float:
    """The hit ratio that libcachesim finds."""
    simulator = pytest.importorskip("libcachesim")
    cache, request, hits = getattr(simulator, OTHERS[policy])(room), simulator.Request(), 0
    for key in keys:
        request.obj_id, request.obj_size = key, sizes[key % len(sizes)]
        hits += cache.get(request)
    return hits / len(keys)


def compare(requests: int, stream, policy: str, *, varied: bool, room_shares: tuple[float, ...]) -> None:
    keys = stream(requests, requests // 10, 0.9 if stream is scans else 1.0)
    sizes = [random.Random(2).randint(1, 2000) for _ in range(997)] if varied else [1]
    trace = trace_of(keys, (sizes[key % len(sizes)] for key in keys))
    rooms = [int(trace.footprint * share) for share in room_shares]
    (curve,) = simulate(trace, [EvictionPolicy(policy)], sizes=rooms)
    for room, ratio in zip(rooms, curve.hit_ratio, strict=True):
        assert ratio == pytest.approx(other_ratio(policy, keys, sizes, room), abs=HALF_A_POINT), room


@pytest.mark.parametrize("stream", [zipf, scans])
@pytest.mark.parametrize("policy", OTHERS)
def test_it_is_within_half_a_point_of_an_independent_simulator(policy, stream):
    compare(100_000, stream, policy, varied=False, room_shares=(0.02, 0.2))


@pytest.mark.parametrize("policy", OTHERS)
def test_so_it_is_where_entries_have_many_sizes(policy):
    compare(100_000, zipf, policy, varied=True, room_shares=(0.05, 0.3))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("varied", [False, True], ids=["equal", "varied"])
@pytest.mark.parametrize("stream", [zipf, scans])
@pytest.mark.parametrize("policy", OTHERS)
def test_a_million_requests_are_within_half_a_point_of_an_independent_simulator(policy, stream, varied):
    compare(1_000_000, stream, policy, varied=varied, room_shares=(0.001, 0.01, 0.1, 0.5))


@pytest.mark.parametrize("by_entries", [False, True], ids=["bytes", "entries"])
@pytest.mark.parametrize("policy", list(EvictionPolicy))
def test_it_is_exactly_what_the_memory_tier_does(policy, by_entries):
    dice, clock = random.Random(4), FakeClock()
    keys = zipf(20_000, 3_000, 0.9)
    payloads = [dice.randrange(2_000) for _ in keys]
    lives = [dice.choice([inf, inf, 300.0, 4_000.0]) for _ in keys]
    trace = trace_of(keys, (len(str(key)) + size + ENTRY_OVERHEAD for key, size in zip(keys, payloads, strict=True)))
    for place, life in enumerate(lives):
        trace.lives[place] = life
    room = 300 if by_entries else 400_000
    memory = (
        MemoryBackend(max_entries=room, eviction=policy, clock=clock)
        if by_entries
        else MemoryBackend(room, eviction=policy, clock=clock)
    )
    read, hits = memory.reader(), 0
    for now, key, size, life in zip(trace.times, keys, payloads, lives, strict=True):
        clock.now = now
        if read(str(key)) is not None:
            hits += 1
            continue
        ends = None if life == inf else now + life
        metadata = Metadata(key=str(key), created_at=now, expires_at=ends, size=size)
        memory.put(str(key), Entry(bytes(size), metadata))
    (curve,) = simulate(trace, [policy], sizes=[room], by_entries=by_entries)
    assert curve.hit_ratio == (hits / len(keys),)


@pytest.mark.parametrize("policy", list(EvictionPolicy))
def test_the_short_way_of_plain_traces_and_the_long_one_agree(policy):
    keys = scans(30_000, 3_000, 0.9)
    plain, long = trace_of(keys, (key % 90 + 10 for key in keys)), trace_of(keys, (key % 90 + 10 for key in keys))
    long.lives[0] = 1e12
    assert plain.is_plain
    assert not long.is_plain
    rooms = [1_000, 30_000]
    one, other = (simulate(trace, [policy], sizes=rooms)[0].hit_ratio for trace in (plain, long))
    assert one == other


def test_a_read_that_found_nothing_anywhere_stores_nothing_until_the_store_that_follows():
    trace = trace_of([1, 1, 1, 1, 1, 1])
    trace.kinds[:] = bytes([LOOK, LOOK, FILL, GET, DELETE, LOOK])
    trace.requests = trace.reads
    (curve,) = simulate(trace, [EvictionPolicy.LRU], sizes=[10])
    assert curve.hit_ratio == (1 / 4,)


def test_a_store_of_its_own_replaces_and_is_no_read():
    trace = trace_of([1, 2, 1])
    trace.kinds[:] = bytes([SET, SET, GET])
    trace.requests = trace.reads
    assert simulate(trace, [EvictionPolicy.LRU], sizes=[2])[0].hit_ratio == (1.0,)
    assert simulate(trace, [EvictionPolicy.LRU], sizes=[1])[0].hit_ratio == (0.0,)


def test_the_ttl_of_the_log_holds():
    trace = trace_of([1, 1, 1], every=60)
    for place in range(3):
        trace.lives[place] = 100.0
    assert simulate(trace, [EvictionPolicy.LRU], sizes=[10])[0].hit_ratio == (1 / 3,)


@pytest.mark.parametrize("policy", [EvictionPolicy.LRU, EvictionPolicy.S3FIFO])
def test_a_sample_is_within_the_error_that_it_states(tmp_path, policy):
    keys = zipf(120_000, 20_000, 0.7)
    whole, _ = load([write_log(tmp_path / "log", keys)])
    part, _ = load([tmp_path / "log"], most=20_000)
    assert whole.rate == 1.0
    assert part.rate < 0.26
    assert len(part) <= 20_000
    assert part.requests == whole.requests == 120_000
    assert part.footprint == pytest.approx(whole.footprint, rel=0.1)
    sizes = sizes_for(whole.footprint)[5:]
    (exact,), (about,) = (simulate(trace, [policy], sizes=sizes) for trace in (whole, part))
    for real, seen, error in zip(exact.hit_ratio, about.hit_ratio, about.error, strict=True):
        assert abs(real - seen) <= error + 0.005
        assert error < 0.1
    assert exact.error == (0.0,) * len(sizes)


def test_sizes_are_powers_of_two_up_to_the_first_that_holds_all():
    sizes = sizes_for(1_000_000)
    assert len(sizes) == 12
    assert sizes[-1] == 2**20
    assert all(one * 2 == other for one, other in itertools.pairwise(sizes))
    assert sizes_for(1)[0] == 1
