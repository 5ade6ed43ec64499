"""Another process with a cache of its own, for tests: started, told what to do line by line, and asked for answers."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ANSWER_SECONDS = 60


class OtherProcess:
    """A process with memory before Redis; its methods are those of `_Worker`, by name."""

    def __init__(self, url: str, **options: Any) -> None:
        paths = os.pathsep.join([str(ROOT), str(ROOT / "backends")])
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__, url, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )

    def begin(self, method: str, *arguments: Any) -> None:
        """Have it do something, and do not wait."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([method, *arguments]) + "\n")
        self.process.stdin.flush()

    def end(self) -> Any:
        """Return the answer to what was begun."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the other process ended"
        return json.loads(line)

    def __call__(self, method: str, *arguments: Any) -> Any:
        self.begin(method, *arguments)
        return self.end()

    def __enter__(self) -> OtherProcess:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            assert self.process.stdout is not None
            self.process.stdout.close()


class _Worker:
    def __init__(self, url: str, timeout: float = 5, lease: str | None = None, **options: Any) -> None:
        from tiercache import Cache, MemoryBackend, TierChain
        from tiercache_redis import RedisBackend

        self.url, self.prefix = url, options.get("prefix")
        self.chain = TierChain(MemoryBackend(), RedisBackend(url, timeout=timeout, **options), lease=lease)
        self.cache = Cache(self.chain, namespace="n")

    def get(self, key: str) -> Any:
        return self.cache.get(key)

    def set(self, key: str, value: Any) -> None:
        self.cache.set(key, value)

    def set_all(self, values: dict[str, Any]) -> None:
        for key, value in values.items():
            self.cache.set(key, value)

    def delete(self, key: str) -> bool:
        return self.cache.delete(key)

    def clear(self) -> None:
        self.cache.clear()

    def compute(self, key: str, seconds: float) -> Any:
        """Get the value, or count and take a while to compute it."""
        import redis

        def factory() -> str:
            with redis.Redis.from_url(self.url) as client:
                client.incr(f"count-{self.prefix}")
            time.sleep(seconds)
            return "computed"

        return self.cache.get_or_set(key, factory)

    def tier(self, key: str) -> str | None:
        return self.cache.lookup(key).tier

    def live(self) -> bool:
        """Wait until notices arrive."""
        end = time.monotonic() + ANSWER_SECONDS
        while self.chain.coherence.blind and time.monotonic() < end:
            time.sleep(0.005)
        return not self.chain.coherence.blind

    def blind(self) -> float:
        """Wait until it is noticed that they do not; return when that was."""
        end = time.monotonic() + ANSWER_SECONDS
        while not self.chain.coherence.blind and time.monotonic() < end:
            time.sleep(0.005)
        return time.time()

    def until(self, key: str, value: Any) -> float:
        """Read a key until it has this value, and return when that was."""
        end = time.monotonic() + ANSWER_SECONDS
        while self.cache.get(key) != value:
            assert time.monotonic() < end, "it never had it"
        return time.time()

    def gaps(self) -> int:
        return self.chain.coherence.counters.gaps

    def forked(self, key: str) -> Any:
        """Fork; return how much the child inherits in memory, and where it finds the key first, and then."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            inherited = len(self.chain.memory or ())
            first = self.cache.lookup(key)
            self.live()
            self.cache.get(key)
            os.write(writing, json.dumps([inherited, first.tier, self.cache.lookup(key).tier]).encode() + b"\n")
            self.until(key, "new")
            os.write(writing, b"new\n")
            os._exit(0)
        os.close(writing)
        self.child, self.pipe = child, os.fdopen(reading)
        return json.loads(self.pipe.readline())

    def child_has(self) -> str:
        """Wait until the child has the new value."""
        line = self.pipe.readline().strip()
        self.pipe.close()
        os.waitpid(self.child, 0)
        return line


def main() -> None:
    worker = _Worker(sys.argv[1], **json.loads(sys.argv[2]))
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        print(json.dumps(getattr(worker, method)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
