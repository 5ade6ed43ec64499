"""The same script through both drivers: the same values, the same operations in the same order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.flow import Operation, adrive, drive

Step = tuple[str, tuple[Any, ...], dict[str, Any]]


def step(name: str, *args: Any, **kwargs: Any) -> Step:
    return name, args, kwargs


SCRIPT: list[Step] = [
    step("get", "a", "nothing"),
    step("set", "a", {"x": 1}, ttl=60, tags=["t"], attributes={"model": "m"}),
    step("get", "a"),
    step("contains", "a"),
    step("touch", "a", 120),
    step("set_many", {"b": 1, "c": b"2", "d": "3"}),
    step("get_many", ["a", "b", "zz", "d"]),
    step("get_or_set", "e", lambda: [1, (2, 3)]),
    step("get_or_set", "e", lambda: 1 / 0),
    step("delete", "b"),
    step("delete", "b"),
    step("delete_many", ["c", "d", "zz"]),
    step("warm", ["a", "e", "zz"]),
    step("get_or_set_many", ["a", "f", "g", "f"], lambda missing: {key: key * 2 for key in missing}, ttl=60),
    step("get_or_set_many", ["g", "h"], lambda missing: [None] * len(missing), negative_ttl=5),
    step("get_or_set", "s", lambda: "old", ttl=10, stale_for=100),
    step("advance", 11),
    step("get", "s"),
    step("get", "s", allow_stale=True),
    step("contains", "s", allow_stale=True),
    step("get_many", ["s"], allow_stale=True),
    step("get_or_set", "s", lambda: 1 / 0, ttl=10, stale_if_error=100),
    step("advance", 10),
    step("get_or_set", "s", lambda: "new", ttl=10, stale_for=100),
    step("get", "s"),
    step("advance", 9),
    step("get_or_set", "s", lambda: "newer", ttl=10, refresh_ahead=0.2),
    step("get", "s"),
    step("advance", 11),
    step("get_or_set", "t", lambda: "in time", timeout=60),
    step("get_or_set_many", ["s", "t"], lambda missing: missing, stale_for=100),
    step("clear"),
    step("get", "a"),
]


def make(clock: FakeClock, trace: list[str]) -> tuple[Cache, MemoryBackend]:
    memory = MemoryBackend(clock=clock)
    chain = TierChain(
        memory,
        Tier(RemoteBackend(clock, trace, "middle"), name="middle"),
        Tier(RemoteBackend(clock, trace, "last"), name="last"),
        clock=clock,
    )
    return Cache(chain, namespace="n"), memory


def run_blocking(clock: FakeClock) -> tuple[list[Any], list[str]]:
    trace: list[str] = []
    cache, memory = make(clock, trace)
    results = []
    for name, args, kwargs in SCRIPT:
        trace.append(name)
        if name == "advance":
            clock.advance(*args)
            continue
        results.append(getattr(cache, name)(*args, **kwargs))
        assert cache.drain()
        memory.clear()
    return results, trace


def run_awaiting(clock: FakeClock) -> tuple[list[Any], list[str]]:
    trace: list[str] = []

    async def main() -> list[Any]:
        cache, memory = make(clock, trace)
        results = []
        for name, args, kwargs in SCRIPT:
            trace.append(name)
            if name == "advance":
                clock.advance(*args)
                continue
            results.append(await getattr(cache, "a" + name)(*args, **kwargs))
            while refreshes := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(refreshes)
            assert await cache.adrain()
            memory.clear()
        return results

    return asyncio.run(main()), trace


def sorted_by_step(trace: list[str]) -> list[list[str]]:
    """Operations of one step run side by side: within a step their order is free."""
    steps: list[list[str]] = []
    for line in trace:
        if "." not in line:
            steps.append([line])
        else:
            steps[-1].append(line)
    return [[first, *sorted(rest)] for first, *rest in steps]


def test_both_drivers_return_the_same_values(clock: FakeClock) -> None:
    assert run_blocking(clock)[0] == run_awaiting(clock)[0]


def test_both_drivers_perform_the_same_operations(clock: FakeClock) -> None:
    blocking, awaiting = run_blocking(clock)[1], run_awaiting(clock)[1]
    assert sorted_by_step(blocking) == sorted_by_step(awaiting)
    assert len(blocking) > 2 * len(SCRIPT), "the script must reach the stores"


class Echo(Operation[str]):
    """Says which driver performed it, or fails."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails

    def perform(self) -> str:
        if self.fails:
            raise ValueError("asked to")
        return "performed"

    async def aperform(self) -> str:
        return self.perform()


@pytest.mark.parametrize("run", [drive, lambda flow: asyncio.run(adrive(flow))], ids=["drive", "adrive"])
class TestDriver:
    def test_it_sends_results_in(self, run: Callable[[Any], Any]) -> None:
        async def flow() -> list[str]:
            return [await Echo(), await Echo()]

        assert run(flow()) == ["performed", "performed"]

    def test_it_throws_errors_in_where_the_flow_can_catch_them(self, run: Callable[[Any], Any]) -> None:
        async def flow() -> str:
            try:
                await Echo(fails=True)
            except ValueError as error:
                return f"caught {error}; {await Echo()}"
            return "not reached"

        assert run(flow()) == "caught asked to; performed"

    def test_it_raises_what_the_flow_raises(self, run: Callable[[Any], Any]) -> None:
        async def flow() -> None:
            await Echo(fails=True)

        with pytest.raises(ValueError, match="asked to"):
            run(flow())

    def test_a_flow_cannot_await_asyncio(self, run: Callable[[Any], Any]) -> None:
        async def flow() -> None:
            await asyncio.sleep(0)

        with pytest.raises(AttributeError):
            run(flow())
