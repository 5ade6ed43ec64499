"""What two processes change at the same time, where write-behind, journals and the shared fence meet.

Two caches that share a real Redis and a slower store stand for two processes; orders are forced with gates.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.shared_redis import Shared
from tiercache import Cache
from tiercache.errors import BackendUnavailable

WAIT = 10


@pytest.fixture
def shared(redis_url: str) -> Iterator[Shared]:
    setting = Shared(redis_url)
    yield setting
    setting.close()


def redis_of(cache: Cache) -> Any:
    return next(tier for tier in cache.chain.tiers if tier.backend.scheme == "redis").backend


def test_what_another_process_deleted_is_not_read_from_the_queue(shared: Shared) -> None:
    here, there = shared.process(write="behind"), shared.process()
    reached, go_on = shared.store.hold("put_many")
    here.set("k", "queued")
    assert reached.wait(WAIT)
    there.delete("k")
    assert here.get("k") is None
    assert here.get_many(["k"]) == {}
    assert not here.contains("k")
    assert here.chain.drain(0.2) is False
    assert there.get("k") is None  # nor copied up for others to see
    go_on.set()
    assert here.drain(WAIT)
    shared.flush_redis()
    assert there.get("k") is None


def test_a_write_behind_replaced_while_it_is_written_is_written_again(shared: Shared) -> None:
    here = shared.process(write="behind")
    reached, go_on = shared.store.hold("put_many")
    here.set("k", "first")
    assert reached.wait(WAIT)
    here.set("k", "second")
    go_on.set()
    assert here.drain(WAIT)
    assert shared.store.entries["n:k"].payload == b"second"


def test_a_value_too_large_for_redis_fences_loads_that_began_before(shared: Shared) -> None:
    here, there = shared.process(), shared.process(max_entry_bytes=100)
    here.set("k", "old")
    shared.flush_redis()
    reached, go_on = shared.store.hold("get")
    reading = shared.threads.submit(here.get, "k")
    assert reached.wait(WAIT)
    del shared.store.gates["get"]
    there.set("k", "new" * 100)
    go_on.set()
    reading.result(WAIT)
    assert here.drain(WAIT)
    assert there.get("k") == "new" * 100
    assert here.get("k") == "new" * 100


def test_redis_is_written_before_the_slower_store(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a slow Redis lets two sets that cross leave the loser below, where both find themselves confirmed."""
    here, there = shared.process(), shared.process()
    put = redis_of(there).put

    def slow(*args: Any, **options: Any) -> Any:
        here.set("k", "from here")
        return put(*args, **options)

    monkeypatch.setattr(redis_of(there), "put", slow)
    there.set("k", "from there")
    winner = here.get("k")
    shared.flush_redis()
    assert here.get("k") in (winner, None)


def test_a_touch_does_not_bring_back_what_another_process_replaced(shared: Shared) -> None:
    here, there = shared.process(memory=True), shared.process()
    here.set("k", "old", ttl=60)
    there.set("k", "new", ttl=60)
    assert here.touch("k", ttl=600)  # of what its memory holds
    assert there.get("k") == "new"
    shared.flush_redis()
    assert there.get("k") == "new"


def test_a_touch_does_not_bring_back_what_another_process_deleted(shared: Shared) -> None:
    here, there = shared.process(memory=True), shared.process()
    here.set("k", "old", ttl=60)
    there.delete("k")
    here.touch("k", ttl=600)
    assert there.get("k") is None
    shared.flush_redis()
    assert there.get("k") is None


def test_a_computation_whose_load_did_not_reach_redis_does_not_overtake_what_was_written_since(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = shared.process(), shared.process()
    busy = BackendUnavailable("no connection was free")
    busy.tier_wide = False  # type: ignore[attr-defined]

    def refuse(*_: Any, **__: Any) -> Any:
        raise busy

    monkeypatch.setattr(redis_of(here), "get_seen", refuse)

    def compute() -> str:
        monkeypatch.undo()
        there.set("k", "newer")
        return "computed before"

    assert here.get_or_set("k", compute) == "computed before"
    assert there.get("k") == "newer"
    shared.flush_redis()
    assert there.get("k") in ("newer", None)


def test_what_is_computed_while_another_process_deletes_is_not_stored(shared: Shared) -> None:
    here, there = shared.process(), shared.process()
    there.set("k", "old")
    reached, go_on = shared.store.hold("delete")
    deleting = shared.threads.submit(there.delete, "k")
    assert reached.wait(WAIT)
    assert here.get_or_set("k", lambda: "computed meanwhile") == "computed meanwhile"
    go_on.set()
    assert deleting.result(WAIT)
    assert here.get("k") is None


def test_a_value_too_large_for_redis_that_waits_to_be_written_is_not_hidden_by_an_older_one(shared: Shared) -> None:
    here, there = shared.process(write="behind", max_entry_bytes=100), shared.process()
    there.set("k", "old")
    reached, go_on = shared.store.hold("put_many")
    here.set("k", "new" * 100)
    assert reached.wait(WAIT)
    assert there.get("k") is None
    assert here.get("k") == "new" * 100
    go_on.set()
    assert here.drain(WAIT)
    assert there.get("k") == "new" * 100


@pytest.mark.parametrize("many", [False, True])
def test_who_joins_a_computation_after_another_process_changed_the_key_gets_what_is_there(
    shared: Shared, many: bool
) -> None:
    here, there = shared.process(), shared.process()
    begun, go_on = threading.Event(), threading.Event()

    def ask(factory: Callable[[], str]) -> Any:
        if many:
            return here.get_or_set_many(["k"], lambda keys: [factory()])["k"]
        return here.get_or_set("k", factory)

    def slow() -> str:
        begun.set()
        assert go_on.wait(WAIT)
        return "computed before"

    leading = shared.threads.submit(ask, slow)
    assert begun.wait(WAIT)
    there.set("k", "newer")
    joining = shared.threads.submit(ask, lambda: "not wanted")
    time.sleep(0.2)
    go_on.set()
    assert leading.result(WAIT) == "computed before"
    assert joining.result(WAIT) == "newer"


def test_a_redis_that_returns_another_key_s_entry_in_a_batch_is_a_miss(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = shared.process()
    here.set_many({"k": "mine", "other": "another's"})
    redis = redis_of(here)
    ask = redis.get_many_seen

    def mixed_up(keys: Any, **options: Any) -> Any:
        seen = ask(keys, **options)
        return {**seen, "n:k": seen["n:other"]}

    monkeypatch.setattr(redis, "get_many_seen", mixed_up)
    assert here.get_many(["k", "other"]) == {"k": "mine", "other": "another's"}
