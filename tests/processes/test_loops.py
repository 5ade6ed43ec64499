"""Event loops: one after another, several at once, uvloop, beside sync callers; and the end of the interpreter."""

from __future__ import annotations

import pytest

from tests.processes.harness import Run

USE = """
async def use(name, rounds=30):
    for number in range(rounds):
        await cache.aset(name, number)
        cache.chain.memory.clear()
        assert await cache.aget(name) == number
    assert await cache.aget_or_set(name + "-computed", lambda: name) == name
    await cache.aset_many({f"{name}-{n}": n for n in range(20)})
    cache.chain.memory.clear()
    assert await cache.aget_many([f"{name}-{n}" for n in range(20)]) == {f"{name}-{n}": n for n in range(20)}
"""


def test_loops_one_after_another_leave_no_connection_behind(script: Run) -> None:
    script(
        f"""
    cache = make()
    {_indented(USE)}
    def sockets():
        import gc
        gc.collect()
        return sum(os.readlink(f"/proc/self/fd/{{fd}}").startswith("socket")
                   for fd in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{{fd}}"))
    asyncio.run(use("warm"))
    before = sockets() if os.path.isdir("/proc/self/fd") else 0
    for number in range(10):
        asyncio.run(use(f"loop{{number}}", 5))
    if before:
        assert sockets() <= before + 1, (before, sockets())
    """,
        options=["-W", "error::ResourceWarning"],
    )


def test_a_loop_that_was_never_shut_down(script: Run) -> None:
    script(f"""
    cache = make()
    {_indented(USE)}
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use("a"))
    loop.close()  # without shutdown_asyncgens
    asyncio.run(use("b"))
    """)


def test_loops_and_threads_at_once_share_computations(script: Run) -> None:
    script("""
    cache = make()
    calls = []
    def compute():
        calls.append(1)
        time.sleep(0.3)
        return "v"
    async def several():
        assert await asyncio.gather(*[cache.aget_or_set("k", compute) for _ in range(50)]) == ["v"] * 50
    results = []
    threads = [threading.Thread(target=lambda: results.append(asyncio.run(several()))) for _ in range(3)]
    threads += [threading.Thread(target=lambda: results.append(cache.get_or_set("k", compute))) for _ in range(20)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(results) == 23
    assert len(calls) == 1, calls
    """)


def test_uvloop(script: Run) -> None:
    pytest.importorskip("uvloop", reason="uvloop is not installed")
    script(f"""
    import uvloop
    cache = make()
    {_indented(USE)}
    async def many():
        await asyncio.gather(*[use(f"task{{n}}", 5) for n in range(30)])
    for _ in range(3):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(many())
    asyncio.run(use("asyncio again"))
    own_values(cache, "sync")
    """)


def test_sync_calls_inside_a_running_loop(script: Run) -> None:
    script(f"""
    cache = make()
    {_indented(USE)}
    async def main():
        own_values(cache, "inside", 20)
        await use("awaited")
        assert cache.get_or_set("k", lambda: 1) == 1
        await asyncio.get_running_loop().run_in_executor(None, own_values, cache, "executor", 20)
    asyncio.run(main())
    """)


def test_the_interpreter_ends_while_work_is_under_way(script: Run) -> None:
    script("""
    cache = make()
    cache.set_many({str(n): "x" * 1000 for n in range(500)})
    cache.chain.memory.clear()
    cache.chain.tiers[1].backend.clear()
    def forever():
        while True:
            cache.get_many([str(n) for n in range(500)])  # promotes, in the background
            cache.chain.memory.clear()
    for _ in range(3):
        threading.Thread(target=forever, daemon=True).start()
    time.sleep(0.2)
    """)


def test_tasks_that_are_cancelled_by_the_end_of_the_loop(script: Run) -> None:
    script("""
    cache = make()
    async def slow():
        await asyncio.sleep(60)
        return "v"
    async def main():
        for n in range(20):
            asyncio.create_task(cache.aget_or_set(f"k{n}", slow))
        await asyncio.sleep(0.1)
    asyncio.run(main())
    assert cache.get_or_set("k0", lambda: "computed anew") == "computed anew"
    """)


def test_a_cache_that_is_used_as_the_interpreter_ends(script: Run) -> None:
    script("""
    import atexit
    cache = make()
    cache.set("k", "v")
    atexit.register(lambda: cache.get("k"))
    class Last:
        def __del__(self):
            cache.get("k")
    last = Last()
    """)


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")
