"""Each fault of a `FaultyBackend`, sync and async, and that it strikes the same calls in every run."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.coherence.guard import Guard
from tiercache.entry import Entry, Metadata
from tiercache.errors import (
    AccessDenied,
    BackendTimeout,
    BackendUnavailable,
    ConfigurationError,
    CorruptEntry,
    PartialFailure,
)
from tiercache.testing import FakeClock, Fault, FaultyBackend, Rule
from tiercache_redis import RedisBackend

KEYS = [f"key-{number}" for number in range(10)]


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def faulty(clock):
    backend = FaultyBackend(MemoryBackend(clock=clock), seed=7)
    yield backend
    backend.close()


@pytest.fixture(params=["sync", "async"])
def ask(request):
    """Call an operation, or await its twin in a loop of its own."""

    def ask(backend, operation, *args, **options):
        if request.param == "sync":
            return getattr(backend, operation)(*args, **options)

        async def awaited():
            return await getattr(backend, f"a{operation}")(*args, **options)

        return asyncio.run(awaited())

    return ask


def entry(key, payload=b"payload", clock=FakeClock()):  # noqa: B008 - it never moves
    return Entry(payload, Metadata(key=key, created_at=clock(), size=len(payload)))


def entries():
    return {key: entry(key, key.encode()) for key in KEYS}


def outcomes(backend, calls=200):
    """Which of these calls fail, by number."""
    failed = set()
    for number in range(calls):
        try:
            backend.get("key")
        except BackendUnavailable:
            failed.add(number)
    return failed


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("unavailable", BackendUnavailable),
        ("throttled", BackendUnavailable),
        ("timeout", BackendTimeout),
        ("denied", AccessDenied),
    ],
)
@pytest.mark.parametrize("operation", ["get", "put", "delete", "head", "get_many", "put_many", "delete_many", "ping"])
def test_an_error_comes_in_place_of_the_operation(faulty, ask, fault, error, operation):
    faulty.inner.put("key", entry("key"))
    arguments = {"put": ("new", entry("new")), "ping": (), "put_many": ({"new": entry("new")},)}
    arguments |= dict.fromkeys(("get_many", "delete_many"), (["key"],))
    with faulty.broken(Rule(fault)), pytest.raises(error):
        ask(faulty, operation, *arguments.get(operation, ("key",)))
    assert (faulty.inner.get("key").payload, faulty.inner.get("new")) == (b"payload", None)
    assert faulty.injected == {fault: 1}
    assert faulty.calls == {operation: 1}


def test_a_scan_fails_before_its_first_entry(faulty):
    faulty.inner.put("key", entry("key"))

    async def scanned():
        return [key async for key, _ in faulty.ascan()]

    with faulty.broken(Rule("unavailable", "scan")):
        with pytest.raises(BackendUnavailable):
            list(faulty.scan())
        with pytest.raises(BackendUnavailable):
            asyncio.run(scanned())
    assert [key for key, _ in faulty.scan()] == asyncio.run(scanned()) == ["key"]


def test_a_clear_fails_and_clears_nothing(faulty, ask):
    faulty.inner.put("key", entry("key"))
    with faulty.broken(Rule("denied", "clear")), pytest.raises(AccessDenied):
        ask(faulty, "clear")
    assert ask(faulty, "clear") == 1


def test_a_delay_waits_and_then_performs(faulty, ask):
    faulty.inject(Rule("delay", seconds=0.05))
    start = time.monotonic()
    assert ask(faulty, "put", "key", entry("key"), deadline=start + 60) is True
    assert time.monotonic() - start >= 0.05
    assert faulty.inner.get("key") == entry("key")


@pytest.mark.parametrize("seconds", [None, 60])
def test_a_delay_ends_at_the_deadline(faulty, ask, seconds):
    faulty.inject(Rule("delay", seconds=seconds))
    deadline = time.monotonic() + 0.05
    with pytest.raises(BackendTimeout):
        ask(faulty, "put", "key", entry("key"), deadline=deadline)
    assert time.monotonic() >= deadline
    assert faulty.inner.get("key") is None


def test_a_hang_heeds_no_deadline_and_ends_when_it_is_healed(faulty, ask):
    faulty.inject(Rule("hang"))
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(ask, faulty, "put", "key", entry("key"), deadline=time.monotonic() + 0.01)
        with pytest.raises(TimeoutError):
            hanging.result(0.1)
        faulty.heal()
        assert hanging.result(60) is True


def test_close_ends_a_hang(clock, ask):
    faulty = FaultyBackend(MemoryBackend(clock=clock), rules=[Rule("hang", "ping")])
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(ask, faulty, "ping")
        while not faulty.injected:
            time.sleep(0.001)
        faulty.close()
        assert hanging.exception(60) is not None, "closed"


def test_a_cancelled_task_leaves_a_hang(faulty):
    async def cancelled():
        task = asyncio.create_task(faulty.aget("key"))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with faulty.broken(Rule("hang")):
        asyncio.run(cancelled())
    assert faulty.injected == {"hang": 1}


@pytest.mark.parametrize(
    ("operation", "argument", "answer"),
    [("put", entry("key", b"new"), True), ("delete", None, True)],
)
def test_a_lost_write_is_acknowledged_and_not_done(faulty, ask, operation, argument, answer):
    faulty.put("key", entry("key"))
    with faulty.broken(Rule("lose")):
        assert ask(faulty, operation, "key", *[argument] * (argument is not None)) is answer
    assert ask(faulty, "get", "key") == entry("key")


def test_a_lost_batch_is_acknowledged_and_not_done(faulty, ask):
    faulty.put_many(entries())
    with faulty.broken(Rule("lose")):
        assert ask(faulty, "delete_many", KEYS) == len(KEYS)
        assert ask(faulty, "put_many", {"new": entry("new")}) is None
    assert ask(faulty, "get_many", [*KEYS, "new"]).keys() == set(KEYS)


@pytest.mark.parametrize("operation", ["put", "delete"])
def test_the_answer_to_a_write_is_lost_and_the_write_is_done(faulty, ask, operation):
    faulty.put("key", entry("key"))
    with faulty.broken(Rule("lost_answer")), pytest.raises(BackendTimeout):
        ask(faulty, operation, *(("key", entry("key", b"new")) if operation == "put" else ("key",)))
    assert faulty.get("key") == (entry("key", b"new") if operation == "put" else None)


def test_a_late_write_lands_when_it_is_told_to(faulty, ask):
    with faulty.broken(Rule("late")):
        with pytest.raises(BackendTimeout):
            ask(faulty, "put", "key", entry("key"), deadline=time.monotonic() + 60)
        with pytest.raises(BackendTimeout):
            ask(faulty, "put_many", {"other": entry("other")})
    assert faulty.get_many(["key", "other"]) == {}
    assert faulty.land() == 2
    assert faulty.get_many(["key", "other"]).keys() == {"key", "other"}
    assert faulty.land() == 0


def test_a_late_write_lands_by_itself_after_its_time(faulty, ask):
    with faulty.broken(Rule("late", seconds=0.02)), pytest.raises(BackendTimeout):
        ask(faulty, "put", "key", entry("key"))
    end = time.monotonic() + 60
    while faulty.inner.get("key") is None and time.monotonic() < end:
        time.sleep(0.005)
    assert faulty.inner.get("key") == entry("key")
    assert faulty.land() == 0


@pytest.mark.parametrize("fault", ["corrupt", "truncate"])
def test_damaged_bytes_fail_the_check_that_every_store_makes(faulty, ask, fault):
    faulty.put_many(entries())
    with faulty.broken(Rule(fault)):
        with pytest.raises(CorruptEntry):
            ask(faulty, "get", KEYS[0])
        with pytest.raises(PartialFailure) as caught:
            ask(faulty, "get_many", KEYS)
        assert ask(faulty, "get", "absent") is None
    assert {type(error) for error in caught.value.failed.values()} == {CorruptEntry}
    assert caught.value.results == {key: entry(key, key.encode()) for key in set(KEYS) - set(caught.value.failed)}
    assert ask(faulty, "get_many", KEYS).keys() == set(KEYS), "nothing was damaged in the store"


def test_another_keys_entry_passes_the_backend_and_not_the_tier(faulty, ask):
    faulty.put("key", entry("key"))
    with faulty.broken(Rule("foreign", "get")):
        assert ask(faulty, "get", "key").metadata.key != "key"


def test_a_stale_read_shows_what_was_there_before(faulty, ask):
    faulty.put("key", entry("key", b"first"))
    faulty.put("key", entry("key", b"second"))
    faulty.put("deleted", entry("deleted"))
    faulty.delete("deleted")
    with faulty.broken(Rule("stale")):
        assert ask(faulty, "get", "key").payload == b"first"
        assert ask(faulty, "get", "deleted") == entry("deleted")
        assert ask(faulty, "get_many", ["key", "deleted"]).keys() == {"key", "deleted"}
    assert ask(faulty, "get_many", ["key", "deleted"]) == {"key": entry("key", b"second")}


def test_a_part_of_a_batch_fails_and_the_rest_is_done(faulty, ask):
    with faulty.broken(Rule("partial")):
        with pytest.raises(PartialFailure) as written:
            ask(faulty, "put_many", entries())
        stored = set(faulty.inner.get_many(KEYS))
        assert stored == set(KEYS) - set(written.value.failed)
        with pytest.raises(PartialFailure) as read:
            ask(faulty, "get_many", KEYS)
        assert read.value.results.keys() == stored - set(read.value.failed)
        with pytest.raises(PartialFailure) as deleted:
            ask(faulty, "delete_many", KEYS)
    assert set(faulty.inner.get_many(KEYS)) == stored & set(deleted.value.failed)
    assert deleted.value.results == len(KEYS) - len(deleted.value.failed)
    assert 0 < len(written.value.failed) < len(KEYS)


def test_a_batch_of_one_fails_as_a_whole_and_an_empty_one_does_not(faulty, ask):
    with faulty.broken(Rule("partial")):
        with pytest.raises(PartialFailure):
            ask(faulty, "get_many", ["key"])
        assert ask(faulty, "get_many", []) == {}


def test_a_probability_strikes_about_as_many_calls(faulty):
    faulty.inject(Rule("unavailable", probability=0.25))
    assert 25 <= len(outcomes(faulty)) <= 75


def test_the_same_seed_strikes_the_same_calls_and_another_one_others(clock):
    def struck(seed):
        return outcomes(FaultyBackend(MemoryBackend(clock=clock), seed=seed, rules=[Rule("unavailable", "get", 0.5)]))

    assert struck(1) == struck(1)
    assert struck(1) != struck(2)


def test_two_equal_rules_draw_for_themselves(clock):
    rule = Rule("unavailable", "get", 0.5)
    one = outcomes(FaultyBackend(MemoryBackend(clock=clock), rules=[rule]))
    both = outcomes(FaultyBackend(MemoryBackend(clock=clock), rules=[rule, rule]))
    assert one < both


def test_as_many_calls_are_struck_whatever_threads_make_them(clock):
    def struck(threads):
        faulty = FaultyBackend(MemoryBackend(clock=clock), seed=3, rules=[Rule("unavailable", probability=0.3)])
        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(lambda _: len(outcomes(faulty, 50)), range(8))), faulty.injected["unavailable"]

    assert struck(1) == struck(8)


def test_a_rule_for_numbered_calls_counts_those_that_it_matches(faulty):
    faulty.inject(Rule("timeout", "get", calls=[2, 4]))
    failed = []
    for number in range(1, 6):
        faulty.ping()
        try:
            faulty.get("key")
        except BackendTimeout:
            failed.append(number)
    assert failed == [2, 4]
    assert faulty.calls == {"get": 5, "ping": 5}


async def test_an_awaited_call_counts_as_its_twin(faulty):
    faulty.inject(Rule("timeout", "get", calls=2))
    faulty.get("key")
    with pytest.raises(BackendTimeout):
        await faulty.aget("key")


def test_the_first_rule_that_strikes_is_taken(faulty):
    faulty.inject(Rule("denied", "get", calls=2), Rule("timeout", "get"))
    with pytest.raises(BackendTimeout):
        faulty.get("key")
    with pytest.raises(AccessDenied):
        faulty.get("key")


def test_one_rule_is_healed_and_the_other_holds(faulty):
    denied, slow = Rule("denied", "get"), Rule("timeout", "put")
    faulty.inject(denied, slow)
    faulty.heal(denied)
    assert faulty.get("key") is None
    with pytest.raises(BackendTimeout):
        faulty.put("key", entry("key"))


@pytest.mark.parametrize(
    "options",
    [
        {"fault": "explode"},
        {"fault": "lose", "operations": "get"},
        {"fault": "stale", "operations": ["put"]},
        {"fault": "timeout", "operations": []},
        {"fault": "timeout", "operations": "fetch"},
        {"fault": "timeout", "probability": 2},
        {"fault": "timeout", "probability": 0.5, "calls": 3},
        {"fault": "delay", "seconds": "soon"},
    ],
)
def test_a_rule_that_means_nothing_is_refused(options):
    with pytest.raises(ConfigurationError):
        Rule(**options)


def test_every_fault_has_its_flow_and_its_operations():
    from tiercache.testing.fault_flows import _FLOWS
    from tiercache.testing.faults import APPLIES

    assert _FLOWS.keys() == APPLIES.keys() == set(Fault)


def test_the_native_twin_of_the_inner_backend_is_awaited(clock):
    class Native(MemoryBackend):
        async def aget(self, key, *, deadline=None):
            return await asyncio.sleep(0, (key, threading.get_ident()))

    async def asked():
        return await FaultyBackend(Native(clock=clock)).aget("key")

    assert asyncio.run(asked()) == ("key", threading.get_ident())


def test_the_rest_is_the_inner_backends(clock):
    inner = MemoryBackend(max_entries=3, clock=clock)
    faulty = FaultyBackend(inner)
    assert (faulty.scheme, faulty.persistent, faulty.usage()) == (inner.scheme, inner.persistent, inner.usage())
    Tier(faulty, timeout=0.5)
    assert faulty.timeout == inner.timeout == 0.5
    with pytest.raises(AttributeError):
        _ = faulty.no_such_thing


def test_a_chain_goes_on_without_a_faulty_tier(clock):
    faulty = FaultyBackend(MemoryBackend(clock=clock), seed=1, rules=[Rule("unavailable", probability=0.5)])
    with Cache(TierChain(MemoryBackend(max_entries=1, clock=clock), faulty, clock=clock)) as cache:
        for number in range(50):
            assert cache.get_or_set(f"key-{number % 5}", lambda number=number: number % 5) == number % 5
        assert 0 < cache.stats().tiers["memory-2"].errors["BackendUnavailable"] == faulty.injected["unavailable"]


class TestOnASharedFence:
    """On Redis a chain asks other questions; they go wrong as the plain operations do."""

    @pytest.fixture
    def shared(self, redis_url):
        backend = FaultyBackend(RedisBackend(redis_url, prefix=f"{uuid.uuid4().hex}:", timeout=30))
        yield backend
        backend.clear()
        backend.close()

    def test_it_is_one_as_the_inner_backend_is(self, shared, faulty):
        assert isinstance(shared, Guard)
        assert not isinstance(faulty, Guard)

    @pytest.mark.parametrize("fault", ["unavailable", "timeout", "denied", "corrupt", "foreign", "truncate"])
    def test_reads_of_a_chain_meet_the_fault(self, shared, fault):
        cache = Cache(shared)
        cache.set_many(dict.fromkeys(KEYS, "stored"))
        with shared.broken(Rule(fault)):
            assert cache.get(KEYS[0]) is None
            assert len(cache.get_many(KEYS)) < len(KEYS)
        assert shared.injected[fault] >= 1
        assert shared.calls["get"] >= 1

    @pytest.mark.parametrize("fault", ["unavailable", "lost_answer", "late"])
    async def test_writes_of_a_chain_meet_the_fault(self, shared, fault):
        cache = Cache(shared)
        await cache.aset("key", "before")
        with shared.broken(Rule(fault)):
            await cache.aset("key", "after")
            await cache.adelete("other")
        assert shared.injected[fault] >= 1
        shared.land()
        assert await cache.aget("key") in ("after", None)

    def test_a_stale_read_shows_what_was_there_before(self, shared):
        shared.put("key", entry("key", b"first", time.time))
        shared.put("key", entry("key", b"second", time.time))
        with shared.broken(Rule("stale")):
            assert shared.get_seen("key").entry.payload == b"first"
            assert shared.get_many_seen(["key"])["key"].entry.payload == b"first"
        assert shared.get_seen("key").entry.payload == b"second"
