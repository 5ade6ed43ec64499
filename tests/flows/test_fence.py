"""The fence: what was loaded before a change is never stored after it. Orders are forced with gates."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain

WAIT = 10


class Setting:
    """memory -> upper -> lower, where only `lower` holds the old value."""

    def __init__(self, clock: FakeClock) -> None:
        self.memory = MemoryBackend(clock=clock)
        self.upper = RemoteBackend(clock, name="upper")
        self.lower = RemoteBackend(clock, name="lower")
        self.cache = Cache(
            TierChain(self.memory, Tier(self.upper, name="upper"), Tier(self.lower, name="lower"), clock=clock),
            namespace="n",
        )
        self.cache.set("k", "old")
        self.memory.clear()
        self.upper.entries.clear()
        self.threads = ThreadPoolExecutor(8)


@pytest.fixture
def setting(clock: FakeClock) -> Setting:
    return Setting(clock)


MUTATIONS: list[tuple[str, Callable[[Cache], Any], Any]] = [
    ("delete", lambda cache: cache.delete("k"), None),
    ("set", lambda cache: cache.set("k", "new"), "new"),
    ("clear", lambda cache: cache.clear(), None),
    ("purge", lambda cache: cache.clear(purge=True), None),
    ("delete_many", lambda cache: cache.delete_many(["k"]), None),
    ("set_many", lambda cache: cache.set_many({"k": "new"}), "new"),
]
each_mutation = pytest.mark.parametrize(("mutate", "after"), [m[1:] for m in MUTATIONS], ids=[m[0] for m in MUTATIONS])


@each_mutation
def test_a_load_overtaken_by_a_change_is_not_copied_up(
    setting: Setting, mutate: Callable[[Cache], Any], after: Any
) -> None:
    reached, go_on = setting.lower.hold("get")
    reader = setting.threads.submit(setting.cache.get, "k")
    assert reached.wait(WAIT)  # the old entry is in the reader's hands
    mutate(setting.cache)
    go_on.set()
    assert reader.result(WAIT) in ("old", None)  # it began before the change; an epoch shows in what is read under it
    setting.cache.drain()
    assert setting.cache.get("k") == after
    setting.memory.clear()
    setting.cache.drain()
    assert setting.cache.get("k") == after


@pytest.mark.parametrize(
    ("mutate", "after"), [m[1:] for m in MUTATIONS if m[0] != "clear"], ids=[m[0] for m in MUTATIONS if m[0] != "clear"]
)
def test_a_load_that_begins_during_a_change_is_not_copied_up(
    setting: Setting, mutate: Callable[[Cache], Any], after: Any
) -> None:
    # The change has passed the upper tier and hangs at the lower one, from which the reader gets the old entry.
    gates = [setting.lower.hold(name) for name in ("delete", "put", "delete_many", "put_many", "scan")]
    change = setting.threads.submit(mutate, setting.cache)
    while not any(reached.is_set() for reached, _ in gates):
        threading.Event().wait(0.001)
    setting.memory.clear()
    setting.upper.entries.clear()
    setting.cache.get("k")
    for _, go_on in gates:
        go_on.set()
    change.result(WAIT)
    setting.cache.drain()
    setting.lower.gates.clear()
    assert setting.memory.get("n:k") is None or setting.cache.get("k") == after
    assert "n:k" not in setting.upper.entries or after is not None
    assert setting.cache.get("k") == after


@each_mutation
def test_a_change_waits_for_a_promotion_that_is_being_written(
    setting: Setting, mutate: Callable[[Cache], Any], after: Any
) -> None:
    reached, go_on = setting.upper.hold("put")
    assert setting.cache.get("k") == "old"
    assert reached.wait(WAIT)  # the old entry is on its way into the upper tier
    change = setting.threads.submit(mutate, setting.cache)
    go_on.set()
    change.result(WAIT)
    setting.cache.drain()
    setting.memory.clear()
    assert setting.cache.get("k") == after


def test_a_promotion_that_has_not_begun_is_given_up(setting: Setting) -> None:
    block = threading.Event()
    for _ in range(setting.cache.chain.background.size):
        setting.cache.chain.background.submit(block.wait, WAIT)
    assert setting.cache.get("k") == "old"  # its copy to the upper tier waits behind the blocked threads
    setting.cache.delete("k")
    block.set()
    setting.cache.drain()
    assert setting.upper.entries == {}


@each_mutation
def test_a_value_computed_before_a_change_is_returned_but_not_stored(
    setting: Setting, mutate: Callable[[Cache], Any], after: Any
) -> None:
    setting.lower.entries.clear()
    started, go_on = threading.Event(), threading.Event()

    def factory() -> str:
        started.set()
        assert go_on.wait(WAIT)
        return "computed"

    reader = setting.threads.submit(setting.cache.get_or_set, "k", factory)
    assert started.wait(WAIT)
    mutate(setting.cache)
    go_on.set()
    assert reader.result(WAIT) == "computed"
    assert setting.cache.get("k") == after


def test_nobody_joins_a_computation_that_began_before_a_change(setting: Setting) -> None:
    setting.lower.entries.clear()
    started, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        started.set()
        assert go_on.wait(WAIT)
        return "before"

    first = setting.threads.submit(setting.cache.get_or_set, "k", slow)
    assert started.wait(WAIT)
    setting.cache.delete("k")
    assert setting.cache.get_or_set("k", lambda: "after") == "after"
    go_on.set()
    assert first.result(WAIT) == "before"
    assert setting.cache.get("k") == "after"


def test_two_sets_of_one_key_leave_all_tiers_with_the_same_value(setting: Setting) -> None:
    for _ in range(20):
        writes = [setting.threads.submit(setting.cache.set, "k", number) for number in range(8)]
        for write in writes:
            write.result(WAIT)
        in_memory = setting.cache.get("k")
        payloads = {setting.upper.entries["n:k"].payload, setting.lower.entries["n:k"].payload}
        assert len(payloads) == 1
        setting.memory.clear()
        assert setting.cache.get("k") == in_memory
        setting.cache.drain()


def test_a_cancelled_set_goes_on(setting: Setting) -> None:
    async def main() -> None:
        reached, go_on = setting.lower.hold("put")
        write = asyncio.create_task(setting.cache.aset("k", "new"))
        assert await asyncio.to_thread(reached.wait, WAIT)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write
        go_on.set()
        await asyncio.gather(*setting.cache._tasks)

    asyncio.run(main())
    setting.memory.clear()
    setting.upper.entries.clear()
    assert setting.cache.get("k") == "new"


def test_the_fence_forgets_keys_that_nobody_works_on(setting: Setting) -> None:
    for number in range(100):
        setting.cache.set(f"k{number}", number)
        setting.cache.get(f"k{number}")
        setting.cache.get("absent")
    setting.cache.get_many([f"k{number}" for number in range(100)])
    setting.cache.clear()
    setting.cache.drain()
    assert setting.cache.chain.fence._states == {}
    assert setting.cache.chain.flights._flights == {}
