"""Orders of events that once gave a wrong value or a hang; each was found by an attempt to break the flows."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.flow import Gather, Operation
from tiercache.flows import write
from tiercache.pool import DaemonPool

WAIT = 20


def remote(clock: FakeClock, name: str) -> tuple[RemoteBackend, Tier]:
    backend = RemoteBackend(clock, name=name)
    return backend, Tier(backend, name=name)


def test_a_delete_waits_for_each_promotion_of_a_read(clock: FakeClock) -> None:
    (first, first_tier), (second, second_tier), (last, last_tier) = (remote(clock, name) for name in "abc")
    cache = Cache(TierChain(first_tier, second_tier, last_tier, clock=clock))
    Cache(TierChain(Tier(last, name="alone"), clock=clock)).set("k", "old")
    reached, go_on = second.hold("put")
    assert cache.get("k") == "old"
    assert reached.wait(WAIT)
    while not first.entries:  # the other promotion is over
        time.sleep(0.001)
    with ThreadPoolExecutor(1) as threads:
        deletion = threads.submit(cache.delete, "k")
        go_on.set()
        assert deletion.result(WAIT)
    cache.drain()
    assert cache.get("k") is None


def test_a_tier_that_is_only_read_takes_no_promotion(clock: FakeClock) -> None:
    reader = RemoteBackend(clock)
    _, lower_tier = remote(clock, "lower")
    cache = Cache(
        TierChain(MemoryBackend(clock=clock), Tier(reader, name="reader", write="never"), lower_tier, clock=clock)
    )
    cache.set("k", "old")
    assert cache.chain.memory is not None
    cache.chain.memory.clear()
    cache.get("k")
    cache.warm(["k"])
    cache.drain()
    assert reader.entries == {}
    cache.delete("k")
    assert cache.get("k") is None


@pytest.mark.parametrize(
    "change", [lambda c: c.delete("k"), lambda c: c.clear(purge=True), lambda c: c.delete_many(["k"])]
)
def test_nobody_joins_a_computation_that_began_during_a_change(
    clock: FakeClock, change: Callable[[Cache], Any]
) -> None:
    lower, lower_tier = remote(clock, "lower")
    cache = Cache(TierChain(MemoryBackend(clock=clock), lower_tier, clock=clock))
    gates = [lower.hold(name) for name in ("delete", "scan", "delete_many")]
    started, go_on = threading.Event(), threading.Event()

    def factory() -> str:
        started.set()
        assert go_on.wait(WAIT)
        return "made of what was before"

    with ThreadPoolExecutor(2) as threads:
        changing = threads.submit(change, cache)
        while not any(reached.is_set() for reached, _ in gates):
            time.sleep(0.001)
        early = threads.submit(cache.get_or_set, "k", factory)
        assert started.wait(WAIT)
        for _, gate in gates:
            gate.set()
        changing.result(WAIT)
        assert cache.get_or_set("k", lambda: "made after") == "made after"
        go_on.set()
        assert early.result(WAIT) == "made of what was before"
    assert cache.get("k") == "made after"


def test_what_was_overtaken_removes_what_it_wrote(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "TURN_TIMEOUT", 0.05)
    lower, lower_tier = remote(clock, "lower")
    cache = Cache(TierChain(lower_tier, clock=clock))
    reached, go_on = lower.hold("put")
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(cache.set, "k", "old")
        assert reached.wait(WAIT)
        cache.delete("k")  # cannot wait for ever
        go_on.set()
        slow.result(WAIT)
    assert cache.get("k") is None


def test_batches_in_opposite_orders_do_not_wait_for_each_other(clock: FakeClock) -> None:
    _, lower_tier = remote(clock, "lower")
    cache = Cache(TierChain(MemoryBackend(clock=clock), lower_tier, clock=clock))
    keys = [f"k{number}" for number in range(500)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        with ThreadPoolExecutor(2) as threads:
            for _ in range(10):
                one = threads.submit(cache.set_many, dict.fromkeys(keys, 1))
                two = threads.submit(cache.set_many, dict.fromkeys(reversed(keys), 2))
                one.result(WAIT)
                two.result(WAIT)
                above = cache.get_many(keys)
                assert len(set(above.values())) == 1
                assert cache.chain.memory is not None
                cache.chain.memory.clear()
                assert cache.get_many(keys) == above
                cache.drain()
    finally:
        sys.setswitchinterval(interval)


def test_a_blocking_set_does_not_wait_for_an_awaited_one_of_its_own_loop(clock: FakeClock) -> None:
    lower, lower_tier = remote(clock, "lower")
    cache = Cache(TierChain(MemoryBackend(clock=clock), lower_tier, clock=clock))
    reached, go_on = lower.hold("put")

    async def main() -> None:
        awaited = asyncio.create_task(cache.aset("k", "older"))
        assert await asyncio.to_thread(reached.wait, WAIT)
        lower.gates.clear()
        cache.set("k", "newer")
        go_on.set()
        await awaited

    asyncio.run(main())
    assert cache.get("k") in ("newer", None)
    assert cache.chain.memory is not None
    cache.chain.memory.clear()
    assert cache.get("k") in ("newer", None)


def test_the_entry_of_another_key_is_never_served(clock: FakeClock) -> None:
    lower, lower_tier = remote(clock, "lower")
    cache = Cache(TierChain(MemoryBackend(clock=clock), lower_tier, clock=clock), namespace="n")
    cache.set("theirs", "secret of theirs")
    assert cache.chain.memory is not None
    cache.chain.memory.clear()
    lower.entries["n:mine"] = lower.entries["n:theirs"]
    assert cache.get("mine") is None
    assert cache.get_many(["mine", "theirs"]) == {"theirs": "secret of theirs"}
    assert not cache.contains("mine")
    assert set(cache.stats().errors) == {"CorruptEntry"}


class Garbage(RemoteBackend):
    """A store that answers nonsense."""

    answer: Any = "nonsense"

    def get(self, key: str, **_: Any) -> Any:  # type: ignore[override]
        return self.answer

    head = get_many = delete = delete_many = clear = get  # type: ignore[assignment]


@pytest.mark.parametrize("answer", ["nonsense", 7.5, object(), ["k"]], ids=["str", "float", "object", "list"])
def test_a_store_that_answers_nonsense_does_not_reach_the_caller(clock: FakeClock, answer: object) -> None:
    garbage = Garbage(clock)
    garbage.answer = answer
    garbage.removals = None  # type: ignore[attr-defined]
    cache = Cache(TierChain(MemoryBackend(clock=clock), Tier(garbage), clock=clock))
    assert cache.get("k", "default") == "default"
    assert cache.get_many(["k"]) == {}
    assert cache.metadata("k") is None
    assert cache.get_or_set("c", lambda: 1) == 1
    assert not cache.delete("absent")
    cache.delete_many(["c"])
    cache.clear()
    assert cache.stats().tiers["remote"].errors


def test_a_leader_whose_loop_was_closed_is_replaced(clock: FakeClock) -> None:
    cache = Cache(TierChain(MemoryBackend(clock=clock), clock=clock))
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def never() -> None:
        started.set()
        await asyncio.Event().wait()

    def abandon() -> None:
        task = loop.create_task(cache.aget_or_set("k", never))
        loop.run_until_complete(asyncio.sleep(0.05))
        del task
        loop.close()

    with ThreadPoolExecutor(3) as threads:
        abandoning = threads.submit(abandon)
        assert started.wait(WAIT)
        blocked = threads.submit(cache.get_or_set, "k", lambda: "made anew")
        awaited = threads.submit(asyncio.run, cache.aget_or_set("k", lambda: "made anew"))
        abandoning.result(WAIT)
        assert [blocked.result(WAIT), awaited.result(WAIT)] == ["made anew", "made anew"]


def test_a_factory_that_raises_stop_iteration_hangs_nobody(clock: FakeClock) -> None:
    cache = Cache(TierChain(MemoryBackend(clock=clock), clock=clock))
    with pytest.raises(RuntimeError):
        asyncio.run(asyncio.wait_for(cache.aget_or_set("k", lambda: next(iter([]))), WAIT))
    with pytest.raises(RuntimeError):
        cache.get_or_set("k", lambda: next(iter([])))


def test_a_task_that_outlives_its_factory_may_compute_the_key(clock: FakeClock) -> None:
    cache = Cache(TierChain(MemoryBackend(clock=clock), clock=clock))

    async def main() -> object:
        later: list[asyncio.Task[object]] = []
        over = asyncio.Event()

        async def again() -> object:
            await over.wait()
            return await cache.aget_or_set("k", lambda: "second")

        async def factory() -> str:
            later.append(asyncio.create_task(again()))
            return "first"

        assert await cache.aget_or_set("k", factory) == "first"
        cache.delete("k")
        over.set()
        return await later[0]

    assert asyncio.run(main()) == "second"


def test_a_factory_that_cancels_itself_is_one_failure_for_all(clock: FakeClock) -> None:
    cache = Cache(TierChain(MemoryBackend(clock=clock), clock=clock))
    calls = 0

    async def factory() -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.01)
        raise asyncio.CancelledError

    async def main() -> list[object]:
        return await asyncio.gather(*(cache.aget_or_set("k", factory) for _ in range(20)), return_exceptions=True)

    assert {type(error) for error in asyncio.run(main())} == {RuntimeError}
    assert calls == 1


def test_touches_side_by_side_all_find_the_entry(clock: FakeClock) -> None:
    _, lower_tier = remote(clock, "lower")
    cache = Cache(TierChain(MemoryBackend(clock=clock), lower_tier, clock=clock))
    cache.set("k", 1, ttl=10, stale_for=5)
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(lambda seconds: cache.touch("k", seconds), range(100, 120)))
    metadata = cache.metadata("k")
    assert metadata is not None
    assert metadata.stale_until == pytest.approx((metadata.expires_at or 0) + 5)


def test_delete_many_counts_only_keys_that_are_in_no_tier(clock: FakeClock) -> None:
    from tiercache.errors import BackendTimeout, PartialFailure

    upper, upper_tier = remote(clock, "upper")
    lower, lower_tier = remote(clock, "lower")
    cache = Cache(TierChain(upper_tier, lower_tier, clock=clock), namespace="n")
    upper.faults["delete_many"] = PartialFailure({"n:a": BackendTimeout("slow")}, 2)
    lower.faults["delete_many"] = PartialFailure({"n:b": BackendTimeout("slow")}, 2)
    assert cache.delete_many(["a", "b", "c"]) == 1


def test_attributes_count_toward_the_bytes_of_memory(clock: FakeClock) -> None:
    memory = MemoryBackend("1MiB", clock=clock)
    cache = Cache(TierChain(memory, clock=clock))
    for number in range(100):
        cache.set(f"k{number}", b"", attributes={"note": str(number) * 50_000})
    assert memory.usage()[0] < 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_during_a_computation_leaves_the_child_free(clock: FakeClock) -> None:
    cache = Cache(TierChain(MemoryBackend(clock=clock), clock=clock))
    started, go_on = threading.Event(), threading.Event()

    def slow() -> int:
        started.set()
        assert go_on.wait(WAIT)
        return 1

    with ThreadPoolExecutor(1) as threads:
        leader = threads.submit(cache.get_or_set, "k", slow)
        assert started.wait(WAIT)
        child = os.fork()
        if not child:
            import signal

            signal.alarm(WAIT)  # ends the child if it hangs
            os._exit(0 if cache.get_or_set("k", lambda: 2) == 2 else 1)
        go_on.set()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert leader.result(WAIT) == 1


def test_a_mutation_whose_loop_was_closed_under_it_holds_up_nobody(clock: FakeClock) -> None:
    _, lower_tier = remote(clock, "lower")
    cache = Cache(TierChain(MemoryBackend(clock=clock), lower_tier, clock=clock), namespace="n")
    loop = asyncio.new_event_loop()
    cache.chain.fence.mutate(["n:k"], loop)  # an `aset` in that loop that never comes to its end
    loop.close()
    began = time.monotonic()
    cache.delete("k")
    assert time.monotonic() - began < WAIT
    assert cache.get_or_set("k", lambda: "stored") == "stored"
    assert cache.get("k") == "stored"


class Do(Operation[None]):
    """Call a function."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function

    def perform(self) -> None:
        self.function()

    async def aperform(self) -> None:
        self.function()


