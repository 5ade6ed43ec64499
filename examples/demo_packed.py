"""Embeddings in S3, many an object beside one object each: the same vectors, the same server, what each of them takes.

    make demo-packed

Act 1, a process: a real model embeds 1,000 short texts, and the vectors are stored both ways. Act 2, another process,
which knows nothing yet: it reads all of them both ways, and asks for 1,000 that nobody stored. Act 3, one more: it
deletes a vector, compacts, and looks again. What is printed is asserted, too: the exit code is 1 when a check fails.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from demo import DemoFailed, forget_own_settings, import_model
from demo_checks import Checks
from demo_clouds import S3
from demo_packed_report import print_bytes, print_dollars, print_steps
from demo_report import make_console
from rich.console import Console

from tiercache.testing.servers import ServerUnavailable

HERE = Path(__file__).parent
COUNT, MISSES = 1000, 1000
WORDS = 3


def main(count: int = COUNT) -> int:
    """Run the demo with so many texts and return its exit code."""
    console = make_console()
    try:
        import_model()
        return run(console, count)
    except (ServerUnavailable, DemoFailed) as failure:
        console.print(f"the demo cannot go on: {failure}", style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.show_cursor()
        console.print("\ninterrupted; the server is stopped")
        return 130


def run(console: Console, count: int) -> int:
    """Start the server, play the acts, stop the server."""
    texts = short_texts((HERE / "paragraphs.txt").read_text("utf-8"), count)
    checks = Checks(console)
    with ExitStack() as stack:
        with console.status("starting the server"):
            cloud = S3(stack)
        env = os.environ | cloud.environment() | {"OMP_WAIT_POLICY": "passive"}
        del env["TIERCACHE_S3_STORAGE_CLASS"]  # the server has the default alone
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tiercache-demo-")))
        console.print(f"{cloud.kind}, on this machine; no tier above it, so that every read is seen")

        console.rule(f"Act 1: {len(texts):,} texts are embedded and stored, packed and one object each", align="left")
        first = play("store", work, texts, env)
        sizes = {name: head["ContentLength"] for name, head in cloud.heads().items()}
        console.print(f"  the model took {first['model_seconds']:.1f} s for {len(texts):,} vectors of 384 float32")
        print_bytes(console, sizes)
        check_stored(checks, first, sizes, len(texts))

        console.rule(f"Act 2: a new process reads them, and asks for {MISSES:,} that are not there", align="left")
        second = play("read", work, texts, env)
        check_read(checks, first, second, len(texts))

        console.rule("Act 3: one is deleted, the segments are compacted, one more process looks", align="left")
        third = play("delete", work, texts, env)
        console.print(f"  {third['compaction']}")
        check_deleted(checks, third, play("look", work, texts, env), len(texts))

        console.rule("Side by side", align="left")
        print_steps(console, first["steps"] | second["steps"], len(texts), MISSES)
        print_dollars(console, entries=len(texts), entry_bytes=first["stored_bytes"] // len(texts))
    return checks.finish()


def short_texts(paragraphs: str, count: int) -> list[str]:
    """Return different runs of a few words of the paragraphs."""
    words = re.findall(r"[\w'-]+", paragraphs)
    runs = (" ".join(words[at : at + WORDS]) for at in range(len(words) - WORDS + 1))
    return list(islice(dict.fromkeys(runs), count))


def play(act: str, work: Path, texts: Sequence[str], env: Mapping[str, str]) -> dict[str, Any]:
    """Run `demo_packed_job.py` as a process of its own, and return its figures."""
    (work / "texts.json").write_text(json.dumps(texts), "utf-8")
    command = [sys.executable, str(HERE / "demo_packed_job.py"), act, str(work), str(MISSES)]
    code = subprocess.run(command, env=env, check=False).returncode
    if code:
        raise DemoFailed(f"its process ended with exit code {code}")
    figures: dict[str, Any] = json.loads((work / f"{act}.json").read_text("utf-8"))
    return figures


def check_stored(checks: Checks, act: Mapping[str, Any], sizes: Mapping[str, int], count: int) -> None:
    """Check what is in the bucket, by HEADs, and how many requests put it there."""
    segments = [name for name in sizes if "_segments/" in name]
    checks.equal("objects that hold them one by one", len(sizes) - len(segments), count)
    checks.that(f"segments that hold them packed: {len(segments)}", 0 < len(segments) <= max(4, count // 100))
    packed, single = (act["steps"][f"store {way}"]["requests"].get("PUT", 0) for way in ("packed", "single"))
    checks.equal("PUTs one by one", single, count)
    checks.equal("PUTs packed", packed, len(segments))


def check_read(checks: Checks, first: Mapping[str, Any], act: Mapping[str, Any], count: int) -> None:
    """Check a process that found everything stored."""
    for way in ("packed", "single"):
        checks.equal(f"vectors that come back as the model made them, {way}", act["same"][way], count)
    steps = act["steps"]
    read, miss = total(steps["read packed"]), total(steps["miss packed"])
    checks.that(f"requests for all of them, packed, listing and indexes included: {read}", read <= max(8, count // 50))
    checks.equal(f"requests for {MISSES:,} misses, packed", miss, 0)
    checks.equal(f"requests for {MISSES:,} misses, one object each", total(steps["miss single"]), MISSES)
    for name, what in (("store", first), ("read", act)):
        packed, single = (what["steps"][f"{name} {way}"]["cpu"] for way in ("packed", "single"))
        checks.that(f"CPU to {name} them: {single / packed:.0f} times less", packed < single)


def check_deleted(checks: Checks, act: Mapping[str, Any], look: Mapping[str, Any], count: int) -> None:
    """Check that a deleted vector is gone for everybody, and nothing else is."""
    checks.equal("it was there when it was deleted", act["existed"], True)
    checks.equal("others that the process still reads", act["found"], count - 1)
    checks.equal("compaction went through", act["complete"], True)
    checks.equal("others that a new process reads", look["found"], count - 1)
    checks.equal("the deleted one, to a new process", look["deleted"], None)


def total(step: Mapping[str, Any]) -> int:
    """Return all requests of a step."""
    return sum(step["requests"].values())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    forget_own_settings()
    sys.exit(main())
