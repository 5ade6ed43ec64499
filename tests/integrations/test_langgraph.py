"""LangGraph's own graphs on `LangGraphCache`: nodes that run once, values that come back as they were, no pickle."""

from __future__ import annotations

import asyncio
import datetime as dt
import operator
import pickle
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

pytest.importorskip("langgraph")

import ormsgpack
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy, Command, Send
from pydantic import BaseModel

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, DiskBackend, MemoryBackend, Tier, TierChain
from tiercache.errors import ConfigurationError
from tiercache.integrations.langgraph import LangGraphCache
from tiercache_redis import RedisBackend

NS = ("writes", "node")


class State(TypedDict, total=False):
    question: str
    answers: Annotated[list[Any], operator.add]


@dataclass
class Own:
    """A class of the user's own."""

    text: str
    pair: Any = None


class OwnModel(BaseModel):
    """A pydantic model of the user's own."""

    text: str


@pytest.fixture
def cache(clock: FakeClock) -> Cache:
    return Cache(TierChain(MemoryBackend(clock=clock), Tier(RemoteBackend(clock)), clock=clock))


def graph_of(adapter: LangGraphCache[Any], node: Callable[..., Any], ttl: int | None = None, name: str = "node") -> Any:
    builder = StateGraph(State)
    builder.add_node(name, node, cache_policy=CachePolicy(ttl=ttl))
    builder.add_edge(START, name)
    return builder.compile(cache=adapter)


class Node:
    """A node that counts its runs."""

    def __init__(self, *made: Any) -> None:
        self.made = made
        self.runs = 0

    def __call__(self, state: State) -> dict[str, Any]:
        self.runs += 1
        return {"answers": list(self.made) or [f"{state['question']} {self.runs}"]}