def test_who_is_interrupted_leaves_when_what_runs_beside_is_over() -> None:
    done: list[str] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    def store() -> None:
        time.sleep(0.3)
        done.append("written")

    async def call(function: Callable[[], object]) -> None:
        await Do(function)

    flows = [call(interrupt), call(store)]
    with pytest.raises(KeyboardInterrupt):
        Gather(flows, DaemonPool(2)).perform()
    assert done == ["written"]  # else it would come over what the caller writes next


def test_a_computation_left_in_a_loop_that_stopped_holds_up_nobody(clock: FakeClock) -> None:
    cache = Cache(TierChain(MemoryBackend(clock=clock), clock=clock))
    loop = asyncio.new_event_loop()
    with pytest.raises(TimeoutError):
        loop.run_until_complete(asyncio.wait_for(cache.aget_or_set("k", asyncio.Event().wait), 0.05))
    other = asyncio.new_event_loop()
    with ThreadPoolExecutor(2) as threads:
        blocked = threads.submit(cache.get_or_set, "k", lambda: "made anew")
        awaited = threads.submit(other.run_until_complete, cache.aget_or_set("k", lambda: "made anew"))
        assert [blocked.result(WAIT), awaited.result(WAIT)] == ["made anew", "made anew"]
    _end(other)
    _end(loop)


