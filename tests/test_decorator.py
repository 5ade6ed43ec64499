"""`@cache.cached()`: what is one call, what is another, and the extras on the function."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from tiercache import Cache, MemoryBackend
from tiercache.errors import UncacheableValue


@pytest.fixture
def cache() -> Cache:
    return Cache(MemoryBackend())


def test_equal_arguments_are_one_call_however_they_are_given(cache: Cache) -> None:
    calls = []

    @cache.cached(ttl="1h")
    def add(x: int, y: int = 2) -> int:
        calls.append((x, y))
        return x + y

    assert [add(1), add(1, 2), add(y=2, x=1), add(1, 3)] == [3, 3, 3, 4]
    assert calls == [(1, 2), (1, 3)]
    assert (add.stats().calls, add.stats().computed, add.stats().hit_rate) == (4, 2, 0.5)


@pytest.mark.parametrize(
    ("first", "second"), [(1, True), (1, 1.0), (1, "1"), (["a"], ("a",)), ("ab", b"ab"), (None, "")]
)
def test_arguments_of_different_types_are_different_calls(cache: Cache, first: Any, second: Any) -> None:
    @cache.cached()
    def kind(value: Any) -> str:
        return type(value).__name__

    assert kind(first) != kind(second)


def test_two_functions_do_not_share_values(cache: Cache) -> None:
    @cache.cached()
    def one(x: int) -> str:
        return "one"

    @cache.cached()
    def two(x: int) -> str:
        return "two"

    assert (one(1), two(1)) == ("one", "two")


def test_async_functions(cache: Cache) -> None:
    calls = []

    @cache.cached()
    async def ask(question: str) -> str:
        calls.append(question)
        await asyncio.sleep(0)
        return question.upper()

    async def main() -> list[str]:
        first = await asyncio.gather(*(ask("q") for _ in range(5)))
        removed = await ask.ainvalidate("q")
        return [*first, str(removed), await ask("q")]

    assert asyncio.run(main()) == ["Q"] * 5 + ["True", "Q"]
    assert calls == ["q", "q"]


def test_invalidate_and_key(cache: Cache) -> None:
    @cache.cached()
    def now(x: int) -> int:
        return len(calls)

    calls: list[int] = []
    now(1)
    assert cache.contains(now.key(1))
    assert now.invalidate(1)
    assert not now.invalidate(1)
    assert not cache.contains(now.key(1))


def test_an_argument_that_is_no_plain_data_asks_for_a_key(cache: Cache) -> None:
    @cache.cached()
    def ask(client: object, question: str) -> str:
        return question

    with pytest.raises(UncacheableValue, match="pass key="):
        ask(object(), "q")


def test_a_key_of_ones_own_leaves_the_client_out(cache: Cache) -> None:
    @cache.cached(key=lambda client, question: f"ask:{question}")
    def ask(client: object, question: str) -> str:
        return question

    assert ask(object(), "q") == ask(object(), "q") == "q"
    assert cache.get("ask:q") == "q"


def test_frameworks_can_tell_async_functions_from_others(cache: Cache) -> None:
    @cache.cached()
    async def awaited() -> int:
        return 1

    @cache.cached()
    def plain() -> int:
        return 1

    assert inspect.iscoroutinefunction(awaited)
    assert not inspect.iscoroutinefunction(plain)


def test_methods(cache: Cache) -> None:
    class Service:
        calls = 0

        @cache.cached(key=lambda self, x: f"twice:{x}")
        def twice(self, x: int) -> int:
            Service.calls += 1
            return 2 * x

    service = Service()
    assert [service.twice(2), service.twice(2)] == [4, 4]
    assert Service.calls == 1


def test_it_keeps_name_and_docs(cache: Cache) -> None:
    @cache.cached()
    def documented() -> None:
        """Says what it does."""

    assert (documented.__name__, documented.__doc__) == ("documented", "Says what it does.")
