"""`make storm`: operations cancelled at random moments through a slow network; nobody may get another's answer.

    python scripts/storm.py [--workers 30] [--count 1000] [--seed 1] [--json FILE]

Exits with 1 if tiercache read a wrong value, raised anything, or left a connection, a descriptor or a task behind; or
if redis-py 4.5.1, which is known to mix up answers, was not caught (then the storm proves nothing).
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import subprocess
import sys
import time
import uuid
import venv
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT), str(ROOT / "backends")]

import redis  # noqa: E402
from storm_workers import KEYS, Operation, Seen, storm, value  # noqa: E402

from tiercache import Cache, Entry, MemoryBackend, Metadata, Tier, TierChain  # noqa: E402
from tiercache.testing import FaultProxy  # noqa: E402
from tiercache.testing.servers import ServerUnavailable, redis_server  # noqa: E402
from tiercache_redis import RedisBackend  # noqa: E402

HOME = ROOT / ".venv-storm"
CONTROL = "4.5.1"
LATENCY = 0.002
PATIENCE = 0.02
CONNECTIONS = 8


@dataclass
class Result:
    """What a storm saw, and what it left behind after the client was closed."""

    seen: Seen
    kept: int  # connections that it had when all was over, before it was closed
    connections: int
    descriptors: int
    tasks: int

    def is_clean(self) -> bool:
        """Whether nothing was wrong and nothing is left."""
        return not (self.seen.wrong or self.seen.errors or self.connections or self.descriptors or self.tasks)


def of_backend(backend: RedisBackend) -> list[Operation]:
    """Return the operations of a storm on a backend."""

    def entry(key, dice):
        payload = value(key, dice).encode()
        return Entry(
            payload, Metadata(key=key, created_at=time.time(), expires_at=time.time() + 600, size=len(payload))
        )

    async def get(dice):
        return await text_of(backend, dice.choice(KEYS))

    async def get_many(dice):
        found = await backend.aget_many(dice.sample(KEYS, 20))
        return {key: each.payload.decode() for key, each in found.items()}

    async def put(dice):
        key = dice.choice(KEYS)
        await backend.aput(key, entry(key, dice))
        return {}

    async def put_if_absent(dice):
        key = dice.choice(KEYS)
        await backend.aput(key, entry(key, dice), if_absent=True)
        return {}

    async def put_many(dice):
        await backend.aput_many({key: entry(key, dice) for key in dice.sample(KEYS, 20)})
        return {}

    async def delete(dice):
        await backend.adelete(dice.choice(KEYS))
        return {}

    return [get, get, get, get_many, get_many, put, put, put_if_absent, put_many, delete]


async def text_of(backend: RedisBackend, key: str) -> dict[str, str | None]:
    """Return the value of a key."""
    found = await backend.aget(key)
    return {key: None if found is None else found.payload.decode()}


def of_cache(cache: Cache) -> list[Operation]:
    """Return the operations of a storm on a cache."""

    async def get(dice):
        key = dice.choice(KEYS)
        return {key: await cache.aget(key)}

    async def get_many(dice):
        return await cache.aget_many(dice.sample(KEYS, 20))

    async def get_or_set(dice):
        key = dice.choice(KEYS)

        async def compute():
            await asyncio.sleep(dice.random() * LATENCY)
            return value(key, dice)

        return {key: await cache.aget_or_set(key, compute)}

    async def put(dice):
        key = dice.choice(KEYS)
        await cache.aset(key, value(key, dice))
        return {}

    async def put_many(dice):
        await cache.aset_many({key: value(key, dice) for key in dice.sample(KEYS, 20)})
        return {}

    async def delete(dice):
        await cache.adelete(dice.choice(KEYS))
        return {}

    return [get, get, get, get_many, get_many, get_or_set, get_or_set, put, put_many, delete]


async def on_backend(server: str, proxy: str, *, workers: int, count: int, seed: int) -> Result:
    """Storm a `RedisBackend` that reaches the server through the proxy."""
    name = f"storm-{uuid.uuid4().hex[:8]}"
    url = f"redis://{proxy}/0?client_name={name}&prefix={name}:"
    before = await descriptors()
    backend = RedisBackend(url, timeout=60, max_connections=CONNECTIONS)
    seen = await storm(of_backend(backend), workers=workers, count=count, patience=PATIENCE, seed=seed)
    for key in KEYS:
        await seen.end_of(text_of(backend, key))
    return await left_behind(seen, server, name, before, backend.aclose)


async def on_cache(server: str, proxy: str, *, workers: int, count: int, seed: int) -> Result:
    """Storm a `Cache` of memory and Redis; the errors that its tiers hid are counted, too."""
    name = f"storm-{uuid.uuid4().hex[:8]}"
    url = f"redis://{proxy}/0?client_name={name}&prefix={name}:"
    before = await descriptors()
    tier = Tier(RedisBackend(url, max_connections=CONNECTIONS), timeout=60)
    # Not coherent: a subscription that a stalled machine keeps waiting counts as an error of the tier.
    cache = Cache(TierChain(Tier(MemoryBackend(max_entries=30)), tier, coherent=False))
    seen = await storm(of_cache(cache), workers=workers, count=count, patience=PATIENCE, seed=seed)
    await seen.end_of(cache.aget_many(KEYS))
    for kind, number in tier.snapshot().errors.items():
        if number:
            seen.count(kind, number)
    return await left_behind(seen, server, name, before, cache.aclose)


async def left_behind(seen: Seen, server: str, name: str, before: int, close: Callable) -> Result:
    """Close the client, and return what is still there a while later."""
    with redis.Redis.from_url(server) as client:

        def connected() -> int:
            return len([found for found in client.client_list() if found["name"] == name])

        await settled(lambda: len(asyncio.all_tasks()) == 1)
        tasks, kept = len(asyncio.all_tasks()) - 1, connected()
        await close()
        await settled(lambda: not connected())
        connections = connected()
    return Result(seen, kept, connections, max(0, await descriptors() - before), tasks)


async def settled(condition: Callable[[], bool]) -> None:
    """Wait for a condition, 30 seconds at most."""
    ends = time.monotonic() + 30
    while not condition() and time.monotonic() < ends:  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(0.01)


async def descriptors() -> int:
    """Return how many descriptors are open, once that has not changed for a while."""
    known, since = -1, time.monotonic()
    while time.monotonic() - since < 0.3:
        now = _open_descriptors()
        if now != known:
            known, since = now, time.monotonic()
        await asyncio.sleep(0.02)
    return known


def _open_descriptors() -> int:
    here = Path("/proc/self/fd")
    return len(os.listdir(here)) if here.is_dir() else 0


def control(proxy: str, workers: int, count: int, seed: int) -> dict[str, object]:
    """Storm redis-py 4.5.1 in an environment of its own."""
    python = HOME / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = HOME / ".ready"
    if not ready.exists():
        print(f"making {HOME.name} with redis-py {CONTROL} (once) …", flush=True)
        venv.create(HOME, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"redis=={CONTROL}"]
        subprocess.run(install, check=True, timeout=600)
        ready.touch()
    script = ROOT / "scripts" / "storm_control.py"
    arguments = [f"redis://{proxy}/0", workers, count, PATIENCE, seed]
    done = subprocess.run(
        [python, script, *map(str, arguments)], check=True, capture_output=True, text=True, timeout=1200
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Run all three and say what they saw."""
    parser = argparse.ArgumentParser(prog="make storm", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=30)
    parser.add_argument("--count", type=int, default=1000, help="operations of each worker")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file, too")
    options = parser.parse_args()
    size = {"workers": options.workers, "count": options.count, "seed": options.seed}
    found: dict[str, dict[str, object]] = {}
    failed = False
    try:
        with redis_server() as server, FaultProxy(server.url) as proxy:
            proxy.inject("latency", seconds=LATENCY)
            for name, run in {"RedisBackend": on_backend, "Cache": on_cache}.items():
                start = time.monotonic()
                result = asyncio.run(run(server.url, proxy.address, **size))
                failed = failed or not result.is_clean()
                found[name] = dataclasses.asdict(result) | {"seconds": round(time.monotonic() - start, 1)}
                print(f"{name}: {found[name]}", flush=True)
            with suppress(subprocess.TimeoutExpired, subprocess.CalledProcessError):
                found["control"] = control(proxy.address, **size)
    except ServerUnavailable as reason:
        raise SystemExit(str(reason)) from None
    if "control" not in found:
        print(f"the control cannot be run here: it takes redis-py {CONTROL} from PyPI")
        return 1
    print(f"redis-py {CONTROL}, the control: {found['control']}")
    caught = bool(found["control"]["wrong"])
    print("tiercache: FAILED" if failed else "tiercache: nothing wrong, nothing left behind")
    print("the control was caught" if caught else "the control was NOT caught: this storm proves nothing")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return int(failed or not caught)


if __name__ == "__main__":
    sys.exit(main())
