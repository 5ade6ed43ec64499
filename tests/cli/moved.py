"""Commands that move entries: what they move, and how they are interrupted on the way."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from tiercache import Cache, TierChain

from .conftest import Ran, command, environment

STARTS_WITHIN = 60


def fill(url: str, count: int = 50, *, namespace: str = "n", size: int = 20, **options: object) -> None:
    """Put entries into the tier of a URL."""
    with closing(TierChain.from_urls(url)) as chain:
        cache = Cache(chain, namespace=namespace)
        for start in range(0, count, 5000):
            some = range(start, min(count, start + 5000))
            cache.set_many({f"k{number:05}": [number] * size for number in some}, **options)  # type: ignore[arg-type]
        chain.drain(60)


def values(url: str, *keys: str, namespace: str = "n") -> list[object]:
    """The values in the tier of a URL."""
    with closing(TierChain.from_urls(url)) as chain:
        return list(Cache(chain, namespace=namespace).get_many(keys).values())


def count(url: str, prefix: str = "n:") -> int:
    """How many entries the tier of a URL lists."""
    with closing(TierChain.from_urls(url)) as chain:
        return sum(1 for _ in chain.tiers[-1].backend.scan(prefix))


def interrupted(arguments: Sequence[str | Path], when: Path, env: Mapping[str, str] | None = None) -> Ran:
    """Run a command until a file is there, press Ctrl-C, and return what it left."""
    process = subprocess.Popen(
        [*command(), *map(str, arguments)],
        env=environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    ends = time.monotonic() + STARTS_WITHIN
    while not when.exists() and process.poll() is None and time.monotonic() < ends:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=110)
    assert "Traceback" not in err, err
    return Ran(process.returncode, out, err)
