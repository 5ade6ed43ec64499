"""Runs a script in a process of its own, beside real servers, with a bound on its time."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
GUARD = 90
Run = Callable[..., object]
"""What the fixture `script` is: it takes the text of a script, and the options of `run`."""

HEAD = """
import asyncio, json, os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of forks beside threads: that is the case here
if hasattr(signal, "alarm"):
    signal.alarm(60)
from tiercache import Cache, DiskBackend, MemoryBackend, Tier, TierChain
from tiercache_redis import RedisBackend

URL, HOME = sys.argv[1:3]

def make(**options):
    redis = Tier(RedisBackend(URL, prefix=os.environ["PREFIX"]), timeout=5)
    return Cache(TierChain(MemoryBackend(), redis, DiskBackend(os.path.join(HOME, "store"))), namespace="n", **options)

def own_values(cache, name, rounds=100):
    "Write and read values that nobody else has, past L1; whatever another got would be seen."
    for number in range(rounds):
        key, value = f"{name}-{number % 10}", f"{name}-{number}"
        cache.set(key, value)
        cache.chain.memory.clear()
        got = cache.get(key)
        assert got == value, (got, value)

def child_of(function, *args):
    "Fork; the child calls the function and ends; returns its pid."
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        function(*args)
        code = 0
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)

def ended_well(pids):
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, pid
"""


def run(
    script: str,
    url: str,
    home: Path,
    prefix: str,
    *,
    options: Sequence[str] = (),
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a script after `HEAD`, and require that it ends well and says nothing on stderr."""
    path = home / "script.py"
    path.write_text(HEAD + textwrap.dedent(script), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, *options, str(path), url, str(home)],
        env=environment(prefix, env),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=GUARD,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == "", ended.stderr
    return ended


def environment(prefix: str, env: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment in which our packages are found."""
    return {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'backends'}",
        "PREFIX": prefix,
        **(env or {}),
    }
