"""Changes that a loop's end interrupts, wherever they are: no tier answers with what they were to replace."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend, after_first_use
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.begun import Begun
from tiercache.entry import Entry
from tiercache.fence import Fence
from tiercache.flow import Operation, adrive, drive
from tiercache.health import this_call

WAIT = 30

STEPS = range(4)
"""How far a change comes, in steps of the loop."""
CHANGES: dict[str, Callable[[Cache], Coroutine[Any, Any, Any]]] = {
    "set": lambda cache: cache.aset("k", "new"),
    "set_many": lambda cache: cache.aset_many({"k": "new", "l": "new"}),
    "delete": lambda cache: cache.adelete("k"),
    "delete_many": lambda cache: cache.adelete_many(["k", "l"]),
    "touch": lambda cache: cache.atouch("k", 60),
}
each_change = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
each_step = pytest.mark.parametrize("steps", STEPS)


class Slow(RemoteBackend):
    """A store that takes some steps of the loop."""

    async def aput(self, key: str, entry: Entry, **options: Any) -> bool:
        await asyncio.sleep(0.001)
        return self.put(key, entry, **options)

    async def aput_many(self, entries: Any, *, deadline: float | None = None) -> None:
        await asyncio.sleep(0.001)
        self.put_many(entries)

    async def adelete(self, key: str, *, deadline: float | None = None) -> bool:
        await asyncio.sleep(0.001)
        return self.delete(key)

    async def adelete_many(self, keys: Any, *, deadline: float | None = None) -> int:
        await asyncio.sleep(0.001)
        return self.delete_many(keys)


@pytest.fixture(params=[1, 2], ids=lambda number: f"{number}-below")
def cache(clock: FakeClock, request: pytest.FixtureRequest) -> Cache:
    stores = [Tier(Slow(clock, name=f"s{number}"), name=f"s{number}") for number in range(request.param)]
    chain = TierChain(MemoryBackend(clock=clock), *stores, clock=clock)
    after_first_use(chain)
    cache = Cache(chain, namespace="n")
    cache.set_many({"k": "old", "l": "old"})
    return cache


async def _goes_some_steps(change: Coroutine[Any, Any, Any], steps: int) -> None:
    tasks = [asyncio.ensure_future(change)]
    for _ in range(steps + 1):
        await asyncio.sleep(0)
    assert tasks


def _agree(cache: Cache) -> None:
    """What is read from the slower tiers is what memory answered, or nothing."""
    before = cache.get_many(["k", "l"])
    cache.chain.memory.clear()  # type: ignore[union-attr]
    after = cache.get_many(["k", "l"])
    assert after.items() <= before.items()
    assert cache.chain.fence._states == {}


@each_step
@each_change
def test_a_change_that_the_end_of_the_loop_cancels_leaves_no_older_value(
    cache: Cache, change: Callable[[Cache], Coroutine[Any, Any, Any]], steps: int
) -> None:
    asyncio.run(_goes_some_steps(change(cache), steps))
    _agree(cache)


def test_what_is_begun_is_interrupted_where_it_first_waits() -> None:
    seen: list[str] = []

    async def work() -> None:
        seen.append("begun")
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0)
            seen.append("cleaned up")

    async def main() -> None:
        task = asyncio.create_task(Begun(work()))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == ["begun", "cleaned up"]


def test_what_is_begun_is_awaited_like_any_coroutine() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 1

    async def main() -> list[int]:
        return [await Begun(work()), await asyncio.create_task(Begun(work()))]

    assert asyncio.run(main()) == [1, 1]


def test_tags_in_an_array_are_refused_with_a_message(cache: Cache) -> None:
    class Array(list[str]):
        def __eq__(self, other: object) -> bool:
            raise ValueError("the truth value of an array is ambiguous")

        __hash__ = None

    cache.set("k", 1, tags=Array(["t"]))
    assert cache.metadata("k").tags == ("t",)  # type: ignore[union-attr]


def test_what_is_closed_while_the_table_is_changed_waits_for_nothing() -> None:
    fence = Fence()
    holder, load = fence.begin("h"), fence.begin("k")
    (mutation,) = fence.mutate(["l"])

    def close() -> None:  # as the garbage collector does, in the middle of it
        fence.release(load)
        fence.finish(mutation)

    closing = threading.Thread(target=fence.store, args=(holder, close), daemon=True)
    closing.start()
    closing.join(WAIT)
    assert not closing.is_alive()
    assert mutation.is_over
    assert fence.begin("l").valid
    assert set(fence._states) == {"h", "l"}


class _Never(Operation[None]):
    def perform(self) -> None:
        raise AssertionError

    async def aperform(self) -> None:
        await asyncio.get_running_loop().create_future()


def test_a_read_that_a_closed_loop_left_is_collected_while_the_table_is_changed() -> None:
    fence = Fence()
    holder = fence.begin("h")

    async def read() -> None:
        load = fence.begin("k")
        try:
            await _Never()
        finally:
            fence.release(load)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)  # that a task was left pending is the point
    loop.run_until_complete(_goes_some_steps(adrive(read()), 2))
    loop.close()
    collecting = threading.Thread(target=fence.store, args=(holder, gc.collect), daemon=True)
    collecting.start()
    collecting.join(WAIT)
    assert not collecting.is_alive()
    fence.release(holder)
    assert fence._states == {}


def test_a_call_that_is_closed_within_another_does_not_end_that() -> None:
    async def waits() -> None:
        await _Never()

    async def outer() -> None:
        this_call.failed("tier")
        left.close()
        assert this_call.has_failed("tier")

    loop = asyncio.new_event_loop()
    left = adrive(waits())

    async def begin() -> None:
        left.send(None)

    loop.run_until_complete(begin())
    drive(outer())
    loop.close()
