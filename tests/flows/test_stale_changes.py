"""A stale value that is being refreshed while its key is changed: who comes later is served nothing older."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, TierChain

WAIT = 10
CHANGES: list[Any] = [
    pytest.param(lambda cache: cache.delete("k"), id="delete"),
    pytest.param(lambda cache: cache.delete_many(["k"]), id="delete_many"),
    pytest.param(lambda cache: cache.clear(), id="clear"),
    pytest.param(lambda cache: cache.invalidate_tags(["t"]), id="tags"),
]


def ask(cache: Cache, factory: Callable[[], Any], **options: Any) -> Any:
    return cache.get_or_set("k", factory, tags=["t"], **options)


def ask_many(cache: Cache, factory: Callable[[], Any], **options: Any) -> Any:
    return cache.get_or_set_many(["k"], lambda keys: {"k": factory()}, tags=["t"], **options)["k"]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("asking", "age", "options"),
    [(ask, 15, {"stale_for": 60}), (ask_many, 15, {"stale_for": 60}), (ask, 9, {"refresh_ahead": 0.5})],
    ids=["stale", "stale-many", "early"],
)
def test_a_refresh_that_begins_after_a_change_has_nothing_older_to_serve(
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    asking: Callable[..., Any],
    change: Callable[[Cache], Any],
    age: float,
    options: dict[str, Any],
) -> None:
    go_on = threading.Event()
    with Cache(TierChain(MemoryBackend(clock=clock), RemoteBackend(clock), clock=clock), ttl=10) as cache:
        cache.set("k", "old", stale_for=60, tags=["t"])
        clock.advance(age)
        start = cache.chain.flights.start
        changed = False

        def later(*args: Any) -> Any:
            nonlocal changed
            if not changed:
                changed = True
                change(cache)  # after the value was found, before its refresh begins
            return start(*args)

        monkeypatch.setattr(cache.chain.flights, "start", later)

        def slow() -> str:
            assert go_on.wait(WAIT)
            return "new"

        assert asking(cache, slow, **options) == "old"  # it began before
        with ThreadPoolExecutor(1) as threads:
            afterwards = threads.submit(asking, cache, slow, **options)
            go_on.set()
            assert afterwards.result(WAIT) == "new"
