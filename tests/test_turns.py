"""Turns: whoever waits for the end of something hears of it, whenever it began to wait."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait

import pytest

from tests.conftest import FakeClock
from tiercache import Cache, MemoryBackend, TierChain
from tiercache.turns import Write

WAIT = 30


def test_all_who_wait_are_told_of_the_end() -> None:
    write = Write()
    waiting = [write.ended() for _ in range(3)]
    assert not any(future.done() for future in waiting)
    write.end()
    assert write.is_over
    assert [future.result(0) for future in waiting] == [None, None, None]


def test_who_comes_after_the_end_does_not_wait() -> None:
    write = Write()
    write.end()
    assert write.ended().done()


def test_nobody_can_cancel_it_for_others() -> None:
    write = Write()
    first, second = write.ended(), write.ended()
    assert not first.cancel()
    write.end()
    assert second.result(0) is None


def test_none_is_missed_of_those_who_begin_to_wait_while_it_ends() -> None:
    for _ in range(300):
        write, together, waiting = Write(), threading.Barrier(4), list[Future[None]]()
        threads = [threading.Thread(target=_look, args=(write, together, waiting)) for _ in range(3)]
        for thread in threads:
            thread.start()
        together.wait(WAIT)
        write.end()
        for thread in threads:
            thread.join(WAIT)
        assert not wait(waiting, WAIT).not_done


def _look(write: Write, together: threading.Barrier, waiting: list[Future[None]]) -> None:
    together.wait(WAIT)
    waiting.append(write.ended())


@pytest.mark.parametrize("change", ["aset", "adelete", "aset_many"])
def test_a_change_of_memory_alone_does_not_give_way_to_other_tasks(clock: FakeClock, change: str) -> None:
    cache = Cache(TierChain(MemoryBackend(clock=clock), clock=clock))
    cache.set("k", 1)
    arguments = {"aset": ("k", 2), "adelete": ("k",), "aset_many": ({"k": 2},)}[change]
    with pytest.raises(StopIteration):  # the end of a coroutine that never waited
        getattr(cache, change)(*arguments).send(None)
    assert cache.get("k") == (None if change == "adelete" else 2)