def test_a_write_left_in_a_loop_that_stopped_holds_up_nobody(clock: FakeClock) -> None:
    _, lower_tier = remote(clock, "lower")
    cache = Cache(TierChain(MemoryBackend(clock=clock), lower_tier, clock=clock), namespace="n")
    loop = asyncio.new_event_loop()
    (left,) = cache.chain.fence.mutate(["n:k"], loop)  # an `aset` that was given up, and goes on when the loop does
    began = time.monotonic()
    cache.set("k", "blocking")
    asyncio.run(cache.aset("k", "awaited"))
    assert time.monotonic() - began < WAIT
    assert left.overtaken
    assert cache.get("k") == "awaited"
    loop.close()


def _end(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()


def test_attributes_that_are_equal_but_not_the_same_do_not_stand_for_each_other(clock: FakeClock) -> None:
    cache = Cache(TierChain(MemoryBackend(clock=clock), clock=clock))
    values: list[Any] = [1, 1.0, True, 0.0, -0.0, False, None, "1"]
    for number, value in enumerate(values):
        cache.set(str(number), b"", attributes={"v": value})
    stored = [cache.metadata(str(number)).attributes["v"] for number in range(len(values))]  # type: ignore[union-attr]
    assert [repr(value) for value in stored] == [repr(value) for value in values]


def test_what_is_over_is_not_remembered(clock: FakeClock) -> None:
    _, lower_tier = remote(clock, "lower")
    cache = Cache(TierChain(lower_tier, clock=clock))
    first = cache.chain.fence.mutate(["k"])[0]
    second = cache.chain.fence.mutate(["k"])[0]
    assert second.before == [first]
    cache.chain.fence.finish(first)
    cache.chain.fence.finish(second)
    assert second.before == ()
    assert cache.chain.fence._states == {}
