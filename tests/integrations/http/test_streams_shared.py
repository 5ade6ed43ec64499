"""Streams under way: all who ask for the same share one, whoever goes away, in whatever thread or event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import httpx2
import pytest

from tests.integrations.http.streaming import ASK, aopened, aread, opened, read
from tests.provider import FakeProvider, Gate
from tiercache import Cache, MemoryBackend
from tiercache.integrations.http import async_client, client
from tiercache.integrations.http.table import table_of
from tiercache.llm.cache import LLMCache

PATIENCE = 60.0
FEW = (0, 1, 4)
POINTS = [number if number in FEW else pytest.param(number, marks=pytest.mark.slow) for number in range(9)]
"""After how many chunks something happens; the stream has more than these."""


@pytest.fixture
def cache() -> LLMCache:
    return LLMCache(Cache(MemoryBackend()))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as threads:
        yield threads


def until(condition: Callable[[], bool]) -> None:
    """Wait, with a bound, for what another thread is about to do."""
    tick, waited = threading.Event(), 0.0
    while not condition():
        tick.wait(0.005)
        waited += 0.005
        assert waited < PATIENCE, "it did not happen"


def readers(cache: LLMCache) -> int:
    """How many have a place in streams under way."""
    return sum(len(live._seats) for live in table_of(cache.cache.chain)._lives.values())


def test_threads_share_one_call(cache: LLMCache, provider: FakeProvider, pool: ThreadPoolExecutor) -> None:
    gate = provider.hold(after=2)
    asking = [pool.submit(read, cache, provider, http=(httpx, httpx2)[number % 2]) for number in range(20)]
    until(lambda: readers(cache) == 20)
    gate.open()
    answers = [each.result(PATIENCE) for each in asking]
    assert provider.calls() == 1
    assert sorted(status for status, _ in answers) == ["MISS"] + ["SHARED"] * 19
    assert len({b"".join(chunks) for _, chunks in answers}) == 1
    stats = cache.stats().chat
    assert (stats.misses, stats.hits, stats.shared, stats.stored) == (1, 19, 19, 1)
    assert cache.cache.stats().savings.by_tier["shared"].calls == 19


async def test_tasks_share_one_call(cache: LLMCache, provider: FakeProvider) -> None:
    gate = provider.hold(after=2)
    asking = [asyncio.create_task(aread(cache, provider, http=(httpx, httpx2)[number % 2])) for number in range(20)]
    await asyncio.to_thread(until, lambda: readers(cache) == 20)
    gate.open()
    answers = await asyncio.gather(*asking)
    assert provider.calls() == 1
    assert sorted(status for status, _ in answers) == ["MISS"] + ["SHARED"] * 19
    assert len({b"".join(chunks) for _, chunks in answers}) == 1


@pytest.mark.parametrize("first", ["thread", "loop"])
def test_threads_and_event_loops_share_one_call(
    cache: LLMCache, provider: FakeProvider, pool: ThreadPoolExecutor, first: str
) -> None:
    def in_thread() -> Any:
        return read(cache, provider)

    def in_loop() -> Any:
        return asyncio.run(aread(cache, provider, http=httpx2))

    gate = provider.hold(after=2)
    leader = pool.submit(in_thread if first == "thread" else in_loop)
    assert gate.reached.wait(PATIENCE)
    asking = [pool.submit(each) for each in (in_thread, in_loop) * 4]
    until(lambda: readers(cache) == 9)
    gate.open()
    answers = [each.result(PATIENCE) for each in (leader, *asking)]
    assert provider.calls() == 1
    assert [status for status, _ in answers] == ["MISS"] + ["SHARED"] * 8
    assert len({b"".join(chunks) for _, chunks in answers}) == 1


@pytest.mark.parametrize("after", POINTS)
def test_who_joins_later_gets_it_from_the_beginning(
    cache: LLMCache, provider: FakeProvider, pool: ThreadPoolExecutor, after: int
) -> None:
    gate = provider.hold(after=after)
    leader = pool.submit(read, cache, provider)
    assert gate.reached.wait(PATIENCE)
    followers = [pool.submit(read, cache, provider), pool.submit(asyncio.run, aread(cache, provider))]
    until(lambda: readers(cache) == 3)
    gate.open()
    _, whole = leader.result(PATIENCE)
    for follower in followers:
        assert follower.result(PATIENCE) == ("SHARED", whole)
    assert provider.calls() == 1


def test_who_joins_is_given_at_once_what_has_arrived(cache: LLMCache, provider: FakeProvider) -> None:
    gate = provider.hold(after=3)
    with opened(cache, provider) as leader, opened(cache, provider, http=httpx2) as follower:
        arriving, following = leader.iter_raw(), follower.iter_raw()
        begun = [next(following) for _ in range(3)]
        assert gate.reached.wait(PATIENCE)
        assert [next(arriving) for _ in range(3)] == begun
        gate.open()
        assert list(arriving) == list(following)


def test_a_reader_who_does_not_read_holds_up_nobody(cache: LLMCache, provider: FakeProvider) -> None:
    with opened(cache, provider) as leader:
        status, chunks = read(cache, provider)
        assert status == "SHARED"
        assert b"[DONE]" in chunks[-1]
        assert list(leader.iter_raw()) == chunks
    assert read(cache, provider)[0] == "HIT"


async def test_a_task_that_does_not_read_holds_up_nobody(cache: LLMCache, provider: FakeProvider) -> None:
    async with aopened(cache, provider) as leader:
        status, chunks = await aread(cache, provider)
        assert status == "SHARED"
        assert b"[DONE]" in chunks[-1]
        assert [chunk async for chunk in leader.aiter_raw()] == chunks
    assert (await aread(cache, provider))[0] == "HIT"


def test_a_loop_that_is_busy_with_the_leader_is_followed_from_a_thread(
    cache: LLMCache, provider: FakeProvider, pool: ThreadPoolExecutor
) -> None:
    async def main() -> None:
        gate = provider.hold(after=2)
        async with aopened(cache, provider) as leader:
            arriving = leader.aiter_raw()
            await anext(arriving)
            follower = pool.submit(read, cache, provider)
            await asyncio.to_thread(until, lambda: readers(cache) == 2)
            gate.open()
            rest = [chunk async for chunk in arriving]
            assert (await asyncio.wrap_future(follower))[1][1:] == rest

    asyncio.run(main())
    assert provider.calls() == 1


async def test_a_blocking_call_in_the_loop_that_reads_the_stream_asks_for_itself(
    cache: LLMCache, provider: FakeProvider
) -> None:
    provider.hold(after=1)
    async with aopened(cache, provider) as leader:
        await anext(leader.aiter_raw())
        assert read(cache, provider)[0] == "MISS"
    assert provider.calls() == 2


@pytest.mark.parametrize("taken", POINTS[:7])
def test_a_leader_who_goes_away_leaves_the_stream_to_the_others(
    cache: LLMCache, provider: FakeProvider, pool: ThreadPoolExecutor, taken: int
) -> None:
    gate = provider.hold(after=max(taken, 1))
    with opened(cache, provider) as leader:
        arriving = leader.iter_raw()
        for _ in range(taken):
            next(arriving)
        followers = [pool.submit(read, cache, provider), pool.submit(asyncio.run, aread(cache, provider))]
        until(lambda: readers(cache) == 3)
    gate.open()
    assert all(follower.result(PATIENCE)[0] == "SHARED" for follower in followers)
    assert provider.calls() == 1
    assert read(cache, provider)[0] == "HIT"


@pytest.mark.parametrize("taken", POINTS[:7])
def test_a_leader_that_is_cancelled_leaves_the_stream_to_the_others(
    cache: LLMCache, provider: FakeProvider, pool: ThreadPoolExecutor, taken: int
) -> None:
    async def main() -> None:
        gate = provider.hold(after=max(taken, 1))
        there = asyncio.Event()

        async def lead() -> None:
            async with aopened(cache, provider) as response:
                arriving = response.aiter_raw()
                for _ in range(taken):
                    await anext(arriving)
                there.set()
                await arriving.aclose() if not taken else None
                while True:
                    await anext(arriving, None)
                    await asyncio.sleep(0)

        leader = asyncio.create_task(lead())
        await there.wait()
        followers = [pool.submit(read, cache, provider), pool.submit(asyncio.run, aread(cache, provider))]
        beside = asyncio.create_task(aread(cache, provider))
        await asyncio.to_thread(until, lambda: readers(cache) == 4)
        leader.cancel()
        await asyncio.wait({leader})
        gate.open()
        answers = [await beside, *[await asyncio.wrap_future(follower) for follower in followers]]
        assert [status for status, _ in answers] == ["SHARED"] * 3
        assert (await aread(cache, provider))[0] == "HIT"

    asyncio.run(main())
    assert provider.calls() == 1


def test_when_all_readers_are_gone_the_provider_is_hung_up_on(cache: LLMCache, provider: FakeProvider) -> None:
    gate = provider.hold(after=2)
    with opened(cache, provider) as leader, opened(cache, provider) as follower:
        next(leader.iter_raw())
        next(follower.iter_raw())
    gate.open()
    assert provider.requests[0].done.wait(PATIENCE)
    assert cache.stats().chat.stored == 0
    assert cache.stats().chat.refused == {"abandoned": 1}
    assert read(cache, provider)[0] == "MISS"


@pytest.mark.parametrize("taken", POINTS[:7])
def test_a_stream_that_its_only_reader_leaves_is_not_stored(
    cache: LLMCache, provider: FakeProvider, taken: int
) -> None:
    provider.hold(after=max(taken, 1))
    with opened(cache, provider) as leader:
        arriving = leader.iter_raw()
        for _ in range(taken):
            next(arriving)
    assert cache.stats().chat.refused == {"abandoned": 1}
    assert read(cache, provider)[0] == "MISS"


@pytest.mark.parametrize("taken", POINTS[:7])
async def test_a_stream_that_its_only_task_leaves_is_not_stored(
    cache: LLMCache, provider: FakeProvider, taken: int
) -> None:
    provider.hold(after=max(taken, 1))
    async with aopened(cache, provider) as leader:
        arriving = leader.aiter_raw()
        for _ in range(taken):
            await anext(arriving)
    assert cache.stats().chat.refused == {"abandoned": 1}
    assert (await aread(cache, provider))[0] == "MISS"


def test_a_reader_that_is_dropped_unclosed_keeps_nobody_waiting(cache: LLMCache, provider: FakeProvider) -> None:
    gate = provider.hold(after=1)
    with client(cache, http=httpx) as below:
        request = below.build_request("POST", f"{provider.openai}/chat/completions", json=ASK)
        response = below.send(request, stream=True)
        next(response.iter_raw())
        del response
        gate.open()
        assert read(cache, provider)[0] in ("SHARED", "MISS")
    until(lambda: readers(cache) == 0)


@pytest.mark.parametrize("cut", POINTS[1:])
@pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "awaiting"])
def test_a_stream_cut_in_the_middle_breaks_for_all_and_is_not_stored(
    cache: LLMCache, provider: FakeProvider, pool: ThreadPoolExecutor, cut: int, awaited: bool
) -> None:
    gate = Gate(after=1)
    provider.next(cut=cut, hold=gate)

    def failure(http: Any) -> BaseException | None:
        return (
            pool.submit(read, cache, provider, http=http)
            if not awaited
            else pool.submit(lambda: asyncio.run(aread(cache, provider, http=http)))
        ).exception(PATIENCE)

    asking = [pool.submit(failure, http) for http in (httpx, httpx2, httpx)]
    until(lambda: readers(cache) == 3)
    gate.open()
    errors = [each.result(PATIENCE) for each in asking]
    assert {type(error) for error in errors} == {httpx.RemoteProtocolError, httpx2.RemoteProtocolError}
    assert len({id(error) for error in errors}) == 3
    assert cache.stats().chat.refused == {"incomplete": 1}
    assert read(cache, provider)[0] == "MISS"


def test_an_error_of_the_provider_goes_to_all_who_wait(
    cache: LLMCache, provider: FakeProvider, pool: ThreadPoolExecutor
) -> None:
    gate = Gate(after=0)
    provider.next(status=429, retry_after=7, hold=gate)
    asking = [pool.submit(read, cache, provider), pool.submit(asyncio.run, aread(cache, provider))]
    until(lambda: readers(cache) == 2)
    gate.open()
    answers = [each.result(PATIENCE) for each in asking]
    assert sorted(status for status, _ in answers) == ["MISS", "SHARED"]
    assert answers[0][1] == answers[1][1]
    assert provider.calls() == 1


def test_a_reply_that_is_no_stream_is_asked_for_by_each(
    cache: LLMCache, provider: FakeProvider, pool: ThreadPoolExecutor
) -> None:
    gate = Gate(after=0)
    provider.next(body=b"<html>", headers={"content-type": "text/html"}, hold=gate)
    asking = [pool.submit(read, cache, provider), pool.submit(asyncio.run, aread(cache, provider))]
    until(lambda: readers(cache) == 2)
    gate.open()
    bodies = sorted(b"".join(each.result(PATIENCE)[1])[:5] for each in asking)
    assert bodies == [b"<html", b"data:"]
    assert provider.calls() == 2


def test_a_provider_that_is_not_reached_is_each_callers_own_error(
    cache: LLMCache, provider: FakeProvider, pool: ThreadPoolExecutor
) -> None:
    gate = Gate(after=0)
    provider.always(drop=True, hold=gate)
    asking = [pool.submit(read, cache, provider, http=http) for http in (httpx, httpx2)]
    until(lambda: readers(cache) == 2)
    gate.open()
    errors = [each.exception(PATIENCE) for each in asking]
    assert [type(error) for error in errors] == [httpx.RemoteProtocolError, httpx2.RemoteProtocolError]


def test_a_leader_whose_loop_is_gone_before_the_answer_is_replaced(cache: LLMCache, provider: FakeProvider) -> None:
    gate = provider.hold(after=0)
    loop = asyncio.new_event_loop()

    async def begin() -> asyncio.Task[Any]:
        task = loop.create_task(aread(cache, provider))
        await asyncio.to_thread(gate.reached.wait, PATIENCE)
        return task

    task = loop.run_until_complete(begin())  # the loop stands still, and is never run again
    assert read(cache, provider)[0] == "MISS"
    assert provider.calls() == 2
    gate.open()
    loop.run_until_complete(task)
    loop.close()


def test_a_leader_whose_loop_stops_in_the_middle_breaks_the_stream_for_the_others(
    cache: LLMCache, provider: FakeProvider
) -> None:
    gate = provider.hold(after=2)
    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(_begun_in(loop, cache, provider, gate))
    runs = threading.Thread(target=loop.run_forever)
    runs.start()
    with opened(cache, provider) as follower:
        following = follower.iter_raw()
        assert [next(following), next(following)]
        loop.call_soon_threadsafe(loop.stop)
        runs.join(PATIENCE)
        with pytest.raises(httpx.RemoteProtocolError):
            next(following)
    assert follower.headers["x-tiercache"] == "SHARED"
    assert read(cache, provider)[0] == "MISS"
    _end_in(loop, task, gate)


@pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "awaiting"])
def test_who_comes_when_the_leaders_loop_has_stopped_asks_for_itself(
    cache: LLMCache, provider: FakeProvider, awaited: bool
) -> None:
    gate = provider.hold(after=2)
    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(_begun_in(loop, cache, provider, gate))
    status, chunks = asyncio.run(aread(cache, provider)) if awaited else read(cache, provider)
    assert status == "MISS"
    assert b"[DONE]" in chunks[-1]
    assert read(cache, provider) == ("HIT", chunks)
    _end_in(loop, task, gate)


async def _begun_in(
    loop: asyncio.AbstractEventLoop, cache: LLMCache, provider: FakeProvider, gate: Gate
) -> asyncio.Task[Any]:
    """Have a task read a stream as far as the gate."""
    task = loop.create_task(aread(cache, provider))
    await asyncio.to_thread(gate.reached.wait, PATIENCE)
    await asyncio.to_thread(until, lambda: any(live.has(1) for live in lives(cache)))
    return task


def _end_in(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any], gate: Gate) -> None:
    gate.open()
    loop.run_until_complete(asyncio.wait({task}))
    task.exception()
    loop.close()


def lives(cache: LLMCache) -> list[Any]:
    """The streams under way."""
    return list(table_of(cache.cache.chain)._lives.values())


def test_a_follower_waits_no_longer_than_its_own_client_would(
    cache: LLMCache, provider: FakeProvider, pool: ThreadPoolExecutor
) -> None:
    gate = provider.hold(after=2)
    leader = pool.submit(read, cache, provider)
    assert gate.reached.wait(PATIENCE)

    def impatient() -> None:
        with client(cache, http=httpx, timeout=0.3) as below:
            below.post(f"{provider.openai}/chat/completions", json=ASK)

    async def aimpatient() -> None:
        async with async_client(cache, http=httpx2, timeout=0.3) as below:
            await below.post(f"{provider.openai}/chat/completions", json=ASK)

    with pytest.raises(httpx.ReadTimeout):
        impatient()
    with pytest.raises(httpx2.ReadTimeout):
        asyncio.run(aimpatient())
    gate.open()
    assert leader.result(PATIENCE)[0] == "MISS"
    assert provider.calls() == 1


def test_nobody_is_given_a_stream_of_another_tenant(cache: LLMCache, provider: FakeProvider) -> None:
    with opened(cache, provider, authorization="Bearer one") as leader:
        next(leader.iter_raw())
        assert read(cache, provider, authorization="Bearer two")[0] == "MISS"
    assert provider.calls() == 2


def test_who_asks_with_no_cache_does_not_join(cache: LLMCache, provider: FakeProvider) -> None:
    provider.hold(after=2)
    with opened(cache, provider) as leader:
        next(leader.iter_raw())
        assert read(cache, provider, cache_control="no-cache")[0] == "MISS"
    assert provider.calls() == 2
    assert read(cache, provider)[0] == "HIT"