class TestGraphs:
    def test_a_node_runs_once_for_an_input(self, cache: Cache) -> None:
        node = Node()
        graph = graph_of(LangGraphCache(cache), node)
        first = graph.invoke({"question": "why?"})
        assert graph.invoke({"question": "why?"}) == first
        assert graph.invoke({"question": "how?"})["answers"] == ["how? 2"]
        assert node.runs == 2

    def test_awaited_and_blocking_share(self, cache: Cache) -> None:
        node = Node()
        graph = graph_of(LangGraphCache(cache), node)

        async def main() -> list[Any]:
            return [await graph.ainvoke({"question": "why?"}) for _ in range(2)]

        assert asyncio.run(main()) == [graph.invoke({"question": "why?"})] * 2
        assert node.runs == 1

    def test_seconds_of_the_policy(self, cache: Cache, clock: FakeClock) -> None:
        node = Node()
        graph = graph_of(LangGraphCache(cache), node, ttl=60)
        graph.invoke({"question": "why?"})
        clock.advance(59)
        graph.invoke({"question": "why?"})
        assert node.runs == 1
        clock.advance(2)
        graph.invoke({"question": "why?"})
        assert node.runs == 2

    def test_without_them_the_ttl_of_the_adapter_holds(self, cache: Cache, clock: FakeClock) -> None:
        node = Node()
        graph = graph_of(LangGraphCache(cache, ttl="1m"), node)
        graph.invoke({"question": "why?"})
        clock.advance(61)
        graph.invoke({"question": "why?"})
        assert node.runs == 2

    def test_clear_cache_of_a_graph(self, cache: Cache) -> None:
        node = Node()
        graph = graph_of(LangGraphCache(cache), node)
        graph.invoke({"question": "why?"})
        graph.clear_cache()
        graph.invoke({"question": "why?"})
        asyncio.run(graph.aclear_cache())
        graph.invoke({"question": "why?"})
        assert node.runs == 3

    def test_after_a_restart(self, tmp_path: Path) -> None:
        node = Node(AIMessage("hi", id="1"), ("ai", "text"))
        results = []
        for _ in range(2):
            with Cache(TierChain(MemoryBackend(), DiskBackend(tmp_path / "cache.db"))) as cache:
                results.append(graph_of(LangGraphCache(cache), node).invoke({"question": "why?"}))
        assert results[0] == results[1]
        assert node.runs == 1

    def test_on_redis(self, redis_url: str) -> None:
        node = Node(AIMessage("hi", id="1"))
        backend = RedisBackend(redis_url, prefix=f"{uuid.uuid4().hex}:")
        with Cache(TierChain(backend)) as cache:
            graph = graph_of(LangGraphCache(cache), node)
            assert graph.invoke({"question": "why?"}) == asyncio.run(graph.ainvoke({"question": "why?"}))
            assert node.runs == 1
            graph.clear_cache()
            graph.invoke({"question": "why?"})
            assert node.runs == 2

    def test_a_node_that_fails_is_not_kept(self, cache: Cache) -> None:
        def fails(state: State) -> Any:
            raise ValueError("no answer")

        graph = graph_of(LangGraphCache(cache), fails)
        for _ in range(2):
            with pytest.raises(ValueError, match="no answer"):
                graph.invoke({"question": "why?"})
        assert list(cache.keys()) == []

    def test_commands_and_sends(self, cache: Cache) -> None:
        runs: list[str] = []

        def fan(state: State) -> Command[Any]:
            runs.append("fan")
            return Command(goto=[Send("work", {"question": text}) for text in ("a", "b")])

        def work(state: State) -> dict[str, Any]:
            runs.append(state["question"])
            return {"answers": [state["question"]]}

        builder = StateGraph(State)
        builder.add_node("fan", fan, cache_policy=CachePolicy(), destinations=("work",))
        builder.add_node("work", work, cache_policy=CachePolicy())
        builder.add_edge(START, "fan")
        graph = builder.compile(cache=LangGraphCache(cache))
        results = [graph.invoke({"question": "x"})["answers"] for _ in range(2)]
        assert results == [["a", "b"]] * 2
        assert sorted(runs) == ["a", "b", "fan"]

    def test_tasks_of_the_functional_interface(self, cache: Cache) -> None:
        runs: list[int] = []

        @task(cache_policy=CachePolicy())
        def double(number: int) -> int:
            runs.append(number)
            return 2 * number

        @entrypoint(cache=LangGraphCache(cache))
        def flow(number: int) -> int:
            return double(number).result()

        assert [flow.invoke(4), flow.invoke(4), flow.invoke(5)] == [8, 8, 10]
        assert runs == [4, 5]

    @pytest.mark.parametrize("strict", [False, True])
    def test_a_store_that_is_down_costs_only_the_cache(self, clock: FakeClock, strict: bool) -> None:
        remote = RemoteBackend(clock)
        remote.break_down()
        node = Node()
        adapter: LangGraphCache[Any] = LangGraphCache(Cache(TierChain(remote, clock=clock, strict=strict)))
        graph = graph_of(adapter, node)
        assert [graph.invoke({"question": "q"})["answers"] for _ in range(2)] == [["q 1"], ["q 2"]]
        assert asyncio.run(graph.ainvoke({"question": "q"}))["answers"] == ["q 3"]
        assert bool(adapter.errors) == strict

    def test_a_cache_that_was_closed_is_as_none(self, cache: Cache) -> None:
        node = Node()
        adapter: LangGraphCache[Any] = LangGraphCache(cache)
        graph = graph_of(adapter, node)
        cache.close()
        assert [graph.invoke({"question": "q"})["answers"] for _ in range(2)] == [["q 1"], ["q 2"]]
        assert list(adapter.errors) == ["CacheClosed"]
        assert (adapter.stats().misses, adapter.stats().stored) == (2, 0)


