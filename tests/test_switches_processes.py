"""Switches of two processes on a real Redis, the fence between them, and a slower store: never a wrong value."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.shared_redis import Shared

MODES: list[Any] = ["on", "off", "off", "read-only", "write-only", "shadow"]
KEYS = ["a", "b"]
WAIT = 10


@pytest.fixture
def shared(redis_url: str) -> Iterator[Shared]:
    setting = Shared(redis_url)
    yield setting
    setting.close()


@pytest.mark.parametrize("mode", ["off", "write-only", "shadow"])
@pytest.mark.parametrize("reader", ["off", "write-only", "shadow"])
def test_redis_that_is_off_tells_what_waits_to_be_written_below(shared: Shared, mode: Any, reader: Any) -> None:
    one, other = shared.process(write="behind"), shared.process()
    other.set("k", "old")
    one.chain.switches.set("redis", mode)
    other.chain.switches.set("redis", reader)
    reached, gate = shared.store.hold("put_many")
    one.set("k", "new")
    assert reached.wait(WAIT)
    assert other.get("k") is None
    assert other.get_many(["k"]) == {}
    assert not other.contains("k")
    gate.set()
    assert one.drain(WAIT)
    assert other.get("k") == "new"


@pytest.mark.parametrize("mode", ["off", "write-only", "shadow"])
def test_a_computation_that_began_before_a_change_stores_nothing_though_redis_is_off(shared: Shared, mode: Any) -> None:
    one, other = shared.process(), shared.process()
    one.chain.switches.set("redis", mode)

    def factory() -> str:
        other.set("k", "newer")
        return "older"

    assert one.get_or_set("k", factory) == "older"
    assert other.get("k") == "newer"
    assert one.get("k") == "newer"


def test_notices_go_on_while_redis_is_off(shared: Shared) -> None:
    one, other = shared.process(memory=True), shared.process(memory=True)
    one.set("k", 1)
    assert other.get("k") == 1
    one.chain.switches.set("redis", "off")
    one.set("k", 2)
    assert not shared.holds_in_redis("k")
    ends = time.monotonic() + WAIT
    while other.get("k") != 2 and time.monotonic() < ends:
        time.sleep(0.001)
    assert other.get("k") == 2


def test_redis_off_in_one_process_is_used_by_the_other(shared: Shared) -> None:
    one, other = shared.process(), shared.process()
    one.chain.switches.set("redis", "off")
    other.set("k", 1)
    assert other.lookup("k").tier == "redis"
    assert one.lookup("k").tier == "store"
    one.delete("k")
    assert other.get("k") is None


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("write", ["through", "behind"])
def test_no_order_of_switches_and_changes_makes_a_read_wrong(shared: Shared, seed: int, write: Any) -> None:
    rng = random.Random(seed)
    caches = [shared.process(write=write), shared.process()]
    model: dict[str, int] = {}
    for number in range(150):
        cache, key = rng.choice(caches), rng.choice(KEYS)
        step = rng.choice(
            ["switch", "switch", "set", "set", "many", "compute", "delete", "get", "get", "touch", "drain"]
        )
        if step == "switch":
            ramp = rng.choice([100, 100, 100, 50])
            cache.chain.switches.set(rng.choice(["redis", "store"]), rng.choice(MODES), ramp=ramp)
        elif step == "set":
            cache.set(key, number)
            model[key] = number
        elif step == "many":
            cache.set_many(dict.fromkeys(KEYS, number))
            model = dict.fromkeys(KEYS, number)
        elif step == "compute":
            got = cache.get_or_set(key, lambda number=number: number)
            assert got in (number, model.get(key))
            model[key] = got
        elif step == "delete":
            cache.delete(key)
            model.pop(key, None)
        elif step == "touch":
            assert not cache.touch(key, 1000) or key in model
        elif step == "drain":
            assert cache.drain(WAIT)
        for reader in caches:
            for each, value in reader.get_many(KEYS).items():
                assert value == model.get(each), (seed, number, step)
        assert cache.get(key) in (None, model.get(key))
