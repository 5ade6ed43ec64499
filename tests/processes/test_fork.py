"""Fork after use: the child drops sockets, locks, threads and queues, and never gets another's reply."""

from __future__ import annotations

import os

import pytest

from tests.processes.harness import Run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def test_children_of_a_used_cache_get_their_own_replies(script: Run) -> None:
    script("""
    cache = make()
    own_values(cache, "before")
    pids = [child_of(own_values, cache, f"child{n}") for n in range(4)]
    own_values(cache, "parent", 300)
    ended_well(pids)
    """)


def test_a_fork_while_threads_are_at_work_finds_free_locks(script: Run) -> None:
    script("""
    cache = make()
    stop = threading.Event()
    def work(name):
        while not stop.is_set():
            own_values(cache, name, 10)
            cache.get_or_set(f"{name}-computed", lambda: name)
            cache.get_many([f"{name}-{n}" for n in range(10)])
    threads = [threading.Thread(target=work, args=(f"thread{n}",)) for n in range(3)]
    [thread.start() for thread in threads]
    for round in range(8):
        ended_well([child_of(own_values, cache, f"child{round}", 20)])
    stop.set()
    [thread.join() for thread in threads]
    """)


def test_a_child_runs_an_event_loop_of_its_own(script: Run) -> None:
    script("""
    cache = make()
    async def use(name):
        for number in range(50):
            await cache.aset(name, number)
            cache.chain.memory.clear()
            assert await cache.aget(name) == number
    def child(name):
        asyncio.run(use(name))
    asyncio.run(use("parent"))
    ended_well([child_of(child, f"child{n}") for n in range(3)])
    asyncio.run(use("parent"))
    """)


def test_a_fork_inside_a_running_loop(script: Run) -> None:
    script("""
    cache = make()
    async def main():
        await cache.aset("k", "v")
        pid = child_of(own_values, cache, "child")
        for number in range(50):
            await cache.aset("parent", number)
            cache.chain.memory.clear()
            assert await cache.aget("parent") == number
        ended_well([pid])
    asyncio.run(main())
    """)


def test_a_child_computes_what_its_parent_was_computing(script: Run) -> None:
    script("""
    cache = make()
    computing, go_on = threading.Event(), threading.Event()
    def slow():
        computing.set()
        go_on.wait(30)
        return "parent's"
    thread = threading.Thread(target=cache.get_or_set, args=("k", slow))
    thread.start()
    computing.wait(30)
    def child():
        assert cache.get_or_set("k", lambda: "child's") == "child's"
    ended_well([child_of(child)])
    go_on.set()
    thread.join()
    """)


def test_what_the_parent_has_queued_is_written_once_and_by_the_parent(script: Run) -> None:
    script("""
    class Slow(DiskBackend):
        def put_many(self, entries, *, deadline=None):
            with open(os.path.join(HOME, "writers"), "a") as log:
                log.write(f"{os.getpid()}\\n")
            time.sleep(0.5)
            super().put_many(entries)
    cache = Cache(TierChain(MemoryBackend(), Tier(Slow(os.path.join(HOME, "s")), write="behind")), namespace="n")
    cache.set("a", 1)
    cache.set("b", 2)
    def child():
        assert cache.stats().tiers["disk"].queued == 0
        assert cache.drain(5)
        cache.set("c", 3)
        assert cache.drain(5)
    ended_well([child_of(child)])
    assert cache.drain(20)
    writers = open(os.path.join(HOME, "writers")).read().split()
    assert writers.count(str(os.getpid())) <= 2 and len(writers) == writers.count(str(os.getpid())) + 1, writers
    cache.chain.memory.clear()
    assert cache.get_many(["a", "b", "c"]) == {"a": 1, "b": 2, "c": 3}
    """)


def test_a_missed_delete_is_known_to_the_child(script: Run) -> None:
    script("""
    class Down(DiskBackend):
        down = False
        def delete(self, key, *, deadline=None):
            if self.down:
                raise OSError("down")
            return super().delete(key, deadline=deadline)
        def delete_many(self, keys, *, deadline=None):
            if self.down:
                raise OSError("down")
            return super().delete_many(keys, deadline=deadline)
    store = Down(os.path.join(HOME, "s"))
    cache = Cache(TierChain(MemoryBackend(), store), namespace="n")
    cache.set("k", "old")
    store.down = True
    import logging
    logging.disable()
    cache.delete("k")
    def child():
        assert cache.get("k") is None
        store.down = False
        assert cache.drain(20)
        assert cache.get("k") is None
    ended_well([child_of(child)])
    """)


def test_grandchildren(script: Run) -> None:
    script("""
    cache = make()
    own_values(cache, "parent")
    def grandchild(name):
        own_values(cache, name)
    def child():
        own_values(cache, "child")
        ended_well([child_of(grandchild, "grandchild1"), child_of(grandchild, "grandchild2")])
        own_values(cache, "child")
    ended_well([child_of(child)])
    """)


def test_a_child_that_ends_in_the_ordinary_way(script: Run) -> None:
    script("""
    cache = make()
    cache.set("k", "v")
    pid = os.fork()
    if pid == 0:
        cache.set("child", "v")
        sys.exit(0)  # with all that happens at exit
    ended_well([pid])
    assert cache.get("k") == "v"
    """)


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(script: Run, method: str) -> None:
    script(f"""
    import multiprocessing
    def work(name):
        cache = globals().get("cache") or make()
        own_values(cache, name, 30)
        return cache.get_or_set(name, lambda: name)
    if __name__ == "__main__":
        cache = make()
        own_values(cache, "parent")
        with multiprocessing.get_context({method!r}).Pool(3) as pool:
            names = [f"child{{n}}" for n in range(6)]
            assert pool.map(work, names) == names
        own_values(cache, "parent")
    """)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_pool_executor(script: Run, method: str) -> None:
    script(f"""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    def work(name):
        own_values(globals().get("cache") or make(), name, 30)
        return name
    if __name__ == "__main__":
        cache = make()
        own_values(cache, "parent")
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context({method!r})) as pool:
            assert list(pool.map(work, "abcd")) == list("abcd")
    """)


def test_a_cache_is_not_sent_to_another_process(script: Run) -> None:
    script("""
    import pickle
    for thing in (make(), make().chain):
        try:
            pickle.dumps(thing)
        except TypeError as error:
            assert "in the other process" in str(error), error
        else:
            raise AssertionError("it was sent")
    """)
