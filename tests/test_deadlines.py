"""The deadline holds: whatever a store's peer does, a computation in a whole cache comes back in time.

Each remote backend x a refused port, a black hole, a peer that drips, a stalled TLS handshake x both faces. What each
operation of a backend does before such peers is in the backends' own tests.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.far import STORES, cache_on
from tests.peers import silence
from tiercache import Backend, Cache, pool
from tiercache_redis import connections

TIMEOUT = 0.3
GUARD = 30.0
"""Seconds after which something hangs: a hundred times the timeout."""


def drip(peer, stop):
    """Answer with something that might become an answer, a byte every 50 ms."""
    peer.recv(65536)
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nETag: x\r\n\r\n":
        peer.sendall(bytes([byte]))
        if stop.wait(0.05):
            return


def drip_redis(peer, stop):
    """The same in the words of Redis."""
    peer.recv(65536)
    peer.sendall(b"$100000\r\n")
    while not stop.wait(0.05):
        peer.sendall(b"x")


@pytest.fixture(params=STORES)
def store(request) -> str:
    return request.param


@pytest.fixture(params=["refused", "black hole", "drip", "stalled TLS"])
def peer(request, store, serve, free_port) -> Backend:
    """A backend whose peer fails it in this way."""
    if request.param == "refused":
        return STORES[store](free_port)
    if request.param == "drip":
        return STORES[store](serve(drip_redis if store == "redis" else drip))
    return STORES[store](serve(silence), request.param == "stalled TLS")


@pytest.fixture(params=["blocking", "awaited"])
def get_or_set(request) -> Callable[[Cache, str], object]:
    if request.param == "blocking":
        return lambda cache, key: cache.get_or_set(key, lambda: 42)

    async def awaited(cache: Cache, key: str) -> object:
        try:
            return await cache.aget_or_set(key, lambda: 42)
        finally:
            await cache.chain.tiers[1].backend.aclose()

    return lambda cache, key: asyncio.run(awaited(cache, key))


@pytest.fixture
def _connecting_ends_soon(monkeypatch):
    monkeypatch.setattr(connections, "CONNECT_SECONDS", TIMEOUT)


@pytest.mark.usefixtures("_connecting_ends_soon")
def test_a_computation_goes_on_whatever_the_peer_does(peer, get_or_set):
    cache = cache_on(peer, timeout=TIMEOUT)
    start = time.monotonic()
    assert get_or_set(cache, "k") == 42
    assert time.monotonic() - start < GUARD
    assert cache.get("k") == 42, "memory has it"
    tier = cache.stats().tiers["remote"]
    assert sum(tier.errors.values()) >= 1
    assert tier.refused >= 1, "it was not asked to store what it could not look for"
    peer.close()


@pytest.mark.usefixtures("_connecting_ends_soon")
@pytest.mark.parametrize("breaker", [True, False], ids=["breaker", "no breaker"])
def test_fifty_threads_and_fifty_tasks_leave_few_threads_behind(store, serve, breaker, monkeypatch):
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.05)  # what is idle goes at once; what stays is stuck
    before = set(threading.enumerate())
    backend = STORES[store](serve(silence))
    cache = cache_on(backend, timeout=TIMEOUT, breaker=breaker)

    async def tasks() -> list[object]:
        found = await asyncio.gather(*(cache.aget_or_set(f"a{number}", lambda: 42) for number in range(50)))
        await backend.aclose()
        return found

    with ThreadPoolExecutor(51) as callers:
        awaited = callers.submit(asyncio.run, tasks())
        found = list(callers.map(lambda number: cache.get_or_set(f"{number}", lambda: 42), range(50)))
        found += awaited.result(60)
    assert found == [42] * 100

    def left_behind() -> list[str]:
        ours = set(threading.enumerate()) - before
        return [thread.name for thread in ours if thread.name.startswith(f"tiercache-{backend.scheme}")]

    wait_until(lambda: len(left_behind()) <= 8, left_behind)
    wait_until(lambda: not left_behind(), left_behind)
    backend.close()


def wait_until(condition: Callable[[], bool], state: Callable[[], object]) -> None:
    end = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < end, state()
        time.sleep(0.01)


_EXIT = """
    import asyncio, contextlib, threading
    from tests.far import STORES, cache_on
    from tiercache.backend import Backend

    class Theirs(Backend):
        def get(self, key, *, deadline=None):
            threading.Event().wait(3600)
        put = delete = scan = ping = get

    store, port = {store!r}, {port}
    backend = Theirs() if store == "somebody else's" else STORES[store](port)
    cache = cache_on(backend, timeout=600, breaker=False)
    for number in range(4):
        threading.Thread(target=cache.get, args=(f"k{{number}}",), daemon=True).start()

    async def main():
        tasks = [asyncio.create_task(cache.aget(f"a{{number}}")) for number in range(4)]
        await asyncio.sleep(0.3)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())
    print("leaving", flush=True)
"""


@pytest.mark.parametrize(
    "name",
    ["redis", "s3", "somebody else's", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gcs", "azure"))],
)
def test_a_process_leaves_while_its_threads_and_tasks_wait_for_a_store_that_hangs(name, serve, tmp_path):
    script = textwrap.dedent(_EXIT).format(store=name, port=serve(silence))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=_env())
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "leaving\n"
        assert process.wait(timeout=50) == 0  # ten times the five seconds that it may take; they wait for ten minutes
    finally:
        process.kill()
        process.communicate()


def _env() -> dict[str, str]:
    root = Path(__file__).parent.parent
    return os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'backends'}"}