class TestValues:
    @pytest.mark.parametrize(
        "value",
        [
            None,
            b"bytes",
            [("channel", 1), ("other", (1, [2, (3,)]))],
            {"a": {1, 2}, "b": frozenset({3}), "c": dt.datetime(2026, 1, 1, tzinfo=dt.UTC), 5: uuid.UUID(int=7)},
            [("messages", [("ai", "text"), HumanMessage("hi", id="1")])],
            ({"deep": (AIMessage("a", tool_calls=[{"name": "f", "args": {"x": 1}, "id": "1"}]),)},),
            AIMessage("alone"),
            [Send("node", {"x": [1]})],
        ],
        ids=["None", "bytes", "tuples", "plain data", "messages", "deep", "a message", "Send"],
    )
    def test_a_value_comes_back_equal_and_of_its_type(self, cache: Cache, value: Any) -> None:
        adapter: LangGraphCache[Any] = LangGraphCache(cache)
        adapter.set({(NS, "k"): (value, None)})
        found = adapter.get([(NS, "k")])
        assert found == {(NS, "k"): value}
        assert type(found[NS, "k"]) is type(value)

    def test_the_writes_of_a_task_come_back_as_a_list_of_pairs(self, cache: Cache) -> None:
        adapter: LangGraphCache[Any] = LangGraphCache(cache)
        adapter.set({(NS, "k"): (deque([("a", 1), ("b", AIMessage("x"))]), None)})
        assert adapter.get([(NS, "k")])[NS, "k"] == [("a", 1), ("b", AIMessage("x"))]

    def test_own_classes_only_if_allowed(self, cache: Cache) -> None:
        values = {(NS, "1"): ([Own("x")], None), (NS, "2"): ([OwnModel(text="x")], None)}
        careful: LangGraphCache[Any] = LangGraphCache(cache)
        careful.set(values)
        assert careful.get(list(values)) == {}
        assert careful.stats().refused == {"uncacheable": 2}
        adapter: LangGraphCache[Any] = LangGraphCache(cache, allowed=[Own, OwnModel])
        adapter.set(values)
        assert adapter.get(list(values)) == {key: value for key, (value, _) in values.items()}
        assert careful.get(list(values)) == {}, "it was stored by one who may, and is no dict for one who may not"
        assert careful.stats().unreadable == 2

    def test_a_class_that_changed_is_a_miss(self, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
        adapter: LangGraphCache[Any] = LangGraphCache(cache, allowed=[Own])
        adapter.set({(NS, "k"): ([Own("x")], None)})

        @dataclass
        class Changed:
            other: str

        monkeypatch.setitem(globals(), "Own", Changed)
        assert adapter.get([(NS, "k")]) == {}
        assert adapter.stats().unreadable == 1

    @pytest.mark.parametrize(
        "value",
        [
            object(),
            [lambda: None],
            {object: "a class as a key"},
            Own("x", pair=(1, 2)),
            Send("node", (1, 2)),
            type("Text", (str,), {})("x"),
        ],
        ids=["object", "function", "key", "a tuple in an object", "a tuple to send", "a subclass of str"],
    )
    def test_what_would_not_come_back_is_handed_through(self, cache: Cache, value: Any) -> None:
        adapter: LangGraphCache[Any] = LangGraphCache(cache, allowed=[Own])
        adapter.set({(NS, "bad"): (value, None), (NS, "good"): (1, None)})
        assert adapter.get([(NS, "bad"), (NS, "good")]) == {(NS, "good"): 1}
        assert adapter.stats().refused == {"uncacheable": 1}

    def test_sets_inside_of_objects_may_be_written_in_another_order(self, cache: Cache) -> None:
        adapter: LangGraphCache[Any] = LangGraphCache(cache, allowed=[Own])
        many = Own("x", pair=set(range(0, 800, 8)))
        adapter.set({(NS, "k"): (many, None)})
        assert adapter.get([(NS, "k")]) == {(NS, "k"): many}

    @pytest.mark.parametrize(
        "foreign",
        [
            {"a": 1},
            "text",
            None,
            (1, 2, 3),
            ([None], [((0,), "pickle", pickle.dumps(Own("x")))]),
            ([None], [((0,), "json", b'{"lc": 2, "type": "constructor", "id": ["os", "getpid"]}')]),
            ([None], [((7,), "null", b"")]),
            ([None], [((0,), "msgpack", b"\xc1")]),
            ([None], [((0,), "msgpack", ormsgpack.packb(ormsgpack.Ext(0, ormsgpack.packb(("os", "getenv", "HOME")))))]),
        ],
        ids=["dict", "text", "None", "three", "pickle", "json", "no such place", "no msgpack", "a function"],
    )
    def test_what_is_no_value_is_a_miss(self, cache: Cache, foreign: Any) -> None:
        adapter: LangGraphCache[Any] = LangGraphCache(cache)
        adapter.set({(NS, "k"): (1, None)})
        (key,) = cache.keys()
        cache.set(key, foreign)
        assert adapter.get([(NS, "k")]) == {}
        assert adapter.stats().unreadable == 1

    @pytest.mark.parametrize("form", ["pickle", "json"])
    def test_other_forms_are_not_even_read(self, cache: Cache, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
        adapter: LangGraphCache[Any] = LangGraphCache(cache)
        adapter.set({(NS, "k"): (1, None)})
        (key,) = cache.keys()
        cache.set(key, ([None], [((0,), form, b"1")]))
        asked: list[str] = []
        monkeypatch.setattr(adapter.serde, "loads_typed", lambda data: asked.append(data[0]))
        assert adapter.get([(NS, "k")]) == {}
        assert asked == []


class TestInterface:
    def test_namespaces_and_keys_do_not_run_together(self, cache: Cache) -> None:
        adapter: LangGraphCache[int] = LangGraphCache(cache)
        adapter.set({(("a", "b"), "c"): (1, None), (("a",), "b"): (2, None), ((), "a"): (3, None)})
        assert adapter.get([(("a",), "b:c"), (("a:b",), "c"), (("a", "b"), "c"), ((), "a")]) == {
            (("a", "b"), "c"): 1,
            ((), "a"): 3,
        }

    def test_awaited(self, cache: Cache) -> None:
        adapter: LangGraphCache[Any] = LangGraphCache(cache)

        async def main() -> list[dict[Any, Any]]:
            await adapter.aset({(NS, "k"): ((1, 2), 5)})
            found = [await adapter.aget([(NS, "k"), (NS, "none")])]
            await adapter.aclear([NS])
            return [*found, await adapter.aget([(NS, "k")])]

        assert asyncio.run(main()) == [{(NS, "k"): (1, 2)}, {}]
        assert (adapter.stats().hits, adapter.stats().misses) == (1, 2)

    def test_each_value_has_its_own_ttl(self, cache: Cache, clock: FakeClock) -> None:
        adapter: LangGraphCache[int] = LangGraphCache(cache)
        adapter.set({(NS, "a"): (1, 10), (NS, "b"): (2, None), (NS, "c"): (3, 0), (("x",), "a"): (4, 10)})
        assert set(adapter.get([(NS, key) for key in "abc"])) == {(NS, "a"), (NS, "b")}
        clock.advance(11)
        assert adapter.get([(NS, "a"), (NS, "b"), (("x",), "a")]) == {(NS, "b"): 2}

    def test_clear_of_namespaces_is_exact(self, cache: Cache) -> None:
        adapter: LangGraphCache[int] = LangGraphCache(cache)
        keys = [(("a",), "k"), (("a", "b"), "k"), (("ab",), "k")]
        adapter.set(dict.fromkeys(keys, (1, None)))
        adapter.clear([("a",)])
        assert set(adapter.get(keys)) == set(keys[1:])
        adapter.clear([])
        assert set(adapter.get(keys)) == set(keys[1:])

    def test_clear_of_all_is_about_its_own_values_alone(self, cache: Cache) -> None:
        ours: LangGraphCache[int] = LangGraphCache(cache)
        others: LangGraphCache[int] = LangGraphCache(cache, prefix="other")
        cache.set("mine", 1)
        for adapter in (ours, others):
            adapter.set({(NS, "k"): (1, None)})
        ours.clear()
        assert ours.get([(NS, "k")]) == {}
        assert others.get([(NS, "k")]) == {(NS, "k"): 1}
        assert cache.get("mine") == 1

    def test_clear_costs_as_much_for_a_thousand_values_as_for_one(self, clock: FakeClock) -> None:
        remote = RemoteBackend(clock)
        adapter: LangGraphCache[int] = LangGraphCache(Cache(TierChain(remote, clock=clock)))
        adapter.set({(NS, str(number)): (number, None) for number in range(1000)})
        remote.trace.clear()
        adapter.clear([NS])
        adapter.clear()
        assert remote.trace == []
        assert len(remote.marks_trace) < 20
        assert adapter.get([(NS, "7")]) == {}

    def test_a_serde_of_ones_own(self, cache: Cache) -> None:
        adapter: LangGraphCache[Any] = LangGraphCache(cache, serde=JsonPlusSerializer(allowed_msgpack_modules=[Own]))
        adapter.set({(NS, "k"): (Own("x", pair=(1, 2)), None)})
        assert adapter.get([(NS, "k")]) == {(NS, "k"): Own("x", pair=[1, 2])}

    def test_pickle_is_refused(self, cache: Cache) -> None:
        from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

        unsafe = JsonPlusSerializer(pickle_fallback=True)
        for serde in (unsafe, EncryptedSerializer(object(), unsafe)):  # type: ignore[arg-type]
            with pytest.raises(ConfigurationError, match="pickle"):
                LangGraphCache(cache, serde=serde)

    def test_a_serde_and_a_list_of_classes_contradict(self, cache: Cache) -> None:
        with pytest.raises(ConfigurationError, match="allowed"):
            LangGraphCache(cache, serde=JsonPlusSerializer(), allowed=[Own])
