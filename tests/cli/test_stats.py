"""`tiercache stats` sees what other processes count."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Run, command, environment
from .moved import fill

WORKER = """
import sys
from tiercache import Cache, TierChain
name, *urls = sys.argv[1:]
cache = Cache(TierChain.from_urls("memory://", *urls, report=True), namespace=name)
cache.get_or_set("k", lambda: 1)
for line in sys.stdin:
    for _ in range(int(line)):
        assert cache.get("k") == 1
    assert cache.chain.reporter.write()
    print("told", flush=True)
"""


class Worker:
    """A process with a cache that reports; it ends without closing anything when it is told nothing more."""

    def __init__(self, namespace: str, *urls: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, namespace, *urls],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def hits(self, count: int) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "told\n"

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture
def redis(redis_url: str) -> str:
    return f"{redis_url}?prefix={uuid.uuid4().hex}:&timeout=5s"


@pytest.fixture
def workers(redis: str) -> Iterator[list[Worker]]:
    started = [Worker("a", redis), Worker("b", redis)]
    yield started
    for worker in started:
        worker.end()


def test_it_sees_the_hits_of_two_workers(run: Run, redis: str, workers: list[Worker]) -> None:
    workers[0].hits(7)
    workers[1].hits(5)

    seen = run("stats", redis, "--json").json

    assert {(process["pid"], process["stats"]["hits"]) for process in seen["processes"]} == {
        (workers[0].process.pid, 7),
        (workers[1].process.pid, 5),
    }
    assert seen["total"]["hits"] == 12
    assert seen["total"]["tiers"]["memory"]["hits"] == 12
    assert seen["total"]["tiers"]["redis"]["breaker"] == "closed"
    workers[1].hits(4)
    alone = run("stats", redis, "--namespace", "b", "--json").json
    assert [process["namespaces"] for process in alone["processes"]] == [["b"]]
    assert alone["total"]["hits"] == 9
    assert "of the namespace 'c'; there is a, b" in run("stats", redis, "--namespace", "c", expect=1).err


@pytest.mark.slow
def test_people_get_a_table_for_processes_and_one_for_tiers(run: Run, redis: str, workers: list[Worker]) -> None:
    workers[0].hits(3)
    workers[1].hits(1)

    out = run("stats", redis).out

    assert "2 processes" in out
    assert str(workers[0].process.pid) in out
    assert "in all: 4 hits, 2 misses, 66.7%" in out
    assert "closed" in out


def test_a_worker_that_ended_is_seen_for_a_while(run: Run, redis: str) -> None:
    worker = Worker("a", redis)
    worker.hits(2)
    worker.end()

    [process] = run("stats", redis, "--json").json["processes"]

    assert process["ended"]
    assert process["stats"]["hits"] == 2


@pytest.mark.slow
def test_it_works_through_a_bucket(run: Run, tmp_path: Path, s3_server: object, s3_bucket: str, s3_prefix: str) -> None:
    from tiercache.testing.servers import S3Server

    assert isinstance(s3_server, S3Server)
    url = f"s3://{s3_bucket}/{s3_prefix}?endpoint_url={s3_server.endpoint_url}&region={s3_server.region}&timeout=20s"
    secrets = {"AWS_ACCESS_KEY_ID": s3_server.access_key, "AWS_SECRET_ACCESS_KEY": s3_server.secret_key}
    work = (
        f"import os; os.environ |= {secrets!r}\n"
        "from tiercache import Cache, TierChain\n"
        f"with Cache(TierChain.from_urls('memory://', {url!r}, report=True)) as cache: cache.get('absent')\n"
    )
    subprocess.run([sys.executable, "-c", work], env=environment(), timeout=110, check=True)

    assert run("stats", url, "--json", env=secrets).json["total"]["misses"] == 1


def test_without_any_it_says_how_to_turn_it_on(run: Run, tmp_path: Path) -> None:
    fill(f"disk://{tmp_path}/c", 1)
    ran = run("stats", f"disk://{tmp_path}/c", "--json", expect=1)

    assert ran.json["processes"] == []
    assert "report=True" in ran.err
    assert "TIERCACHE_REPORT" in ran.err


def test_looking_is_no_process_of_its_own(run: Run, tmp_path: Path) -> None:
    fill(f"disk://{tmp_path}/c", 1)
    file = tmp_path / "cache.toml"
    file.write_text(f'[chain]\nreport = true\n[[tiers]]\nurl = "disk://{tmp_path}/c"\n')
    for _ in range(2):
        assert run("stats", "--config", file, "--json", expect=1).json["processes"] == []


def test_watching_in_json_is_a_mistake(run: Run, tmp_path: Path) -> None:
    assert "--watch" in run("stats", f"disk://{tmp_path}/c", "--watch", "--json", expect=2).err


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_watching_shows_it_again(redis: str, workers: list[Worker]) -> None:
    workers[0].hits(3)
    watching = subprocess.Popen(
        [*command(), "stats", redis, "--watch", "--every", "0.1"],
        env=environment({"PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with watching:
        assert watching.stdout is not None
        for line in watching.stdout:
            if "in all: 3 hits" in line:
                break
        workers[0].hits(4)
        seen = any("in all: 7 hits" in line for line in watching.stdout)
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=110)

    assert seen
    assert watching.returncode == 130
