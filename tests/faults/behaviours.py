"""What goes wrong with the callers, not with the store: races, herds, cancellation, threads, loops, forks."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from tests.faults.operations import allowed, left, operate
from tiercache.testing import FaultyBackend, Rule

WAIT = 60.0


async def deleted_while_computed(scene):
    """A delete passes a computation: what was computed from before it must not be stored."""
    started, go_on = threading.Event(), threading.Event()

    def compute():
        started.set()
        assert go_on.wait(WAIT)
        return scene.computed(scene.absent)

    if scene.face.name == "sync":
        with ThreadPoolExecutor(1) as pool:
            computing = pool.submit(scene.cache.get_or_set, scene.absent, compute)
            assert started.wait(WAIT)
            scene.cache.delete(scene.absent)
            go_on.set()
            answer = computing.result(WAIT)
    else:
        task = asyncio.create_task(scene.cache.aget_or_set(scene.absent, compute))
        assert await asyncio.to_thread(started.wait, WAIT)
        await scene.cache.adelete(scene.absent)
        go_on.set()
        answer = await task
    assert answer == scene.computed(scene.absent)
    assert await scene.call("get", scene.absent) is None, "W: what was deleted came back"


async def late_write(scene):
    """A write times out, the next change of its key goes through, and then the first one lands after all."""
    faulty = FaultyBackend(scene.backend, rules=[Rule("late", "put", calls=1)])
    scene.cache = scene.cache_on(faulty)
    await scene.call("set", scene.key, scene.computed(scene.key))
    await operate(scene)
    assert faulty.land() == 1
    for _ in range(2):
        found = await scene.call("get", scene.key)
        assert found in left(scene), "W: the write that timed out came back"


async def herd(scene):
    """Many ask for one missing key: it is computed once."""
    computed = []

    def compute():
        computed.append(1)
        time.sleep(0.02)
        return scene.computed(scene.absent)

    if scene.face.name == "sync":
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: scene.cache.get_or_set(scene.absent, compute), range(48)))
    else:
        answers = await asyncio.gather(*(scene.cache.aget_or_set(scene.absent, compute) for _ in range(200)))
    assert all(answer == scene.computed(scene.absent) for answer in answers), "W"
    assert len(computed) == 1, "paid twice"


async def cancelled(scene):
    """Callers give up in the middle: nobody gets another one's answer, and it counts as no failure."""
    for turn in range(12):
        task = asyncio.create_task(operate(scene))
        await asyncio.sleep(0.0003 * turn)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        others = await asyncio.gather(*(scene.cache.aget(key) for key in scene.keys[1:]))
        assert all(found == scene.stored(key) for key, found in zip(scene.keys[1:], others, strict=True)), "W"


async def from_everywhere(scene):
    """Several threads, several event loops one after another, and a blocking call within a running loop."""
    if scene.face.name == "sync":
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: _finished(operate(scene)), range(8)))

        async def blocking():
            return _finished(operate(scene))

        answers.append(await asyncio.to_thread(asyncio.run, blocking()) if _running() else asyncio.run(blocking()))
    else:
        answers = await asyncio.to_thread(lambda: [asyncio.run(operate(scene)) for _ in range(3)])
    assert all(allowed(scene, answer) for answer in answers), "W"


async def forked(scene):
    """A process is forked after it used the cache; both go on."""
    assert await scene.call("get", scene.keys[1]) == scene.stored(scene.keys[1])
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(30)  # whatever hangs here ends
            if allowed(scene, _finished(operate(scene))) and scene.cache.get(scene.keys[2]) == scene.stored(
                scene.keys[2]
            ):
                status = 0
        finally:
            os._exit(status)
    answer = await operate(scene)
    assert allowed(scene, answer), "W"
    end = time.monotonic() + WAIT
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):  # noqa: ASYNC222 - it does not wait
        assert time.monotonic() < end, "D: the child hangs"
        await scene.face.sleep(0.01)
    assert ended[1] == 0, f"the child failed: {ended[1]}"


def _running():
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _finished(flow):
    try:
        flow.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a synchronous operation awaited something")
