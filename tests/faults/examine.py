"""What each cell must hold.

W: never a wrong value. D: an answer in time. E: no error reaches the caller. O: the expected error is counted, and told
once. R: it heals by itself. A cell that fails says which of them does not hold, and how.
"""

from __future__ import annotations

import time
from collections import Counter

from tests.faults.operations import allowed, complete, left, operate
from tests.faults.scene import Log, Scene
from tiercache.errors import TiercacheError

GUARD = 10
"""Times longer than its deadline that an operation may take before it hangs."""
HEALS = 60.0
MISSES = frozenset({"CorruptEntry", "UnknownFormat", "UnknownKey"})


async def examine(rig, cell, face):
    """Bring the fault about, do the operation, and look at everything."""
    rig.renew()
    try:
        await _examine(rig, cell, face)
    finally:
        rig.tidy()


async def _examine(rig, cell, face):
    scene = Scene(rig, face, cell.fault, cell.operation)
    scene.seed()
    with Log() as log:
        if not cell.fault.from_start:
            await scene.until(lambda: _serves(scene), HEALS, "the healthy store did not answer")
            scene.cache.reset_stats()
        log.records.clear()
        if cell.fault.act is not None:
            await cell.fault.act(scene)
            assert set(scene.errors) <= cell.fault.kinds, f"O: {scene.errors}"
        else:
            with cell.fault.inject(scene):
                await _meet(scene, cell)
                await _strictly(scene, cell)
                await _look(scene, "while it lasts")
        await _heal(scene)
        await _look(scene, "after it")
    assert not log.tells(), f"O: a line tells {log.tells()}"
    twice = [line for line, count in Counter(log.lines(scene.tier)).items() if count > 1]
    assert not twice, f"O: logged more than once: {twice}"


async def _meet(scene, cell):
    start = time.monotonic()
    try:
        answer = await operate(scene)
    except Exception as error:
        raise AssertionError(f"E: {type(error).__name__} reached the caller: {error}") from error
    spent = time.monotonic() - start
    if scene.timeout is not None:
        # A set may take two requests that each have the deadline; a computation takes nothing here.
        assert spent < GUARD * 2 * scene.timeout, f"D: {spent:.1f} s with a deadline of {scene.timeout} s"
    assert allowed(scene, answer), "W: a wrong value"
    counted, expected = set(scene.errors), cell.fault.expected(cell.kind, cell.operation)
    assert counted <= expected, f"O: counted {scene.errors}, not {set(expected) or 'nothing'}"
    if expected and not cell.fault.loose:
        assert counted, f"O: nothing was counted, not even one of {set(expected)}"
    if not expected and cell.operation not in cell.fault.misses:
        assert complete(scene, answer), f"the operation that it does not concern was not done: {type(answer)}"
    if cell.fault.check is not None:
        cell.fault.check(scene, answer)


async def _strictly(scene, cell):
    """In a strict chain the same error reaches the caller; bytes that are no entry stay a miss."""
    expected = cell.fault.expected(cell.kind, cell.operation)
    if cell.fault.loose or not expected or expected <= MISSES:
        return
    lenient, scene.cache = scene.cache, scene.cache_on(scene.backend, strict=True, name="strict", **cell.fault.tier)
    scene.key = scene.keys[1]  # what was done to the first one may have been done
    try:
        await operate(scene)
    except TiercacheError as error:
        raised = {kind.__name__ for kind in type(error).__mro__}  # a backend may have classes of its own
    else:
        raised = {"nothing"}
    finally:
        scene.cache, scene.key = lenient, scene.keys[0]
    assert raised & set(expected), f"E: a strict chain raised {sorted(raised)}, none of {set(expected)}"


async def _look(scene, when):
    try:
        found = await scene.call("get", scene.key)
    except Exception as error:
        raise AssertionError(f"E: {type(error).__name__} reached the caller {when}") from error
    older = "the older one" if found == scene.stored(scene.key) else "not even an older one"
    assert found in left(scene), f"W: a wrong value {when}: {older}"


async def _heal(scene):
    key = f"{scene.absent}-healed"

    async def healed():
        await scene.call("set", key, scene.new(key))
        return await scene.call("get", key) == scene.new(key)

    await scene.until(healed, HEALS, f"R: not healed after {HEALS:.0f} s: {scene.errors}")


async def _serves(scene):
    return await scene.call("get", scene.key) == scene.stored(scene.key)
