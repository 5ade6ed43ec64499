"""`get_or_set`: one computation per key among threads, tasks and loops."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.conftest import FakeClock
from tests.flows.test_compute_waits import start, waiters_of
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import ReentrantComputation

WAIT = 20


@pytest.fixture
def remote(clock: FakeClock) -> RemoteBackend:
    return RemoteBackend(clock)


@pytest.fixture
def cache(clock: FakeClock, remote: RemoteBackend) -> Cache:
    return Cache(TierChain(MemoryBackend(clock=clock), Tier(remote), clock=clock), namespace="n")


class Slow:
    """A factory that counts its calls and waits until it may answer."""

    def __init__(self, value: object = "value") -> None:
        self.calls = 0
        self.started, self.go_on = threading.Event(), threading.Event()
        self.value = value

    def __call__(self) -> object:
        self.calls += 1
        self.started.set()
        assert self.go_on.wait(WAIT)
        if isinstance(self.value, Exception):
            raise self.value
        return self.value

    async def awaited(self) -> object:
        self.calls += 1
        self.started.set()
        while not self.go_on.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.001)
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def test_threads_share_one_computation(cache: Cache) -> None:
    slow = Slow()
    with ThreadPoolExecutor(32) as threads:
        callers = [threads.submit(cache.get_or_set, "k", slow) for _ in range(32)]
        assert slow.started.wait(WAIT)
        slow.go_on.set()
        assert {caller.result(WAIT) for caller in callers} == {"value"}
    assert slow.calls == 1


def test_ten_thousand_tasks_share_one_computation(cache: Cache) -> None:
    calls = 0

    async def factory() -> int:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.05)
        return calls

    async def main() -> list[int]:
        return await asyncio.gather(*(cache.aget_or_set("k", factory) for _ in range(10_000)))

    assert set(asyncio.run(main())) == {1}
    assert calls == 1


def test_threads_and_two_loops_share_one_computation(cache: Cache) -> None:
    slow = Slow()

    def loop() -> set[object]:
        async def main() -> list[object]:
            return await asyncio.gather(*(cache.aget_or_set("k", slow.awaited) for _ in range(10)))

        return set(asyncio.run(main()))

    with ThreadPoolExecutor(8) as threads:
        loops = [threads.submit(loop) for _ in range(2)]
        plain = [threads.submit(cache.get_or_set, "k", slow) for _ in range(4)]
        assert slow.started.wait(WAIT)
        slow.go_on.set()
        assert {caller.result(WAIT) for caller in plain} == {"value"}
        assert [loop.result(WAIT) for loop in loops] == [{"value"}, {"value"}]
    assert slow.calls == 1


def test_every_caller_gets_a_value_of_its_own(cache: Cache) -> None:
    async def main() -> list[list[int]]:
        return await asyncio.gather(*(cache.aget_or_set("k", lambda: [1]) for _ in range(3)))

    values = asyncio.run(main())
    values[0].append(2)
    assert values[1:] == [[1], [1]]
    assert cache.get("k") == [1]


def test_a_computation_also_covers_the_read_below(cache: Cache, remote: RemoteBackend) -> None:
    cache.set("k", 1)
    assert cache.chain.memory is not None
    cache.chain.memory.clear()
    remote.trace.clear()
    reached, go_on = remote.hold("get")
    with ThreadPoolExecutor(8) as threads:
        callers = [threads.submit(cache.get_or_set, "k", lambda: 2) for _ in range(8)]
        assert reached.wait(WAIT)
        go_on.set()
        assert {caller.result(WAIT) for caller in callers} == {1}
    assert remote.trace.count("remote.get") == 1


def test_a_failure_reaches_all_waiters_and_is_not_repeated(cache: Cache) -> None:
    slow = Slow(ValueError("no answer"))

    async def main() -> list[object]:
        callers = [asyncio.create_task(cache.aget_or_set("k", slow.awaited)) for _ in range(100)]
        await asyncio.to_thread(slow.started.wait, WAIT)  # by now every task has joined
        slow.go_on.set()
        return await asyncio.gather(*callers, return_exceptions=True)

    assert {repr(error) for error in asyncio.run(main())} == {"ValueError('no answer')"}
    assert slow.calls == 1
    assert cache.get("k") is None


def test_threads_and_loops_get_one_error_object_of_one_call(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(ValueError("no answer"))
    waiters = waiters_of(monkeypatch, "find")

    async def main() -> list[object]:
        calls = (cache.aget_or_set("k", slow.awaited) for _ in range(10))
        return await asyncio.gather(*calls, return_exceptions=True)

    leader = start(cache.get_or_set, "k", slow)
    assert slow.started.wait(WAIT)
    threads = [start(cache.get_or_set, "k", slow) for _ in range(5)]
    loops = [start(lambda: asyncio.run(main())) for _ in range(2)]
    while len(waiters) < 25:
        time.sleep(0.001)
    slow.go_on.set()
    errors = [thread.exception(WAIT) for thread in [leader, *threads]]
    errors += [error for loop in loops for error in loop.result(WAIT)]
    assert {id(error) for error in errors} == {id(slow.value)}
    assert slow.calls == 1


def test_a_failure_is_not_remembered(cache: Cache) -> None:
    with pytest.raises(ZeroDivisionError):
        cache.get_or_set("k", lambda: 1 / 0)
    assert cache.get_or_set("k", lambda: 2) == 2


def test_a_cancelled_leader_harms_no_follower(cache: Cache) -> None:
    slow = Slow()

    async def main() -> object:
        leader = asyncio.create_task(cache.aget_or_set("k", slow.awaited))
        await asyncio.to_thread(slow.started.wait, WAIT)
        follower = asyncio.create_task(cache.aget_or_set("k", slow.awaited))
        await asyncio.sleep(0)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        slow.go_on.set()
        return await follower

    assert asyncio.run(main()) == "value"
    assert slow.calls == 1


def test_a_cancelled_follower_harms_nobody(cache: Cache) -> None:
    slow = Slow()

    async def main() -> object:
        leader = asyncio.create_task(cache.aget_or_set("k", slow.awaited))
        await asyncio.to_thread(slow.started.wait, WAIT)
        follower = asyncio.create_task(cache.aget_or_set("k", slow.awaited))
        await asyncio.sleep(0)
        follower.cancel()
        with pytest.raises(asyncio.CancelledError):
            await follower
        slow.go_on.set()
        return await leader

    assert asyncio.run(main()) == "value"


def test_a_leader_whose_loop_ends_is_replaced(cache: Cache) -> None:
    slow = Slow()

    async def abandon() -> None:
        task = asyncio.create_task(cache.aget_or_set("k", slow.awaited))
        await asyncio.to_thread(slow.started.wait, WAIT)
        del task

    with ThreadPoolExecutor(2) as threads:
        loop = threads.submit(asyncio.run, abandon())
        assert slow.started.wait(WAIT)
        follower = threads.submit(cache.get_or_set, "k", lambda: "computed by the follower")
        loop.result(WAIT)
        assert follower.result(WAIT) == "computed by the follower"


def test_re_entry_raises(cache: Cache) -> None:
    with pytest.raises(ReentrantComputation):
        cache.get_or_set("k", lambda: cache.get_or_set("k", lambda: 1))


def test_re_entry_raises_when_awaited(cache: Cache) -> None:
    async def inner() -> object:
        return await cache.aget_or_set("k", inner)

    with pytest.raises(ReentrantComputation):
        asyncio.run(cache.aget_or_set("k", inner))


def test_a_factory_may_use_other_keys(cache: Cache) -> None:
    assert cache.get_or_set("a", lambda: cache.get_or_set("b", lambda: 1) + 1) == 2


def test_a_sync_call_in_a_loop_does_not_wait_for_that_loop(cache: Cache) -> None:
    slow = Slow("from the task")

    async def main() -> tuple[object, object]:
        task = asyncio.create_task(cache.aget_or_set("k", slow.awaited))
        while not slow.started.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0)
        blocking = cache.get_or_set("k", lambda: "alone")
        slow.go_on.set()
        return blocking, await task

    assert asyncio.run(main()) == ("alone", "from the task")


def test_a_sync_factory_awaited_runs_in_a_worker_with_the_callers_context(cache: Cache) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    seen: list[tuple[str, bool]] = []

    async def main() -> None:
        variable.set("set")
        here = threading.get_ident()
        await cache.aget_or_set("k", lambda: seen.append((variable.get(), threading.get_ident() == here)))

    asyncio.run(main())
    assert seen == [("set", False)]


def test_an_async_factory_given_to_the_blocking_call_is_a_type_error(cache: Cache) -> None:
    async def factory() -> int:
        return 1

    with pytest.raises(TypeError, match="aget_or_set"):
        cache.get_or_set("k", factory)


def test_none_is_a_value(cache: Cache) -> None:
    calls = Counter[str]()

    def factory() -> None:
        calls["n"] += 1

    assert cache.get_or_set("k", factory) is None
    assert cache.get_or_set("k", factory) is None
    assert calls["n"] == 1


def test_a_value_that_cannot_be_cached_is_handed_through_and_counted(cache: Cache) -> None:
    marker = object()
    assert cache.get_or_set("k", lambda: marker) is marker
    assert cache.get("k") is None
    assert cache.stats().uncacheable == 1


def test_followers_of_an_uncacheable_value_get_copies(cache: Cache) -> None:
    class Odd:
        def __init__(self) -> None:
            self.items = [1]

    slow = Slow(Odd())
    with ThreadPoolExecutor(4) as threads:
        callers = [threads.submit(cache.get_or_set, "k", slow) for _ in range(4)]
        assert slow.started.wait(WAIT)
        slow.go_on.set()
        values = [caller.result(WAIT) for caller in callers]
    values[0].items.append(2)
    assert sum(value.items == [1, 2] for value in values) == 1


@dataclass
class Answer:
    text: str
    score: float


def test_a_model_comes_back_as_the_type_asked_for(cache: Cache) -> None:
    for _ in range(2):
        assert cache.get_or_set("k", lambda: Answer("yes", 0.5), type=Answer) == Answer("yes", 0.5)
    assert cache.get_or_set("k", lambda: 1 / 0) == {"text": "yes", "score": 0.5}


def test_a_stored_value_of_another_type_is_made_anew(cache: Cache) -> None:
    cache.set("k", {"text": "an older version"})
    assert cache.get_or_set("k", lambda: Answer("new", 1.0), type=Answer) == Answer("new", 1.0)
    assert cache.get("k", type=Answer) == Answer("new", 1.0)


def test_a_factory_whose_value_is_of_another_type_is_told_so(cache: Cache) -> None:
    with pytest.raises(TypeError, match="factory"):
        cache.get_or_set("k", lambda: "text", type=Answer)


def test_a_store_that_is_down_does_not_stop_a_computation(cache: Cache, remote: RemoteBackend) -> None:
    remote.break_down()
    assert cache.get_or_set("k", lambda: 1) == 1
    assert cache.get("k") == 1
