"""FastMCP's response caching on a tiercache `Cache`: tools, resources and prompts that count their calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("fastmcp")

from fastmcp import Client, FastMCP
from fastmcp.server.middleware.caching import ResponseCachingMiddleware

from tests.conftest import FakeClock
from tiercache import Cache, MemoryBackend
from tiercache.integrations.keyvalue import KeyValueStore
from tiercache.testing import FaultyBackend, Rule


@pytest.fixture
def cache(clock: FakeClock) -> Iterator[Cache]:
    clock.now = datetime.now(UTC).timestamp()
    with Cache(MemoryBackend(clock=clock), clock=clock) as cache:
        yield cache


def server(cache: Cache, name: str = "weather", **options: Any) -> tuple[FastMCP, Counter[str]]:
    """A server, and how often its parts were really called."""
    mcp, calls = FastMCP(name), Counter[str]()
    store = KeyValueStore(cache, namespace=name)
    mcp.add_middleware(ResponseCachingMiddleware(cache_storage=store, **options))

    @mcp.tool
    def forecast(city: str, days: int = 1) -> dict[str, Any]:
        calls["tool"] += 1
        return {"city": city, "days": days, "call": calls["tool"], "server": name}

    @mcp.resource("data://stations")
    def stations() -> str:
        calls["resource"] += 1
        return f"stations {calls['resource']}"

    @mcp.prompt
    def ask(city: str) -> str:
        calls["prompt"] += 1
        return f"How is {city}? {calls['prompt']}"

    return mcp, calls


async def call(mcp: FastMCP, **arguments: Any) -> Any:
    async with Client(mcp) as client:
        return (await client.call_tool("forecast", arguments)).data


async def test_a_tool_is_called_once(cache: Cache) -> None:
    mcp, calls = server(cache)
    first, second = await call(mcp, city="Oslo"), await call(mcp, city="Oslo")
    assert first == second == {"city": "Oslo", "days": 1, "call": 1, "server": "weather"}
    assert calls["tool"] == 1


async def test_a_tool_is_called_once_by_all_processes_that_share_the_store(cache: Cache) -> None:
    (one, first), (other, second) = server(cache), server(cache)
    assert await call(one, city="Oslo") == await call(other, city="Oslo")
    assert (first["tool"], second["tool"]) == (1, 0)


async def test_other_arguments_are_another_call(cache: Cache) -> None:
    mcp, calls = server(cache)
    for _ in range(2):
        assert (await call(mcp, city="Oslo"))["city"] == "Oslo"
        assert (await call(mcp, city="Rome"))["city"] == "Rome"
        assert (await call(mcp, city="Rome", days=2))["days"] == 2
    assert calls["tool"] == 3


async def test_tools_of_the_same_name_on_two_servers_do_not_meet(cache: Cache) -> None:
    for name in ("weather", "traffic"):
        mcp, _ = server(cache, name)
        for _ in range(2):
            assert (await call(mcp, city="Oslo"))["server"] == name


async def test_resources_and_prompts_are_read_once(cache: Cache) -> None:
    mcp, calls = server(cache)
    for _ in range(2):
        async with Client(mcp) as client:
            (resource,) = await client.read_resource("data://stations")
            prompt = await client.get_prompt("ask", {"city": "Oslo"})
            assert resource.text == "stations 1"
            assert prompt.messages[0].content.text == "How is Oslo? 1"
    assert (calls["resource"], calls["prompt"]) == (1, 1)


async def test_lists_come_back_equal(cache: Cache) -> None:
    mcp, _ = server(cache)
    lists = []
    for _ in range(2):
        async with Client(mcp) as client:
            lists.append([await client.list_tools(), await client.list_resources(), await client.list_prompts()])
    assert lists[0] == lists[1]
    assert lists[0][0][0].name == "forecast"


async def test_a_result_lives_as_long_as_the_middleware_says(cache: Cache, clock: FakeClock) -> None:
    mcp, calls = server(cache, call_tool_settings={"ttl": 60})
    await call(mcp, city="Oslo")
    clock.advance(59)
    await call(mcp, city="Oslo")
    assert calls["tool"] == 1
    clock.advance(2)
    await call(mcp, city="Oslo")
    assert calls["tool"] == 2


async def test_a_tier_that_fails_is_as_none() -> None:
    with Cache(FaultyBackend(MemoryBackend(), rules=[Rule("unavailable")])) as cache:
        mcp, calls = server(cache)
        for _ in range(2):
            assert (await call(mcp, city="Oslo"))["city"] == "Oslo"
    assert calls["tool"] == 2
